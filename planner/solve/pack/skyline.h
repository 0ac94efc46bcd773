// Do blocks with fixed lifetimes fit within a capacity? An exact search over skylines. Private to this folder.
//
// Blocks are put down bottom up. The skyline is what is taken in each section so far. A *valley* is a run of sections
// of one height between higher ones; whatever lies on its floor lies wholly inside it, since a block that also reaches
// over a wall cannot be lower than that wall:
//
//        | wall |                 | wall      a section of the valley: one of the blocks inside that cover it is on the
//        |      |_________________|           floor, or none is, and it is wasted up to where one could be next: the
//      __|        valley, floor               lower wall, or on top of the smallest block beside it
//
// One decision: which block of those lies on the floor at some section of some valley, or none. All blocks supported
// from below is enough (any packing can be pushed down), so a block on a floor that is not the top of another one is
// left out. Sections whose waste up to the wall exceeds their slack (capacity - floor - what is still to come) end the
// branch; sections that no block inside covers are wasted without a decision.
//
// Any section of any valley may be decided next: the one with the fewest choices is. And each dead end is explained by
// the decisions that shaped the valley it was in; decisions that no explanation names are not tried otherwise
// (conflict-directed backjumping, Prosser 1993). Lifetimes are intervals, so explanations are local, and parts of the
// timeline that do not touch do not multiply.
//
// Canonical bottom-up search with bounds by section is the idea of MiniMalloc (Moffitt, ASPLOS 2023); choosing among
// valleys, the bound by walls and the explanations are ours.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/pack/lifetimes.h"

namespace stowage::packing {

enum class Answer : std::uint8_t { kFits, kDoesNot, kOutOfSteps };

class Skyline {
 public:
  // `lifetimes` and `dead_ends` must outlive this. `rank`: of blocks that could lie on a floor, the lowest is tried
  // first. `dead_ends`, of each section: grows from run to run. A section is chosen as if it had so many times fewer
  // choices as its dead ends to the power of `exponent`.
  Skyline(const Lifetimes& lifetimes, std::int64_t capacity, std::vector<int> rank, double exponent,
          std::vector<double>& dead_ends);

  // Takes at most *steps decisions, which it subtracts. Once.
  Answer Search(std::int64_t* steps);

  const std::vector<std::int64_t>& offsets() const { return offset_; }  // units, of each block; after kFits

 private:
  using Word = std::uint64_t;
  struct Valley {
    int begin = 0, end = 0;
    std::int64_t floor = 0;
    std::int64_t wall = 0;  // the lower one; none: endless
  };
  struct Before {  // of a section, to take a change back
    int section;
    std::int64_t height, top;
  };
  struct Choice {
    int section = -1;
    Valley valley;
    std::vector<int> blocks;  // that may lie on the floor there
    std::int64_t next = 0;    // the least height at which one may be if none lies there
  };

  bool Solve(int level);
  bool Propagate(Choice& choice);
  void FindValleys();
  void CountInside();
  bool WasteOrChoose(Choice& choice, bool& wasted);
  void ListBlocks(Choice& choice) const;
  bool IsTwin(const std::vector<int>& blocks, std::size_t i) const;
  bool Try(int level, int block, const Choice& choice);
  bool Waste(int level, const Choice& choice);
  bool Blames(int level);
  void Blame(int section);

  void Save(int section);
  void Restore(std::size_t size);
  Word* CauseOf(int section) { return &cause_[static_cast<std::size_t>(section) * words_]; }
  void Explain(const Valley& v, Word* into);  // adds the decisions that shaped the valley and its walls

  const Lifetimes& l_;
  std::int64_t capacity_;
  std::vector<int> rank_;
  double exponent_;
  std::vector<double>& dead_ends_;
  std::vector<double> scale_;
  std::size_t words_;
  std::vector<std::int64_t> height_;  // of the skyline, [section]
  std::vector<std::int64_t> top_;     // of the last block there: below the height where space was wasted
  std::vector<std::int64_t> rest_;    // sizes still to come
  std::vector<Word> cause_;           // [section]: the levels whose decisions raised it
  std::vector<std::int64_t> offset_;  // -1: not placed
  std::size_t left_;
  std::int64_t* steps_ = nullptr;
  bool out_of_steps_ = false;
  std::vector<Word> conflict_;  // of the last dead end: levels
  std::vector<Before> trail_;
  std::vector<Word> trail_causes_;

  std::vector<Valley> valleys_;
  std::vector<int> valley_of_;        // a section; -1
  std::vector<int> covers_;           // [section]: blocks inside the valley that cover it
  std::vector<std::int64_t> inside_;  // their sizes
};

}  // namespace stowage::packing
