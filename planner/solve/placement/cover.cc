#include "planner/solve/placement/cover.h"

#include <algorithm>

namespace stowage::placement {
namespace {

// What a unit of the kind saves when it comes from the host instead of the disk; 0: nothing, or it cannot.
Time SavedByHost(const Kind& k, int device) {
  return k.host[device] < kNever && k.disk[device] < kNever ? std::max<Time>(0, k.disk[device] - k.host[device]) : 0;
}

}  // namespace

void Cover::Add(int kind, int count) {
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
  CountWays();
}

void Cover::CountWays() {
  std::int64_t ways = 1, mixes = 1;
  for (std::size_t i = 0; i < size_; ++i) {
    if (i == common_) continue;
    const std::int64_t count = items_[i].count;
    const bool either = SavedByHost(t_.kinds[items_[i].kind], device_) > 0;
    ways = std::min(ways * (count + 1), kMostWays + 1);
    mixes = std::min(mixes * (either ? (count + 1) * (count + 2) / 2 : count + 1), kMostMixes + 1);
  }
  exact_ = ways <= kMostWays;
  mixes_exact_ = mixes <= kMostMixes;
}

Time Cover::AtLeast(std::int64_t need) {
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

// Every number of units of each kind but the commonest, of which then as many as are needed.
void Cover::Choose(std::size_t i, std::int64_t need, std::int64_t staging, Time price) {
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

bool Cover::Mixes(std::int64_t need, std::vector<Mix>& mixes) {
  if (size_ == 0) return true;
  if (size_ > kMost || !mixes_exact_) return false;
  mixes_ = &mixes;
  first_mix_ = mixes.size();
  ChooseMix(0, need, pinned_, {});
  return true;
}

// As Choose, and from where each comes.
void Cover::ChooseMix(std::size_t i, std::int64_t need, std::int64_t staging, Mix mix) {
  if (i == common_) ++i;
  const bool last = i >= size_;
  const Item& item = items_[last ? common_ : i];
  const Kind& k = t_.kinds[item.kind];
  const bool from_disk = k.disk[device_] < kNever;
  if (!last) {
    ChooseMix(i + 1, need, staging, mix);
    const bool either = SavedByHost(k, device_) > 0;
    for (int m = 1; m <= item.count; ++m) {
      for (int host = from_disk ? 0 : m; host <= (either || !from_disk ? m : 0); ++host) {
        const Time time = host * k.host[device_] + (m > host ? (m - host) * k.disk[device_] : 0);
        ChooseMix(i + 1, need - m * k.weights, std::max(staging, k.staging),
                  {mix.host + host * k.weights, mix.time + time, 0});
      }
    }
    return;
  }
  if (need + staging - pinned_ > 0) {
    const std::int64_t more = need + std::max(staging, k.staging) - pinned_;
    mix.count = (more + k.weights - 1) / k.weights;
    if (mix.count > item.count) return;
    mix.time += mix.count * (from_disk ? k.disk[device_] : k.host[device_]);
    if (!from_disk) mix.host += mix.count * k.weights;
  }
  Keep(mix);
}

void Cover::Keep(const Mix& mix) {
  const Time saved = SavedByHost(t_.kinds[items_[common_].kind], device_);
  const auto no_worse = [saved](const Mix& a, const Mix& b) {
    return a.host <= b.host && a.time <= b.time && a.time - a.count * saved <= b.time - b.count * saved;
  };
  const auto first = mixes_->begin() + static_cast<std::ptrdiff_t>(first_mix_);
  if (std::any_of(first, mixes_->end(), [&](const Mix& m) { return no_worse(m, mix); })) return;
  mixes_->erase(std::remove_if(first, mixes_->end(), [&](const Mix& m) { return no_worse(mix, m); }), mixes_->end());
  mixes_->push_back(mix);
}

}  // namespace stowage::placement
