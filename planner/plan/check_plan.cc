#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "planner/plan/plan.h"

namespace stowage {
namespace {

template <class... Args>
Error Bad(fmt::format_string<Args...> text, Args&&... args) {
  return Error{ErrorCode::kInvalidInput, "plan: " + fmt::format(text, std::forward<Args>(args)...)};
}

using ArenaKey = std::pair<std::string, std::string>;  // pool, name

// Something that occupies [begin, end) of an arena while the kernels [first, last] of `phase` run.
struct Extent {
  std::string name;
  std::string phase;
  std::int64_t begin = 0, end = 0;
  std::int32_t first = 0, last = 0;
  bool always = true;
  std::int64_t row_zero =
      0;  // tensors: where row 0 would lie; parts of one tensor with one row_zero are the same bytes
};

bool Together(const Extent& a, const Extent& b) {
  if (a.always || b.always) return true;
  return a.phase == b.phase && a.first <= b.last && b.first <= a.last;
}

Status CheckOverlaps(const ArenaPlan& arena, std::vector<Extent> extents) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent& a = extents[i];
    if (a.begin < 0 || a.end > arena.bytes.value()) {
      return Bad("'{}' needs [{} B, {} B) but arena '{}' of {} has {} B", a.name, a.begin, a.end, arena.name,
                 arena.pool, arena.bytes.value());
    }
    for (std::size_t j = i + 1; j < extents.size() && extents[j].begin < a.end; ++j) {
      const bool same_bytes = a.always && a.name == extents[j].name && a.row_zero == extents[j].row_zero;
      if (!same_bytes && a.end > a.begin && extents[j].end > extents[j].begin && Together(a, extents[j])) {
        return Bad("'{}' and '{}' both use [{} B, {} B) of arena '{}' of {}", a.name, extents[j].name, extents[j].begin,
                   std::min(a.end, extents[j].end), arena.name, arena.pool);
      }
    }
  }
  return OkStatus();
}

// Every row of every tensor has a home in the given phase, exactly one to compute from.
Status CheckRows(const TensorPlan& t, const std::string& phase) {
  std::vector<std::pair<std::int64_t, std::int64_t>> rows, in_place;
  for (const Residency& r : t.parts) {
    if (r.phases != "*" && r.phases != phase) continue;
    if (r.row_begin < 0 || r.row_end > t.Rows() || r.row_begin >= r.row_end) {
      return Bad("tensor '{}' has a part with rows [{}, {}) of {}", t.name, r.row_begin, r.row_end, t.Rows());
    }
    if (r.where == Where::kResident && r.pool != t.device) {
      return Bad("tensor '{}' is resident in {} but computed on {}", t.name, r.pool, t.device);
    }
    // Reading in place may be another use of rows that are also streamed; it is the only home of those that are not.
    (r.where == Where::kInPlace ? in_place : rows).emplace_back(r.row_begin, r.row_end);
  }
  const auto read_in_place = [&](std::int64_t begin, std::int64_t end) {
    return std::any_of(in_place.begin(), in_place.end(),
                       [&](const auto& part) { return part.first <= begin && end <= part.second; });
  };
  std::sort(rows.begin(), rows.end());
  std::int64_t at = 0;
  for (const auto& [begin, end] : rows) {
    if (begin > at && read_in_place(at, begin)) at = begin;
    if (begin != at)
      return Bad("tensor '{}': rows [{}, {}) are {} in phase {}", t.name, std::min(at, begin), std::max(at, begin),
                 begin > at ? "nowhere" : "placed twice", phase);
    at = end;
  }
  if (at != t.Rows() && !read_in_place(at, t.Rows()))
    return Bad("tensor '{}': rows [{}, {}) are nowhere in phase {}", t.name, at, t.Rows(), phase);
  return OkStatus();
}

