#include "planner/solve/placement/row.h"

#include <algorithm>

#include "planner/solve/placement/cover.h"

namespace stowage::placement {

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
  if (t.by_host) streams_.resize(t.n + 1);
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

std::int64_t RunRow::LeastHost(const Streams& s, Time room) const {
  if (s.count >= 0) {
    std::int64_t least = kInfinite;
    for (int i = s.first; i < s.first + s.count; ++i) least = std::min(least, s.HostOf(mixes_[i], room));
    return least;
  }
  if (s.time <= room) return s.least;
  if (s.rate <= 0) return kInfinite;
  return std::max(s.least, static_cast<std::int64_t>(static_cast<double>(s.time - room) / s.rate * (1 - 1e-12)));
}

// Of a run of this length, which must stream `need`. `cover`: at the disk's prices.
RunRow::Streams RunRow::StreamsOf(const Streams& shorter, int kind, std::int64_t need, Cover& cover) {
  Streams s = shorter;
  s.first = shorter.first + std::max(0, shorter.count);
  if (Cover::Covers(t_, t_.stream[device_], kind)) {
    const Kind& k = t_.kinds[kind];
    const Time host = k.host[device_], disk = k.disk[device_];
    if (host < disk && disk < kNever)
      s.rate = std::max(s.rate, static_cast<double>(disk - host) / static_cast<double>(k.weights));
  }
  if (need <= 0) {
    mixes_.emplace_back();
  } else if (!cover.Mixes(need, mixes_)) {
    s.time = std::max(shorter.time, cover.AtLeast(need));
    if (t_.disk_room == 0) s.least = std::max<std::int64_t>(s.least, need);
    s.count = -1;
    return s;
  }
  s.count = static_cast<int>(mixes_.size()) - s.first;
  if (const int common = cover.commonest(); need > 0 && common >= 0) {
    const Kind& k = t_.kinds[common];
    s.bytes = k.weights;
    s.saved = k.host[device_] < kNever && k.disk[device_] < kNever ? k.disk[device_] - k.host[device_] : 0;
  }
  return s;
}

void RunRow::Extend() {
  const std::vector<Time>& prices = t_.stream[device_];
  Cover cover(t_, device_, staging_, prices), disk_cover(t_, device_, staging_, t_.disk_stream[device_]);
  if (t_.by_host) mixes_.resize(streams_[valid_].first + std::max(0, streams_[valid_].count));
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
      streams_[valid_ + 1] = StreamsOf(streams_[valid_], k, now.weights - room, disk_cover);
    }
    at_[++valid_] = now;
    streamed_[valid_] = streamed;
    if (now.resident) resident_ = valid_;
    if (TooLong()) return;
  }
}

}  // namespace stowage::placement
