#include "planner/solve/placement/prices.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace stowage::placement {
namespace {

Prices AtRate(const Tables& t, double rate) {
  Prices p;
  for (int u = 0; u < t.n; ++u) {
    p.host.push_back(static_cast<Time>(rate * static_cast<double>(t.weights[u])));
    p.cpu.push_back(static_cast<Time>(rate * static_cast<double>(t.weights[u] + t.state[u])));
  }
  return p;
}

// Rates at which a unit is indifferent, at most four of them; of those alike one.
std::vector<double> SomeRates(const Tables& t) {
  constexpr double kAlike = 1e-4;
  std::set<double> rates;
  const auto add = [&](Time gain, std::int64_t bytes) {
    if (gain <= 0 || bytes <= 0) return;
    const double rate = static_cast<double>(gain) / static_cast<double>(bytes);
    const auto near = rates.lower_bound(rate * (1 - kAlike));
    if (near == rates.end() || *near > rate * (1 + kAlike)) rates.insert(rate);
  };
  for (const Kind& k : t.kinds) {
    for (int d = 0; d < t.devices; ++d) {
      if (k.disk[d] < kNever && k.host[d] < kNever) add(k.disk[d] - k.host[d], k.weights);
    }
  }
  for (int u = 0; u < t.n; ++u) {
    const Time cpu = t.compute[t.devices][u];
    if (cpu >= kNever || t.kind_of[u] < 0 || (u > 0 && t.kind_of[u] == t.kind_of[u - 1])) continue;
    for (int d = 0; d < t.devices; ++d) {
      const Time disk = t.kinds[t.kind_of[u]].disk[d];
      if (disk < kNever && t.compute[d][u] < kNever) add(disk + t.compute[d][u] - cpu, t.weights[u] + t.state[u]);
    }
  }
  std::vector<double> some;
  const std::size_t step = (rates.size() + 3) / 4;
  std::size_t i = 0;
  for (const double rate : rates) {
    if (i++ % step == 0) some.push_back(rate);
  }
  return some;
}

// What a unit gains by being in host memory instead of on the disk, on the device where that is least.
Prices Gains(const Tables& t) {
  Prices p;
  p.host.assign(t.n, 0);
  p.cpu.assign(t.n, 0);
  for (int u = 0; u < t.n; ++u) {
    if (t.kind_of[u] < 0) continue;
    const Kind& kind = t.kinds[t.kind_of[u]];
    Time least = kNever, least_streamed = kNever;
    for (int d = 0; d < t.devices; ++d) {
      const Time host = kind.host[d], disk = kind.disk[d];
      if (host < kNever && disk < kNever) least_streamed = std::min(least_streamed, disk - host);
      if (disk < kNever && t.compute[d][u] < kNever) least = std::min(least, disk + t.compute[d][u]);
    }
    if (least_streamed < kNever && kind.weights > 0) p.host[u] = std::max<Time>(0, least_streamed);
    const Time cpu = t.compute[t.devices][u];
    if (least < kNever && cpu < least && t.weights[u] + t.state[u] > 0) p.cpu[u] = least - cpu;
  }
  return p;
}

// The bytes that most units have, of those that `bytes` does not give 0.
template <typename Bytes>
std::int64_t Commonest(const Tables& t, Bytes bytes) {
  std::map<std::int64_t, int> counts;
  for (int u = 0; u < t.n; ++u) {
    if (bytes(u) > 0) ++counts[bytes(u)];
  }
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? 0 : most->first;
}

// At most what the commonest unit is priced for each time its bytes are filled.
template <typename Bytes>
void RoundToLevels(const Tables& t, Bytes bytes, std::vector<Time>& prices) {
  const std::int64_t full = Commonest(t, bytes);
  if (full == 0) return;

  const std::int64_t level = full;
  Time one = 0;
  for (int u = 0; u < t.n; ++u) {
    if (bytes(u) == full) one = std::max(one, prices[u]);
  }
  for (int u = 0; u < t.n; ++u) prices[u] = std::min(prices[u], bytes(u) / level * one);
}

}  // namespace

