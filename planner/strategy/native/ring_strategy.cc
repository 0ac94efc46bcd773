#include "planner/strategy/native/ring_strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/machine/size.h"
#include "planner/solve/spread.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
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
  std::vector<TensorId> matrices;  // in order of use, without those of experts
  std::vector<TensorId> experts;
  std::vector<TensorId> tables;
  Bytes dense_bytes, matrix_bytes, table_bytes;  // matrices: of all kinds
  Bytes fixed;                                   // weights that always stay
  Bytes widest_tile;                             // the largest piece that cannot be cut
  Bytes largest;                                 // matrix of a layer, not of the head
};

Movable MovableOf(const NativeModel& native, const Model& model) {
  Movable out;
  for (const TensorId t : native.used) {
    const Tensor& tensor = model.tensors[t];
    const Bytes bytes = RoundUp(StoredBytes(tensor), kAlignment);
    if (native.multiplied[t]) {
      (native.expert[t] ? out.experts : out.matrices).push_back(t);
      out.matrix_bytes += bytes;
      if (!native.expert[t]) out.dense_bytes += bytes;
      out.widest_tile = std::max(out.widest_tile, RowBytes(tensor) * native.row_step[t]);
      if (model.BlockOf(tensor.module) != kNoId) out.largest = std::max(out.largest, StoredBytes(tensor));
    } else if (native.gathered[t]) {
      out.tables.push_back(t);
      out.table_bytes += bytes;
    } else {
      out.fixed += bytes;
    }
  }
  return out;
}

// A task as the ring sees it.
class Ring {
 public:
  Ring(const PlanningTask& task, std::shared_ptr<const NativeModel> native)
      : task_(task),
        native_(std::move(native)),
        movable_(MovableOf(*native_, *task.model)),
        fixed_(FixedBytesOf(*native_, task).total() + movable_.fixed),
        least_(std::max(kSmallestRing, RoundUp(movable_.widest_tile, kAlignment) * 2)) {}

  static Result<Ring> Of(const PlanningTask& task) {
    STOWAGE_TRY(auto native, RealizeModel(task));
    return Ring(task, std::move(native));
  }

  const NativeModel& native() const { return *native_; }
  Bytes SmallestBudget() const { return fixed_ + std::min(least_, movable_.matrix_bytes + movable_.table_bytes); }
  Bytes ResidentBudget() const { return fixed_ + movable_.matrix_bytes + movable_.table_bytes; }
  bool NothingStreams() const { return ResidentBudget() <= budget(); }

  Result<NativeProposal> Propose(const RingParameters& p) const;
  Result<NativeProposal> Feasible(const RingParameters& p) const {
    STOWAGE_TRY(NativeProposal proposal, Propose(p));
    STOWAGE_RETURN_IF_ERROR(CheckFits(*native_, task_, proposal));
    return proposal;
  }
  std::vector<RingParameters> Sizes() const;
  std::vector<RingParameters> Least() const { return {{least_, Grain::kTensors}, {least_, Grain::kRows}}; }
  // Those of Sizes() that fit, else those of Least() that do.
  std::vector<RingParameters> Candidates() const;

