// What a native strategy decides. Everything else (arenas, ring offsets, schedule) follows from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/realize/native.h"
#include "planner/solve/pack.h"
#include "planner/strategy/strategy.h"

namespace stowage {

// A model's passes as the native runtime runs them; made once per task and shared by all candidates.
struct NativeModel {
  NativeProgram prefill;
  NativeProgram decode;     // at past = prompt tokens, growing by one; empty without decode passes
  Packing prefill_packing;  // of the activations, by index
  Packing decode_packing;
  std::vector<TensorId> used;      // tensors that some kernel reads (owners), in order of first use
  std::vector<bool> gathered;      // by TensorId: read by an embedding
  std::vector<bool> multiplied;    // by TensorId: the matrix of a linear kernel, so its rows can be split
  std::vector<std::int32_t> uses;  // by TensorId: linear kernels of one pass that read it
};

// Never null; taken from the task's cache where there is one. kInvalidInput for a model without a head.
Result<std::shared_ptr<const NativeModel>> RealizeModel(const PlanningTask& task);

// Where one tensor's rows live: rows [0, resident_rows) in the device's weights arena, the others in pinned host
// memory, streamed through the ring when a linear kernel multiplies by them, gathered in place when an embedding reads
// them.
struct NativeProposal {
  std::string strategy;                     // with its parameters, as it goes into the plan
  std::vector<std::int64_t> resident_rows;  // by TensorId; only those of `used` count
  Bytes ring;                               // 0: nothing is streamed
  Bytes tile;                               // the largest piece of a matrix that passes through the ring at once
  std::vector<std::string> refused;
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

// kInfeasible when gpu0 or the host cannot hold it; names the pool, the need and the budget.
Status CheckFits(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// The budget of host memory that the proposal needs, reservations included.
Bytes HostBudgetFor(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// Lowers a proposal. kInfeasible when gpu0 or the host cannot hold it, kInvalidInput when the ring is smaller than two
// tiles.
Result<Lowered> LowerNative(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

}  // namespace stowage
