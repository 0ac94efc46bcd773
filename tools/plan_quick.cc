#include "tools/plan_quick.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/realize/torch.h"
#include "planner/strategy/closed_form.h"
#include "tools/common/threads.h"
#include "tools/plan_paste.h"
#include "tools/plan_report.h"

namespace stowage {
namespace {

// Beyond, sums over kernels take as long as reading the checkpoint's headers: sizes have to do.
constexpr std::size_t kManyTensors = 30'000;

StrategyLine LineOf(const PlanningTask& task, const Strategy& strategy, PlanBasis basis, bool from_sizes) {
  if (Status status = CheckForRuntime(task.request, strategy.runtime); !status) {
    return {.name = strategy.name, .runtime = strategy.runtime, .why_not = status.error().message};
  }
  PlanningTask sample = task;
  sample.last_decode_passes = strategy.sampled_passes;
  const ClosedForm form = from_sizes ? strategy.from_sizes(task) : strategy.closed_form(sample, "");
  StrategyLine line{.name = form.parameters.empty() ? strategy.name : strategy.name + ":" + form.parameters,
                    .runtime = strategy.runtime,
                    .fits = form.fits()};
  line.why_not = form.why_not;
  for (const auto& [pool, bytes] : form.peak) line.peak.push_back({pool, bytes});
  if (!line.fits || basis == PlanBasis::kSizesOnly) return line;
  line.first_token = form.first_token;
  if (task.request.DecodePasses() > 0) line.per_token = form.per_token;
  line.limit = form.limit;
  return line;
}

// Bytes of each no-split block, and of what lies in none.
struct Blocks {
  std::map<ModuleId, Bytes> bytes;
  Bytes rest;
};

Blocks BlocksOf(const Model& model) {
  Blocks out;
  for (const Tensor& t : model.tensors) {
    if (t.tied_to != kNoId) continue;
    const ModuleId block = model.BlockOf(t.module);
    (block == kNoId ? out.rest : out.bytes[block]) += t.bytes();
  }
  return out;
}

std::string BlockFact(const Model& model, const Blocks& blocks) {
  if (blocks.bytes.empty()) {
    const auto largest = std::max_element(model.tensors.begin(), model.tensors.end(),
                                          [](const Tensor& a, const Tensor& b) { return a.bytes() < b.bytes(); });
    if (largest == model.tensors.end()) return "There are no tensors.";
    return fmt::format("Its blocks are not known; the largest tensor is {}, {}.", largest->name,
                       FormatBytes(largest->bytes()));
  }
  const auto largest = std::max_element(blocks.bytes.begin(), blocks.bytes.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
  const Module& module = model.modules[static_cast<std::size_t>(largest->first)];
  Bytes all;
  for (const auto& [id, bytes] : blocks.bytes) all += bytes;
  return fmt::format("{} blocks take {}, the largest is {} ({}) with {}; {} are outside of blocks.",
                     blocks.bytes.size(), FormatBytes(all), module.name, module.class_name,
                     FormatBytes(largest->second), FormatBytes(blocks.rest));
}

// "weights 497.8 MB + cache 47.1 MB + … = 1.08 GB of gpu0's 15.63 GB: all of it fits, 14.55 GB are left."
std::string RoomFact(const PlanningTask& task, const RequestSizes& sizes, const Blocks& blocks) {
  const Machine& machine = *task.machine;
  const Bytes budget = machine.pools[static_cast<std::size_t>(machine.FindPool("gpu0"))].budget;
  const Bytes beside = sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.native_activations.value_or(Bytes(0)) +
                       machine.Reserved("gpu0");
  std::string sum = "weights " + FormatBytes(sizes.weights);
  if (sizes.kv) sum += " + cache " + FormatBytes(*sizes.kv);
  if (sizes.native_activations) sum += " + activations about " + FormatBytes(*sizes.native_activations);
  for (const Reservation& r : machine.reservations) {
    if (r.pool == "gpu0") sum += " + " + r.name + " " + FormatBytes(r.bytes);
  }
  const Bytes need = sizes.weights + beside;
  sum = fmt::format("{} = {} of gpu0's {}", sum, FormatBytes(need), FormatBytes(budget));
  if (need <= budget) return fmt::format("{}: all of it fits, {} are left.", sum, FormatBytes(budget - need));
  Bytes left = budget - beside - blocks.rest;
  std::int64_t fitting = 0;
  for (const auto& [id, bytes] : blocks.bytes) {
    if (bytes > left) break;
    left -= bytes;
    ++fitting;
  }
  sum = fmt::format("{}: {} short", sum, FormatBytes(need - budget));
  if (blocks.bytes.empty()) return sum + ".";
  return fmt::format("{}; {} of {} blocks fit beside the rest.", sum, fitting, blocks.bytes.size());
}

constexpr std::string_view kCounted =
    "Weights, caches and buffers are counted, activations estimated where the sizes of layers are known";

std::string Note(PlanBasis basis, bool from_sizes, const std::string& reason,
                 const std::vector<std::string>& left_out) {
  std::string note;
  if (basis == PlanBasis::kSizesOnly) {
    note = fmt::format("Time is not known: {}. {}.", reason, kCounted);
  } else if (from_sizes) {
    note = fmt::format(
        "Closed forms (--quick) of a model with more than {} tensors: from sizes alone. {}, times are lower bounds. "
        "Without --quick every strategy is simulated.",
        FormatCount(kManyTensors), kCounted);
  } else {
    note =
        "Closed forms (--quick): sums over the kernels of a pass. Memory of the native runtime is exact, of torch "
        "without "
        "what its allocator loses; times are nearly always within 10 %. Without --quick every strategy is simulated.";
  }
  if (!left_out.empty()) note += " Not known from sizes: " + Join(left_out, ", ") + ".";
  return note;
}

}  // namespace

std::optional<std::string> OperationsUnknown(const PlanningTask& task) {
  const Pass probe{.batch = 1, .tokens = 1};
  const Result<OpGraph> native = BuildOpGraph(*task.model, probe, 1);
  if (native.ok() || RealizeTorch(*task.model, probe).ok()) return std::nullopt;
  return native.error().message;
}

PlanReport QuickReportOf(const PlanningTask& task, const std::vector<Strategy>& strategies, PlanBasis basis,
                         const std::string& reason) {
  PlanReport report{
      .basis = basis, .model = ModelLineOf(*task.model), .request = task.request, .machine = *task.machine};
  TaskCache cache;
  PlanningTask shared = task;
  shared.cache = &cache;
  const bool from_sizes = basis == PlanBasis::kSizesOnly || task.model->tensors.size() > kManyTensors;
  std::vector<std::string> left_out;
  std::vector<const Strategy*> shown;
  const bool gguf = task.model->family.starts_with("gguf/");  // transformers does not run it as it is
  for (const Strategy& s : strategies) {
    if (gguf && s.runtime == "torch") continue;
    if (!from_sizes || s.from_sizes) {
      shown.push_back(&s);
    } else {
      left_out.push_back(s.name);
    }
  }
  report.strategies.resize(shown.size());
  OnAllCores(shown.size(), [&](std::size_t i) { report.strategies[i] = LineOf(shared, *shown[i], basis, from_sizes); });
  report.basis_note = Note(basis, from_sizes, reason, left_out);
  if (basis == PlanBasis::kClosedForms) {
    SortBestFirst(report.strategies, task.request.DecodePasses());
  } else {
    const Blocks blocks = BlocksOf(*task.model);
    report.facts = {BlockFact(*task.model, blocks), RoomFact(task, SizesOf(*task.model, task.request), blocks)};
  }
  report.formats = FormatsOf(task, std::nullopt);
  const bool resident = std::any_of(report.strategies.begin(), report.strategies.end(),
                                    [](const StrategyLine& s) { return s.fits && s.name == "torch-resident"; });
  report.paste = PasteFor(task, resident);
  return report;
}

}  // namespace stowage
