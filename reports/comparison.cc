#include "reports/comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Row = std::vector<std::string>;

template <class T>
Beside<T>& Named(std::vector<Beside<T>>& rows, const std::string& name) {
  const auto it = std::find_if(rows.begin(), rows.end(), [&](const Beside<T>& row) { return row.name == name; });
  return it != rows.end() ? *it : rows.emplace_back(Beside<T>{name, std::nullopt, std::nullopt});
}

void AddSide(const Timeline& timeline, Comparison& comparison, bool predicted) {
  const auto set = [&](auto& row, auto value) { (predicted ? row.predicted : row.measured) = value; };
  for (const PoolTimeline& pool : timeline.pools) set(Named(comparison.pools, pool.pool), pool.peak.bytes);
  for (const PhaseTimeline& phase : timeline.phases) set(Named(comparison.phases, phase.phase), phase.seconds);
  for (const ResourceTimeline& r : timeline.resources) {
    set(Named(comparison.resources, r.resource), BusyIdle{r.busy, r.idle});
  }
  set(comparison.length, timeline.length);
}

std::string OrDash(const std::optional<Bytes>& bytes) { return bytes ? FormatCount(bytes->value()) : "-"; }
std::string OrDash(const std::optional<Seconds>& time) { return time ? FormatSeconds(*time) : "-"; }

std::optional<double> Ratio(const Beside<Seconds>& row) {
  if (!row.predicted || !row.measured || row.predicted->value() <= 0) return std::nullopt;
  return row.measured->value() / row.predicted->value();
}

std::string PoolTable(const Comparison& comparison) {
  std::vector<Row> rows = {{"pool", "predicted bytes", "measured bytes", "difference"}};
  for (const Beside<Bytes>& pool : comparison.pools) {
    const bool both = pool.predicted && pool.measured;
    rows.push_back({pool.name, OrDash(pool.predicted), OrDash(pool.measured),
                    both ? FormatCount((*pool.measured - *pool.predicted).value()) : "-"});
  }
  return AlignTable(rows);
}

std::string PhaseTable(const Comparison& comparison) {
  std::vector<Row> rows = {{"phase", "predicted", "measured", "ratio"}};
  const auto add = [&](const Beside<Seconds>& phase) {
    const std::optional<double> ratio = Ratio(phase);
    rows.push_back(
        {phase.name, OrDash(phase.predicted), OrDash(phase.measured), ratio ? fmt::format("{:.3f}", *ratio) : "-"});
  };
  for (const Beside<Seconds>& phase : comparison.phases) add(phase);
  add(comparison.length);
  return AlignTable(rows);
}

std::string ResourceTable(const Comparison& comparison) {
  std::vector<Row> rows = {{"resource", "busy predicted", "measured", "idle predicted", "measured"}};
  for (const Beside<BusyIdle>& r : comparison.resources) {
    const auto busy = [](const std::optional<BusyIdle>& side) { return side ? FormatSeconds(side->busy) : "-"; };
    const auto idle = [](const std::optional<BusyIdle>& side) { return side ? FormatSeconds(side->idle) : "-"; };
    rows.push_back({r.name, busy(r.predicted), busy(r.measured), idle(r.predicted), idle(r.measured)});
  }
  return AlignTable(rows);
}

}  // namespace

Comparison Compare(const Timeline& predicted, const Timeline& measured) {
  Comparison comparison;
  comparison.length.name = "total";
  AddSide(predicted, comparison, true);
  AddSide(measured, comparison, false);
  return comparison;
}

std::string ComparisonText(const Comparison& comparison, bool colour) {
  const Style style(colour);
  return style.Heading(PoolTable(comparison)) + "\n" + style.Heading(PhaseTable(comparison)) + "\n" +
         style.Heading(ResourceTable(comparison));
}

}  // namespace stowage
