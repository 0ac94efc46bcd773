#include "planner/plan/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "planner/base/text.h"

namespace stowage {
namespace {

std::string OfRequest(const Request& r) {
  std::string out = fmt::format("batch {}, prompt {}, {} new", r.batch, r.prompt_tokens, r.new_tokens);
  if (r.dtype) out += fmt::format(", {}", Name(*r.dtype));
  if (!r.quantization.empty()) out += ", " + r.quantization;
  if (r.kv) out += fmt::format(", {} cache", Name(*r.kv));
  if (!r.loading.Default()) out += ", " + Describe(r.loading);
  return r.all_logits ? out + ", all logits" : out;
}

std::string OfSizes(const std::vector<std::pair<std::string, Bytes>>& sizes) {
  std::vector<std::string> out;
  for (const auto& [pool, bytes] : sizes) out.push_back(fmt::format("{} {} B", pool, bytes.value()));
  return Join(out, ", ");
}

void AddFact(std::string name, std::string before, std::string after, std::vector<PlanChange>& out) {
  if (before == after) return;
  out.push_back(
      {.kind = ChangeKind::kChanged, .name = std::move(name), .before = std::move(before), .after = std::move(after)});
}

std::vector<PlanChange> Facts(const Plan& a, const Plan& b) {
  std::vector<PlanChange> out;
  AddFact("model", a.model, b.model, out);
  AddFact("strategy", a.strategy, b.strategy, out);
  AddFact("runtime", a.runtime, b.runtime, out);
  AddFact("request", OfRequest(a.request), OfRequest(b.request), out);
  AddFact("budgets", OfSizes(a.budgets), OfSizes(b.budgets), out);
  return out;
}

using Totals = std::map<std::string, Bytes>;

std::vector<TotalChange> CompareTotals(const Totals& a, const Totals& b) {
  std::set<std::string> names;
  for (const auto& [name, bytes] : a) names.insert(name);
  for (const auto& [name, bytes] : b) names.insert(name);
  const auto find = [](const Totals& totals, const std::string& name) -> std::optional<Bytes> {
    const auto it = totals.find(name);
    return it == totals.end() ? std::nullopt : std::optional(it->second);
  };
  std::vector<TotalChange> out;
  for (const std::string& name : names) out.push_back({name, find(a, name), find(b, name)});
  return out;
}

Totals PoolTotals(const Plan& plan) {
  Totals out;
  for (const auto& [pool, budget] : plan.budgets) out[pool] += Bytes(0);
  for (const ArenaPlan& a : plan.arenas) out[a.pool] += a.bytes;
  for (const auto& [pool, bytes] : plan.reservations) out[pool] += bytes;
  return out;
}

Totals ArenaTotals(const Plan& plan) {
  Totals out;
  for (const ArenaPlan& a : plan.arenas) out[a.pool + "/" + a.name] += a.bytes;
  return out;
}

bool SameParts(const TensorPlan& a, const TensorPlan& b) {
  const auto key = [](const Residency& r) {
    return std::tie(r.where, r.phases, r.pool, r.arena, r.offset, r.row_begin, r.row_end);
  };
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [&](const Residency& x, const Residency& y) { return key(x) == key(y); });
}

std::string Details(const TensorPlan& t) {
  return fmt::format("{} {} on {}{}{}", Name(t.dtype), FormatShape(t.shape), t.device,
                     t.block.empty() ? "" : " in block " + t.block, t.tied_to.empty() ? "" : " tied to " + t.tied_to);
}

std::optional<PlanChange> Compare(const TensorPlan& a, const TensorPlan& b) {
  PlanChange change{.name = a.name,
                    .bytes_before = a.bytes(),
                    .bytes_after = b.bytes(),
                    .before = Whereabouts(a),
                    .after = Whereabouts(b)};
  if (a.bytes() != b.bytes()) {
    change.kind = a.bytes() < b.bytes() ? ChangeKind::kGrew : ChangeKind::kShrank;
  } else if (change.before != change.after) {
    change.kind = ChangeKind::kMoved;
  } else if (Details(a) != Details(b)) {
    change.kind = ChangeKind::kChanged;
    change.before = Details(a);
    change.after = Details(b);
  } else if (!SameParts(a, b)) {
    change.kind = ChangeKind::kShifted;
  } else {
    return std::nullopt;
  }
  return change;
}

std::string Whereabouts(const Placement& p) {
  return p.phase == "*" ? p.arena : fmt::format("{} in {}", p.arena, p.phase);
}

Bytes SizeOf(const TensorPlan& t) { return t.bytes(); }
Bytes SizeOf(const Placement& p) { return p.bytes; }

std::optional<PlanChange> Compare(const Placement& a, const Placement& b) {
  PlanChange change{.name = a.name,
                    .bytes_before = a.bytes,
                    .bytes_after = b.bytes,
                    .before = Whereabouts(a),
                    .after = Whereabouts(b)};
  if (a.bytes != b.bytes) {
    change.kind = a.bytes < b.bytes ? ChangeKind::kGrew : ChangeKind::kShrank;
  } else if (change.before != change.after) {
    change.kind = ChangeKind::kMoved;
  } else if (std::tie(a.offset, a.first, a.last) != std::tie(b.offset, b.first, b.last)) {
    change.kind = ChangeKind::kShifted;
  } else {
    return std::nullopt;
  }
  return change;
}

std::string KeyOf(const TensorPlan& t) { return t.name; }
std::string KeyOf(const Placement& p) { return p.phase + "\n" + p.name; }

// By key, the n-th of one plan with the n-th of the other.
template <class T>
std::vector<PlanChange> CompareLists(const std::vector<T>& a, const std::vector<T>& b) {
  std::unordered_map<std::string, std::vector<const T*>> second;
  for (auto it = b.rbegin(); it != b.rend(); ++it) second[KeyOf(*it)].push_back(&*it);
  std::vector<PlanChange> out;
  std::set<const T*> met;
  for (const T& item : a) {
    const auto it = second.find(KeyOf(item));
    if (it == second.end() || it->second.empty()) {
      out.push_back({ChangeKind::kDisappeared, item.name, SizeOf(item), std::nullopt, Whereabouts(item), ""});
      continue;
    }
    const T& other = *it->second.back();
    it->second.pop_back();
    met.insert(&other);
    if (std::optional<PlanChange> change = Compare(item, other)) out.push_back(*std::move(change));
  }
  for (const T& item : b) {
    if (met.count(&item) != 0) continue;
    out.push_back({ChangeKind::kAppeared, item.name, std::nullopt, SizeOf(item), "", Whereabouts(item)});
  }
  return out;
}

}  // namespace

