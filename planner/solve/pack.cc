#include "planner/solve/pack.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace stowage {
namespace {

struct Sized {
  std::int64_t size;
  std::int32_t first, last;
};

// The most bytes alive at one time: lifetimes only change at a first or just after a last.
std::int64_t MostAlive(const std::vector<Sized>& items) {
  std::vector<std::pair<std::int32_t, std::int64_t>> changes;
  for (const Sized& i : items) {
    changes.emplace_back(i.first, i.size);
    changes.emplace_back(i.last + 1, -i.size);
  }
  std::sort(changes.begin(), changes.end());  // at equal times releases (negative) come first
  std::int64_t now = 0, most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, now += change);
  return most;
}

// Places items in the given order, each into the tightest gap among those alive with it (best fit), or after the last.
std::int64_t Place(const std::vector<Sized>& items, const std::vector<int>& order, std::vector<std::int64_t>& offsets) {
  std::int64_t top = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> taken;  // [begin, end) of placed items alive with this one
  std::vector<int> placed;
  for (const int i : order) {
    taken.clear();
    for (const int j : placed) {
      if (items[j].first <= items[i].last && items[i].first <= items[j].last) {
        taken.emplace_back(offsets[j], offsets[j] + items[j].size);
      }
    }
    std::sort(taken.begin(), taken.end());
    std::int64_t best = -1, best_gap = 0, end = 0;
    for (const auto& [begin, stop] : taken) {
      const std::int64_t gap = begin - end;
      if (gap >= items[i].size && (best < 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, stop);
    }
    offsets[i] = best < 0 ? end : best;
    top = std::max(top, offsets[i] + items[i].size);
    placed.push_back(i);
  }
  return top;
}

}  // namespace

double Packing::Gap() const {
  if (lower_bound.value() == 0) return 0;
  return static_cast<double>((size - lower_bound).value()) / static_cast<double>(lower_bound.value());
}

Packing Pack(std::span<const PackItem> items, Bytes alignment) {
  std::vector<Sized> sized;
  for (const PackItem& i : items) sized.push_back({RoundUp(i.size, alignment).value(), i.first, i.last});
  const auto area = [&](int i) { return sized[i].size * (sized[i].last - sized[i].first + 1); };
  const auto length = [&](int i) { return sized[i].last - sized[i].first; };
  using Less = std::function<bool(int, int)>;
  const std::array<std::pair<const char*, Less>, 4> orders = {{
      {"size", [&](int a, int b) { return sized[a].size > sized[b].size; }},
      {"area", [&](int a, int b) { return area(a) > area(b); }},
      {"length", [&](int a, int b) { return length(a) > length(b); }},
      {"start", [&](int a, int b) { return sized[a].first < sized[b].first; }},
  }};
  Packing best{.lower_bound = Bytes(MostAlive(sized))};
  std::vector<int> order(sized.size());
  std::vector<std::int64_t> offsets(sized.size());
  for (const auto& [name, less] : orders) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), less);
    const std::int64_t top = Place(sized, order, offsets);
    if (best.order.empty() || top < best.size.value()) {
      best.size = Bytes(top);
      best.order = name;
      best.offsets.clear();
      for (const std::int64_t o : offsets) best.offsets.emplace_back(o);
    }
    if (best.size == best.lower_bound) break;
  }
  return best;
}

}  // namespace stowage
