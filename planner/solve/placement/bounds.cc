#include "planner/solve/placement/bounds.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace stowage::placement {
namespace {

void Lower(Time& least, Time value) { least = std::min(least, value); }

// Under a limit, of the runs that begin at one unit of a device after the other: the last end that keeps it, and the last
// up to which it is kept for nothing. From some unit on they move along with the beginning.
class Ends {
 public:
  Ends(const Tables& t, int device) : t_(t), device_(device), from_(t.by_host ? t.shrink_from : t.alike_from) {}

  // The least of all runs [i, end) and what remains; for one i after the other, downwards. Where less is to be done,
  // less is needed. So of the ends that cost nothing the last one is best, and none is of use beyond one that costs more
  // than all.
  Time Rest(int i, const RunRow& row, const States& rest) {
    Find(i, row);
    Time best = free_ > i ? *rest.Gpu(device_, free_) : kInfinite;
    for (int e = std::max(free_, i) + 1; e <= last_; ++e) {
      const Time more = Count(t_, row, device_, i, e);
      if (free_ >= 0 && more >= best) break;
      if (more < best) Lower(best, Join(t_, more, *rest.Gpu(device_, e)));
    }
    return best;
  }

  // All runs [i, end), after what came before them.
  void Progress(int i, const RunRow& row, States& progress) {
    const Time enter = *progress.Enter(device_, i);
    if (enter >= kInfinite) return;
    Find(i, row);
    for (int e = i + 1; e <= last_; ++e) {
      Time& after = *progress.Gpu(device_, e);
      if (enter < after) Lower(after, e <= free_ ? enter : Join(t_, enter, Count(t_, row, device_, i, e)));
    }
  }

 private:
  // free_ < 0: not known.
  void Find(int i, const RunRow& row) {
    last_ = LastEnd(t_, row, device_, i);
    free_ = -1;
    if (i < from_) return;
    int low = i, high = last_;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (Count(t_, row, device_, i, middle) > 0) {
        high = middle - 1;
      } else {
        low = middle;
      }
    }
    free_ = low;
  }

  const Tables& t_;
  int device_;
  int from_;
  int last_ = 0, free_ = -1;
};

// `tail`: [end]: what a run that ends there adds wherever it began, and the rest.
Time EnterRest(const Tables& t, int q, int i, const RunRow& row, const std::vector<Time>& tail, const States& rest) {
  Time best = kInfinite;
  if (t.latency()) {
    const Time* streamed = row.Streamed();
    const Time* ended = &tail[i];
    for (int length = 1; length <= row.last() - i; ++length) Lower(best, streamed[length] + ended[length]);
    if (best < kInfinite) best += row.Base();
  } else {
    const Time hop = t.memory() ? 0 : t.least_hop[q][i];
    for (int e = i + 1; e <= row.last(); ++e) Lower(best, std::max(row.At(e) + hop, *rest.Gpu(q, e)));
  }
  return std::min(best, kInfinite);
}

// Unit i's other states, once those of all devices that start with it are known.
void Leave(const Tables& t, int i, States& rest) {
  const int cpu = t.devices;
  const Time on_cpu = OnCpu(t, i);
  Time any = kInfinite;  // into the devices after p, from the CPU
  for (int p = cpu - 1; p >= -1; --p) {
    if (p + 1 < cpu) Lower(any, Join(t, HopInto(t, cpu, p + 1, i), *rest.Enter(p + 1, i)));
    Time from_cpu = any, from_gpu = any;
    if (p >= 0 && !HopsAlikeFrom(t, p, i)) {
      from_gpu = kInfinite;
      for (int q = p + 1; q < cpu; ++q) Lower(from_gpu, Join(t, HopInto(t, p, q, i), *rest.Enter(q, i)));
    }
    if (on_cpu < kInfinite) {
      const Time more = Join(t, on_cpu, *rest.Cpu(p, i + 1));
      Lower(from_cpu, Join(t, HopInto(t, cpu, cpu, i), more));
      if (p >= 0) Lower(from_gpu, Join(t, HopInto(t, p, cpu, i), more));
    }
    *rest.Cpu(p, i) = from_cpu;
    if (p >= 0) *rest.Gpu(p, i) = from_gpu;
  }
}