std::string_view Name(ChangeKind kind) {
  static constexpr std::array<std::string_view, 7> kNames = {"moved",       "grew",    "shrank", "appeared",
                                                             "disappeared", "shifted", "changed"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string Whereabouts(const TensorPlan& tensor) {
  std::vector<std::string> out;
  for (const Residency& r : tensor.parts) {
    const bool whole = r.row_begin == 0 && r.row_end == tensor.Rows();
    out.push_back(fmt::format("{}{} {}{}{}", whole ? "" : fmt::format("rows [{}, {}) ", r.row_begin, r.row_end),
                              Name(r.where), r.pool, r.arena.empty() ? "" : "/" + r.arena,
                              r.phases == "*" ? "" : " in " + r.phases));
  }
  if (!tensor.tied_to.empty()) out.push_back("tied to " + tensor.tied_to);
  return Join(out, ", ");
}

bool PlanDiff::Same() const {
  const bool totals = std::all_of(pools.begin(), pools.end(), [](const TotalChange& t) { return t.before == t.after; });
  return totals && facts.empty() && arenas.empty() && tensors.empty() && placements.empty() && !refused_differ;
}

PlanDiff DiffPlans(const Plan& before, const Plan& after) {
  PlanDiff out;
  out.facts = Facts(before, after);
  out.pools = CompareTotals(PoolTotals(before), PoolTotals(after));
  out.arenas = CompareTotals(ArenaTotals(before), ArenaTotals(after));
  std::erase_if(out.arenas, [](const TotalChange& t) { return t.before == t.after; });
  out.tensors = CompareLists(before.tensors, after.tensors);
  out.placements = CompareLists(before.placements, after.placements);
  out.refused_differ = before.refused != after.refused;
  return out;
}

}  // namespace stowage
