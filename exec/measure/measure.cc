#include "exec/measure/measure.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace stowage {
namespace {

using SpanKey = std::pair<StepId, std::int64_t>;  // step, iteration

struct Located {
  std::int32_t phase = -1;
  StepId body_begin = -1;
  std::int64_t times = 1;
};

std::vector<Located> Locate(const Schedule& schedule) {
  std::vector<Located> out(schedule.steps.size());
  for (std::size_t p = 0; p < schedule.phases.size(); ++p) {
    const Phase& phase = schedule.phases[p];
    const auto index = static_cast<std::int32_t>(p);
    for (StepId i = phase.prologue.begin; i < phase.prologue.end; ++i) out[i] = {index, -1, 1};
    for (StepId i = phase.body.begin; i < phase.body.end; ++i) out[i] = {index, phase.body.begin, phase.iterations};
    for (StepId i = phase.epilogue.begin; i < phase.epilogue.end; ++i) out[i] = {index, -1, 1};
  }
  return out;
}

std::vector<PhaseTimeline> Phases(const Schedule& schedule, const std::vector<StepSpan>& spans,
                                  const std::vector<Located>& located) {
  std::vector<PhaseTimeline> out;
  std::vector<Seconds> ends(schedule.phases.size());
  for (const StepSpan& span : spans) {
    Seconds& end = ends[located[span.step].phase];
    end = std::max(end, span.end);
  }
  Seconds start;
  for (std::size_t p = 0; p < ends.size(); ++p) {
    const Phase& phase = schedule.phases[p];
    const Seconds end = std::max(start, ends[p]);
    out.push_back({phase.name, phase.prologue.passes + phase.iterations * phase.body.passes + phase.epilogue.passes,
                   start, end - start});
    start = end;
  }
  return out;
}

PoolTimeline Pool(const Schedule& schedule, std::int32_t pool, const std::vector<MemoryEvent>& memory,
                  const std::vector<Located>& located) {
  PoolTimeline out{.pool = schedule.pools[pool].name, .budget = schedule.pools[pool].budget};
  std::map<BufferId, Bytes> alive;
  Bytes now;
  for (const MemoryEvent& event : memory) {
    const Buffer& buffer = schedule.buffers[event.buffer];
    if (buffer.pool != pool) continue;
    now += event.bytes;
    if (event.bytes < Bytes(0)) {
      alive.erase(event.buffer);
    } else {
      alive[event.buffer] = event.bytes;
    }
    out.curve.push_back({event.at, now});
    if (now <= out.peak.bytes) continue;
    out.peak = {.bytes = now, .at = event.at};
    if (event.step >= 0) {
      out.peak.step = schedule.StepName(event.step);
      out.peak.phase = schedule.phases[located[event.step].phase].name;
    }
    for (const auto& [id, bytes] : alive) {
      out.peak.buffers.push_back({schedule.buffers[id].name, std::string(Name(schedule.buffers[id].kind)), bytes});
    }
  }
  std::stable_sort(out.peak.buffers.begin(), out.peak.buffers.end(),
                   [](const PeakBuffer& a, const PeakBuffer& b) { return a.bytes > b.bytes; });
  return out;
}

std::string WaitingFor(StepKind kind) {
  switch (kind) {
    case StepKind::kCopy:
      return "waiting for a copy";
    case StepKind::kRead:
      return "waiting for a read";
    case StepKind::kCompute:
      return "waiting for compute";
    case StepKind::kReduce:
      return "waiting for a reduce";
    default:
      return "waiting for the issuer";
  }
}

// Splits idle gaps by cause, in the simulator's words.
class Causes {
 public:
  Causes(const Schedule& schedule, const std::vector<StepSpan>& spans, const std::vector<Located>& located)
      : schedule_(schedule), located_(located) {
    std::vector<const StepSpan*> last(schedule.queues.size(), nullptr);
    std::vector<const StepSpan*> waited(schedule.issuers.size(), nullptr);
    for (const StepSpan& span : spans) {  // in issue order
      by_step_[{span.step, span.iteration}] = &span;
      const Step& step = schedule.steps[span.step];
      if (waited[step.issuer] != nullptr) waited_[&span] = waited[step.issuer];
      if (step.kind == StepKind::kWait || step.blocking) waited[step.issuer] = &span;
    }
    // Two issuers of one queue may have been held up between issue and queue: what counts is who ran first.
    std::vector<const StepSpan*> started;
    for (const StepSpan& span : spans) started.push_back(&span);
    std::stable_sort(started.begin(), started.end(),
                     [](const StepSpan* a, const StepSpan* b) { return a->start < b->start; });
    for (const StepSpan* span : started) {
      const std::int32_t queue = schedule.steps[span->step].queue;
      if (queue < 0) continue;
      if (last[queue] != nullptr) before_[span] = last[queue];
      last[queue] = span;
    }
  }

