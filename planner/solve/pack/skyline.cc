#include "planner/solve/pack/skyline.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace stowage::packing {
namespace {

constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max() / 4;

}  // namespace

Skyline::Skyline(const Lifetimes& lifetimes, std::int64_t capacity, std::vector<int> rank, double exponent,
                 std::vector<double>& dead_ends)
    : l_(lifetimes),
      capacity_(capacity),
      rank_(std::move(rank)),
      exponent_(exponent),
      dead_ends_(dead_ends),
      words_(lifetimes.blocks.size() / 32 + 8),  // as many levels of waste as of blocks
      height_(lifetimes.sections, 0),
      top_(lifetimes.sections, 0),
      rest_(lifetimes.sections, 0),
      cause_(lifetimes.sections * words_, 0),
      offset_(lifetimes.blocks.size(), -1),
      left_(lifetimes.blocks.size()),
      conflict_(words_, 0),
      valley_of_(lifetimes.sections, -1),
      covers_(lifetimes.sections + 1, 0),
      inside_(lifetimes.sections + 1, 0) {
  for (const Block& b : l_.blocks) {
    for (int s = b.begin; s < b.end; ++s) rest_[s] += b.size;
  }
  for (const double d : dead_ends_) scale_.push_back(std::pow(1 + d, exponent_));
}

Answer Skyline::Search(std::int64_t* steps) {
  if (l_.most_alive > capacity_) return Answer::kDoesNot;
  steps_ = steps;
  if (Solve(0)) return Answer::kFits;
  return out_of_steps_ ? Answer::kOutOfSteps : Answer::kDoesNot;
}

// Decides on from here. False: a dead end, explained by conflict_ and taken back, or out of steps.
bool Skyline::Solve(int level) {
  if (--*steps_ < 0 || static_cast<std::size_t>(level) >= 64 * words_) {
    out_of_steps_ = true;
    return false;
  }
  const std::size_t trail = trail_.size();
  Choice choice;
  if (!Propagate(choice)) {
    Restore(trail);
    return false;
  }
  if (left_ == 0) return true;
  ListBlocks(choice);
  std::vector<Word> reasons(words_, 0);
  Explain(choice.valley, reasons.data());
  for (std::size_t i = 0; i <= choice.blocks.size(); ++i) {
    const bool waste = i == choice.blocks.size();
    if (waste ? choice.next - choice.valley.floor > capacity_ - choice.valley.floor - rest_[choice.section]
              : IsTwin(choice.blocks, i)) {
      continue;
    }
    if (waste ? Waste(level, choice) : Try(level, choice.blocks[i], choice)) return true;
    if (out_of_steps_ || !Blames(level)) {
      Restore(trail);
      return false;
    }
    for (std::size_t w = 0; w < words_; ++w) reasons[w] |= conflict_[w];
  }
  conflict_ = std::move(reasons);
  Restore(trail);
  return false;
}

// Is the last dead end this level's fault too? Then takes it out of the conflict: the level's other choices are looked
// at.
bool Skyline::Blames(int level) {
  Word& word = conflict_[level / 64];
  const Word bit = Word{1} << (level % 64);
  const bool blames = (word & bit) != 0;
  word &= ~bit;
  return blames;
}

bool Skyline::Try(int level, int block, const Choice& choice) {
  const Block& b = l_.blocks[block];
  const std::size_t trail = trail_.size();
  for (int s = b.begin; s < b.end; ++s) {
    Save(s);
    height_[s] = top_[s] = choice.valley.floor + b.size;
    rest_[s] -= b.size;
    CauseOf(s)[level / 64] |= Word{1} << (level % 64);
  }
  offset_[block] = choice.valley.floor;
  --left_;
  if (Solve(level + 1)) return true;
  ++left_;
  offset_[block] = -1;
  for (int s = b.begin; s < b.end; ++s) rest_[s] += b.size;
  Restore(trail);
  return false;
}

bool Skyline::Waste(int level, const Choice& choice) {
  const std::size_t trail = trail_.size();
  Save(choice.section);
  height_[choice.section] = choice.next;
  CauseOf(choice.section)[level / 64] |= Word{1} << (level % 64);
  if (Solve(level + 1)) return true;
  Restore(trail);
  return false;
}

// Wastes what must be wasted and finds what to decide next. False: a dead end, explained.
bool Skyline::Propagate(Choice& choice) {
  bool wasted = true;
  while (wasted && left_ > 0) {
    FindValleys();
    CountInside();
    if (!WasteOrChoose(choice, wasted)) return false;
  }
  return true;
}

