#include "reports/memory_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <tuple>

namespace stowage {
namespace {

// Tensor and kind: what stays the same when its rows or its place change.
using Key = std::pair<std::string, std::string>;
using Sums = std::map<Key, Bytes>;

std::string TensorOf(const std::string& buffer) { return buffer.substr(0, buffer.find_first_of("[@")); }

Sums SumsOf(const PeakRecord* peak) {
  Sums out;
  if (peak == nullptr) return out;
  for (const PeakBuffer& b : peak->buffers) out[{TensorOf(b.name), b.kind}] += b.bytes;
  return out;
}

Bytes At(const Sums& sums, const Key& key) {
  const auto it = sums.find(key);
  return it == sums.end() ? Bytes() : it->second;
}

const PeakRecord* Find(const CaseRecord* record, const std::string& pool) {
  if (record == nullptr) return nullptr;
  const auto it =
      std::find_if(record->pools.begin(), record->pools.end(), [&](const auto& p) { return p.pool == pool; });
  return it == record->pools.end() ? nullptr : &*it;
}

std::optional<PeakRecord> Summary(const PeakRecord* peak) {
  if (peak == nullptr) return std::nullopt;
  return PeakRecord{.pool = peak->pool, .bytes = peak->bytes, .step = peak->step, .phase = peak->phase};
}

// By pool, what each tensor took then and now.
using ByPool = std::map<std::string, std::pair<Sums, Sums>>;

// The other pool in which `key` changed by about as much, the other way round.
std::string MovedTo(const ByPool& pools, const std::string& here, const Key& key, Bytes change) {
  for (const auto& [pool, sums] : pools) {
    const Bytes there = At(sums.second, key) - At(sums.first, key);
    if (pool != here && there.value() != 0 && (there > Bytes(0)) != (change > Bytes(0))) return pool;
  }
  return "";
}

std::vector<BufferChange> ChangesOf(const ByPool& pools, const std::string& pool) {
  const auto& [before, after] = pools.at(pool);
  std::set<Key> keys;
  for (const auto& [key, bytes] : before) keys.insert(key);
  for (const auto& [key, bytes] : after) keys.insert(key);
  std::vector<BufferChange> out;
  for (const Key& key : keys) {
    const Bytes b = At(before, key), a = At(after, key);
    if (a == b) continue;
    BufferChange change{.name = key.first, .buffer_kind = key.second, .before = b, .after = a};
    change.kind = b == Bytes(0)   ? BufferChangeKind::kAppeared
                  : a == Bytes(0) ? BufferChangeKind::kDisappeared
                  : a > b         ? BufferChangeKind::kGrew
                                  : BufferChangeKind::kShrank;
    change.moved = MovedTo(pools, pool, key, a - b);
    out.push_back(std::move(change));
  }
  const auto size = [](const BufferChange& c) { return std::abs((c.after - c.before).value()); };
  std::stable_sort(out.begin(), out.end(), [&](const auto& x, const auto& y) { return size(x) > size(y); });
  return out;
}

PoolCheck ComparePool(const std::string& pool, const PeakRecord* before, const PeakRecord* after,
                      const CaseLimits& limits) {
  PoolCheck out{.pool = pool, .before = Summary(before), .after = Summary(after)};
  const Bytes was = before == nullptr ? Bytes() : before->bytes;
  const Bytes is = after == nullptr ? Bytes() : after->bytes;
  out.allowed = was + limits.tolerance.Of(was);
  out.grew = is > out.allowed;
  for (const auto& [name, budget] : limits.budgets) {
    if (name == pool) out.budget = budget;
  }
  out.over_budget = out.budget && is > *out.budget;
  return out;
}

}  // namespace

std::string_view Name(BufferChangeKind kind) {
  static constexpr std::array<std::string_view, 4> kNames = {"grew", "appeared", "shrank", "disappeared"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::vector<PeakRecord> PeaksOf(const Timeline& timeline) {
  std::vector<PeakRecord> out;
  for (const PoolTimeline& pool : timeline.pools) {
    if (pool.pool.starts_with("disk") || pool.peak.bytes == Bytes(0)) continue;
    PeakRecord& r =
        out.emplace_back(PeakRecord{pool.pool, pool.peak.bytes, pool.peak.step, pool.peak.phase, pool.peak.buffers});
    std::stable_sort(r.buffers.begin(), r.buffers.end(), [](const PeakBuffer& a, const PeakBuffer& b) {
      return std::tie(a.kind, a.name) < std::tie(b.kind, b.name);
    });
  }
  return out;
}

bool CaseCheck::ok() const {
  return problem.empty() && std::all_of(pools.begin(), pools.end(), [](const PoolCheck& p) { return p.ok(); });
}

bool MemoryCheck::ok() const {
  return std::all_of(cases.begin(), cases.end(), [](const CaseCheck& c) { return c.ok(); });
}

CaseCheck CompareCase(const CaseRecord& now, const CaseRecord* before, const CaseLimits& limits) {
  CaseCheck out{.name = now.name, .what = now.what};
  if (before == nullptr) out.problem = "the baseline does not have this case; --update adds it";
  if (before != nullptr && before->what != now.what) {
    out.notes.push_back(fmt::format("the case is not what it was: the baseline is of {}", before->what));
  }
  ByPool sums;
  for (const CaseRecord* record : {before, &now}) {
    if (record == nullptr) continue;
    for (const PeakRecord& p : record->pools) sums[p.pool];
  }
  for (auto& [pool, both] : sums) both = {SumsOf(Find(before, pool)), SumsOf(Find(&now, pool))};
  for (const auto& [pool, both] : sums) {
    PoolCheck check = ComparePool(pool, Find(before, pool), Find(&now, pool), limits);
    if (before == nullptr) {
      check.grew = false;  // there is nothing it could have grown from
    } else {
      check.changes = ChangesOf(sums, pool);
    }
    out.pools.push_back(std::move(check));
  }
  return out;
}

}  // namespace stowage
