#include "planner/schedule/byte_map.h"

#include <algorithm>
#include <iterator>

namespace stowage {
namespace {

bool SaySame(const Segment& a, const Segment& b) {
  if (a.leaf != b.leaf || a.writer.queue != -1 || b.writer.queue != -1) return false;
  return std::equal(a.readers.begin(), a.readers.end(), b.readers.begin(), b.readers.end(),
                    [](const Access& x, const Access& y) { return x.queue == y.queue && x.sequence == y.sequence; });
}

}  // namespace

void ByteMap::Split(std::int64_t at) {
  auto it = map_.upper_bound(at);
  if (it == map_.begin()) return;
  --it;
  if (it->first == at || it->second.end <= at) return;
  Segment right = it->second;
  it->second.end = at;
  map_.emplace_hint(std::next(it), at, std::move(right));
}

ByteMap::Map::iterator ByteMap::Cut(std::int64_t begin, std::int64_t end) {
  auto it = map_.lower_bound(begin);
  if (it != map_.end() && it->first == begin && it->second.end == end) return it;  // the usual case
  Split(begin);
  Split(end);
  return map_.lower_bound(begin);
}

void ByteMap::Write(std::int64_t begin, std::int64_t end, BufferId leaf, const Access& writer) {
  if (begin >= end) return;
  auto it = Cut(begin, end);
  while (it != map_.end() && it->first < end && it->first != begin) it = map_.erase(it);
  if (it == map_.end() || it->first != begin) it = map_.emplace_hint(it, begin, Segment{});
  Segment& segment = it->second;
  segment.end = end;
  segment.leaf = leaf;
  segment.writer = writer;
  segment.readers.clear();
  for (++it; it != map_.end() && it->first < end;) it = map_.erase(it);
}

void ByteMap::Join(std::int64_t begin, std::int64_t end) {
  auto it = map_.upper_bound(begin);
  if (it != map_.begin()) --it;
  if (it != map_.begin()) --it;
  while (it != map_.end() && it->first <= end) {
    const auto next = std::next(it);
    if (next == map_.end()) return;
    if (it->second.end == next->first && SaySame(it->second, next->second)) {
      it->second.end = next->second.end;
      map_.erase(next);
    } else {
      it = next;
    }
  }
}

void AddReader(std::vector<Access>& readers, const Access& reader) {
  for (Access& r : readers) {
    if (r.queue != reader.queue) continue;
    if (r.sequence <= reader.sequence) r = reader;
    return;
  }
  readers.push_back(reader);
}

}  // namespace stowage
