#include "planner/solve/placement/row.h"

#include <algorithm>
#include <array>

namespace stowage::placement {

// The least price of streaming a run, without limits of host and disk. Exact as long as all kinds but the commonest
// have few units, so for a stack of equal blocks with what is before and after it; else the price of its bytes at the
// best rate.
class RunRow::Cover {
 public:
  Cover(const Tables& t, std::int64_t pinned_staging, const std::vector<Time>& prices)
      : t_(t), pinned_(pinned_staging), prices_(prices) {}

  static bool Covers(const Tables& t, const std::vector<Time>& prices, int kind) {
    return kind >= 0 && t.kinds[kind].weights > 0 && prices[kind] < kNever;
  }

  // So many more units of the kind are in the run.
  void Add(int kind, int count) {
    const Kind& k = t_.kinds[kind];
    bytes_ += count * k.weights;
    least_staging_ = std::min(least_staging_, k.staging);
    least_rate_ = std::min(least_rate_, static_cast<double>(prices_[kind]) / static_cast<double>(k.weights));
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
        Choose(i + 1, need - m * k.weights, std::max(staging, k.staging), price + m * prices_[items_[i].kind]);
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
    if (m <= items_[common_].count) best_ = std::min(best_, price + m * prices_[items_[common_].kind]);
  }

  const Tables& t_;
  std::int64_t pinned_;
  const std::vector<Time>& prices_;  // of streaming a unit of each kind
  std::int64_t bytes_ = 0;
  std::int64_t least_staging_ = kInfinite;
  double least_rate_ = 1e300;
  std::array<Item, kMost> items_;
  std::size_t size_ = 0;  // beyond kMost: too many
  std::size_t common_ = 0;
  bool exact_ = true;
  Time best_ = kInfinite;
};

namespace {

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
  streamed_.assign(t.n + 1, 0);
  if (t.memory()) FindLevels();
  if (t.by_host) from_disk_.resize(t.n + 1);
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
void RunRow::FindLevels() {
  constexpr std::size_t kMostLevels = 8;
  levels_ = {staging_};
  for (std::size_t k = 0; k < t_.kinds.size(); ++k) {
    if (Cover::Covers(t_, t_.stream[device_], static_cast<int>(k)))
      levels_.push_back(std::max(staging_, t_.kinds[k].staging));
  }
  std::sort(levels_.begin(), levels_.end());
  levels_.erase(std::unique(levels_.begin(), levels_.end()), levels_.end());
  if (levels_.size() > kMostLevels) levels_.clear();
  kept_.assign(levels_.size() * (t_.n + 1), 0);
}

// Staging and resident weights of the run one longer than valid_, by a unit of this kind: the least over the levels.
std::int64_t RunRow::LeastKept(int kind) {
  const bool streams = Cover::Covers(t_, t_.stream[device_], kind);
  const std::size_t shorter = valid_ * levels_.size(), longer = shorter + levels_.size();
  std::int64_t least = kInfinite;
  for (std::size_t l = 0; l < levels_.size(); ++l) {
    const bool resident = kind >= 0 && !(streams && t_.kinds[kind].staging <= levels_[l]);
    kept_[longer + l] = kept_[shorter + l] + (resident ? t_.kinds[kind].weights : 0);
    least = std::min(least, levels_[l] + kept_[longer + l]);
  }
  return least;
}

std::int64_t RunRow::HostAt(int end, Time hop) const {
  const FromDisk& f = from_disk_[end - begin_];
  std::int64_t least = f.least;
  if (!t_.memory()) {
    const Time over = base_ + Tail(end) + f.time + hop - t_.limit;
    if (over > 0 && f.rate <= 0) return kInfinite;
    if (over > 0) least = std::max(least, static_cast<std::int64_t>(static_cast<double>(over) / f.rate * (1 - 1e-12)));
  }
  return f.unit <= 1 ? least : (least + f.unit - 1) / f.unit * f.unit;
}

// What `cover`, at the disk's prices, and the units of the run say of a run of this length, which must stream `need`.
RunRow::FromDisk RunRow::Extended(const FromDisk& shorter, int kind, std::int64_t need, Cover& cover) const {
  FromDisk f = shorter;
  if (Cover::Covers(t_, t_.stream[device_], kind)) {
    const Kind& k = t_.kinds[kind];
    const Time host = k.host[device_], disk = k.disk[device_];
    if (host < disk && disk < kNever)
      f.rate = std::max(f.rate, static_cast<double>(disk - host) / static_cast<double>(k.weights));
    f.unit = f.unit == 0 || f.unit == k.weights ? k.weights : 1;
  }
  f.time = need <= 0 ? 0 : std::max(shorter.time, cover.AtLeast(need));
  if (t_.disk_room == 0) f.least = std::max<std::int64_t>(f.least, need);
  return f;
}

void RunRow::Extend() {
  const std::vector<Time>& prices = t_.stream[device_];
  Cover cover(t_, staging_, prices), disk_cover(t_, staging_, t_.disk_stream[device_]);
  const auto add = [&](int k, int count) {
    if (!Cover::Covers(t_, prices, k)) return;
    cover.Add(k, count);
    if (t_.by_host) disk_cover.Add(k, count);
  };
  if (t_.kinds.size() < static_cast<std::size_t>(valid_)) {
    for (int k = 0; k < static_cast<int>(t_.kinds.size()); ++k) {
      if (const int count = t_.Count(k, begin_, begin_ + valid_); count > 0) add(k, count);
    }
  } else {
    for (int u = begin_; u < begin_ + valid_; ++u) add(t_.kind_of[u], 1);
  }
  for (int u = begin_ + valid_; u < t_.n; ++u) {
    const int k = t_.kind_of[u];
    ended_ = t_.compute[device_][u] >= kNever;
    if (ended_) return;
    Length now = at_[valid_];
    now.state += t_.state[u];
    now.transient = std::max(now.transient, t_.transient[u]);
    now.weights += t_.weights[u];
    add(k, 1);
    if (!Cover::Covers(t_, prices, k)) now.stuck += t_.weights[u];
    const std::int64_t free = budget_ - now.state - now.transient;
    ended_ = free < now.stuck;
    if (ended_) return;
    Time streamed = 0;
    if (t_.memory()) {
      now.resident = now.resident && now.stuck == now.weights;
      streamed = now.state + now.transient + (levels_.empty() ? staging_ + now.stuck : LeastKept(k));
    } else {
      now.resident = now.weights <= free;
      // A longer run streams no less; the bound of its bytes might say so.
      streamed = now.resident ? 0 : std::max(streamed_[valid_], cover.AtLeast(now.weights - free));
    }
    if (t_.by_host) {
      const std::int64_t room = t_.memory() ? std::min(free, t_.limit - staging_ - now.state - now.transient) : free;
      from_disk_[valid_ + 1] = Extended(from_disk_[valid_], k, now.weights - room, disk_cover);
    }
    at_[++valid_] = now;
    streamed_[valid_] = streamed;
    if (now.resident) resident_ = valid_;
    if (TooLong()) return;
  }
}

}  // namespace stowage::placement
