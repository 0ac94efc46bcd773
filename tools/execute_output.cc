#include "tools/execute_output.h"

#include <fmt/format.h>

#include <cstring>

#include "exec/weights/writer/safetensors_writer.h"
#include "planner/base/text.h"
#include "sim/timeline/step_errors.h"

namespace stowage {

Status WriteLogits(const std::string& path, const std::vector<float>& logits, const Request& request,
                   std::int64_t vocab) {
  TensorToWrite tensor{.name = "logits", .dtype = DType::kF32, .shape = {request.batch, request.prompt_tokens, vocab}};
  tensor.fill = [&](std::int64_t offset, std::span<std::byte> to) {
    std::memcpy(to.data(), reinterpret_cast<const std::byte*>(logits.data()) + offset, to.size());
  };
  return WriteSafetensors(path, {tensor}, {});
}

std::string StepErrorsText(const Schedule& schedule, const Timeline& predicted, const Timeline& measured) {
  constexpr std::size_t kShown = 5;
  std::vector<StepError> errors = FindStepErrors(predicted, measured);
  std::erase_if(errors, [&](const StepError& e) { return schedule.steps[e.step].resources[0] < 0; });
  if (errors.empty()) return "";
  if (errors.size() > kShown) errors.resize(kShown);
  std::vector<std::vector<std::string>> rows = {{"step, most wrong first", "times", "predicted", "measured"}};
  for (const StepError& e : errors) {
    rows.push_back({schedule.StepName(e.step), fmt::format("{}", e.executions), FormatSeconds(e.predicted),
                    FormatSeconds(e.measured)});
  }
  return AlignTable(rows);
}

std::vector<std::int64_t> FlatTokens(const std::vector<std::vector<std::int64_t>>& tokens) {
  std::vector<std::int64_t> out;
  for (const auto& sequence : tokens) out.insert(out.end(), sequence.begin(), sequence.end());
  return out;
}

std::string TokensText(const std::vector<std::vector<std::int64_t>>& tokens) {
  std::string out;
  for (const auto& sequence : tokens) {
    out += "tokens:";
    for (const std::int64_t id : sequence) out += fmt::format(" {}", id);
    out += "\n";
  }
  return out;
}

}  // namespace stowage
