#include "planner/solve/placement/run.h"

#include <algorithm>
#include <cmath>

namespace stowage::placement {
namespace {

// The knapsack of one run for one allowance of staging: kinds are tried in the order of their price per byte, most
// streamed first, so the first leaf is the greedy cover.
class Knapsack {
 public:
  Knapsack(const Tables& t, int device, int begin, int end, const RunLimits& limits, std::vector<RunOption>& options,
           std::int64_t* nodes)
      : t_(t), d_(device), begin_(begin), end_(end), limits_(limits), options_(options), nodes_(nodes) {
    std::int64_t state = t.fixed[d_], transient = t.pinned_transient[d_];
    for (int u = begin; u < end; ++u) {
      state += t.state[u];
      transient = std::max(transient, t.transient[u]);
      all_weights_ += t.weights[u];
    }
    used_ = state + transient;
    free_ = t.budget[d_] - used_;
    base_ = (t.latency() ? 0 : t.pinned_time[d_]) + t.before[d_][end] - t.before[d_][begin] + t.inner[d_][end] -
            t.inner[d_][begin + 1];
    single_ = (!t.host_binds || t.disk_first) && !t.disk_binds;
    steps_left_ = limits.nodes;
  }

  bool Run() {
    std::vector<std::int64_t> levels = {t_.pinned_staging[d_]};
    for (std::size_t k = 0; k < t_.kinds.size(); ++k) {
      if (t_.Count(static_cast<int>(k), begin_, end_) > 0 && t_.kinds[k].staging > levels[0]) {
        levels.push_back(t_.kinds[k].staging);
      }
    }
    std::sort(levels.begin(), levels.end());
    levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
    for (const std::int64_t level : levels) {
      if (level > free_) break;
      AtLevel(level);
      if (cut_) break;
    }
    if (single_ && best_.value < kInfinite) options_.push_back(best_);
    return !cut_;
  }

 private:
  struct Item {
    int kind;
    int count;
    std::int64_t weights;
    double rate;  // price per byte
  };

  void AtLevel(std::int64_t staging) {
    items_.clear();
    for (std::size_t k = 0; k < t_.kinds.size(); ++k) {
      const int count = t_.Count(static_cast<int>(k), begin_, end_);
      const Kind& kind = t_.kinds[k];
      if (count == 0 || kind.weights == 0 || kind.staging > staging || t_.stream[d_][k] >= kNever) continue;
      items_.push_back({static_cast<int>(k), count, kind.weights,
                        static_cast<double>(t_.stream[d_][k]) / static_cast<double>(kind.weights)});
    }
    std::sort(items_.begin(), items_.end(),
              [](const Item& a, const Item& b) { return a.rate != b.rate ? a.rate < b.rate : a.weights > b.weights; });
    room_.assign(items_.size() + 1, 0);
    for (std::size_t i = items_.size(); i-- > 0;) room_[i] = room_[i + 1] + items_[i].weights * items_[i].count;
    staging_ = staging;
    current_ = {};
    current_.disk_kinds = limits_.disk_kinds;
    Choose(0, all_weights_ - (free_ - staging));
  }

  double Fractional(std::size_t i, std::int64_t need) const {
    double price = 0;
    for (; i < items_.size() && need > 0; ++i) {
      const std::int64_t taken = std::min(need, items_[i].weights * items_[i].count);
      price += items_[i].rate * static_cast<double>(taken);
      need -= taken;
    }
    return price;
  }

  // Streams at least `need` bytes with the items from i on.
  void Choose(std::size_t i, std::int64_t need) {
    ++*nodes_;
    if (--steps_left_ < 0) cut_ = true;
    if (cut_) return;
    if (t_.memory() ? i == items_.size() && need <= 0 : need <= 0) return Emit(need);
    if (i == items_.size() || need > room_[i]) return;
    if (single_ && !t_.memory()) {
      const double bound = Fractional(i, need) * (1 - 1e-12);
      if (static_cast<double>(current_.value) + std::floor(bound) >= static_cast<double>(best_streamed_)) return;
    } else if (!t_.memory() && limits_.cap < kInfinite) {
      const double bound = Fractional(i, need) * (1 - 1e-12) - 1;
      const Time price = base_ + current_.value + current_.priced;
      if (static_cast<double>(price) + bound >= static_cast<double>(limits_.cap)) return;
    }
    const Item& item = items_[i];
    std::int64_t most = item.count;
    if (!t_.memory()) most = std::min(most, (need + item.weights - 1) / item.weights);
    for (std::int64_t m = most; m >= 0 && need - m * item.weights <= room_[i + 1]; --m) {
      Split(i, need - m * item.weights, m);
      if (cut_ || (single_ && t_.memory())) return;  // without limits, what can be streamed is
    }
  }