  // Adds the gap [from, span.start) to *causes. Walks back from predecessor to predecessor: while the binding one ran,
  // and until its successor had noticed its end, the gap waited for it.
  void Split(const StepSpan& span, Seconds from, std::map<std::string, Seconds>* causes) const {
    const StepSpan* at = &span;
    Seconds until = span.start;
    while (until > from) {
      const StepSpan* binding = Binding(*at);
      const bool issued_last = binding == nullptr || binding->end <= at->issued;
      if (issued_last) binding = WaitedBefore(*at);
      // Clocks of two devices may disagree; then there is no way back from here.
      if (binding == nullptr || binding->start >= at->start) {
        (*causes)["waiting for the issuer"] += until - from;
        return;
      }
      const Seconds noticed = issued_last ? std::clamp(binding->end, from, until) : until;
      if (until > noticed) (*causes)["waiting for the issuer"] += until - noticed;
      const Seconds start = std::clamp(binding->start, from, noticed);
      if (noticed > start) (*causes)[WaitingFor(schedule_.steps[binding->step].kind)] += noticed - start;
      until = start;
      at = binding;
    }
  }

 private:
  // Of the queue's previous step and `after`, the one that ended last.
  const StepSpan* Binding(const StepSpan& span) const {
    const StepSpan* out = nullptr;
    const auto consider = [&](const StepSpan* other) {
      if (out == nullptr || other->end > out->end) out = other;
    };
    if (const auto it = before_.find(&span); it != before_.end()) consider(it->second);
    for (const StepRef& ref : schedule_.steps[span.step].after) {
      if (const StepSpan* other = Find(span, ref)) consider(other);
    }
    return out;
  }

  // What the issuer last waited for before it issued `span`.
  const StepSpan* WaitedBefore(const StepSpan& span) const {
    const auto it = waited_.find(&span);
    if (it == waited_.end()) return nullptr;
    const Step& wait = schedule_.steps[it->second->step];
    return wait.kind == StepKind::kWait ? Find(*it->second, wait.target) : it->second;
  }

  const StepSpan* Find(const StepSpan& from, const StepRef& ref) const {
    const Located& target = located_[ref.step];
    const bool same_body = target.body_begin >= 0 && target.body_begin == located_[from.step].body_begin;
    const auto it = by_step_.find({ref.step, same_body ? from.iteration - ref.back : target.times - 1});
    return it == by_step_.end() ? nullptr : it->second;
  }

  const Schedule& schedule_;
  const std::vector<Located>& located_;
  std::map<SpanKey, const StepSpan*> by_step_;
  std::map<const StepSpan*, const StepSpan*> before_;  // in the same queue
  std::map<const StepSpan*, const StepSpan*> waited_;  // the issuer's last Wait or blocking step
};

ResourceTimeline Resource(const Schedule& schedule, std::int32_t resource, const std::vector<StepSpan>& spans,
                          const Causes& causes, Seconds length) {
  std::vector<const StepSpan*> mine;
  for (const StepSpan& span : spans) {
    const auto& held = schedule.steps[span.step].resources;
    if (std::find(held.begin(), held.end(), resource) != held.end()) mine.push_back(&span);
  }
  std::stable_sort(mine.begin(), mine.end(), [](const StepSpan* a, const StepSpan* b) { return a->start < b->start; });
  ResourceTimeline out{.resource = schedule.resources[resource]};
  Seconds until;  // covered so far
  for (const StepSpan* span : mine) {
    if (span->start > until) causes.Split(*span, until, &out.idle_causes);
    out.busy += std::max(Seconds(0), span->end - std::max(span->start, until));
    until = std::max(until, span->end);
  }
  if (length > until) out.idle_causes["nothing left to do"] += length - until;
  out.idle = length - out.busy;
  return out;
}

}  // namespace

Timeline MeasuredTimeline(const Schedule& schedule, std::vector<StepSpan> spans, const std::vector<MemoryEvent>& memory,
                          bool keep_spans) {
  std::stable_sort(spans.begin(), spans.end(),
                   [](const StepSpan& a, const StepSpan& b) { return a.issued < b.issued; });
  const std::vector<Located> located = Locate(schedule);
  Timeline out;
  for (const StepSpan& span : spans) out.length = std::max(out.length, span.end);
  out.phases = Phases(schedule, spans, located);
  for (std::size_t i = 0; i < schedule.pools.size(); ++i) {
    if (schedule.pools[i].name.starts_with("disk")) continue;
    out.pools.push_back(Pool(schedule, static_cast<std::int32_t>(i), memory, located));
  }
  const Causes causes(schedule, spans, located);
  for (std::size_t i = 0; i < schedule.resources.size(); ++i) {
    out.resources.push_back(Resource(schedule, static_cast<std::int32_t>(i), spans, causes, out.length));
  }
  if (keep_spans) out.spans = std::move(spans);
  return out;
}

}  // namespace stowage
