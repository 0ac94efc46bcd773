// A plan: where every tensor, cache and buffer lives in each phase. Complete and explicit: a reader needs nothing else
// to know what is where. It also names the strategy with its parameters, so it can be lowered to a schedule again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

// Bumped when a reader of the old form would misread the new one.
inline constexpr int kPlanVersion = 2;

enum class Where : std::uint8_t {
  kResident,  // in an arena of the device that computes with it, for the whole phase
  kStreamed,  // kept in `pool`, brought to the device each time it is used
  kInPlace,   // kept in `pool`, read from there by the computing device (an embedding's gather over the link)
  kComputed,  // kept in `pool`, whose cores compute with it, although the tensor's block is computed on `device`
};
std::string_view Name(Where where);

// Some rows of a tensor in some phases. A tensor of rank 0 or 1 has one row.
struct Residency {
  Where where = Where::kResident;
  std::string phases = "*";  // "*": all; else a phase's name
  std::string pool;          // where the bytes stay
  std::string arena;         // the arena there
  Bytes offset;              // within the arena
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
};

struct TensorPlan {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  Bytes scales;         // quantization scales stored with the rows, the same for each
  std::string device;   // the pool of the device that computes with it: "gpu0"
  std::string block;    // the no-split block it belongs to; empty: none
  std::string tied_to;  // shares the storage of; its parts are then empty
  std::vector<Residency> parts;

  std::int64_t Rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  Bytes bytes() const { return SizeOf(dtype, Elements(shape)) + scales; }
};

struct ArenaPlan {
  std::string name;  // "weights", "kv", "activations", "ring", "tokens", "host_weights", "staging"
  std::string pool;
  std::string kind;  // BufferKind by name
  Bytes bytes;
  Bytes lower_bound;  // no packing of its contents is smaller; equal to bytes where nothing is packed
};

// Something other than a weight at a fixed place: a layer's keys, an activation.
struct Placement {
  std::string name;
  std::string arena;
  Bytes offset;
  Bytes bytes;
  std::string phase;       // "*" or the phase in which it lives
  std::int32_t first = 0;  // activations: kernels of the pass between which it must keep its contents
  std::int32_t last = 0;
};

struct Plan {
  int version = kPlanVersion;
  std::string model;
  std::string strategy;  // with its parameters: "ring:268435456:rows"
  std::string runtime;   // "native", "torch"
  Request request;
  std::vector<std::pair<std::string, Bytes>> budgets;       // pool -> what the plan may use, reservations included
  std::vector<std::pair<std::string, Bytes>> reservations;  // pool -> context and other named estimates
  std::vector<ArenaPlan> arenas;
  std::vector<TensorPlan> tensors;
  std::vector<Placement> placements;
  std::vector<std::string> refused;  // what was not done and why, a sentence each

  Bytes ArenaBytes(std::string_view pool) const;  // sum of a pool's arenas
};

// One line an arena, then one a tensor, then one a placement.
std::string Dump(const Plan& plan);

// Every rule of DESIGN section 4, sharing no code with any strategy: all rows of every tensor placed exactly once per
// phase, ties consistent, no-split blocks computed on one device, everything inside its arena, nothing overlapping in
// lifetime x offset, budgets kept. The error names the first culprit.
Status CheckPlan(const Plan& plan);

}  // namespace stowage
