#include "planner/strategy/native/ring_proposal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "planner/base/text.h"
#include "planner/cost/cost.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/layout.h"

namespace stowage {
namespace {

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

bool TouchesCache(const NativeKernel& kernel) {
  const auto cache = [](const Operand& o) {
    return o.source == Operand::Source::kKeys || o.source == Operand::Source::kValues;
  };
  return std::any_of(kernel.reads.begin(), kernel.reads.end(), cache) ||
         std::any_of(kernel.writes.begin(), kernel.writes.end(), cache);
}

// Kernels with matrices or caches are where they are; the others are on the host when both neighbours of that kind are.
std::vector<bool> Between(const NativeProgram& program, bool caches,
                          const std::function<bool(const NativeKernel&)>& matrices_on_host) {
  enum class At { kAnywhere, kDevice, kHost };
  std::vector<At> at;
  for (const NativeKernel& k : program.kernels) {
    bool host = false;
    if (TouchesCache(k)) {
      host = caches;
    } else if (k.matrices > 0) {
      host = matrices_on_host(k);
    } else if (k.kernel.kind == KernelKind::kCombine && !at.empty()) {
      host = at.back() == At::kHost;  // the sum of what the experts give is smaller than that
    } else if (k.kernel.kind != KernelKind::kEmbedding) {
      at.push_back(At::kAnywhere);
      continue;
    }
    at.push_back(host ? At::kHost : At::kDevice);
  }
  std::vector<bool> out(at.size());
  bool before = false;
  for (std::size_t k = 0; k < at.size(); ++k) {
    if (at[k] != At::kAnywhere) before = at[k] == At::kHost;
    std::size_t next = k;
    while (next < at.size() && at[next] == At::kAnywhere) ++next;
    out[k] = before && (next == at.size() || at[next] == At::kHost);
  }
  return out;
}

const ComputeRate* ComputeRateOf(const Machine& machine, std::string_view resource) {
  const std::int32_t at = machine.FindResource(resource);
  return at >= 0 && machine.resources[at].compute ? &*machine.resources[at].compute : nullptr;
}

// nullptr: nothing can be brought to the device.
const TransferRate* LinkOf(const Machine& machine) {
  const std::int32_t at = machine.FindResource("gpu0.h2d");
  if (at < 0 || !machine.resources[at].transfer) return nullptr;
  const TransferRate& rate = *machine.resources[at].transfer;
  return rate.pinned.value() > 0 ? &rate : nullptr;
}

}  // namespace

Ring::Ring(const PlanningTask& task, std::shared_ptr<const NativeModel> native)
    : task_(task),
      native_(std::move(native)),
      movable_(MovableOf(*native_, *task.model)),
      fixed_(FixedBytesOf(*native_, task).total() + movable_.fixed),
      least_(std::max(kSmallestRing, RoundUp(movable_.widest_tile, kAlignment) * 2)) {}

Result<Ring> Ring::Of(const PlanningTask& task) {
  STOWAGE_TRY(auto native, RealizeModel(task));
  return Ring(task, std::move(native));
}

Result<NativeProposal> Ring::Propose(const RingParameters& p) const {
  return p.host == HostShare{} ? OnDevice(p) : Shared(p);
}

Result<NativeProposal> Ring::Feasible(const RingParameters& p) const {
  STOWAGE_TRY(NativeProposal proposal, Propose(p));
  STOWAGE_RETURN_IF_ERROR(CheckFits(*native_, task_, proposal));
  return proposal;
}

Result<NativeProposal> Ring::OnDevice(const RingParameters& p) const {
  NativeProposal out{.ring = p.ring};
  out.tile = Bytes(p.ring.value() / 2 / kAlignment.value() * kAlignment.value());
  out.resident_rows = native_->rows;
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
  left = PlaceTables(left, movable_.matrix_bytes, out);
  if (movable_.matrix_bytes <= left + out.ring) left += std::exchange(out.ring, Bytes(0));
  // Experts leave first: a token multiplies by all other matrices, but by few experts.
  SpreadDense(movable_.matrices, left, p.grain, out);
  Spread(movable_.experts, left - movable_.dense_bytes, p.grain, out);
  MoveToDisk(*native_, task_, out);
  return out;
}

// Gathering a few rows over the link costs next to nothing, streaming a matrix costs all of it.
Bytes Ring::PlaceTables(Bytes left, Bytes wanted, NativeProposal& out) const {
  const std::vector<Tensor>& tensors = task_.model->tensors;
  for (const TensorId t : movable_.tables) {
    const Bytes size = RoundUp(StoredBytes(tensors[t]), kAlignment);
    if (wanted + size <= left) {
      left -= size;
      continue;
    }
    out.resident_rows[t] = 0;
    out.refused.push_back(
        fmt::format("{} ({}) stays in host memory: gathering its rows over the link costs less than streaming matrices",
                    tensors[t].name, FormatBytes(size)));
  }
  return left;
}

// Which rows of the matrices stay within `budget` (none when it is negative).
void Ring::Spread(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const {
  std::vector<SpreadItem> items;
  for (const TensorId t : matrices) {
    items.push_back({native_->row_bytes[t] * native_->row_step[t], native_->rows[t] / native_->row_step[t]});
  }
  const std::vector<std::int64_t> rows = SpreadResident(items, budget, grain, kAlignment);
  for (std::size_t i = 0; i < items.size(); ++i) {
    out.resident_rows[matrices[i]] = rows[i] * native_->row_step[matrices[i]];
  }
}

// What only the first pass multiplies by leaves first: it is streamed once, the others once a token.
void Ring::SpreadDense(const std::vector<TensorId>& matrices, Bytes budget, Grain grain, NativeProposal& out) const {
  std::vector<TensorId> each, once;
  Bytes bytes;
  for (const TensorId t : matrices) {
    (native_->once[t] ? once : each).push_back(t);
    if (!native_->once[t]) bytes += RoundUp(native_->row_bytes[t] * native_->rows[t], kAlignment);
  }
  Spread(each, budget, grain, out);
  Spread(once, budget - bytes, grain, out);
}

// By TensorId: matrices with `percent` of the bytes, whole ones, evenly spread in the order of use.
std::vector<bool> Ring::Chosen(int percent) const {
  std::vector<bool> out(task_.model->tensors.size());
  double owed = 0;
  for (const TensorId t : movable_.matrices) {
    const auto size = static_cast<double>((native_->row_bytes[t] * native_->rows[t]).value());
    owed += size * percent / 100;
    if (percent == 0 || owed * 2 < size) continue;
    owed -= size;
    out[t] = true;
  }
  return out;
}

// By TensorId: the experts of the first layers, as many as leave no more than `room` of all.
std::vector<bool> Ring::ExpertsOnHost(Bytes room) const {
  const Model& model = *task_.model;
  std::vector<bool> out(model.tensors.size());
  Bytes kept;
  for (const TensorId t : movable_.experts) kept += RoundUp(native_->row_bytes[t] * native_->rows[t], kAlignment);
  std::set<ModuleId> leaving;
  for (const TensorId t : movable_.experts) {
    const ModuleId block = model.BlockOf(model.tensors[t].module);
    if (kept > room) leaving.insert(block);
    if (!leaving.contains(block)) break;
    out[t] = true;
    kept -= RoundUp(native_->row_bytes[t] * native_->rows[t], kAlignment);
  }
  return out;
}

void Ring::SetSides(const std::vector<bool>& of_host, bool caches, NativeProposal& out) const {
  const ComputeRate* cores = ComputeRateOf(*task_.machine, "host.cores");
  const TransferRate* link = LinkOf(*task_.machine);
  const auto chosen = [&](const NativeKernel& k) { return of_host[k.reads[k.first_matrix].id]; };
  const auto quicker = [&](const NativeKernel& k) {
    if (cores == nullptr || link == nullptr) return cores != nullptr;
    Bytes bytes;
    for (std::int32_t m = 0; m < k.matrices; ++m) bytes += Bytes(k.reads[k.first_matrix + m].bytes.base);
    return Duration(k.kernel, 0, *cores) < bytes / link->pinned;
  };
  out.prefill_on_host =
      Between(native_->prefill, caches, [&](const NativeKernel& k) { return chosen(k) && quicker(k); });
  out.decode_on_host = Between(native_->decode, caches, chosen);
  out.cache_on_host.assign(native_->prefill.caches.size(), caches);
}

Result<NativeProposal> Ring::Shared(const RingParameters& p) const {
  const Model& model = *task_.model;
  NativeProposal out{.ring = p.ring};
  out.tile = Bytes(p.ring.value() / 2 / kAlignment.value() * kAlignment.value());
  std::vector<bool> of_host = Chosen(p.host.percent);
  if (p.host.experts) {
    const std::vector<bool> experts = ExpertsOnHost(budget() - fixed_ - p.ring - movable_.dense_bytes);
    for (const TensorId t : movable_.experts) of_host[t] = experts[t];
  }
  SetSides(of_host, p.host.caches, out);
  const Readers readers = ReadersOf(*native_, out, model.tensors.size());
  std::vector<TensorId> matrices, experts;
  Bytes stay, dense, wanted;
  bool streams = false;  // what the host computes in decode passes
  out.resident_rows.assign(model.tensors.size(), 0);
  for (const TensorId t : native_->used) {
    if (!readers.device[t]) continue;
    const Bytes size = RoundUp(native_->row_bytes[t] * native_->rows[t], kAlignment);
    if (of_host[t]) {
      streams = true;
    } else if (native_->multiplied[t]) {
      (native_->expert[t] ? experts : matrices).push_back(t);
      (native_->expert[t] ? wanted : dense) += size;
    } else {
      out.resident_rows[t] = native_->rows[t];
      if (!native_->gathered[t]) stay += size;
    }
  }
  wanted += dense;
  const Bytes fixed = FixedBytesOf(*native_, task_, out).total() + stay;
  Bytes left = budget() - fixed - p.ring;
  if (left < Bytes(0) || out.tile < movable_.widest_tile) {
    return Error{ErrorCode::kInfeasible,
                 fmt::format("ring needs {} of gpu0 beside pieces of {}; its budget is {}", FormatBytes(fixed + p.ring),
                             FormatBytes(movable_.widest_tile), FormatBytes(budget()))};
  }
  left = PlaceTables(left, wanted, out);
  if (wanted <= left + out.ring && !streams) left += std::exchange(out.ring, Bytes(0));
  SpreadDense(matrices, left, p.grain, out);
  Spread(experts, left - dense, p.grain, out);
  return out;
}

// A ring of whole matrices hides one behind another, a small one leaves more room for residents. A sweep over sizes finds
// none that is 3 % better (sim/rank/ring_quality_test).
std::vector<RingParameters> Ring::Sizes() const {
  std::vector<RingParameters> out;
  const auto add = [&](Bytes ring, Grain grain) {
    const RingParameters p{std::max(RoundUp(ring, kAlignment), least_), grain, {}};
    if (std::find(out.begin(), out.end(), p) == out.end()) out.push_back(p);
  };
  for (const int eighths : {4, 8}) {
    add(movable_.largest * eighths / 8, Grain::kTensors);
    add(movable_.largest * eighths / 16, Grain::kRows);
  }
  return out;
}

Seconds Ring::SlowestRequest() const {
  const ComputeRate* sm = ComputeRateOf(*task_.machine, "gpu0.sm");
  const TransferRate* link = LinkOf(*task_.machine);
  if (sm == nullptr || link == nullptr) return Seconds(0);
  const Bytes over = std::max(Bytes(0), ResidentBudget() - budget() - movable_.table_bytes);
  // A copy and a launch of its own for each piece; both are issued.
  const Bytes piece = std::max(least_ / 2, movable_.largest / 4);
  const double pieces = over > Bytes(0) ? static_cast<double>(over.value()) / static_cast<double>(piece.value()) +
                                              static_cast<double>(movable_.matrices.size())
                                        : 0;
  const Seconds issue = task_.machine->dispatch.native_launch;
  const auto pass = [&](const NativeProgram& program, std::int64_t iteration) {
    Seconds seconds;
    double touched = 1;
    for (const NativeKernel& k : program.kernels) {
      seconds += Duration(k.kernel, iteration, *sm) + issue;
      if (GathersExperts(k)) touched = std::min(touched, k.touched);
    }
    return seconds + over / link->pinned * touched + (link->latency + sm->launch + issue * 2) * (pieces * touched);
  };
  const std::int64_t passes = task_.request.DecodePasses();
  return pass(native_->prefill, 0) + pass(native_->decode, passes / 2) * static_cast<double>(passes);
}

// Crossings: two activations to the host and one back, at each layer. The prefill is that of the others.
Seconds Ring::SlowestWithExpertsOnHost() const {
  const ComputeRate* sm = ComputeRateOf(*task_.machine, "gpu0.sm");
  const ComputeRate* cores = ComputeRateOf(*task_.machine, "host.cores");
  const TransferRate* link = LinkOf(*task_.machine);
  if (sm == nullptr || cores == nullptr || link == nullptr) return Seconds(0);
  const std::int64_t passes = task_.request.DecodePasses();
  const Seconds issue = task_.machine->dispatch.native_launch;
  const Bytes over = std::max(Bytes(0), ResidentBudget() - budget() - movable_.table_bytes);
  Seconds prefill = over / link->pinned, decode;
  for (const NativeKernel& k : native_->prefill.kernels) prefill += Duration(k.kernel, 0, *sm) + issue;
  for (const NativeKernel& k : native_->decode.kernels) {
    const bool grouped = k.kernel.kind == KernelKind::kGroupedLinear;
    decode += Duration(k.kernel, passes / 2, grouped ? *cores : *sm) + issue;
    if (grouped) decode += link->latency * 2 + issue * 4;
  }
  return prefill + decode * static_cast<double>(passes);
}

Seconds Ring::StreamingBound(Bytes resident) const {
  const TransferRate* link = LinkOf(*task_.machine);
  if (link == nullptr) return Seconds(0);
  double touched = 1;
  for (const NativeKernel& k : native_->decode.kernels) touched = std::min(touched, k.touched);
  Bytes streamed = movable_.matrix_bytes - resident;
  for (const TensorId t : movable_.matrices) {
    if (native_->once[t]) streamed -= RoundUp(native_->row_bytes[t] * native_->rows[t], kAlignment);
  }
  streamed = std::max(Bytes(0), streamed);
  return streamed / link->pinned * (static_cast<double>(task_.request.DecodePasses()) * touched);
}

// Streamed bytes s and computed ones c share what the device has no room for, x = s + c, of m in all. A token takes
// max(s / link, (m - c) / device + c / host): the least is where both are equal.
Ring::Shares Ring::SharesOf(bool caches) const {
  const ComputeRate* cores = ComputeRateOf(*task_.machine, "host.cores");
  const ComputeRate* sm = ComputeRateOf(*task_.machine, "gpu0.sm");
  const TransferRate* link = LinkOf(*task_.machine);
  const auto m = static_cast<double>(movable_.dense_bytes.value());
  if (cores == nullptr || sm == nullptr || link == nullptr || m <= 0) return {};
  double bytes = 0, seconds = 0;
  for (const NativeKernel& k : native_->decode.kernels) {
    if (k.matrices != 1) continue;
    bytes += static_cast<double>(k.kernel.bytes.base);
    seconds += Duration(k.kernel, 0, *cores).value();
  }
  if (bytes <= 0 || seconds <= 0) return {};
  const double host = seconds / bytes, device = 1 / (sm->memory.value() * sm->memory_efficiency);
  const double copied = 1 / link->pinned.value();
  const Bytes kv = caches ? FixedBytesOf(*native_, task_).kv : Bytes(0);
  const Bytes room = std::max(Bytes(0), budget() - (fixed_ - kv) - std::max(least_, movable_.largest / 2));
  const double x = std::max(0.0, m - static_cast<double>(room.value()));
  const double c = (x * copied - m * device) / (copied - device + host);
  if (!(c > 0)) return {};  // also where the rates make no sense
  return {static_cast<int>(std::lround(100 * std::min(c, x) / m)), static_cast<int>(std::ceil(100 * x / m))};
}

std::vector<RingParameters> Ring::HostShares() const {
  if (native_->decode.kernels.empty()) return {};
  std::vector<RingParameters> out;
  const Bytes ring = std::max(RoundUp(movable_.largest / 2, kAlignment), least_);
  const auto add = [&](Grain grain, const HostShare& host) {
    const RingParameters p{grain == Grain::kRows ? std::max(least_, RoundUp(ring / 2, kAlignment)) : ring, grain, host};
    if (std::find(out.begin(), out.end(), p) == out.end()) out.push_back(p);
  };
  const Bytes kv = FixedBytesOf(*native_, task_).kv;
  const bool large_caches = kv * 20 >= budget() || SmallestBudget() > budget();
  for (const bool caches : {false, true}) {
    if (caches && !large_caches) break;
    if (caches) add(Grain::kTensors, {0, false, true});
    const Shares shares = SharesOf(caches);
    if (shares.balanced == 0) continue;
    add(Grain::kTensors, {shares.balanced, false, caches});
    add(Grain::kTensors, {shares.all, false, caches});
  }
  if (!movable_.experts.empty() && !NothingStreams()) {
    add(Grain::kTensors, {0, true, false});
  }
  return out;
}

}  // namespace stowage
