// Peaks of now beside peaks of then: what `check` decides and reports. A case is one strategy of one model on one
// machine; each of its pools has a peak with the buffers that were alive at it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/units.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct PeakRecord {
  std::string pool;
  Bytes bytes;
  std::string step;                 // that reached it
  std::string phase;                // it belongs to
  std::vector<PeakBuffer> buffers;  // by kind, then name; their bytes add up to `bytes`
};

// What a baseline holds of a case.
struct CaseRecord {
  std::string name;
  std::string what;  // "llama-3.1-8b, ring, gpu 15GB, …": two records of one name with different texts are other cases
  std::vector<PeakRecord> pools;
};

// The pools that hold anything; disks are left out.
std::vector<PeakRecord> PeaksOf(const Timeline& timeline);

// How much a peak may grow: a fraction of what it was, and bytes on top.
struct Tolerance {
  double fraction = 0;
  Bytes bytes;

  Bytes Of(Bytes before) const {
    return bytes + Bytes(static_cast<std::int64_t>(static_cast<double>(before.value()) * fraction));
  }
};

struct CaseLimits {
  Tolerance tolerance;
  std::vector<std::pair<std::string, Bytes>> budgets;  // pool -> what its peak may not pass, whatever the baseline
};

enum class BufferChangeKind : std::uint8_t { kGrew, kAppeared, kShrank, kDisappeared };
std::string_view Name(BufferChangeKind kind);

// Buffers of one tensor (its rows, its copy in another pool) count as one: "w[0:64]" and "w@host" are of "w".
struct BufferChange {
  BufferChangeKind kind = BufferChangeKind::kGrew;
  std::string name;
  std::string buffer_kind;  // "weights", "kv", …
  Bytes before;
  Bytes after;
  std::string moved;  // the pool it came from or went to; empty: none
};

struct PoolCheck {
  std::string pool;
  std::optional<PeakRecord> before;  // without buffers; absent: not in the baseline
  std::optional<PeakRecord> after;   // likewise
  Bytes allowed;                     // what the peak may be
  std::optional<Bytes> budget;
  bool grew = false;                  // beyond what is allowed
  bool over_budget = false;           // beyond `budget`
  std::vector<BufferChange> changes;  // largest first; of peaks that differ

  bool ok() const { return !grew && !over_budget; }
};

struct CaseCheck {
  std::string name;
  std::string what;
  std::string problem;             // why there is nothing to compare; empty: there is
  std::vector<std::string> notes;  // sentences
  std::vector<PoolCheck> pools;

  bool ok() const;
};

struct MemoryCheck {
  std::vector<CaseCheck> cases;
  std::vector<std::string> unused;  // names of the baseline that no case has

  bool ok() const;
};

// `before`: of the same name, or nullptr when the baseline has none, which is a problem.
CaseCheck CompareCase(const CaseRecord& now, const CaseRecord* before, const CaseLimits& limits);

}  // namespace stowage
