// What a native strategy decides. Everything else (arenas, ring offsets, schedule) follows from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/realize/native.h"
#include "planner/solve/pack/pack.h"
#include "planner/strategy/strategy.h"

namespace stowage {

// How a tensor is loaded, by units: elements, of a quantized tensor its bytes.
struct LoadFacts {
  std::int64_t units = 0;
  DType file = DType::kU8, memory = DType::kU8;
  bool computed = false;  // in no file
};

// The weights that a program's kernels read: those of kernel k are tensors[begin[k], begin[k + 1]).
struct WeightReads {
  std::vector<TensorId> tensors;
  std::vector<std::size_t> begin;
};

// A model's passes as the native runtime runs them; made once per task and shared by all candidates.
struct NativeModel {
  NativeProgram prefill;
  NativeProgram decode;  // at past = prompt tokens, growing by one; empty without decode passes
  WeightReads prefill_weights, decode_weights;
  Packing prefill_packing;  // of the activations, by index
  Packing decode_packing;
  std::vector<TensorId> used;    // tensors that some kernel reads (owners), in order of first use
  std::vector<bool> gathered;    // by TensorId: read by an embedding
  std::vector<bool> multiplied;  // by TensorId: a matrix in all kernels that read it, so it can be split and streamed
  std::vector<bool> expert;      // by TensorId: of experts that not every row needs
  std::vector<bool> once;        // by TensorId: an encoder-decoder's that no decode pass reads
  std::vector<bool> shared;      // by TensorId: of a block, read beside matrices in others too (T5's position bias)
  bool prefill_gathers = false;  // see GathersExperts: all sparse layers of a pass do alike
  bool decode_gathers = false;
  std::vector<std::int32_t> uses;  // by TensorId: kernels of one pass that read it
  std::vector<std::int64_t> rows;  // by TensorId, as the next: RowsOf and RowBytes, asked for again and again
  std::vector<Bytes> row_bytes;
  std::vector<LoadFacts> load;  // by TensorId
  // By TensorId, of matrices: they are cut between groups of this many rows. 8, so that every tile is one that a matrix
  // library takes (16-byte aligned columns of the output), 1 where rows are no multiple of it, one expert of stacked
  // ones, all rows where a row is no column of the output (Conv1D).
  std::vector<std::int64_t> row_step;
};

// Whether a pass reads the experts that are not resident in place, over the link, rather than streaming all of them:
// when at most this share of their bytes is expected to be touched. Which ones are known only when the layer's router
// has run, so they cannot be prefetched; streaming is static and brings every expert.
inline constexpr double kMostGathered = 0.5;
inline bool GathersExperts(const NativeKernel& kernel) { return kernel.touched <= kMostGathered; }

// Never null; taken from the task's cache where there is one. kInvalidInput for a model without a head.
Result<std::shared_ptr<const NativeModel>> RealizeModel(const PlanningTask& task);

// Where one tensor's rows live: rows [0, resident_rows) in the device's weights arena, the others in pinned host
// memory: streamed through the ring when a kernel multiplies by them, gathered in place when an embedding reads them or
// few experts are touched. And which kernels the host's cores compute, from weights in host memory (on_host.h).
struct NativeProposal {
  std::string strategy;                     // with its parameters, as it goes into the plan
  std::vector<std::int64_t> resident_rows;  // by TensorId; only those of `used` count
  // By TensorId, of streamed matrices: their rows that are not resident are in no memory between their uses, each of
  // which reads them from the file (disk_feed.h). Empty: none.
  std::vector<bool> on_disk;
  std::vector<bool> prefill_on_host;  // by kernel of the program; empty: none
  std::vector<bool> decode_on_host;
  std::vector<bool> cache_on_host;  // by layer; the kernels that touch such a cache must be on the host. Empty: none
  Bytes ring;                       // 0: nothing is streamed
  Bytes tile;                       // the largest piece of a matrix that passes through the ring at once
  std::vector<std::string> refused;

  bool OnDisk(TensorId t) const { return !on_disk.empty() && on_disk[static_cast<std::size_t>(t)]; }
};

std::int64_t RowsOf(const Tensor& tensor);  // first dimension of a matrix, 1 for anything smaller
Bytes RowBytes(const Tensor& tensor);       // with the row's share of a quantized tensor's scales, rounded up
Bytes StoredBytes(const Tensor& tensor);    // of all rows

// Bytes of gpu0 that do not depend on the proposal: KV, activations, tokens and the machine's reservations.
struct FixedBytes {
  Bytes kv;
  Bytes activations;
  Bytes tokens;
  Bytes reserved;
  Bytes total() const { return kv + activations + tokens + reserved; }
};
FixedBytes FixedBytesOf(const NativeModel& native, const PlanningTask& task);
// The same with the proposal's kernels and caches on the host.
FixedBytes FixedBytesOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// What the proposal needs of gpu0 and of the host, reservations included, whatever their budgets. kInternal when it is
// none that can be lowered.
struct Needs {
  Bytes gpu, host;
  Bytes host_weights;  // of host
};
Result<Needs> NeedsOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// kInfeasible beyond the machine's budgets or its limit of pinned memory; `strategy` is who needs it.
Status CheckNeeds(const Needs& needs, const Machine& machine, std::string_view strategy);

// kInfeasible when gpu0 or the host cannot hold it; names the pool, the need and the budget.
Status CheckFits(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// The budget of host memory that the proposal needs, reservations included.
Bytes HostBudgetFor(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// Lowers a proposal. kInfeasible when gpu0 or the host cannot hold it, kInvalidInput when the ring is smaller than two
// tiles.
Result<Lowered> LowerNative(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

}  // namespace stowage
