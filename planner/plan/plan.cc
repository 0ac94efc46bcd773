#include "planner/plan/plan.h"

#include <fmt/format.h>

#include <array>

namespace stowage {

std::string_view Name(Where where) {
  static constexpr std::array<std::string_view, 4> kNames = {"resident", "streamed", "in_place", "computed"};
  return kNames[static_cast<std::size_t>(where)];
}

Bytes Plan::ArenaBytes(std::string_view pool) const {
  Bytes total;
  for (const ArenaPlan& a : arenas) {
    if (a.pool == pool) total += a.bytes;
  }
  return total;
}

std::string Dump(const Plan& plan) {
  std::string out = fmt::format("plan {} {} ({})\n", plan.model, plan.strategy, plan.runtime);
  for (const ArenaPlan& a : plan.arenas) {
    out += fmt::format("arena {} {} {} {} bound {}\n", a.pool, a.name, a.kind, a.bytes.value(), a.lower_bound.value());
  }
  for (const TensorPlan& t : plan.tensors) {
    out += fmt::format("{} {} {} on {}", t.name, Name(t.dtype), FormatShape(t.shape), t.device);
    if (!t.tied_to.empty()) out += " tied to " + t.tied_to;
    for (const Residency& r : t.parts) {
      out += fmt::format(" {} {}/{}+{} rows [{}, {})", Name(r.where), r.pool, r.arena, r.offset.value(), r.row_begin,
                         r.row_end);
      if (r.phases != "*") out += " in " + r.phases;
    }
    out += "\n";
  }
  for (const Placement& p : plan.placements) {
    out += fmt::format("{} {}+{} {} B {} [{}, {}]\n", p.name, p.arena, p.offset.value(), p.bytes.value(), p.phase,
                       p.first, p.last);
  }
  for (const std::string& r : plan.refused) out += "refused: " + r + "\n";
  return out;
}

}  // namespace stowage