Prices LevelGains(const Tables& t) {
  Prices p = Gains(t);
  const auto streamed = [&](int u) { return t.weights[u]; };
  const auto computed = [&](int u) {
    return t.compute[t.devices][u] < kNever ? t.weights[u] + t.state[u] : std::int64_t{0};
  };
  RoundToLevels(t, streamed, p.host);
  RoundToLevels(t, computed, p.cpu);
  return p;
}

void SetPrices(Tables& t, const Prices& prices) {
  std::vector<Time> host;
  if (!prices.host.empty()) {
    host.assign(t.kinds.size(), 0);
    for (int u = 0; u < t.n; ++u) {
      if (t.kind_of[u] >= 0) host[t.kind_of[u]] = prices.host[u];
    }
  }
  t.SetPrices(std::move(host), prices.cpu);
}

void Bounds::Worths(std::int64_t host_room, std::vector<Time>& worths) const {
  worths.clear();
  const int layers = levels ? levels.Of(host_room) + 1 : 1;
  for (int k = 0; k < layers; ++k) worths.push_back(worth.Most(host_room - k * levels.bytes));
}

Time Bounds::Least(Time plain, const double* layered, const std::vector<Time>& worths) const {
  if (!levels) return plain < kInfinite ? plain - worths[0] : kInfinite;
  Time least = kInfinite;
  for (std::size_t k = 0; k < worths.size(); ++k) {
    const Time rest = levels.TimeOf(layered[k]);
    if (rest < kInfinite) least = std::min(least, rest - worths[k]);
  }
  return least;
}

Time Bounds::Gpu(int p, int i, const std::vector<Time>& worths) const {
  return Least(*rest.Gpu(p, i), levels ? layers.Gpu(p, i) : nullptr, worths);
}

Time Bounds::Cpu(int p, int i, const std::vector<Time>& worths) const {
  return Least(*rest.Cpu(p, i), levels ? layers.Cpu(p, i) : nullptr, worths);
}

Time Bounds::Enter(int q, int i, const std::vector<Time>& worths) const {
  return Least(*rest.Enter(q, i), levels ? layers.Enter(q, i) : nullptr, worths);
}

Time Bounds::Root(std::int64_t host_room) const {
  std::vector<Time> worths;
  Worths(host_room, worths);
  return Cpu(-1, 0, worths);
}

Bounds BoundsAt(Tables& t, const Prices& prices) {
  SetPrices(t, prices);
  return {MakeRest(t), HostWorth(t), {}, {}};
}

Prices BestPrices(Tables& t) {
  if (!HasPrices(t)) return {};
  std::vector<Prices> tries;
  for (const double rate : SomeRates(t)) tries.push_back(AtRate(t, rate));
  tries.push_back(Gains(t));
  tries.push_back(LevelGains(t));
  Prices best;
  Time value = 0;
  for (Prices& p : tries) {
    const Bounds b = BoundsAt(t, p);
    const Time root = b.Root(t.host_room);
    if (root >= kInfinite || root <= value) continue;
    value = root;
    best = std::move(p);
  }
  return best;
}

Bounds WithLayers(Tables& t, const Prices& prices, Bounds plain, Time below, const States* progress) {
  plain.levels = LevelsOf(t, true, below);
  if (!plain.levels) return plain;
  const States own = progress == nullptr ? MakeProgress(t) : States();
  const States& before = progress == nullptr ? own : *progress;
  const Band band{before, plain.rest, below + plain.worth.Most(t.host_room)};
  t.open = OpenStates(t, before, plain.rest, band.below);
  SetPrices(t, {prices.host, std::vector<Time>(t.n, 0)});
  plain.layers = LayeredRest(t, plain.levels, band);
  plain.worth = HostWorth(t);
  return plain;
}

}  // namespace stowage::placement
