#include "reports/timeline_json.h"

#include <nlohmann/json.hpp>

#include "reports/json.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

Json PeakOf(const Peak& peak) {
  Json buffers = Json::array();
  for (const PeakBuffer& b : peak.buffers) {
    buffers.push_back({{"name", b.name}, {"kind", b.kind}, {"bytes", b.bytes.value()}});
  }
  return {{"step", peak.step}, {"phase", peak.phase}, {"buffers", std::move(buffers)}};
}

Json ResourceOf(const ResourceTimeline& resource) {
  Json causes = Json::object();
  for (const auto& [cause, time] : resource.idle_causes) causes[cause] = time.value();
  return {{"busy_s", resource.busy.value()}, {"idle_s", resource.idle.value()}, {"idle_causes", std::move(causes)}};
}

}  // namespace

Json TimelineMembers(const Timeline& timeline) {
  Json json = {{"peak_bytes", Json::object()},
               {"peak", Json::object()},
               {"phases", Json::array()},
               {"resources", Json::object()}};
  for (const PoolTimeline& pool : timeline.pools) {
    json["peak_bytes"][pool.pool] = pool.peak.bytes.value();
    json["peak"][pool.pool] = PeakOf(pool.peak);
  }
  for (const PhaseTimeline& p : timeline.phases) {
    json["phases"].push_back({{"name", p.phase}, {"iterations", p.iterations}, {"seconds", p.seconds.value()}});
  }
  for (const ResourceTimeline& resource : timeline.resources) {
    json["resources"][resource.resource] = ResourceOf(resource);
  }
  if (timeline.torch) {
    json["torch"] = {{"allocated_peak_bytes", timeline.torch->allocated_peak.value()},
                     {"reserved_peak_bytes", timeline.torch->reserved_peak.value()},
                     {"pinned_bytes", timeline.torch->pinned.value()}};
  }
  if (timeline.out_of_memory) {
    const OutOfMemory& oom = *timeline.out_of_memory;
    json["out_of_memory"] = {{"pool", oom.pool},
                             {"step", oom.step},
                             {"phase", oom.phase},
                             {"requested_bytes", oom.requested.value()},
                             {"available_bytes", oom.available.value()}};
  }
  return json;
}

std::string TimelineJson(const Timeline& timeline) { return DumpJson(TimelineMembers(timeline)); }

std::string ExecuteJson(std::span<const std::int64_t> tokens, const Timeline& predicted, const Timeline& measured) {
  Json list = Json::array();
  for (const std::int64_t token : tokens) list.push_back(token);
  return DumpJson({{"tokens", std::move(list)},
                   {"predicted", TimelineMembers(predicted)},
                   {"measured", TimelineMembers(measured)}});
}

}  // namespace stowage