void Skyline::FindValleys() {
  valleys_.clear();
  const int n = l_.sections;
  for (int s = 0; s < n;) {
    valley_of_[s] = -1;
    if (rest_[s] == 0) {  // done: a wall that nothing reaches over
      ++s;
      continue;
    }
    int end = s + 1;
    while (end < n && rest_[end] > 0 && height_[end] == height_[s]) valley_of_[end++] = -1;
    const std::int64_t left = s == 0 || rest_[s - 1] == 0 ? kEndless : height_[s - 1];
    const std::int64_t right = end == n || rest_[end] == 0 ? kEndless : height_[end];
    if (left > height_[s] && right > height_[s]) {
      std::fill(valley_of_.begin() + s, valley_of_.begin() + end, static_cast<int>(valleys_.size()));
      valleys_.push_back({s, end, height_[s], std::min(left, right)});
    }
    s = end;
  }
}

void Skyline::CountInside() {
  std::fill(covers_.begin(), covers_.end(), 0);
  std::fill(inside_.begin(), inside_.end(), 0);
  for (std::size_t i = 0; i < l_.blocks.size(); ++i) {
    const Block& b = l_.blocks[i];
    if (offset_[i] >= 0 || valley_of_[b.begin] < 0 || valleys_[valley_of_[b.begin]].end < b.end) continue;
    ++covers_[b.begin];
    --covers_[b.end];
    inside_[b.begin] += b.size;
    inside_[b.end] -= b.size;
  }
  for (int s = 0; s < l_.sections; ++s) {
    covers_[s + 1] += covers_[s];
    inside_[s + 1] += inside_[s];
  }
}

bool Skyline::WasteOrChoose(Choice& choice, bool& wasted) {
  wasted = false;
  double best = 0;
  choice.section = -1;
  for (int s = 0; s < l_.sections; ++s) {
    if (valley_of_[s] < 0) continue;
    const Valley& v = valleys_[valley_of_[s]];
    const std::int64_t slack = capacity_ - v.floor - rest_[s];
    if (v.wall < kEndless) {
      if (v.wall - v.floor - inside_[s] > slack) {
        std::fill(conflict_.begin(), conflict_.end(), 0);
        Explain(v, conflict_.data());
        Blame(s);
        return false;
      }
      if (covers_[s] == 0) {
        Save(s);
        height_[s] = v.wall;
        Explain(v, CauseOf(s));
        wasted = true;
        continue;
      }
    }
    // The fewest choices, then the least slack, then the lowest floor; sooner where dead ends were.
    const auto capacity = static_cast<double>(capacity_);
    const double choices = covers_[s] + (slack > 0 ? 0.9 : 0.0) + static_cast<double>(slack) / capacity +
                           static_cast<double>(v.floor) / capacity / 100;
    const double key = choices / scale_[s];
    if (choice.section >= 0 && key >= best) continue;
    best = key;
    choice.section = s;
    choice.valley = v;
  }
  return true;
}

void Skyline::Blame(int section) {
  dead_ends_[section] += 1;
  scale_[section] = std::pow(1 + dead_ends_[section], exponent_);
}

void Skyline::ListBlocks(Choice& choice) const {
  const Valley& v = choice.valley;
  choice.next = v.wall;
  for (std::size_t i = 0; i < l_.blocks.size(); ++i) {
    const Block& b = l_.blocks[i];
    if (offset_[i] >= 0 || b.begin < v.begin || b.end > v.end) continue;
    if (choice.section < b.begin || choice.section >= b.end) {
      choice.next = std::min(choice.next, v.floor + b.size);
      continue;
    }
    const auto top = top_.begin();
    const bool supported = v.floor == 0 || std::find(top + b.begin, top + b.end, v.floor) != top + b.end;
    if (supported) choice.blocks.push_back(static_cast<int>(i));
  }
  std::sort(choice.blocks.begin(), choice.blocks.end(), [&](int a, int b) { return rank_[a] < rank_[b]; });
}

// One like it has been tried.
bool Skyline::IsTwin(const std::vector<int>& blocks, std::size_t i) const {
  const Block& b = l_.blocks[blocks[i]];
  return std::any_of(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(i), [&](int other) {
    const Block& o = l_.blocks[other];
    return o.begin == b.begin && o.end == b.end && o.size == b.size;
  });
}

void Skyline::Save(int section) {
  trail_.push_back({section, height_[section], top_[section]});
  trail_causes_.insert(trail_causes_.end(), CauseOf(section), CauseOf(section) + words_);
}

void Skyline::Restore(std::size_t size) {
  while (trail_.size() > size) {
    const Before& b = trail_.back();
    height_[b.section] = b.height;
    top_[b.section] = b.top;
    std::copy(trail_causes_.end() - static_cast<std::ptrdiff_t>(words_), trail_causes_.end(), CauseOf(b.section));
    trail_causes_.resize(trail_causes_.size() - words_);
    trail_.pop_back();
  }
}

void Skyline::Explain(const Valley& v, Word* into) {
  for (int s = std::max(0, v.begin - 1); s < std::min(l_.sections, v.end + 1); ++s) {
    const Word* cause = CauseOf(s);
    for (std::size_t w = 0; w < words_; ++w) into[w] |= cause[w];
  }
}

}  // namespace stowage::packing