  // m units of item i: which of them on the host, which on the disk.
  void Split(std::size_t i, std::int64_t need, std::int64_t m) {
    const Kind& kind = t_.kinds[items_[i].kind];
    const Time host = kind.host[d_], disk = kind.disk[d_];
    const std::uint64_t bit = kind.host_first ? std::uint64_t{1} << items_[i].kind : 0;
    std::int64_t most = m, least = 0;
    if (host >= kNever || (current_.disk_kinds & bit) != 0) most = 0;
    if (disk >= kNever) least = m;
    if (t_.host_binds) most = std::min(most, (limits_.host_room - current_.host) / kind.weights);
    if (t_.disk_binds) least = std::max(least, m - (limits_.disk_room - current_.disk) / kind.weights);
    if (single_ && least <= most) (host <= disk ? least : most) = host <= disk ? most : least;
    for (std::int64_t x = most; x >= least; --x) {
      if (x < m && bit != 0 && WastesHost(kind, items_[i].kind, x)) break;
      const RunOption saved = Saved();
      current_.value += x * host + (m - x) * disk;
      current_.host += x * kind.weights;
      current_.priced += x * t_.HostPrice(items_[i].kind);
      current_.disk += (m - x) * kind.weights;
      if (x < m) current_.disk_kinds |= bit;
      if (m > 0) current_.picks.push_back({items_[i].kind, static_cast<int>(x), static_cast<int>(m - x)});
      Choose(i + 1, need);
      if (m > 0) current_.picks.pop_back();
      current_.value = saved.value;
      current_.host = saved.host;
      current_.disk = saved.disk;
      current_.priced = saved.priced;
      current_.disk_kinds = saved.disk_kinds;
      if (cut_) return;
    }
  }
  RunOption Saved() const {
    return {current_.value, current_.host, current_.disk, current_.priced, current_.disk_kinds, {}};
  }

  // A unit of the kind goes to the disk although, whatever else may still come, the host has room for one more.
  bool WastesHost(const Kind& kind, int id, std::int64_t host_units) const {
    // Later units of this kind stay off the host, but those that the CPU computes.
    std::int64_t others = t_.host_after[begin_];
    bool cpu = false;
    for (int u = begin_; u < t_.n && !cpu; ++u) cpu = t_.kind_of[u] == id && t_.compute[t_.devices][u] < kNever;
    if (!cpu) others -= static_cast<std::int64_t>(t_.Count(id, begin_, t_.n)) * kind.weights;
    return others + (host_units + 1) * kind.weights <= limits_.host_room;
  }

  void Emit(std::int64_t need) {
    RunOption o = current_;
    if (t_.memory()) {
      // need = resident weights - (free - staging)
      o.value = used_ + need + free_;
    } else {
      o.value = base_ + current_.value;
    }
    if (!single_) {
      options_.push_back(std::move(o));
    } else if (o.value < best_.value) {
      best_streamed_ = current_.value;
      best_ = std::move(o);
    }
  }

  const Tables& t_;
  int d_, begin_, end_;
  const RunLimits& limits_;
  std::vector<RunOption>& options_;
  std::int64_t* nodes_;
  std::int64_t all_weights_ = 0, used_ = 0, free_ = 0, staging_ = 0;
  Time base_ = 0;
  bool single_ = true;
  bool cut_ = false;
  std::int64_t steps_left_ = 0;
  std::vector<Item> items_;
  std::vector<std::int64_t> room_;  // bytes that the items from i on can stream
  RunOption current_;               // value: the streaming alone
  RunOption best_{kInfinite, 0, 0, 0, 0, {}};
  Time best_streamed_ = kInfinite;
};

}  // namespace

bool SolveRun(const Tables& t, int device, int begin, int end, const RunLimits& limits, std::vector<RunOption>& options,
              std::int64_t* nodes) {
  return Knapsack(t, device, begin, end, limits, options, nodes).Run();
}

}  // namespace stowage::placement
