// The places a problem's ties may go to, best first. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/solve/placement/prices.h"
#include "planner/solve/placement/row.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// The tied units at their homes.
void PlaceTies(const PlacementProblem& problem, const std::vector<Home>& homes, std::vector<UnitPlacement>& units);

// Every choice of one home per tie, by a lower bound that is at first what the ties take beside the best of the rest,
// wherever the ties are. A choice that comes up under that bound is bounded again: with the home's memory taken from
// the run on its device, between the best of what comes before and after it, and with the hops to and from the tied
// units.
class Homes {
 public:
  // kInvalidInput for too many ties. `problem` must outlive this. Start comes first.
  static Result<Homes> Of(const PlacementProblem& problem);

  // From the first choice on, under this limit of Tables, by host or not. kInfinite: no limit. `open`: Tables::open.
  void Start(Time limit, bool by_host, std::vector<char> open);

  // What remains, and what came before, wherever the ties are.
  const States& rest() const { return bounds_.rest; }
  const States& Progress() {
    FindProgress();
    return progress_;
  }

  // The next choice whose bound is below `below`; false when there is none.
  bool Next(Time below, std::vector<Home>& homes, Time& bound);

  // Of the choices that are left; under a limit, what Next finds is below `below`, but perhaps not the least.
  Time LeastBound() const { return heap_.empty() ? kInfinite : heap_.front().bound; }

  // At first the bounds look at no prices of host memory (prices.h), which is all there is to it where it has room.
  bool CanSharpen() const { return HasPrices(tables_) && !sharpened_; }
  const Prices& prices() const { return prices_; }
  // Tables::open for placements below `below` at the last choice.
  std::vector<char> Open(Time below);
  // The last choice comes up again, and all that are left under bounds with prices, and layers (layers.h).
  void Sharpen(Time below);

 private:
  struct Choice {
    Time bound = 0;
    bool refined = false;
    std::vector<int> homes;  // an index of homes_ for each tie
  };

  // The order of a heap whose top is the least bound, among equals the first choice.
  static bool Later(const Choice& a, const Choice& b);

  explicit Homes(const PlacementProblem& problem);
  Time Pinned(const Choice& c) const;
  Time Bounded(const Choice& c, Time rest) const;
  std::int64_t HostBytes(const ChainTie& tie, const Home& home) const;
  std::int64_t HostBytes(const Choice& c) const;
  Burden BurdenOf(const ChainTie& tie, const Home& home) const;
  void Refresh();
  void FindProgress();
  void FindHops(const ChainTie& tie, int device, std::vector<Time>& before, std::vector<Time>& after) const;
  Time Rest(std::size_t tie, int home);
  Time RestBeside(const ChainTie& tie, const Home& home) const;
  Time LeastOf(const double* before, const double* after, int layers) const;
  Time LayeredWay(int device, int begin, int end, Time run, int layers) const;

  const PlacementProblem* problem_;
  Tables tables_;  // relaxed: tied units take and cost nothing
  bool sharpened_ = false;
  Prices prices_;
  Bounds bounds_;
  bool has_progress_ = false;  // and skip_
  States progress_;
  Levels levels_;
  LayeredStates layered_rest_, layered_progress_;
  Time below_ = kInfinite;  // ways of the layers: what came before and what remains together
  std::vector<Time> skip_;  // [device]: the rest when the device computes nothing of it
  std::vector<Home> homes_;
  std::vector<Choice> all_;
  std::vector<std::vector<Time>> rest_;  // [tie][home]; -1: not known yet
  std::vector<Choice> heap_;
  Choice last_;
};

}  // namespace stowage::placement
