#include "tools/trace_report.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/realize/torch.h"
#include "tools/common/model_source.h"

namespace stowage {
namespace {

template <class... Args>
Error Bad(fmt::format_string<Args...> text, Args&&... args) {
  return Error{ErrorCode::kInvalidInput, fmt::format(text, std::forward<Args>(args)...)};
}

Result<Pass> ParsePass(std::string_view text, std::int64_t batch) {
  constexpr std::int64_t kMost = 16'777'216;  // tokens; more is a slip of the finger
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const std::string_view digits = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  std::int64_t tokens = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), tokens);
  const bool number = !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  if ((kind != "prefill" && kind != "decode") || !number) {
    return Bad("--pass '{}' is neither prefill:TOKENS nor decode:PAST", text);
  }
  if (tokens < 1 || tokens > kMost) return Bad("--pass '{}': {} is not between 1 and {}", text, tokens, kMost);
  if (kind == "prefill") return Pass{.kind = Pass::Kind::kPrefill, .batch = batch, .tokens = tokens};
  return Pass{.kind = Pass::Kind::kDecode, .batch = batch, .tokens = 1, .past = tokens};
}

std::string AsText(const TorchTrace& trace) {
  std::string out = fmt::format("peak {} ({} rounded to 512 B), kept {}, parameters {}, {} events\n",
                                FormatCount(trace.peak_live.value()), FormatCount(trace.peak_rounded.value()),
                                FormatCount(trace.kept.value()), FormatCount(trace.parameters.value()),
                                FormatCount(static_cast<std::int64_t>(trace.events.size())));
  for (const auto& [name, bytes] : trace.events) out += fmt::format("{} {}\n", name, bytes);
  return out;
}

std::string AsJson(const TorchTrace& trace, const TraceOptions& options, const Pass& pass) {
  nlohmann::ordered_json out;
  out["model"] = options.model;
  out["request"] = {{"dtype", options.dtype}, {"batch", pass.batch},        {"tokens", pass.tokens},
                    {"past", pass.past},      {"offload", options.offload}, {"modules", options.modules}};
  out["parameters_bytes"] = trace.parameters.value();
  out["kept_bytes"] = trace.kept.value();
  out["peak_live_bytes"] = trace.peak_live.value();
  out["peak_rounded_bytes"] = trace.peak_rounded.value();
  out["events"] = nlohmann::ordered_json::array();
  for (const auto& [name, bytes] : trace.events) out["events"].push_back({name, bytes});
  // A path with bytes that are not UTF-8 must not throw.
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<std::string> ReportTrace(const TraceOptions& options) {
  if (options.runtime != "torch") return Bad("--runtime '{}' has no traces; torch does", options.runtime);
  if (options.offload != "none" && options.offload != "sequential") {
    return Bad("--offload '{}' is neither none nor sequential", options.offload);
  }
  if (options.batch < 1) return Bad("--batch {} is below 1", options.batch);
  STOWAGE_TRY(const Pass pass, ParsePass(options.pass, options.batch));
  STOWAGE_TRY(Model model, LoadNamedModel(options.model));
  if (!options.dtype.empty()) {
    const std::optional<DType> dtype = ParseDType(options.dtype);
    if (!dtype || !IsFloating(*dtype)) return Bad("--dtype '{}' is not a floating-point type", options.dtype);
    SetDType(model, *dtype);
  }
  STOWAGE_TRY(TorchProgram program, RealizeTorch(model, pass));
  if (options.offload == "sequential") program = AddSequentialOffloadHooks(std::move(program), model);
  const TorchTrace trace = RecorderForm(program, model, 0, options.modules);
  return options.json ? AsJson(trace, options, pass) : AsText(trace);
}

}  // namespace stowage
