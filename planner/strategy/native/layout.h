// Arenas of a native run and what lies where in them, before any step exists.
#pragma once

#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

inline constexpr Bytes kAlignment{256};  // of every buffer: cudaMalloc's guarantee, and enough for 16-byte loads

// Matrices are cut between groups of this many rows (those whose rows are not a multiple of it: anywhere), so that
// every tile is one that a matrix library takes: 16-byte aligned columns of the output.
inline constexpr std::int64_t kTileRows = 8;
std::int64_t RowStep(const Tensor& tensor);

// A row range of a matrix that passes through the ring once a pass.
struct StreamItem {
  TensorId tensor = kNoId;
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  Bytes bytes;
};

// One launch: a whole kernel, or a row tile of a linear one.
struct Unit {
  std::int32_t kernel = 0;     // index into NativeProgram::kernels
  std::int16_t tile = 0;       // of how many: see UnitsOf
  std::int64_t row_begin = 0;  // linear kernels
  std::int64_t row_end = 0;
  std::int32_t item = -1;  // the StreamItem it consumes; -1: its weight is resident
};

struct PassUnits {
  std::vector<Unit> units;          // in execution order
  std::vector<std::int16_t> tiles;  // by kernel
  std::vector<StreamItem> items;    // in order of use
};

PassUnits UnitsOf(const NativeProgram& program, const Model& model, const NativeProposal& proposal);

struct NativeLayout {
  std::vector<Bytes> weight_offset;  // by TensorId: of its resident rows in "weights"
  Bytes weights;
  std::vector<std::int64_t> master_begin;  // by TensorId: first row kept in "host_weights"; == rows: none
  std::vector<Bytes> master_offset;
  Bytes masters;
  Bytes kv;       // keys of layer 0, values of layer 0, keys of layer 1, …
  Bytes kv_side;  // one layer's keys, aligned
  Bytes activations;
  Bytes tokens;
  Bytes host_buffers;  // prompt, answer, logits and computed tables in host memory
};

NativeLayout LayOut(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

}  // namespace stowage
