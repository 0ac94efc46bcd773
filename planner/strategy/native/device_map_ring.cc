#include "planner/strategy/native/device_map_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/text.h"
#include "planner/strategy/budget_probe.h"
#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/native/chain.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/native_form.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "device-map-ring";

struct Streams {
  Bytes resident;     // of used weights
  Bytes widest_tile;  // the largest piece of a streamed matrix that cannot be cut
  Bytes largest;      // streamed matrix
};

// Fills proposal.resident_rows and on_disk.
Streams Follow(const NativeModel& native, const Model& model, const std::vector<WeightHome>& homes,
               NativeProposal& proposal) {
  Streams out;
  Bytes stay, lifted;
  proposal.on_disk.assign(model.tensors.size(), false);
  for (const Tensor& t : model.tensors) proposal.resident_rows.push_back(RowsOf(t));
  for (const TensorId t : native.used) {
    const Tensor& tensor = model.tensors[t];
    const bool may_leave = native.multiplied[t] || native.gathered[t];
    if (homes[t] == WeightHome::kDevice || !may_leave) {
      out.resident += RoundUp(tensor.bytes(), kAlignment);
      if (homes[t] != WeightHome::kDevice) stay += tensor.bytes();
      continue;
    }
    proposal.resident_rows[t] = 0;
    if (homes[t] == WeightHome::kDisk) {
      proposal.on_disk[t] = CanBeOnDisk(native, t);
      if (!proposal.on_disk[t]) lifted += tensor.bytes();
    }
    if (!native.multiplied[t]) continue;
    out.widest_tile = std::max(out.widest_tile, RowBytes(tensor) * native.row_step[t]);
    out.largest = std::max(out.largest, tensor.bytes());
  }
  if (stay > Bytes(0)) {
    proposal.refused.push_back(
        fmt::format("{} of norms and biases stay on the GPU, though the map has them elsewhere", FormatBytes(stay)));
  }
  if (lifted > Bytes(0)) {
    proposal.refused.push_back(fmt::format(
        "{} of tables, gathered experts and what must be converted are in host memory, though the map has them on the "
        "disk",
        FormatBytes(lifted)));
  }
  return out;
}

// The ring takes what the map leaves free, up to two of the largest streamed matrices.
NativeProposal Propose(const NativeModel& native, const PlanningTask& task, const DeviceMapHomes& homes,
                       std::string_view map) {
  NativeProposal out{.strategy = fmt::format("{}:{}", kName, map)};
  const Streams streams = Follow(native, *task.model, homes.weights, out);
  if (streams.largest == Bytes(0)) return out;
  const Bytes budget = task.machine->pools[task.machine->FindPool("gpu0")].budget;
  const Bytes least = RoundUp(streams.widest_tile, kAlignment) * 2;
  const Bytes left = budget - FixedBytesOf(native, task).total() - streams.resident;
  const Bytes ring = std::clamp(left, least, std::max(least, RoundUp(streams.largest, kAlignment) * 2));
  out.tile = Bytes(ring.value() / 2 / kAlignment.value() * kAlignment.value());
  out.ring = out.tile * 2;
  return out;
}

// On several GPUs each computes what the map gives it, the main one what is off them all, through a ring of all that is
// left there.
Result<ChainProposal> ProposeOverGpus(const PlanningTask& task, DeviceMapHomes homes, std::string_view map) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  Bytes lifted;
  for (std::size_t t = 0; t < homes.weights.size(); ++t) {
    if (homes.weights[t] != WeightHome::kDisk) continue;
    homes.weights[t] = WeightHome::kHost;
    if (task.model->tensors[t].tied_to == kNoId) lifted += StoredBytes(task.model->tensors[t]);
  }
  NativeProposal followed;
  const Streams streams = Follow(*native, *task.model, homes.weights, followed);
  ChainProposal out{.strategy = fmt::format("{}:{}", kName, map),
                    .gpu = std::move(homes.gpu),
                    .resident_rows = std::move(followed.resident_rows),
                    .refused = std::move(followed.refused)};
  if (lifted > Bytes(0)) {
    out.refused.push_back(fmt::format(
        "{} that the map has on the disk are in host memory: several GPUs stream from there", FormatBytes(lifted)));
  }
  if (streams.largest > Bytes(0)) {
    const std::vector<Bytes> left = LeftByGpu(*native, task, out);
    const Bytes least = RoundUp(streams.widest_tile, kAlignment);
    out.tile = std::clamp(left[homes.main] / 2, least, std::max(least, RoundUp(streams.largest, kAlignment)));
    GiveSlots(*native, task, left, out);
  }
  return out;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view map) {
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, map));
  if (!homes.OneGpu()) {
    STOWAGE_TRY(const ChainProposal proposal, ProposeOverGpus(task, std::move(homes), map));
    return LowerChain(task, proposal);
  }
  STOWAGE_TRY(const auto native, RealizeModel(task));
  return LowerNative(*native, task, Propose(*native, task, homes, map));
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  const std::string map(parameters.empty() ? "optimal" : parameters);
  return BestForm(task.request, {map}, [&](const std::string& words) -> Result<ClosedForm> {
    STOWAGE_TRY(const auto native, RealizeModel(task));
    STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, words));
    if (homes.OneGpu()) return FormOf(*native, task, Propose(*native, task, homes, words));
    STOWAGE_TRY(const ChainProposal proposal, ProposeOverGpus(task, std::move(homes), words));
    return FormOfChain(task, proposal);
  });
}

// Closest to what a map can do with little memory: whatever fits, by the optimal map.
Result<Bytes> SmallestGpu(const PlanningTask& task) {
  if (task.machine->gpus.size() > 1) {
    return Error{ErrorCode::kInfeasible, "several GPUs: not worked out, each probe lays a chain out for all of them"};
  }
  STOWAGE_TRY(const auto native, RealizeModel(task));
  BudgetProbe probe(task);
  const auto fits = [&](Bytes budget) {
    probe.pool("gpu0").budget = budget;
    const Result<DeviceMapHomes> homes = HomesOf(probe.task(), "optimal");
    return homes.ok() && CheckFits(*native, probe.task(), Propose(*native, probe.task(), *homes, "optimal")).ok();
  };
  // Each probe solves for a map: as fine as a screen shows it.
  const Bytes grain = std::max(Bytes(1 << 20), task.model->WeightBytes() / 4096);
  Bytes too_small = FixedBytesOf(*native, task).total();
  Bytes enough = too_small + task.model->WeightBytes() * 2;
  if (!fits(enough)) return Error{ErrorCode::kInfeasible, "no budget of gpu0 would do"};
  while (enough - too_small > grain) {
    const Bytes middle = too_small + (enough - too_small) / 2;
    (fits(middle) ? enough : too_small) = middle;
  }
  return enough;
}

}  // namespace

Result<NativeProposal> ProposeMap(const NativeModel& native, const PlanningTask& task, std::string_view map) {
  STOWAGE_TRY(const DeviceMapHomes homes, HomesOf(task, map));
  if (!homes.OneGpu()) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{}:{} is over several GPUs, a ring is on one", kName, map)};
  }
  return Propose(native, task, homes, map);
}

Strategy DeviceMapRingStrategy() {
  return {.name = std::string(kName),
          .runtime = "native",
          .summary = "the residency of a device map, with a ring for what it has on cpu or disk",
          .lower = Lower,
          .candidates = [](const PlanningTask&) { return std::vector<std::string>{"optimal"}; },
          .smallest_gpu_budget = SmallestGpu,
          .closed_form = Close,
          .gpus = GpuUse::kAny};
}

}  // namespace stowage
