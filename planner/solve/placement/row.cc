#include "planner/solve/placement/row.h"

#include <algorithm>
#include <array>

namespace stowage::placement {
namespace {

// The least price of streaming a run, without limits of host and disk. Exact as long as all kinds but the commonest
// have few units, so for a stack of equal blocks with what is before and after it; else the price of its bytes at the
// best rate.
class Cover {
 public:
  Cover(const Tables& t, int device, std::int64_t pinned_staging) : t_(t), d_(device), pinned_(pinned_staging) {}

  // So many more units of the kind are in the run.
  void Add(int kind, int count) {
    const Kind& k = t_.kinds[kind];
    bytes_ += count * k.weights;
    least_staging_ = std::min(least_staging_, k.staging);
    least_rate_ = std::min(least_rate_, static_cast<double>(t_.stream[d_][kind]) / static_cast<double>(k.weights));
    if (size_ > kMost) return;
    if (size_ > 0 && items_[common_].kind == kind) {
      items_[common_].count += count;
      return;
    }
    std::size_t at = 0;
    while (at < size_ && items_[at].kind != kind) ++at;
    if (at == size_ && ++size_ > kMost) return;
    if (items_[at].kind != kind) items_[at] = {kind, 0};
    if ((items_[at].count += count) > items_[common_].count) common_ = at;
    std::int64_t ways = 1;
    for (std::size_t i = 0; i < size_; ++i) {
      if (i != common_) ways *= items_[i].count + 1;
    }
    exact_ = ways <= kMostWays;
  }

  // `need`: without staging.
  Time AtLeast(std::int64_t need) {
    if (bytes_ == 0) return kInfinite;
    if (size_ <= kMost && exact_) {
      best_ = kInfinite;
      Choose(0, need, pinned_, 0);
      return best_;
    }
    need += std::max<std::int64_t>(0, least_staging_ - pinned_);
    if (need > bytes_) return kInfinite;
    return static_cast<Time>(static_cast<double>(need) * least_rate_ * (1 - 1e-12));
  }

 private:
  static constexpr std::size_t kMost = 6;
  static constexpr std::int64_t kMostWays = 32;
  struct Item {
    int kind = -1;
    int count = 0;
  };

  // Every number of units of each kind but the commonest, of which then as many as are needed.
  void Choose(std::size_t i, std::int64_t need, std::int64_t staging, Time price) {
    if (i == common_) ++i;
    if (i < size_) {
      const Kind& k = t_.kinds[items_[i].kind];
      Choose(i + 1, need, staging, price);
      for (int m = 1; m <= items_[i].count; ++m) {
        Choose(i + 1, need - m * k.weights, std::max(staging, k.staging), price + m * t_.stream[d_][items_[i].kind]);
      }
      return;
    }
    const std::int64_t least = need + staging - pinned_;
    if (least <= 0) {
      best_ = std::min(best_, price);
      return;
    }
    const Kind& k = t_.kinds[items_[common_].kind];
    const std::int64_t more = need + std::max(staging, k.staging) - pinned_;
    const std::int64_t m = (more + k.weights - 1) / k.weights;
    if (m <= items_[common_].count) best_ = std::min(best_, price + m * t_.stream[d_][items_[common_].kind]);
  }

  const Tables& t_;
  int d_;
  std::int64_t pinned_;
  std::int64_t bytes_ = 0;
  std::int64_t least_staging_ = kInfinite;
  double least_rate_ = 1e300;
  std::array<Item, kMost> items_;
  std::size_t size_ = 0;  // beyond kMost: too many
  std::size_t common_ = 0;
  bool exact_ = true;
  Time best_ = kInfinite;
};

// Units that a run's bound cannot tell apart.
bool Alike(const Tables& t, int device, int a, int b) {
  return t.kind_of[a] == t.kind_of[b] && t.weights[a] == t.weights[b] && t.state[a] == t.state[b] &&
         t.transient[a] == t.transient[b] && (t.compute[device][a] < kNever) == (t.compute[device][b] < kNever);
}

}  // namespace

RunRow::RunRow(const Tables& t, int device, const Burden& more)
    : t_(t), device_(device), staging_(std::max(t.pinned_staging[device], more.staging)) {
  budget_ = t.budget[device] - staging_;
  // kLatency: the search starts with all pinned times.
  start_ = t.latency() || t.memory() ? 0 : t.pinned_time[device] + more.time;
  before_ = t.before[device].data();
  inner_ = t.inner[device].data();
  common_.assign(t.n + 1, 0);
  for (int i = t.n - 2; i >= 0; --i) common_[i] = Alike(t, device, i, i + 1) ? common_[i + 1] + 1 : 0;
  at_.resize(t.n + 1);
  at_[0].state = t.fixed[device] + more.bytes;
  at_[0].transient = std::max(t.pinned_transient[device], more.transient);
}

void RunRow::MoveTo(int begin) {
  if (begin == begin_) return;
  const int common = begin == begin_ - 1 ? common_[begin] : begin == begin_ + 1 ? common_[begin_] : 0;
  const bool ended = ended_ && valid_ < common;  // what stopped the run is in the common part
  begin_ = begin;
  base_ = t_.memory() ? 0 : start_ - before_[begin] - inner_[begin + 1];
  if (ended) return;
  valid_ = std::min(valid_, common);
  resident_ = std::min(resident_, common);
  ended_ = false;
  if (!TooLong()) Extend();
}

int RunRow::EndWithin(Time most) const {
  int low = begin_, high = last();
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (At(middle) <= most) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Works out the lengths after valid_.
void RunRow::Extend() {
  Cover cover(t_, device_, staging_);
  const auto covers = [&](int k) { return k >= 0 && t_.kinds[k].weights > 0 && t_.stream[device_][k] < kNever; };
  if (t_.kinds.size() < static_cast<std::size_t>(valid_)) {
    for (int k = 0; k < static_cast<int>(t_.kinds.size()); ++k) {
      const int count = t_.Count(k, begin_, begin_ + valid_);
      if (count > 0 && covers(k)) cover.Add(k, count);
    }
  } else {
    for (int u = begin_; u < begin_ + valid_; ++u) {
      if (covers(t_.kind_of[u])) cover.Add(t_.kind_of[u], 1);
    }
  }
  for (int u = begin_ + valid_; u < t_.n; ++u) {
    const int k = t_.kind_of[u];
    ended_ = t_.compute[device_][u] >= kNever;
    if (ended_) return;
    Length now = at_[valid_];
    now.state += t_.state[u];
    now.transient = std::max(now.transient, t_.transient[u]);
    now.weights += t_.weights[u];
    if (covers(k)) {
      cover.Add(k, 1);
    } else {
      now.stuck += t_.weights[u];
    }
    const std::int64_t free = budget_ - now.state - now.transient;
    ended_ = free < now.stuck;
    if (ended_) return;
    if (t_.memory()) {
      now.resident = now.resident && now.stuck == now.weights;
      now.streamed = now.state + now.transient + staging_ + now.stuck;
    } else {
      now.resident = now.weights <= free;
      // A longer run streams no less; the bound of its bytes might say so.
      now.streamed = now.resident ? 0 : std::max(now.streamed, cover.AtLeast(now.weights - free));
    }
    at_[++valid_] = now;
    if (now.resident) resident_ = valid_;
    if (TooLong()) return;
  }
}

}  // namespace stowage::placement
