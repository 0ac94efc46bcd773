// What a run must stream, and what that takes at least. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// A way to stream what a run must: some units of all its kinds but the commonest from the host or the disk, and as many
// of the commonest as that leaves, from the disk. Each of these that comes from the host instead saves time.
struct Mix {
  std::int64_t host = 0;  // bytes
  Time time = 0;
  std::int64_t count = 0;  // of the commonest kind
};

// The units of a run that can be streamed, and the least price of streaming enough of them, without limits of host and
// disk. Exact as long as all kinds but the commonest have few units, so for a stack of equal blocks with what is before
// and after it; else the price of its bytes at the best rate.
class Cover {
 public:
  // `prices`: of streaming a unit of each kind.
  Cover(const Tables& t, int device, std::int64_t pinned_staging, const std::vector<Time>& prices)
      : t_(t), device_(device), pinned_(pinned_staging), prices_(prices) {}

  static bool Covers(const Tables& t, const std::vector<Time>& prices, int kind) {
    return kind >= 0 && t.kinds[kind].weights > 0 && prices[kind] < kNever;
  }

  // So many more units of the kind, which it covers, are in the run.
  void Add(int kind, int count);

  // `need`: bytes, without staging. Prices are at least 0.
  Time AtLeast(std::int64_t need);

  // The same by what comes from the host: appends every mix that is not worse than another in all. False: there are too
  // many.
  bool Mixes(std::int64_t need, std::vector<Mix>& mixes);
  int commonest() const { return size_ == 0 ? -1 : items_[common_].kind; }

 private:
  static constexpr std::size_t kMost = 6;
  static constexpr std::int64_t kMostWays = 32, kMostMixes = 64;
  struct Item {
    int kind = -1;
    int count = 0;
  };

  void CountWays();
  void Choose(std::size_t i, std::int64_t need, std::int64_t staging, Time price);
  void ChooseMix(std::size_t i, std::int64_t need, std::int64_t staging, Mix mix);
  void Keep(const Mix& mix);

  const Tables& t_;
  int device_;
  std::int64_t pinned_;
  const std::vector<Time>& prices_;
  std::int64_t bytes_ = 0;
  std::int64_t least_staging_ = kInfinite;
  double least_rate_ = 1e300;
  std::array<Item, kMost> items_;
  std::size_t size_ = 0;  // beyond kMost: too many
  std::size_t common_ = 0;
  bool exact_ = true, mixes_exact_ = true;
  Time best_ = kInfinite;
  std::vector<Mix>* mixes_ = nullptr;
  std::size_t first_mix_ = 0;
};

}  // namespace stowage::placement
