#include "planner/strategy/native/ring_strategy.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"
#include "planner/machine/size.h"
#include "planner/solve/spread.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

constexpr Bytes kSmallestRing{64 << 10};

struct RingParameters {
  Bytes ring;
  Grain grain = Grain::kTensors;
};

Result<RingParameters> Parse(std::string_view text) {
  RingParameters out;
  const std::size_t colon = text.find(':');
  const std::string_view grain = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (grain == "rows") {
    out.grain = Grain::kRows;
  } else if (!grain.empty() && grain != "tensors") {
    return Error{ErrorCode::kInvalidInput, fmt::format("ring streams 'tensors' or 'rows', not '{}'", grain)};
  }
  STOWAGE_TRY(out.ring, ParseSize(text.substr(0, colon)));
  if (out.ring < kSmallestRing) {
    return Error{ErrorCode::kInvalidInput, fmt::format("a ring of {} is smaller than {}, the least there can be",
                                                       FormatBytes(out.ring), FormatBytes(kSmallestRing))};
  }
  out.ring = Bytes(out.ring.value() / kAlignment.value() * kAlignment.value());
  return out;
}

std::string Spell(const RingParameters& p) {
  return fmt::format("{}{}", p.ring.value(), p.grain == Grain::kRows ? ":rows" : "");
}

// What may leave the device: matrices of linear kernels, and tables that are only gathered from.
struct Movable {
  std::vector<TensorId> matrices;  // in order of use
  std::vector<TensorId> tables;
  Bytes fixed;       // weights that always stay
  Bytes widest_row;  // of the smallest piece that can pass through the ring: RowStep rows
  Bytes largest;
};

Movable MovableOf(const NativeModel& native, const Model& model) {
  Movable out;
  for (const TensorId t : native.used) {
    const Tensor& tensor = model.tensors[t];
    if (native.multiplied[t]) {
      out.matrices.push_back(t);
      out.widest_row = std::max(out.widest_row, RowBytes(tensor) * RowStep(tensor));
      out.largest = std::max(out.largest, tensor.bytes());
    } else if (native.gathered[t]) {
      out.tables.push_back(t);
    } else {
      out.fixed += RoundUp(tensor.bytes(), kAlignment);
    }
  }
  return out;
}

// Tables leave first: gathering a few rows over the link costs next to nothing, streaming a matrix costs all of it.
Result<NativeProposal> Propose(const NativeModel& native, const PlanningTask& task, const RingParameters& p) {
  const Model& model = *task.model;
  const Movable movable = MovableOf(native, model);
  const Bytes budget = task.machine->pools[task.machine->FindPool("gpu0")].budget;
  const Bytes tile = Bytes(p.ring.value() / 2 / kAlignment.value() * kAlignment.value());
  if (tile < movable.widest_row) {
    return Error{ErrorCode::kInfeasible, fmt::format("a ring of {} cannot hold two rows of {}", FormatBytes(p.ring),
                                                     FormatBytes(movable.widest_row))};
  }
  NativeProposal out{.strategy = "ring:" + Spell(p), .ring = p.ring, .tile = tile};
  for (const Tensor& t : model.tensors) out.resident_rows.push_back(RowsOf(t));
  const Bytes fixed = FixedBytesOf(native, task).total() + movable.fixed;
  Bytes left = budget - fixed - p.ring;
  if (left < Bytes(0)) {
    return Error{
        ErrorCode::kInfeasible,
        fmt::format("ring needs {} of gpu0 with nothing but the ring, caches, activations and norms there; its "
                    "budget is {}",
                    FormatBytes(fixed + p.ring), FormatBytes(budget))};
  }
  Bytes matrices, tables;
  std::vector<SpreadItem> items;
  for (const TensorId t : movable.matrices) {
    const std::int64_t step = RowStep(model.tensors[t]);
    items.push_back({RowBytes(model.tensors[t]) * step, RowsOf(model.tensors[t]) / step});
    matrices += RoundUp(model.tensors[t].bytes(), kAlignment);
  }
  for (const TensorId t : movable.tables) tables += RoundUp(model.tensors[t].bytes(), kAlignment);
  const auto drop_ring_if_all_fits = [&](Bytes all) {
    if (all > left + out.ring) return;
    left += out.ring;
    out.ring = Bytes(0);
  };
  drop_ring_if_all_fits(matrices + tables);
  for (const TensorId t : movable.tables) {
    const Bytes size = RoundUp(model.tensors[t].bytes(), kAlignment);
    if (matrices + size <= left) {
      left -= size;
      continue;
    }
    out.resident_rows[t] = 0;
    out.refused.push_back(
        fmt::format("{} ({}) stays in host memory: gathering its rows over the link costs less than streaming matrices",
                    model.tensors[t].name, FormatBytes(size)));
  }
  drop_ring_if_all_fits(matrices);
  const std::vector<std::int64_t> rows = SpreadResident(items, left, p.grain, kAlignment);
  for (std::size_t i = 0; i < items.size(); ++i)
    out.resident_rows[movable.matrices[i]] = rows[i] * RowStep(model.tensors[movable.matrices[i]]);
  return out;
}

