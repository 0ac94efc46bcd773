#include "planner/strategy/torch/group_offload.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "planner/strategy/closed_form.h"
#include "planner/strategy/torch/torch_form.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "group-offload";
constexpr std::string_view kForms =
    "group-offload:leaf or group-offload:block:N, then any of :stream :record_stream :low_cpu_mem :disk";

Error BadWord(std::string_view word) {
  return {ErrorCode::kInvalidInput, fmt::format("{}: '{}' is not understood; it is {}", kName, word, kForms)};
}

std::string_view NextWord(std::string_view& text) {
  const std::size_t colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  text = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  return word;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const GroupOffload group, ParseGroupOffload(parameters));
  return LowerTorch(task, TorchPlacement::GroupOffloaded(*task.model, group), fmt::format("{}:{}", kName, parameters));
}

// The first pins every weight; the second is for hosts that cannot.
std::vector<std::string> Candidates(const PlanningTask&) { return {"leaf:stream", "leaf"}; }

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = Candidates(task);
  bool streamed = false;  // what comes ahead is never slower
  return BestForm(task.request, std::move(all), [&](const std::string& p) -> Result<ClosedForm> {
    if (streamed) return ClosedForm{.why_not = "group-offload:leaf:stream fits"};
    STOWAGE_TRY(const GroupOffload group, ParseGroupOffload(p));
    STOWAGE_TRY(ClosedForm form,
                FormOfTorch(task, TorchPlacement::GroupOffloaded(*task.model, group), fmt::format("{}:{}", kName, p)));
    streamed = form.fits() && group.stream;
    return form;
  });
}

// The largest leaf beside what is there anyway. Hosts that cannot hold pinned copies can hold the weights.
ClosedForm FromSizes(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  return CloseForm(task, sizes,
                   {.gpu = sizes.largest_tensor + TorchFixedBytes(task, sizes),
                    .host = sizes.weights,
                    .streamed = sizes.weights,
                    .refusal = TorchRefusal(*task.model)});
}

}  // namespace

Result<GroupOffload> ParseGroupOffload(std::string_view parameters) {
  GroupOffload out;
  const std::string_view level = NextWord(parameters);
  if (level == "leaf") {
    out.leaf = true;
  } else if (level == "block") {
    const std::string_view blocks = NextWord(parameters);
    const char* end = blocks.data() + blocks.size();
    const auto [at, error] = std::from_chars(blocks.data(), end, out.blocks);
    if (error != std::errc() || at != end || out.blocks < 1) return BadWord(fmt::format("block:{}", blocks));
  } else {
    return BadWord(level);
  }
  while (!parameters.empty()) {
    const std::string_view word = NextWord(parameters);
    bool* const option = word == "stream"          ? &out.stream
                         : word == "record_stream" ? &out.record_stream
                         : word == "low_cpu_mem"   ? &out.low_cpu_mem
                         : word == "disk"          ? &out.disk
                                                   : nullptr;
    if (option == nullptr || *option) return BadWord(word);
    *option = true;
  }
  if (out.record_stream && !out.stream) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{}: record_stream needs :stream", kName)};
  }
  return out;
}

Strategy GroupOffloadStrategy() {
  return {.name = std::string(kName),
          .runtime = "torch",
          .summary = "diffusers' group offloading: block:N or leaf, then :stream :record_stream :low_cpu_mem :disk",
          .lower = Lower,
          .candidates = Candidates,
          .smallest_gpu_budget =
              [](const PlanningTask& task) {
                return SmallestTorchBudget(task, TorchPlacement::GroupOffloaded(*task.model, {.leaf = true}));
              },
          .sampled_passes = 2,
          .closed_form = Close,
          .from_sizes = FromSizes};
}

}  // namespace stowage
