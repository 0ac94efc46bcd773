#include "planner/solve/placement/bounds.h"

#include <algorithm>
#include <set>

#include "planner/solve/placement/run.h"

namespace stowage::placement {

Time Join(const Tables& t, Time a, Time b) { return t.latency() ? std::min(a + b, kInfinite) : std::max(a, b); }

const RunCache::Rows& RunCache::Of(const Tables& t, int device) {
  by_device_.resize(t.devices);
  for (const Entry& e : by_device_[device]) {
    if (e.budget == t.budget[device] && e.fixed == t.fixed[device] && e.transient == t.pinned_transient[device] &&
        e.staging == t.pinned_staging[device] && e.stream == t.stream[device]) {
      return e.rows;
    }
  }
  // Places of one tie on one device come one after the other: the first entry, of no tie there, and the last suffice.
  if (by_device_[device].size() > 1) by_device_[device].pop_back();
  Entry& e = by_device_[device].emplace_back(Entry{
      t.budget[device], t.fixed[device], t.pinned_transient[device], t.pinned_staging[device], t.stream[device], {}});
  e.rows.streamed.resize(static_cast<std::size_t>(t.n) * (t.n + 1));
  e.rows.last.resize(t.n);
  int resident_end = 0;
  for (int begin = 0; begin < t.n; ++begin) {
    e.rows.last[begin] = BoundStreams(t, device, begin, &e.rows.streamed[begin * (t.n + 1)], &resident_end);
  }
  return e.rows;
}

Bounds MakeBounds(const Tables& t, RunCache* cache) {
  const int d = t.devices, n = t.n;
  Bounds b;
  b.gpu.assign(d, std::vector<Time>(n + 1, kInfinite));
  b.cpu.assign(d + 1, std::vector<Time>(n + 1, kInfinite));
  b.enter.assign(d, std::vector<Time>(n + 1, kInfinite));
  for (auto& row : b.gpu) row[n] = 0;
  for (auto& row : b.cpu) row[n] = 0;
  std::vector<Time> runs(n + 1);
  std::vector<const RunCache::Rows*> rows(d, nullptr);
  for (int c = 0; cache != nullptr && c < d; ++c) {
    if (t.device_class[c] == c) rows[c] = &cache->Of(t, c);
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int c = 0; c < d; ++c) {
      if (t.device_class[c] != c) continue;
      int resident_end = 0, last = 0;
      if (rows[c] != nullptr) {
        last = rows[c]->last[i];
        AddRunTimes(t, c, i, last, &rows[c]->streamed[i * (n + 1)], runs);
      } else {
        last = BoundRuns(t, c, i, runs, &resident_end);
      }
      for (int q = c; q < d; ++q) {
        if (t.device_class[q] != c) continue;
        Time best = kInfinite;
        const Time* rest = b.gpu[q].data();
        if (t.latency()) {
          for (int e = i + 1; e <= last; ++e) best = std::min(best, runs[e] + rest[e]);
        } else {
          for (int e = i + 1; e <= last; ++e) best = std::min(best, std::max(runs[e], rest[e]));
        }
        b.enter[q][i] = std::min(best, kInfinite);
      }
    }
    const Time on_cpu = t.compute[d][i] >= kNever ? kInfinite : t.compute[d][i] + t.Penalty(t.weights[i] + t.state[i]);
    for (int p = -1; p < d; ++p) {
      Time from_cpu = kInfinite, from_gpu = kInfinite;
      for (int q = p + 1; q < d; ++q) {
        const bool hops = t.latency();
        from_cpu = std::min(from_cpu, Join(t, hops ? t.hop[d][q][i] : 0, b.enter[q][i]));
        if (p >= 0) from_gpu = std::min(from_gpu, Join(t, hops ? t.hop[p][q][i] : 0, b.enter[q][i]));
      }
      if (on_cpu < kInfinite) {
        const Time rest = Join(t, on_cpu, b.cpu[p + 1][i + 1]);
        from_cpu = std::min(from_cpu, Join(t, t.latency() ? t.hop[d][d][i] : 0, rest));
        if (p >= 0) from_gpu = std::min(from_gpu, Join(t, t.latency() ? t.hop[p][d][i] : 0, rest));
      }
      b.cpu[p + 1][i] = from_cpu;
      if (p >= 0) b.gpu[p][i] = from_gpu;
    }
  }
  return b;
}

Time Refund(const Tables& t) { return t.host_penalty > 0 ? t.Penalty(t.host_room) + 2 : 0; }

Bounds BestBounds(Tables& t, RunCache* cache) {
  Bounds best = MakeBounds(t, cache);
  if (!t.host_binds || !t.latency()) return best;
  std::set<double> rates;
  for (const Kind& k : t.kinds) {
    for (int d = 0; d < t.devices; ++d) {
      if (k.weights > 0 && k.disk[d] < kNever && k.host[d] < k.disk[d]) {
        rates.insert(static_cast<double>(k.disk[d] - k.host[d]) / static_cast<double>(k.weights));
      }
    }
  }
  for (int u = 0; u < t.n; ++u) {
    const Time cpu = t.compute[t.devices][u];
    const std::int64_t bytes = t.weights[u] + t.state[u];
    if (cpu >= kNever || bytes == 0 || t.kind_of[u] < 0) continue;
    for (int d = 0; d < t.devices; ++d) {
      const Time disk = t.kinds[t.kind_of[u]].disk[d];
      if (disk >= kNever || t.compute[d][u] >= kNever || disk + t.compute[d][u] <= cpu) continue;
      rates.insert(static_cast<double>(disk + t.compute[d][u] - cpu) / static_cast<double>(bytes));
    }
  }
  double chosen = 0;
  Time value = best.Root();
  const std::size_t step = std::max<std::size_t>(1, rates.size() / 4);
  std::size_t i = 0;
  for (const double rate : rates) {
    if (i++ % step != 0) continue;
    t.SetHostPenalty(rate);
    Bounds b = MakeBounds(t);
    if (b.Root() < kInfinite && b.Root() - Refund(t) > value) {
      value = b.Root() - Refund(t);
      chosen = rate;
      best = std::move(b);
    }
  }
  t.SetHostPenalty(chosen);
  return best;
}

}  // namespace stowage::placement
