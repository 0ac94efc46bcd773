// What differs between two plans: pools, arenas, and each tensor and buffer that moved, grew, appeared or disappeared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/units.h"
#include "planner/plan/plan.h"

namespace stowage {

enum class ChangeKind : std::uint8_t {
  kMoved,        // to another pool or arena, or other rows of it, or streamed instead of resident
  kGrew,         // more bytes than before, wherever it is
  kShrank,       // fewer
  kAppeared,     // only the second plan has it
  kDisappeared,  // only the first
  kShifted,      // the same bytes at another offset of the same arena, or alive at another time
  kChanged,      // something else: its dtype at the same size, its tie, its block
};
std::string_view Name(ChangeKind kind);

struct PlanChange {
  ChangeKind kind = ChangeKind::kMoved;
  std::string name;
  std::optional<Bytes> bytes_before;  // absent: it was not there
  std::optional<Bytes> bytes_after;
  std::string before;  // "resident gpu0/weights"; what differs, in words
  std::string after;
};

// A sum per pool or arena; absent: that plan does not have it.
struct TotalChange {
  std::string name;
  std::optional<Bytes> before;
  std::optional<Bytes> after;
};

struct PlanDiff {
  std::vector<PlanChange> facts;    // model, strategy, runtime, request, budgets: name, before, after
  std::vector<TotalChange> pools;   // all pools, also those that are equal: arenas and reservations
  std::vector<TotalChange> arenas;  // "gpu0/weights"; only those that differ
  std::vector<PlanChange> tensors;
  std::vector<PlanChange> placements;
  bool refused_differ = false;

  bool Same() const;
};

PlanDiff DiffPlans(const Plan& before, const Plan& after);

// Where a tensor is, without offsets: "rows [0, 64) resident gpu0/weights, rows [64, 96) streamed host/host_weights".
std::string Whereabouts(const TensorPlan& tensor);

}  // namespace stowage