// The devices about to start with unit i, given the states up to there.
void Arrive(const Tables& t, int i, States& progress) {
  const int cpu = t.devices;
  Time any = *progress.Cpu(-1, i);  // after the devices before q
  for (int q = 0; q < cpu; ++q) {
    Time& enter = *progress.Enter(q, i);
    const bool alike = HopsAlikeInto(t, q, i);
    if (alike) enter = Join(t, HopInto(t, cpu, q, i), any);
    for (int p = -1; p < q && !alike; ++p) {
      Lower(enter, Join(t, HopInto(t, cpu, q, i), *progress.Cpu(p, i)));
      if (p >= 0) Lower(enter, Join(t, HopInto(t, p, q, i), *progress.Gpu(p, i)));
    }
    any = std::min({any, *progress.Cpu(q, i), *progress.Gpu(q, i)});
  }
}

void RunOn(const Tables& t, int q, int i, const RunRow& row, States& progress) {
  const Time enter = *progress.Enter(q, i);
  if (enter >= kInfinite) return;
  for (int e = i + 1; e <= row.last(); ++e) {
    if (enter < *progress.Gpu(q, e) || !t.sums()) Lower(*progress.Gpu(q, e), Join(t, enter, Count(t, row, q, i, e)));
  }
}

}  // namespace

bool AnyOpen(const Tables& t, const RunRow& row, int i) {
  if (t.open.empty()) return true;
  for (int q = row.device(); q < t.devices; ++q) {
    if (t.device_class[q] == row.device() && t.Open(q, i)) return true;
  }
  return false;
}

std::vector<char> OpenStates(const Tables& t, const States& before, const States& rest, Time below) {
  std::vector<char> open(static_cast<std::size_t>(t.devices) * (t.n + 1), 0);
  for (int q = 0; q < t.devices; ++q) {
    for (int i = 0; i < t.n; ++i) {
      open[q * (t.n + 1) + i] = Join(t, *before.Enter(q, i), *rest.Enter(q, i)) < below ? 1 : 0;
    }
  }
  return open;
}

bool HopsAlikeFrom(const Tables& t, int p, int i) {
  if (!t.latency() || t.hops_alike[i] != 0) return true;
  for (int q = p + 1; q < t.devices; ++q) {
    if (HopInto(t, p, q, i) != HopInto(t, t.devices, q, i)) return false;
  }
  return true;
}

bool HopsAlikeInto(const Tables& t, int q, int i) {
  if (!t.latency() || t.hops_alike[i] != 0) return true;
  for (int p = 0; p < q; ++p) {
    if (HopInto(t, p, q, i) != HopInto(t, t.devices, q, i)) return false;
  }
  return true;
}

std::vector<RunRow> RowsOf(const Tables& t) {
  std::vector<RunRow> rows;
  rows.reserve(t.devices);
  for (int d = 0; d < t.devices; ++d) {
    if (t.device_class[d] == d) rows.emplace_back(t, d);
  }
  return rows;
}

std::vector<Time> TailsOf(const Tables& t, int q, const States& rest) {
  std::vector<Time> tails;
  for (int e = 0; e <= t.n; ++e) {
    tails.push_back(std::min(kInfinite, t.before[q][e] + t.inner[q][e] + *rest.Gpu(q, e)));
  }
  return tails;
}

