#include "planner/solve/pack/pack.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "planner/solve/pack/greedy.h"
#include "planner/solve/pack/lifetimes.h"
#include "planner/solve/pack/skyline.h"

namespace stowage {
namespace {

using packing::Answer;
using packing::Block;
using packing::Lifetimes;

// The search's explanations grow with the square of the items.
constexpr std::size_t kMostBlocks = 2'000;

// The noise of a block in a run: the same numbers everywhere (splitmix64).
double NoiseOf(std::uint64_t run, std::uint64_t block) {
  std::uint64_t z = (run << 32 | block) + 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

// Which of the blocks that could lie on a floor comes first: no rule is best for all, so runs take turns, later ones
// with noise.
std::vector<int> RankOf(const Lifetimes& l, int run) {
  std::vector<double> key;
  for (const Block& b : l.blocks) {
    const double length = b.end - b.begin;
    const auto size = static_cast<double>(b.size);
    const double keys[] = {length * size,       length, size, length * length * length * size, length * length * size,
                           length * size * size};
    const double noise = run < 6 ? 1.0 : 1.0 - 0.3 * NoiseOf(run, key.size());
    key.push_back(keys[run % 6] * noise);
  }
  std::vector<int> order(l.blocks.size()), rank(l.blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key[a] > key[b]; });
  for (std::size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<int>(i);
  return rank;
}

// How much the dead ends of earlier runs steer this one.
double Exponent(int run) {
  constexpr std::array<double, 3> kExponents = {0.3, 0, 1};
  return kExponents[(run + run / 6) % 3];
}

struct Decision {
  Answer answer = Answer::kOutOfSteps;
  std::vector<std::int64_t> offsets;
};

// Runs of growing length until one decides. Adds its steps to *taken.
Decision Decide(const Lifetimes& l, std::int64_t capacity, std::int64_t steps, std::int64_t* taken) {
  constexpr std::int64_t kFirstRun = 2'000;
  std::int64_t length = kFirstRun;
  std::vector<double> dead_ends(l.sections, 0);
  for (int run = 0; steps > 0; ++run) {
    packing::Skyline skyline(l, capacity, RankOf(l, run), Exponent(run), dead_ends);
    const std::int64_t given = std::min(steps, length);
    std::int64_t left = given;
    const Answer answer = skyline.Search(&left);
    left = std::max<std::int64_t>(0, left);
    *taken += given - left;
    steps -= given - left;
    if (answer == Answer::kFits) return {answer, skyline.offsets()};
    if (answer == Answer::kDoesNot) return {answer, {}};
    if (left > 0) return {};  // too deep for its explanations
    if (run % 6 == 5) length *= 2;
  }
  return {};
}

std::vector<Bytes> BytesOf(const Lifetimes& l, const std::vector<std::int64_t>& offsets, std::size_t items) {
  std::vector<Bytes> bytes(items);
  for (std::size_t b = 0; b < offsets.size(); ++b) bytes[l.item_of[b]] = Bytes(offsets[b] * l.unit);
  return bytes;
}

std::int64_t TopOf(const Lifetimes& l, const std::vector<std::int64_t>& offsets) {
  std::int64_t top = 0;
  for (std::size_t b = 0; b < offsets.size(); ++b) top = std::max(top, offsets[b] + l.blocks[b].size);
  return top;
}

// Closes in on the least size: what the bound allows first, then halfway between what was tried in vain and the best;
// when they meet, all over with more steps for each.
void Improve(const Lifetimes& l, std::int64_t steps, Packing& packing, packing::Greedy& best, std::int64_t& lower) {
  for (std::int64_t each = 2'000; lower < best.size && packing.steps < steps; each *= 4) {
    std::int64_t tried = lower;  // nothing below is looked at in this round
    std::int64_t capacity = lower;
    while (tried < best.size && packing.steps < steps) {
      Decision d = Decide(l, capacity, std::min(each, steps - packing.steps), &packing.steps);
      if (d.answer == Answer::kFits) {
        best = {std::move(d.offsets), 0, "search"};
        best.size = TopOf(l, best.offsets);
      } else {
        tried = capacity + 1;
        if (d.answer == Answer::kDoesNot) lower = tried;
      }
      capacity = tried + (best.size - tried) / 2;
    }
  }
}

}  // namespace

double Packing::Gap() const {
  if (lower_bound.value() == 0) return 0;
  return static_cast<double>((size - lower_bound).value()) / static_cast<double>(lower_bound.value());
}

Packing Pack(std::span<const PackItem> items, Bytes alignment, std::int64_t steps) {
  const Lifetimes l = packing::LifetimesOf(items, alignment);
  packing::Greedy best = packing::BestGreedy(l);
  std::int64_t lower = l.most_alive;
  Packing packing;
  if (l.blocks.size() <= kMostBlocks) Improve(l, steps, packing, best, lower);
  packing.offsets = BytesOf(l, best.offsets, items.size());
  packing.size = Bytes(best.size * l.unit);
  packing.lower_bound = Bytes(lower * l.unit);
  packing.order = std::move(best.order);
  return packing;
}

PackDecision PackWithin(std::span<const PackItem> items, Bytes alignment, Bytes capacity, std::int64_t steps) {
  const Lifetimes l = packing::LifetimesOf(items, alignment);
  PackDecision decision;
  if (l.blocks.size() > kMostBlocks) return decision;
  const Decision d = Decide(l, capacity.value() / l.unit, steps, &decision.steps);
  decision.answer = d.answer == Answer::kFits      ? PackAnswer::kFits
                    : d.answer == Answer::kDoesNot ? PackAnswer::kDoesNot
                                                   : PackAnswer::kOutOfSteps;
  if (d.answer == Answer::kFits) decision.offsets = BytesOf(l, d.offsets, items.size());
  return decision;
}

}  // namespace stowage