 private:
  void Spread(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const;
  Bytes budget() const { return task_.machine->pools[task_.machine->FindPool("gpu0")].budget; }

  const PlanningTask& task_;
  std::shared_ptr<const NativeModel> native_;
  Movable movable_;
  Bytes fixed_;  // of gpu0, whatever is proposed
  Bytes least_;  // ring
};

// Tables leave first: gathering a few rows over the link costs next to nothing, streaming a matrix costs all of it.
Result<NativeProposal> Ring::Propose(const RingParameters& p) const {
  const std::vector<Tensor>& tensors = task_.model->tensors;
  NativeProposal out{.strategy = "ring:" + Spell(p), .ring = p.ring};
  out.tile = Bytes(p.ring.value() / 2 / kAlignment.value() * kAlignment.value());
  for (const Tensor& t : tensors) out.resident_rows.push_back(RowsOf(t));
  if (NothingStreams()) {
    out.ring = Bytes(0);
    return out;
  }
  if (out.tile < movable_.widest_tile) {
    return Error{ErrorCode::kInfeasible, fmt::format("a ring of {} cannot hold two pieces of {}, which cannot be cut",
                                                     FormatBytes(p.ring), FormatBytes(movable_.widest_tile))};
  }
  Bytes left = budget() - fixed_ - p.ring;
  if (left < Bytes(0)) {
    return Error{
        ErrorCode::kInfeasible,
        fmt::format("ring needs {} of gpu0 with nothing but the ring, caches, activations and norms there; its "
                    "budget is {}",
                    FormatBytes(fixed_ + p.ring), FormatBytes(budget()))};
  }
  for (const TensorId t : movable_.tables) {
    const Bytes size = RoundUp(StoredBytes(tensors[t]), kAlignment);
    if (movable_.matrix_bytes + size <= left) {
      left -= size;
      continue;
    }
    out.resident_rows[t] = 0;
    out.refused.push_back(
        fmt::format("{} ({}) stays in host memory: gathering its rows over the link costs less than streaming matrices",
                    tensors[t].name, FormatBytes(size)));
  }
  if (movable_.matrix_bytes <= left + out.ring) left += std::exchange(out.ring, Bytes(0));
  // Experts leave first: a token multiplies by all other matrices, but by few experts.
  Spread(movable_.matrices, left, p.grain, out);
  Spread(movable_.experts, left - movable_.dense_bytes, p.grain, out);
  MoveToDisk(*native_, task_, out);
  return out;
}

// Which rows of the matrices stay within `budget` (none when it is negative).
void Ring::Spread(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const {
  std::vector<SpreadItem> items;
  for (const TensorId t : matrices) {
    const Tensor& tensor = task_.model->tensors[t];
    items.push_back({RowBytes(tensor) * native_->row_step[t], RowsOf(tensor) / native_->row_step[t]});
  }
  const std::vector<std::int64_t> rows = SpreadResident(items, budget, grain, kAlignment);
  for (std::size_t i = 0; i < items.size(); ++i) {
    out.resident_rows[matrices[i]] = rows[i] * native_->row_step[matrices[i]];
  }
}

// Ring sizes worth simulating: a ring of whole matrices hides one behind another, a small one leaves more room for
// residents. A sweep over sizes finds none that is 3 % better (sim/rank/ring_quality_test).
std::vector<RingParameters> Ring::Sizes() const {
  std::vector<RingParameters> out;
  const auto add = [&](Bytes ring, Grain grain) {
    ring = std::max(RoundUp(ring, kAlignment), least_);
    const auto same = [&](const RingParameters& p) { return p.ring == ring && p.grain == grain; };
    if (std::none_of(out.begin(), out.end(), same)) out.push_back({ring, grain});
  };
  for (const int eighths : {4, 8}) {
    add(movable_.largest * eighths / 8, Grain::kTensors);
    add(movable_.largest * eighths / 16, Grain::kRows);
  }
  return out;
}

std::vector<RingParameters> Ring::Candidates() const {
  std::vector<RingParameters> out = Sizes();
  const auto impossible = [&](const RingParameters& p) { return !Feasible(p).ok(); };
  std::erase_if(out, impossible);
  if (out.empty()) {
    out = Least();
    std::erase_if(out, impossible);
  }
  return out;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const Ring ring, Ring::Of(task));
  RingParameters p;
  if (parameters.empty()) {
    const std::vector<RingParameters> all = ring.Candidates();
    p = all.empty() ? ring.Least().front() : all.front();  // which fails, and says why
  } else {
    STOWAGE_TRY(p, Parse(parameters));
  }
  STOWAGE_TRY(const NativeProposal proposal, ring.Propose(p));
  return LowerNative(ring.native(), task, proposal);
}

std::vector<std::string> CandidateStrings(const PlanningTask& task) {
  const Result<Ring> ring = Ring::Of(task);
  if (!ring) return {};
  if (ring->NothingStreams()) return {""};  // whatever the ring's size would be
  std::vector<std::string> out;
  for (const RingParameters& p : ring->Candidates()) out.push_back(Spell(p));
  return out;
}

// With less on the device more is in host memory, so a small host raises the smallest budget of the device.
Result<Bytes> SmallestGpu(const PlanningTask& task) {
  Machine machine = *task.machine;
  PlanningTask probe = task;
  probe.machine = &machine;
  STOWAGE_TRY(const Ring ring, Ring::Of(probe));
  const auto fits = [&](Bytes budget) {
    machine.pools[machine.FindPool("gpu0")].budget = budget;
    return !ring.Candidates().empty();
  };
  Bytes too_small = ring.SmallestBudget(), enough = std::max(too_small, ring.ResidentBudget());
  if (fits(too_small)) return too_small;
  if (!fits(enough)) return ring.Feasible(ring.Least().front()).error();
  while (enough - too_small > kAlignment) {
    const Bytes middle = too_small + RoundUp((enough - too_small) / 2, kAlignment);
    (fits(middle) ? enough : too_small) = middle;
  }
  return enough;
}

// With no host memory to speak of, all that can be on the disk is.
Result<Bytes> SmallestHost(const PlanningTask& original) {
  Machine machine = *original.machine;
  PlanningTask task = original;
  task.machine = &machine;
  machine.pools[machine.FindPool("host")].budget = Bytes(0);
  STOWAGE_TRY(const Ring ring, Ring::Of(task));
  std::optional<Bytes> smallest;
  std::vector<RingParameters> all = ring.Sizes();
  for (const RingParameters& p : ring.Least()) all.push_back(p);
  for (const RingParameters& p : all) {
    const Result<NativeProposal> proposal = ring.Propose(p);
    if (!proposal) continue;
    const Bytes need = HostBudgetFor(ring.native(), task, *proposal);
    smallest = std::min(smallest.value_or(need), need);
  }
  if (smallest) return *smallest;
  return ring.Propose(ring.Least().front()).error();
}

// What exceeds the device leaves it, tables first; the ring's own bytes are left out.
ClosedForm Close(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  const Machine& machine = *task.machine;
  const Bytes room = machine.pools[machine.FindPool("gpu0")].budget - machine.Reserved("gpu0");
  const Bytes fixed = sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.native_activations.value_or(Bytes(0));
  const Bytes over = std::clamp(fixed + sizes.weights - room, Bytes(0), sizes.weights);
  return CloseForm(
      task, sizes,
      {.gpu = fixed + sizes.weights - over,
       .host = (over > Bytes(0) ? std::max(over, sizes.tables) : Bytes(0)) + std::min(sizes.weights, kStagingRing),
       .streamed = std::max(Bytes(0), over - sizes.tables)});
}

}  // namespace

Strategy RingStrategy() {
  return {.name = "ring",
          .runtime = "native",
          .summary = "what fits stays on the GPU, the rest is prefetched through a ring from host memory",
          .lower = Lower,
          .candidates = CandidateStrings,
          .smallest_gpu_budget = SmallestGpu,
          .smallest_host_budget = SmallestHost,
          .closed_form = Close};
}

}  // namespace stowage
