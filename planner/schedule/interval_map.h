// Private to CheckSchedule: values on ranges of integers. Ranges do not overlap; gaps have no value. Assigning costs
// O(log n) and one visit per range that it replaces, so amortised O(log n).
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace stowage {

template <class Value>
class IntervalMap {
 public:
  void Clear() { map_.clear(); }

  // [begin, end) has `value` from here on.
  void Assign(std::int64_t begin, std::int64_t end, Value value) {
    if (begin >= end) return;
    auto it = Cut(begin, end);
    if (it != map_.end() && it->first == begin) {
      it->second = {end, std::move(value)};
    } else {
      it = map_.emplace_hint(it, begin, Item{end, std::move(value)});
    }
    for (++it; it != map_.end() && it->first < end;) it = map_.erase(it);
  }

  void Erase(std::int64_t begin, std::int64_t end) {
    if (begin >= end) return;
    for (auto it = Cut(begin, end); it != map_.end() && it->first < end;) it = map_.erase(it);
  }

  // Calls visit(begin, end, value) for the ranges inside [begin, end), cut to it, in order. Returns the first integer
  // without a value, or `end`.
  template <class Visit>
  std::int64_t ForEach(std::int64_t begin, std::int64_t end, Visit visit) const {
    std::int64_t missing = end, next = begin;
    auto it = map_.upper_bound(begin);
    if (it != map_.begin() && std::prev(it)->second.end > begin) --it;
    for (; it != map_.end() && it->first < end; ++it) {
      if (it->first > next && missing == end) missing = next;
      next = it->second.end;
      visit(std::max(it->first, begin), std::min(it->second.end, end), it->second.value);
    }
    return next < end && missing == end ? next : missing;
  }

  // Joins neighbouring ranges that meet [begin, end] wherever same(a, b), after change(value) was called on them.
  template <class Change, class Same>
  void Join(std::int64_t begin, std::int64_t end, Change change, Same same) {
    auto it = map_.upper_bound(begin);
    if (it != map_.begin()) --it;
    if (it != map_.begin()) --it;
    auto last = map_.end();
    for (; it != map_.end() && it->first <= end; ++it) {
      change(it->second.value);
      if (last != map_.end() && last->second.end == it->first && same(last->second.value, it->second.value)) {
        last->second.end = it->second.end;
        map_.erase(it);
        it = last;
      }
      last = it;
    }
  }

 private:
  struct Item {
    std::int64_t end;
    Value value;
  };
  using Map = std::map<std::int64_t, Item>;

  void Split(std::int64_t at) {
    auto it = map_.lower_bound(at);
    if (it == map_.begin() || (it != map_.end() && it->first == at)) return;
    --it;
    if (it->second.end <= at) return;
    map_.emplace_hint(std::next(it), at, Item{it->second.end, it->second.value});
    it->second.end = at;
  }

  // Makes begin and end borders; the first range at or after begin.
  typename Map::iterator Cut(std::int64_t begin, std::int64_t end) {
    auto it = map_.lower_bound(begin);
    if (it != map_.end() && it->first == begin && it->second.end == end) return it;  // the usual case
    Split(begin);
    Split(end);
    return map_.lower_bound(begin);
  }

  Map map_;
};

}  // namespace stowage
