#include "tools/trace_report.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_model.h"
#include "tools/common/model_source.h"

namespace stowage {
namespace {

template <class... Args>
Error Bad(fmt::format_string<Args...> text, Args&&... args) {
  return Error{ErrorCode::kInvalidInput, fmt::format(text, std::forward<Args>(args)...)};
}

// "prefill:512".
struct Counted {
  std::string_view kind;
  std::optional<std::int64_t> count;  // a number follows the colon
};
Counted ParseCounted(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view digits = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  const bool number = !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  return {text.substr(0, colon), number ? std::optional(count) : std::nullopt};
}

Status CheckCount(std::string_view option, std::string_view text, std::int64_t count) {
  constexpr std::int64_t kMost = 16'777'216;  // tokens; more is a slip of the finger
  if (count >= 1 && count <= kMost) return OkStatus();
  return Bad("{} '{}': {} is not between 1 and {}", option, text, count, kMost);
}

Result<Pass> ParsePass(const TraceOptions& options) {
  const auto [kind, tokens] = ParseCounted(options.pass);
  if ((kind != "prefill" && kind != "decode") || !tokens) {
    return Bad("--pass '{}' is neither prefill:TOKENS nor decode:PAST", options.pass);
  }
  STOWAGE_RETURN_IF_ERROR(CheckCount("--pass", options.pass, *tokens));
  Pass pass = {.kind = Pass::Kind::kPrefill, .batch = options.batch, .tokens = *tokens};
  if (kind == "decode") pass = {.kind = Pass::Kind::kDecode, .batch = options.batch, .tokens = 1, .past = *tokens};
  if (options.kv == "dynamic") return pass;
  const auto [cache, positions] = ParseCounted(options.kv);
  if (cache != "static" || !positions) return Bad("--kv '{}' is neither dynamic nor static:POSITIONS", options.kv);
  STOWAGE_RETURN_IF_ERROR(CheckCount("--kv", options.kv, *positions));
  pass.reserved = *positions;
  return pass;
}

// Whether the cache of a decode pass holds a prompt apart from the positions of its decoder.
bool HasPrompt(const Model& model) { return model.family.ends_with("t5") && model.shape.cross_positions > 0; }

std::string AsText(const TorchTrace& trace) {
  std::string out = fmt::format("peak {} ({} rounded to 512 B), kept {}, parameters {}, {} events\n",
                                FormatCount(trace.peak_live.value()), FormatCount(trace.peak_rounded.value()),
                                FormatCount(trace.kept.value()), FormatCount(trace.parameters.value()),
                                FormatCount(static_cast<std::int64_t>(trace.events.size())));
  for (const auto& [name, bytes] : trace.events) out += fmt::format("{} {}\n", name, bytes);
  return out;
}

// `past` as asked for: of T5 the decoder's positions alone.
std::string AsJson(const TorchTrace& trace, const TraceOptions& options, const Pass& pass, std::int64_t past) {
  nlohmann::ordered_json out;
  out["model"] = options.model;
  out["request"] = {{"dtype", options.dtype}, {"batch", pass.batch},        {"tokens", pass.tokens},
                    {"past", past},           {"offload", options.offload}, {"modules", options.modules}};
  if (pass.prompt > 0) out["request"]["prompt"] = pass.prompt;
  if (pass.reserved > 0) out["request"]["kv"] = options.kv;
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
  STOWAGE_TRY(Pass pass, ParsePass(options));
  const std::int64_t past = pass.past;
  STOWAGE_TRY(Model stored, LoadNamedModel(options.model));
  stored = WithoutProjection(std::move(stored));
  std::optional<DType> dtype;
  if (!options.dtype.empty()) {
    dtype = ParseDType(options.dtype);
    if (!dtype || !IsFloating(*dtype)) return Bad("--dtype '{}' is not a floating-point type", options.dtype);
  }
  STOWAGE_TRY(Model model, AsTransformersHolds(stored, dtype));
  if (options.loaded) KeepInFp32(model);
  if (options.prompt > 0 && (pass.past == 0 || !HasPrompt(model))) {
    return Bad("--prompt {}: only T5's decode passes have a prompt beside their past", options.prompt);
  }
  if (pass.past > 0 && HasPrompt(model)) {
    pass.prompt = options.prompt > 0 ? options.prompt : pass.past;
    pass.past += pass.prompt - model.shape.cross_positions;
  }
  STOWAGE_TRY(TorchProgram program, RealizeTorch(model, pass));
  if (options.offload == "sequential") program = AddSequentialOffloadHooks(std::move(program), model);
  const TorchTrace trace = RecorderForm(program, model, 0, options.modules);
  return options.json ? AsJson(trace, options, pass, past) : AsText(trace);
}

}  // namespace stowage