// Ring sizes worth simulating: a ring of whole matrices hides one behind another, a small one leaves more room for
// residents.
std::vector<RingParameters> Candidates(const NativeModel& native, const PlanningTask& task) {
  const Movable movable = MovableOf(native, *task.model);
  const Bytes budget = task.machine->pools[task.machine->FindPool("gpu0")].budget;
  const Bytes room = budget - FixedBytesOf(native, task).total() - movable.fixed;
  const Bytes least = std::max(kSmallestRing, RoundUp(movable.widest_row * 2, kAlignment) + kAlignment * 2);
  std::vector<RingParameters> out;
  const auto add = [&](Bytes ring, Grain grain) {
    ring = std::max(RoundUp(ring, kAlignment), least);
    if (ring > room) return;
    const auto same = [&](const RingParameters& p) { return p.ring == ring && p.grain == grain; };
    if (std::none_of(out.begin(), out.end(), same)) out.push_back({ring, grain});
  };
  for (const int eighths : {4, 8, 16}) {  // of the largest layer matrix, not of the head
    Bytes layer;
    for (const TensorId t : movable.matrices) {
      if (task.model->BlockOf(task.model->tensors[t].module) != kNoId)
        layer = std::max(layer, task.model->tensors[t].bytes());
    }
    add(layer * eighths / 8, Grain::kTensors);
    add(layer * eighths / 16, Grain::kRows);
  }
  if (out.empty() && least <= room) out.push_back({least, Grain::kTensors});
  return out;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const NativeModel native, RealizeModel(task));
  RingParameters p;
  if (parameters.empty()) {
    const std::vector<RingParameters> all = Candidates(native, task);
    if (all.empty()) {
      const Movable movable = MovableOf(native, *task.model);
      p.ring =
          std::max(kSmallestRing, RoundUp(movable.widest_row * 2, kAlignment) + kAlignment * 2);  // let Propose say why
    } else {
      p = all.front();
    }
  } else {
    STOWAGE_TRY(p, Parse(parameters));
  }
  STOWAGE_TRY(const NativeProposal proposal, Propose(native, task, p));
  return LowerNative(native, task, proposal);
}

std::vector<std::string> CandidateStrings(const PlanningTask& task) {
  const Result<NativeModel> native = RealizeModel(task);
  if (!native) return {};
  std::vector<std::string> out;
  for (const RingParameters& p : Candidates(*native, task)) out.push_back(Spell(p));
  return out;
}

Result<Bytes> Smallest(const PlanningTask& task) {
  STOWAGE_TRY(const NativeModel native, RealizeModel(task));
  const Movable movable = MovableOf(native, *task.model);
  const Bytes ring = std::max(kSmallestRing, RoundUp(movable.widest_row * 2, kAlignment) + kAlignment * 2);
  return FixedBytesOf(native, task).total() + movable.fixed + ring;
}

}  // namespace

Strategy RingStrategy() {
  return {.name = "ring",
          .runtime = "native",
          .summary = "what fits stays on the GPU, the rest is prefetched through a ring from host memory",
          .lower = Lower,
          .candidates = CandidateStrings,
          .smallest_gpu_budget = Smallest};
}

}  // namespace stowage