Status CheckTensors(const Plan& plan) {
  std::map<std::string, const TensorPlan*> by_name;
  std::map<std::string, const TensorPlan*> block_of;
  for (const TensorPlan& t : plan.tensors) {
    if (!by_name.emplace(t.name, &t).second) return Bad("tensor '{}' is listed twice", t.name);
    if (t.block.empty()) continue;
    const auto [it, fresh] = block_of.emplace(t.block, &t);
    if (!fresh && it->second->device != t.device) {
      return Bad("block '{}' must not be split, but '{}' is computed on {} and '{}' on {}", t.block, it->second->name,
                 it->second->device, t.name, t.device);
    }
  }
  for (const TensorPlan& t : plan.tensors) {
    if (!t.tied_to.empty()) {
      const auto owner = by_name.find(t.tied_to);
      if (owner == by_name.end())
        return Bad("tensor '{}' is tied to '{}', which the plan does not have", t.name, t.tied_to);
      if (!t.parts.empty() || !owner->second->tied_to.empty())
        return Bad("tied tensor '{}' must have no home of its own", t.name);
      if (owner->second->device != t.device) {
        return Bad("'{}' on {} is tied to '{}' on {}", t.name, t.device, t.tied_to, owner->second->device);
      }
      continue;
    }
    if (t.parts.empty()) return Bad("tensor '{}' is nowhere", t.name);
    for (const char* phase : {"prefill", "decode"}) STOWAGE_RETURN_IF_ERROR(CheckRows(t, phase));
  }
  return OkStatus();
}

Status CheckBudgets(const Plan& plan) {
  for (const auto& [pool, budget] : plan.budgets) {
    Bytes used = plan.ArenaBytes(pool);
    for (const auto& [reserved_pool, bytes] : plan.reservations) {
      if (reserved_pool == pool) used += bytes;
    }
    if (used > budget) return Bad("{} needs {} B but its budget is {} B", pool, used.value(), budget.value());
  }
  return OkStatus();
}

}  // namespace

Status CheckPlan(const Plan& plan) {
  if (plan.version != kPlanVersion) {
    return Bad("version {} is not {}, the one this program reads", plan.version, kPlanVersion);
  }
  std::map<ArenaKey, std::vector<Extent>> extents;
  std::map<std::string, std::string> pool_of;
  std::set<ArenaKey> known;
  for (const ArenaPlan& a : plan.arenas) {
    if (!known.insert({a.pool, a.name}).second) return Bad("arena '{}' of {} is listed twice", a.name, a.pool);
    pool_of.emplace(a.name, a.pool);
    if (a.bytes < a.lower_bound)
      return Bad("arena '{}' has {} B, less than its bound {} B", a.name, a.bytes.value(), a.lower_bound.value());
  }
  STOWAGE_RETURN_IF_ERROR(CheckTensors(plan));
  for (const TensorPlan& t : plan.tensors) {
    for (const Residency& r : t.parts) {
      if (r.arena.empty()) continue;  // kept outside any arena (pageable host memory of the torch runtime)
      if (known.count({r.pool, r.arena}) == 0)
        return Bad("tensor '{}' is in arena '{}' of {}, which the plan does not have", t.name, r.arena, r.pool);
      const std::int64_t row_bytes = t.bytes().value() / std::max<std::int64_t>(t.Rows(), 1);
      const std::int64_t begin = r.offset.value();
      extents[{r.pool, r.arena}].push_back({.name = t.name,
                                            .begin = begin,
                                            .end = begin + (r.row_end - r.row_begin) * row_bytes,
                                            .row_zero = begin - r.row_begin * row_bytes});
    }
  }
  for (const Placement& p : plan.placements) {
    const auto pool = pool_of.find(p.arena);
    if (pool == pool_of.end()) return Bad("'{}' is in arena '{}', which the plan does not have", p.name, p.arena);
    extents[{pool->second, p.arena}].push_back({.name = p.name,
                                                .phase = p.phase,
                                                .begin = p.offset.value(),
                                                .end = (p.offset + p.bytes).value(),
                                                .first = p.first,
                                                .last = p.last,
                                                .always = p.phase == "*"});
  }
  for (const ArenaPlan& a : plan.arenas) STOWAGE_RETURN_IF_ERROR(CheckOverlaps(a, extents[{a.pool, a.name}]));
  return CheckBudgets(plan);
}

}  // namespace stowage