States MakeRest(const Tables& t) {
  const int d = t.devices, n = t.n;
  States rest(d, n, 1, kInfinite);
  std::vector<std::vector<Time>> tail(d, std::vector<Time>(n + 1, kInfinite));
  for (int p = -1; p < d; ++p) {
    *rest.Cpu(p, n) = 0;
    if (p >= 0) *rest.Gpu(p, n) = 0;
  }
  std::vector<RunRow> rows = RowsOf(t);
  for (int i = n - 1; i >= 0; --i) {
    for (int q = 0; q < d; ++q) {
      tail[q][i + 1] = std::min(kInfinite, t.before[q][i + 1] + t.inner[q][i + 1] + *rest.Gpu(q, i + 1));
    }
    for (RunRow& row : rows) {
      if (!AnyOpen(t, row, i)) continue;
      row.MoveTo(i);
      for (int q = row.device(); q < d; ++q) {
        if (t.device_class[q] != row.device() || !t.Open(q, i)) continue;
        *rest.Enter(q, i) = t.limited() ? Ends(t, q).Rest(i, row, rest) : EnterRest(t, q, i, row, tail[q], rest);
      }
    }
    Leave(t, i, rest);
  }
  return rest;
}

States MakeProgress(const Tables& t) {
  const int d = t.devices;
  States progress(d, t.n, 1, kInfinite);
  *progress.Cpu(-1, 0) = 0;
  std::vector<RunRow> rows = RowsOf(t);
  for (int i = 0; i < t.n; ++i) {
    Arrive(t, i, progress);
    for (RunRow& row : rows) {
      if (!AnyOpen(t, row, i)) continue;
      row.MoveTo(i);
      for (int q = row.device(); q < d; ++q) {
        if (t.device_class[q] != row.device() || !t.Open(q, i)) continue;
        if (t.limited()) {
          Ends(t, q).Progress(i, row, progress);
        } else {
          RunOn(t, q, i, row, progress);
        }
      }
    }
    const Time on_cpu = OnCpu(t, i);
    for (int p = -1; p < d && on_cpu < kInfinite; ++p) {
      Time before = Join(t, HopInto(t, d, d, i), *progress.Cpu(p, i));
      if (p >= 0) Lower(before, Join(t, HopInto(t, p, d, i), *progress.Gpu(p, i)));
      *progress.Cpu(p, i + 1) = Join(t, before, on_cpu);
    }
  }
  return progress;
}

HostWorth::HostWorth(const Tables& t) {
  if (t.host_price.empty()) return;
  points_ = {{0, 0}};
  for (std::size_t k = 0; k < t.kinds.size(); ++k) {
    Add(t.kinds[k].weights, t.host_price[k], t.Count(static_cast<int>(k), 0, t.n), t.host_room);
  }
  std::map<std::pair<std::int64_t, Time>, std::int64_t> computed;
  for (int u = 0; u < t.n; ++u) {
    if (t.compute[t.devices][u] < kNever) ++computed[{t.weights[u] + t.state[u], t.cpu_price[u]}];
  }
  for (const auto& [what, count] : computed) Add(what.first, what.second, count, t.host_room);
}

void HostWorth::Add(std::int64_t bytes, Time price, std::int64_t count, std::int64_t room) {
  constexpr std::size_t kMostPoints = 4000;
  if (price <= 0 || bytes <= 0) return;
  rate_ = std::max(rate_, static_cast<double>(price) / static_cast<double>(bytes));
  std::vector<Point> all;
  for (std::int64_t m = 0; m <= std::min(count, room / bytes) && all.size() <= 4 * kMostPoints; ++m) {
    for (const Point& p : points_) {
      if (p.bytes + m * bytes <= room) all.push_back({p.bytes + m * bytes, p.worth + m * price});
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Point& a, const Point& b) { return a.bytes != b.bytes ? a.bytes < b.bytes : a.worth > b.worth; });
  const bool too_many = points_.empty() || all.size() > 4 * kMostPoints;
  points_.clear();
  if (too_many) return;
  for (const Point& p : all) {
    if (points_.empty() || p.worth > points_.back().worth) points_.push_back(p);
  }
}

Time HostWorth::Most(std::int64_t room) const {
  if (points_.empty()) return static_cast<Time>(rate_ * static_cast<double>(room) * (1 + 1e-12)) + (rate_ > 0 ? 1 : 0);
  const auto after = std::upper_bound(points_.begin(), points_.end(), room,
                                      [](std::int64_t bytes, const Point& p) { return bytes < p.bytes; });
  return std::prev(after)->worth;
}

}  // namespace stowage::placement
