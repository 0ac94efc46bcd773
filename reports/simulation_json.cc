#include "reports/simulation_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reports/json.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json Range(T low, T expected, T high) {
  return {{"low", low}, {"expected", expected}, {"high", high}};
}

double SecondsOf(const Timeline& timeline, const std::string& phase) {
  const PhaseTimeline* found = FindPhase(timeline, phase);
  return found == nullptr ? 0 : found->seconds.value();
}

std::int64_t PeakOf(const Timeline& timeline, const std::string& pool) {
  const auto found =
      std::find_if(timeline.pools.begin(), timeline.pools.end(), [&](const PoolTimeline& p) { return p.pool == pool; });
  return found == timeline.pools.end() ? 0 : found->peak.bytes.value();
}

Json RangeOf(const Timeline& low, const Timeline& expected, const Timeline& high) {
  Json json = {{"total_s", Range(low.length.value(), expected.length.value(), high.length.value())},
               {"phases", Json::object()},
               {"peak_bytes", Json::object()}};
  for (const PhaseTimeline& p : expected.phases) {
    json["phases"][p.phase] = Range(SecondsOf(low, p.phase), p.seconds.value(), SecondsOf(high, p.phase));
  }
  for (const PoolTimeline& p : expected.pools) {
    json["peak_bytes"][p.pool] = Range(PeakOf(low, p.pool), p.peak.bytes.value(), PeakOf(high, p.pool));
  }
  return json;
}

}  // namespace

std::string SimulationJson(const SimulationReport& report) {
  Json json = {{"model", ModelMembers(report.model)},
               {"request", RequestMembers(report.request)},
               {"strategy", report.strategy}};
  json.update(TimelineMembers(report.timeline));
  if (report.low && report.high) json["range"] = RangeOf(*report.low, report.timeline, *report.high);
  json["would_help"] = report.would_help;
  return DumpJson(json);
}

}  // namespace stowage
