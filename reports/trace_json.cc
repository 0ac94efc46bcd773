#include "reports/trace_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace stowage {
namespace {

// Processes of the trace, in the order of their sections on the screen.
constexpr int kPhases = 1, kQueues = 2, kResources = 3, kMemory = 4;
constexpr std::int64_t kShownIterations = 3;  // at either end of a thinned body

std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Nanoseconds are the finest that the viewers keep.
std::string Microseconds(Seconds time) { return fmt::format("{:.3f}", time.value() * 1e6); }

// Events are written one by one: a DOM of them would take ten times the memory of the text.
class Writer {
 public:
  void Name(int process, std::string_view name) {
    Event(fmt::format(R"("ph":"M","pid":{},"name":"process_name","args":{{"name":{}}})", process, Quoted(name)));
    Event(fmt::format(R"("ph":"M","pid":{0},"name":"process_sort_index","args":{{"sort_index":{0}}})", process));
  }
  void Track(int process, std::size_t track, std::string_view name) {
    Event(fmt::format(R"("ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}})", process, track,
                      Quoted(name)));
  }
  // `args`: members of an object, or "".
  void Slice(int process, std::size_t track, std::string_view quoted_name, std::string_view category, Seconds start,
             Seconds end, std::string_view args) {
    Event(fmt::format(R"("ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"cat":"{}","name":{},"args":{{{}}})", process,
                      track, Microseconds(start), Microseconds(end - start), category, quoted_name, args));
  }
  void Counter(std::size_t track, std::string_view name, const PoolSample& sample) {
    Event(fmt::format(R"("ph":"C","pid":{},"tid":{},"ts":{},"name":{},"args":{{"bytes":{}}})", kMemory, track,
                      Microseconds(sample.at), Quoted(name), sample.bytes.value()));
  }
  std::string Finish(std::string_view schedule, std::string_view note) && {
    return fmt::format(
        "{{\"traceEvents\":[\n{}\n],\n\"displayTimeUnit\":\"ms\",\n\"otherData\":{{\"schedule\":{},"
        "\"note\":{}}}}}\n",
        events_, Quoted(schedule), Quoted(note));
  }

 private:
  void Event(std::string_view members) {
    if (!events_.empty()) events_ += ",\n";
    fmt::format_to(std::back_inserter(events_), "{{{}}}", members);
  }

  std::string events_;
};

// What each step is called and of which body it is; looked up once a step, not once an execution.
struct StepInfo {
  std::string quoted_name;
  const Phase* body_of = nullptr;
};

std::vector<StepInfo> InfosOf(const Schedule& schedule) {
  std::vector<StepInfo> infos(schedule.steps.size());
  for (std::size_t s = 0; s < infos.size(); ++s) {
    infos[s].quoted_name = Quoted(schedule.StepName(static_cast<StepId>(s)));
  }
  for (const Phase& phase : schedule.phases) {
    for (StepId s = phase.body.begin; s < phase.body.end; ++s) infos[static_cast<std::size_t>(s)].body_of = &phase;
  }
  return infos;
}

// The process and track of each slice that an execution of the step is.
std::vector<std::pair<int, std::size_t>> TracksOf(const Step& step) {
  std::vector<std::pair<int, std::size_t>> tracks;
  if (step.queue >= 0) tracks.emplace_back(kQueues, static_cast<std::size_t>(step.queue));
  for (const std::int16_t r : step.resources) {
    if (r >= 0) tracks.emplace_back(kResources, static_cast<std::size_t>(r));
  }
  return tracks;
}

bool InTheMiddle(const StepInfo& info, std::int64_t iteration) {
  return info.body_of != nullptr && iteration >= kShownIterations &&
         iteration < info.body_of->iterations - kShownIterations;
}

// An iteration in one slice of a track.
struct Merged {
  Seconds start, end;
  std::int64_t steps = 0;
};
using MergedKey = std::tuple<const Phase*, std::int64_t, int, std::size_t>;

void Add(const StepSpan& span, Merged& merged) {
  merged.start = merged.steps == 0 ? span.start : std::min(merged.start, span.start);
  merged.end = merged.steps == 0 ? span.end : std::max(merged.end, span.end);
  ++merged.steps;
}

// The steps; whether any were merged.
bool WriteSteps(const Schedule& schedule, const Timeline& timeline, const TraceLimits& options, Writer& out) {
  const std::vector<StepInfo> infos = InfosOf(schedule);
  std::size_t slices = 0;
  for (const StepSpan& span : timeline.spans)
    slices += TracksOf(schedule.steps[static_cast<std::size_t>(span.step)]).size();
  const bool thin = slices > options.most_slices;
  std::map<MergedKey, Merged> merged;
  for (const StepSpan& span : timeline.spans) {
    const Step& step = schedule.steps[static_cast<std::size_t>(span.step)];
    const StepInfo& info = infos[static_cast<std::size_t>(span.step)];
    for (const auto& [process, track] : TracksOf(step)) {
      if (thin && InTheMiddle(info, span.iteration)) {
        Add(span, merged[{info.body_of, span.iteration, process, track}]);
        continue;
      }
      const std::string args = info.body_of == nullptr ? "" : fmt::format(R"("iteration":{})", span.iteration);
      out.Slice(process, track, info.quoted_name, Name(step.kind), span.start, span.end, args);
    }
  }
  for (const auto& [key, slice] : merged) {
    const auto& [phase, iteration, process, track] = key;
    out.Slice(process, track, Quoted(fmt::format("{} {}", phase->name, iteration)), "iteration", slice.start, slice.end,
              fmt::format(R"("steps":{})", slice.steps));
  }
  return !merged.empty();
}

}  // namespace

std::string TraceJson(const Schedule& schedule, const Timeline& timeline, const TraceLimits& options) {
  Writer out;
  out.Name(kPhases, "phases");
  out.Name(kQueues, "queues");
  out.Name(kResources, "resources");
  out.Name(kMemory, "memory");
  out.Track(kPhases, 0, "phases");
  for (std::size_t q = 0; q < schedule.queues.size(); ++q) out.Track(kQueues, q, schedule.queues[q].name);
  for (std::size_t r = 0; r < schedule.resources.size(); ++r) out.Track(kResources, r, schedule.resources[r]);
  for (const PhaseTimeline& p : timeline.phases) {
    out.Slice(kPhases, 0, Quoted(p.phase), "phase", p.start, p.start + p.seconds,
              fmt::format(R"("passes":{})", p.iterations));
  }
  for (std::size_t p = 0; p < timeline.pools.size(); ++p) {
    for (const PoolSample& sample : timeline.pools[p].curve) out.Counter(p, timeline.pools[p].pool, sample);
  }
  const bool thinned = WriteSteps(schedule, timeline, options, out);
  return std::move(out).Finish(schedule.name, thinned
                                                  ? "iterations between the first and last three of a phase are one "
                                                    "slice per track"
                                                  : "every step is a slice");
}

}  // namespace stowage
