#include "reports/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planner/base/text.h"
#include "reports/heading.h"
#include "reports/json.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

// What is compared: a figure per strategy, absent where it has none; less is better.
struct Column {
  std::string name;
  bool bytes = false;
  std::vector<std::optional<double>> values;

  std::optional<double> Best() const {
    std::optional<double> best;
    for (const auto& value : values) {
      if (value && (!best || *value < *best)) best = value;
    }
    return best;
  }
  std::string Text(std::size_t row) const {
    if (!values[row]) return "-";
    return bytes ? FormatBytes(Bytes(static_cast<std::int64_t>(*values[row]))) : FormatSeconds(Seconds(*values[row]));
  }
};

// Names in the order of their first appearance.
template <class Names>
std::vector<std::string> Collect(const CompareReport& report, Names names) {
  std::vector<std::string> out;
  for (const ComparedStrategy& s : report.strategies) {
    if (!s.Runs()) continue;
    for (const std::string& name : names(*s.timeline)) {
      if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
  }
  return out;
}

template <class Value>
Column ColumnOf(const CompareReport& report, std::string name, bool bytes, Value value) {
  Column column{std::move(name), bytes, {}};
  for (const ComparedStrategy& s : report.strategies) {
    column.values.push_back(s.Runs() ? value(*s.timeline) : std::nullopt);
  }
  return column;
}

std::optional<double> PeakIn(const Timeline& timeline, const std::string& pool) {
  for (const PoolTimeline& p : timeline.pools) {
    if (p.pool == pool) return static_cast<double>(p.peak.bytes.value());
  }
  return std::nullopt;
}

std::optional<double> SecondsOf(const Timeline& timeline, const std::string& phase) {
  const PhaseTimeline* found = FindPhase(timeline, phase);
  return found == nullptr ? std::nullopt : std::optional(found->seconds.value());
}

std::optional<double> PassOf(const Timeline& timeline) {
  const PhaseTimeline* decode = FindPhase(timeline, "decode");
  if (decode == nullptr || decode->iterations == 0) return std::nullopt;
  return decode->seconds.value() / static_cast<double>(decode->iterations);
}

std::vector<Column> ColumnsOf(const CompareReport& report) {
  std::vector<Column> columns;
  for (const std::string& pool : Collect(report, [](const Timeline& t) {
         std::vector<std::string> names;
         for (const PoolTimeline& p : t.pools) names.push_back(p.pool);
         return names;
       })) {
    columns.push_back(ColumnOf(report, pool, true, [&](const Timeline& t) { return PeakIn(t, pool); }));
  }
  for (const std::string& phase : Collect(report, [](const Timeline& t) {
         std::vector<std::string> names;
         for (const PhaseTimeline& p : t.phases) names.push_back(p.phase);
         return names;
       })) {
    columns.push_back(ColumnOf(report, phase, false, [&](const Timeline& t) { return SecondsOf(t, phase); }));
  }
  columns.push_back(ColumnOf(report, "per token", false, PassOf));
  columns.push_back(
      ColumnOf(report, "total", false, [](const Timeline& t) { return std::optional(t.length.value()); }));
  return columns;
}

std::string IntervalText(const ComparedStrategy& s) {
  if (!s.Runs() || !s.low || !s.high) return "";
  return FormatSeconds(s.low->length) + " to " + FormatSeconds(s.high->length);
}

}  // namespace

std::string CompareText(const CompareReport& report, bool colour) {
  const Style style(colour);
  const std::vector<Column> columns = ColumnsOf(report);
  std::vector<std::vector<std::string>> rows = {{"strategy"}};
  for (const Column& column : columns) rows[0].push_back(column.name + " ");
  rows[0].emplace_back("total, low to high");
  for (std::size_t i = 0; i < report.strategies.size(); ++i) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(report.strategies[i].name);
    for (const Column& column : columns) {
      row.push_back(column.Text(i) + (column.values[i] && column.values[i] == column.Best() ? "*" : " "));
    }
    row.push_back(IntervalText(report.strategies[i]));
  }
  std::string out = HeadingText(report.model, report.request, report.machine, style) + "\n";
  out += style.Heading(AlignTable(rows)) + "* the best of its column\n";
  for (const ComparedStrategy& s : report.strategies) {
    if (!s.Runs()) out += Wrap("- ", s.name + ": " + s.why_not + ".", 100);
  }
  return out;
}

std::string CompareJson(const CompareReport& report) {
  Json json = {{"model", ModelMembers(report.model)},
               {"request", RequestMembers(report.request)},
               {"machine", report.machine},
               {"strategies", Json::array()}};
  const std::vector<Column> columns = ColumnsOf(report);
  for (std::size_t i = 0; i < report.strategies.size(); ++i) {
    const ComparedStrategy& s = report.strategies[i];
    Json row = {{"name", s.name}, {"runtime", s.runtime}, {"why_not", s.why_not}, {"best", Json::array()}};
    for (const Column& column : columns) {
      if (column.values[i] && column.values[i] == column.Best()) row["best"].push_back(column.name);
    }
    if (s.timeline) row.update(TimelineMembers(*s.timeline));
    if (s.Runs() && s.low && s.high) {
      row["range_s"] = {{"low", s.low->length.value()}, {"high", s.high->length.value()}};
    }
    json["strategies"].push_back(std::move(row));
  }
  return DumpJson(json);
}

}  // namespace stowage
