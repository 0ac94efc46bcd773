// The books of a simulation: what each execution did and what let it start, busy and idle time per resource with the
// causes, phases. Both algorithms (forward.cc, events.cc) report the same calls; idle causes are defined in engine.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/engine/program.h"
#include "sim/timeline/timeline.h"

namespace stowage::sim {

// One execution. `bind`: seq of what let it start, -1 if only its issuer did. If the bound one ended before `start`,
// the issuer was busy in between.
struct Record {
  double start = 0;
  double end = 0;
  std::int64_t bind = -1;
  std::int32_t step = -1;
  std::int32_t via = -1;  // the resource that `bind` held; -1: another reason
};

// The last executions, by seq. All of them up to 2^20 (32 MB); older ones are forgotten, and a walk that reaches them
// says "waiting for earlier work".
class History {
 public:
  void Reserve(std::int64_t executions);
  Record& At(std::int64_t seq) { return records_[static_cast<std::size_t>(seq & mask_)]; }
  // Null if never run or forgotten. `now`: the latest seq written.
  const Record* Find(std::int64_t seq, std::int64_t now) const {
    return seq < 0 || now - seq > mask_ ? nullptr : &records_[static_cast<std::size_t>(seq & mask_)];
  }

 private:
  std::vector<Record> records_;
  std::int64_t mask_ = 0;
};

class Accounts {
 public:
  // What to remember of executions: none (then only Reached, Completed and FinishPhases may be called), the latest, all.
  enum class Keep : std::uint8_t { kPhases, kLatest, kAll };
  // *program must outlive this.
  Accounts(const Program* program, Keep keep);

  Record& At(std::int64_t seq) { return history_.At(seq); }

  // A job starts: closes the gaps of its resources. Its record has start, bind, via and step; those it is bound to
  // have ended. `now` is the latest seq written to the history.
  void Start(const Op& op, const Record& record, std::int64_t now) {
    for (const std::int16_t r : op.resources) {
      if (r < 0) break;
      Use& use = uses_[static_cast<std::size_t>(r)];
      if (use.active++ > 0) continue;
      use.busy_since = record.start;
      if (record.start > use.last_end) CloseGap(r, record, now);
    }
  }

  void End(const Op& op, double end) {
    for (const std::int16_t r : op.resources) {
      if (r < 0) break;
      Use& use = uses_[static_cast<std::size_t>(r)];
      if (--use.active > 0) continue;
      use.busy += end - use.busy_since;
      use.last_end = end;
    }
  }

  void Ended(double at) { length_ = std::max(length_, at); }  // any step
  void Reached(std::int32_t phase, double at) {               // one that counts for its phase's end
    Ended(at);
    double& end = phase_end_[static_cast<std::size_t>(phase)];
    end = std::max(end, at);
  }
  void Completed(const Run& run) { passes_[static_cast<std::size_t>(run.phase)] += run.passes; }

  void FinishPhases(Timeline& timeline) const;  // fills length and phases
  void Finish(Timeline& timeline) const;        // and resources

 private:
  struct Use {
    double busy = 0;
    double last_end = 0;
    double busy_since = 0;
    std::int32_t active = 0;
  };

  void CloseGap(std::int32_t resource, const Record& next, std::int64_t now);
  std::int32_t CauseOf(const Record& bound, std::int32_t via) const;
  std::string CauseName(std::int32_t cause) const;

  const Program* program_;
  History history_;
  std::vector<Use> uses_;
  std::int32_t causes_ = 0;
  std::vector<double> idle_;  // [resource][cause]
  double length_ = 0;
  std::vector<double> phase_end_;
  std::vector<std::int64_t> passes_;
};

}  // namespace stowage::sim
