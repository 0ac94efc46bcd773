#include "planner/solve/pack/lifetimes.h"

#include <algorithm>
#include <numeric>

namespace stowage::packing {
namespace {

// Drops the sections after which nothing ends: all that lives there lives in the next one too.
void DropBeforeEnds(Lifetimes& l) {
  std::vector<bool> ends(l.sections + 1, false);
  for (const Block& b : l.blocks) ends[b.end] = true;
  std::vector<int> kept(l.sections + 1, 0);  // sections before this one
  for (int s = 0; s < l.sections; ++s) kept[s + 1] = kept[s] + (ends[s + 1] ? 1 : 0);
  for (Block& b : l.blocks) {
    b.begin = kept[b.begin];
    b.end = kept[b.end];
  }
  l.sections = kept[l.sections];
}

// Drops those with which nothing begins.
void DropAfterBegins(Lifetimes& l) {
  std::vector<bool> begins(l.sections + 1, false);
  for (const Block& b : l.blocks) begins[b.begin] = true;
  std::vector<int> last(l.sections, -1);  // the section that stands for this one
  int n = 0;
  for (int s = 0; s < l.sections; ++s) {
    if (begins[s]) ++n;
    last[s] = n - 1;
  }
  for (Block& b : l.blocks) {
    b.begin = last[b.begin];
    b.end = last[b.end - 1] + 1;
  }
  l.sections = n;
}

}  // namespace

Lifetimes LifetimesOf(std::span<const PackItem> items, Bytes alignment) {
  Lifetimes l;
  std::vector<std::int64_t> times;
  std::int64_t unit = 0;
  for (const PackItem& i : items) {
    times.push_back(i.first);
    times.push_back(std::int64_t{i.last} + 1);
    unit = std::gcd(unit, RoundUp(i.size, alignment).value());
  }
  l.unit = std::max<std::int64_t>(1, unit);
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  const auto section = [&](std::int64_t time) {
    return static_cast<int>(std::lower_bound(times.begin(), times.end(), time) - times.begin());
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].size <= Bytes(0)) continue;
    l.blocks.push_back({section(items[i].first), section(std::int64_t{items[i].last} + 1),
                        RoundUp(items[i].size, alignment).value() / l.unit, items[i].first,
                        std::int64_t{items[i].last} - items[i].first + 1});
    l.item_of.push_back(static_cast<int>(i));
  }
  l.sections = static_cast<int>(times.size());
  DropBeforeEnds(l);
  DropAfterBegins(l);
  std::vector<std::int64_t> alive(l.sections + 1, 0);
  for (const Block& b : l.blocks) {
    alive[b.begin] += b.size;
    alive[b.end] -= b.size;
  }
  std::partial_sum(alive.begin(), alive.end(), alive.begin());
  for (const std::int64_t a : alive) l.most_alive = std::max(l.most_alive, a);
  return l;
}

}  // namespace stowage::packing
