#include "planner/solve/pack/greedy.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace stowage::packing {
namespace {

// Places blocks in the given order, each into the tightest gap among those alive with it (best fit), or after the last.
std::int64_t Place(const std::vector<Block>& blocks, const std::vector<int>& order,
                   std::vector<std::int64_t>& offsets) {
  std::int64_t top = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> taken;  // [begin, end) of placed items alive with this one
  std::vector<int> placed;
  for (const int i : order) {
    taken.clear();
    for (const int j : placed) {
      if (blocks[j].begin < blocks[i].end && blocks[i].begin < blocks[j].end) {
        taken.emplace_back(offsets[j], offsets[j] + blocks[j].size);
      }
    }
    std::sort(taken.begin(), taken.end());
    std::int64_t best = -1, best_gap = 0, end = 0;
    for (const auto& [begin, stop] : taken) {
      const std::int64_t gap = begin - end;
      if (gap >= blocks[i].size && (best < 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, stop);
    }
    offsets[i] = best < 0 ? end : best;
    top = std::max(top, offsets[i] + blocks[i].size);
    placed.push_back(i);
  }
  return top;
}

}  // namespace

Greedy BestGreedy(const Lifetimes& lifetimes) {
  const std::vector<Block>& blocks = lifetimes.blocks;
  const auto area = [&](int i) { return blocks[i].size * blocks[i].length; };
  using Less = std::function<bool(int, int)>;
  const std::array<std::pair<const char*, Less>, 4> orders = {{
      {"size", [&](int a, int b) { return blocks[a].size > blocks[b].size; }},
      {"area", [&](int a, int b) { return area(a) > area(b); }},
      {"length", [&](int a, int b) { return blocks[a].length > blocks[b].length; }},
      {"start", [&](int a, int b) { return blocks[a].first < blocks[b].first; }},
  }};
  Greedy best;
  std::vector<int> order(blocks.size());
  std::vector<std::int64_t> offsets(blocks.size());
  for (const auto& [name, less] : orders) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), less);
    const std::int64_t top = Place(blocks, order, offsets);
    if (best.order.empty() || top < best.size) best = {offsets, top, name};
    if (best.size == lifetimes.most_alive) break;
  }
  return best;
}

}  // namespace stowage::packing
