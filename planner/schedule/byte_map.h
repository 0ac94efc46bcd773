// Private to CheckSchedule: who wrote each byte of an allocation last, through which buffer, and who has read it since.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "planner/schedule/schedule.h"

namespace stowage {

// One execution of a step in a queue.
struct Access {
  std::int32_t queue = -1;     // -1: known to have ended by everything that may still touch these bytes
  std::uint32_t sequence = 0;  // the how-many-th step of its queue
  StepId step = -1;
  std::int64_t iteration = -1;
};

struct Segment {
  std::int64_t end = 0;
  BufferId leaf = -1;  // the buffer the bytes were written through; -1: there before the start, through any
  Access writer;
  std::vector<Access> readers;  // since then; at most one per queue, its last
};

// Segments by first byte; they do not overlap; a gap was never written.
class ByteMap {
 public:
  using Map = std::map<std::int64_t, Segment>;

  void Clear() { map_.clear(); }
  bool empty() const { return map_.empty(); }

  // Calls visit(begin, segment) for the written parts of [begin, end), cut to it, in order. Returns the first byte of
  // [begin, end) that was never written, or `end`.
  template <class Visit>
  std::int64_t ForEach(std::int64_t begin, std::int64_t end, Visit visit) {
    std::int64_t missing = end;
    std::int64_t next = begin;
    for (auto it = Cut(begin, end); it != map_.end() && it->first < end; ++it) {
      if (it->first > next && missing == end) missing = next;
      next = it->second.end;
      visit(it->first, it->second);
    }
    if (next < end && missing == end) missing = next;
    return missing;
  }

  // Replaces what is in [begin, end).
  void Write(std::int64_t begin, std::int64_t end, BufferId leaf, const Access& writer);

  // Joins neighbours in [begin, end] that say the same, when their writers' ends no longer matter.
  void Join(std::int64_t begin, std::int64_t end);

 private:
  Map::iterator Cut(std::int64_t begin,
                    std::int64_t end);  // makes begin and end borders; the first segment at or after
  void Split(std::int64_t at);

  Map map_;
};

// Keeps the last read per queue.
void AddReader(std::vector<Access>& readers, const Access& reader);

}  // namespace stowage
