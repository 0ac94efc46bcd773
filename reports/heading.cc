#include "reports/heading.h"

#include <fmt/format.h>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::size_t kWidth = 100;

std::string ModelText(const ModelLine& model) {
  std::string out = fmt::format("{} parameters, ", FormatCount(model.parameters));
  if (model.layers > 0) out += fmt::format("{} layers, ", model.layers);
  out += fmt::format("{} of {} weights", FormatBytes(model.weights), model.dtype);
  if (model.kv_per_token > Bytes(0)) out += fmt::format(", {} of KV cache a token", FormatBytes(model.kv_per_token));
  return out;
}

}  // namespace

std::string RequestText(const Request& request) {
  return fmt::format("batch {}, prompt {}, {} new tokens{}{}{}", request.batch, request.prompt_tokens,
                     request.new_tokens,
                     request.dtype                  ? fmt::format(", {}", Name(*request.dtype))
                     : request.quantization.empty() ? ""
                                                    : ", " + request.quantization,
                     request.kv ? fmt::format(", cache {}", Name(*request.kv)) : "",
                     request.loading.Default() ? "" : ", " + Describe(request.loading));
}

std::string HeadingText(const ModelLine& model, const Request& request, const std::string& machine,
                        const Style& style) {
  std::string out = style.Strong(model.name) + " (" + model.family + "): " + ModelText(model) + "\n";
  if (!model.source.empty()) out += Wrap("source: ", model.source, kWidth);
  for (const std::string& note : model.notes) out += Wrap("- ", note, kWidth);
  return out + "request: " + RequestText(request) + "\nmachine: " + machine + "\n";
}

}  // namespace stowage
