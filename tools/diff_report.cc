#include "tools/diff_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

std::string Size(const std::optional<Bytes>& bytes) { return bytes ? FormatBytes(*bytes) : "-"; }

std::string Difference(const std::optional<Bytes>& before, const std::optional<Bytes>& after) {
  const Bytes d = after.value_or(Bytes(0)) - before.value_or(Bytes(0));
  return (d > Bytes(0) ? "+" : "") + (d == Bytes(0) ? std::string("0") : FormatBytes(d));
}

std::string Totals(const std::vector<TotalChange>& totals, const char* heading) {
  if (totals.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{heading, "before", "after", "difference"}};
  for (const TotalChange& t : totals)
    rows.push_back({t.name, Size(t.before), Size(t.after), Difference(t.before, t.after)});
  return AlignTable(rows) + "\n";
}

std::string OneLine(const PlanChange& c) {
  switch (c.kind) {
    case ChangeKind::kAppeared:
      return fmt::format("  {}, {}: {}\n", c.name, Size(c.bytes_after), c.after);
    case ChangeKind::kDisappeared:
      return fmt::format("  {}, {}: {}\n", c.name, Size(c.bytes_before), c.before);
    case ChangeKind::kGrew:
    case ChangeKind::kShrank:
      return fmt::format("  {}, {} -> {}: {}{}\n", c.name, Size(c.bytes_before), Size(c.bytes_after), c.before,
                         c.before == c.after ? "" : " -> " + c.after);
    default:
      return fmt::format("  {}, {}: {} -> {}\n", c.name, Size(c.bytes_after), c.before, c.after);
  }
}

std::string Changes(const std::vector<PlanChange>& changes, std::string_view what) {
  std::string out;
  for (int k = 0; k <= static_cast<int>(ChangeKind::kChanged); ++k) {
    const auto kind = static_cast<ChangeKind>(k);
    std::string lines;
    std::size_t count = 0;
    for (const PlanChange& c : changes) {
      if (c.kind != kind) continue;
      ++count;
      if (kind != ChangeKind::kShifted) lines += OneLine(c);
    }
    if (count == 0) continue;
    out += kind == ChangeKind::kShifted
               ? fmt::format("{} {} at other offsets of the same arena, or at other times\n", count, what)
               : fmt::format("{} {} {}:\n", count, what, Name(kind)) + lines;
  }
  return out;
}

Json Bytes0(const std::optional<Bytes>& bytes) { return bytes ? Json(bytes->value()) : Json(nullptr); }

Json TotalsJson(const std::vector<TotalChange>& totals) {
  Json out = Json::object();
  for (const TotalChange& t : totals)
    out[t.name] = {{"before_bytes", Bytes0(t.before)}, {"after_bytes", Bytes0(t.after)}};
  return out;
}

Json ChangesJson(const std::vector<PlanChange>& changes) {
  Json out = Json::array();
  for (const PlanChange& c : changes) {
    out.push_back({{"name", c.name},
                   {"change", Name(c.kind)},
                   {"before", c.bytes_before ? Json(c.before) : Json(nullptr)},
                   {"after", c.bytes_after ? Json(c.after) : Json(nullptr)},
                   {"before_bytes", Bytes0(c.bytes_before)},
                   {"after_bytes", Bytes0(c.bytes_after)}});
  }
  return out;
}

}  // namespace

std::string DiffText(const PlanDiff& diff) {
  if (diff.Same()) return "the plans are equal\n";
  std::string out;
  for (const PlanChange& f : diff.facts) out += fmt::format("{}: {} -> {}\n", f.name, f.before, f.after);
  if (!diff.facts.empty()) out += "\n";
  out += Totals(diff.pools, "pool");
  out += Totals(diff.arenas, "arena");
  out += Changes(diff.tensors, "tensors");
  out += Changes(diff.placements, "buffers");
  if (diff.refused_differ) out += "what was refused differs\n";
  return out;
}

std::string DiffJson(const PlanDiff& diff) {
  Json out = {{"equal", diff.Same()}, {"facts", Json::array()}};
  for (const PlanChange& f : diff.facts)
    out["facts"].push_back({{"name", f.name}, {"before", f.before}, {"after", f.after}});
  out["pools"] = TotalsJson(diff.pools);
  out["arenas"] = TotalsJson(diff.arenas);
  out["refused_differ"] = diff.refused_differ;
  out["tensors"] = ChangesJson(diff.tensors);
  out["buffers"] = ChangesJson(diff.placements);
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FirstDifference(const PlanDiff& diff) {
  if (diff.Same()) return "";
  if (!diff.facts.empty()) {
    const PlanChange& f = diff.facts[0];
    return fmt::format("{} was '{}' and is '{}'", f.name, f.before, f.after);
  }
  for (const std::vector<PlanChange>* changes : {&diff.tensors, &diff.placements}) {
    if (changes->empty()) continue;
    const PlanChange& c = (*changes)[0];
    return fmt::format("'{}' {} ({}, {} -> {}, {})", c.name, Name(c.kind), Size(c.bytes_before),
                       c.before.empty() ? "nowhere" : c.before, Size(c.bytes_after),
                       c.after.empty() ? "nowhere" : c.after);
  }
  for (const std::vector<TotalChange>* totals : {&diff.arenas, &diff.pools}) {
    for (const TotalChange& t : *totals) {
      if (t.before != t.after) return fmt::format("{} had {} and has {}", t.name, Size(t.before), Size(t.after));
    }
  }
  return "what was refused differs";
}

}  // namespace stowage
