#include "reports/timeline_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "planner/base/text.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Row = std::vector<std::string>;

struct KindBytes {
  std::string kind;
  Bytes bytes;
};

// Sums by kind, largest first; equal ones keep the order of their first buffer.
std::vector<KindBytes> ByKind(const std::vector<PeakBuffer>& buffers) {
  std::vector<KindBytes> kinds;
  for (const PeakBuffer& b : buffers) {
    const auto it = std::find_if(kinds.begin(), kinds.end(), [&](const KindBytes& k) { return k.kind == b.kind; });
    if (it == kinds.end()) {
      kinds.push_back({b.kind, b.bytes});
    } else {
      it->bytes += b.bytes;
    }
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return kinds;
}

std::string Share(Bytes part, Bytes whole) {
  return whole.value() > 0 ? FormatPercent(static_cast<double>(part.value()) / static_cast<double>(whole.value()))
                           : "-";
}

std::string Share(Seconds part, Seconds whole) {
  return whole.value() > 0 ? FormatPercent(part.value() / whole.value()) : "-";
}

std::string PoolTable(const Timeline& timeline) {
  std::vector<Row> rows = {{"pool", "peak", "budget", "used", "reached in"}};
  for (const PoolTimeline& p : timeline.pools) {
    const std::string where = p.peak.step.empty() ? std::string() : p.peak.phase + ", " + p.peak.step;
    const std::string budget = p.budget > Bytes(0) ? FormatBytes(p.budget) : "none";
    rows.push_back({p.pool, FormatBytes(p.peak.bytes), budget, Share(p.peak.bytes, p.budget), where});
  }
  return AlignTable(rows);
}

// "  gpu0: weights 12.00 GB, kv 83.9 MB; largest: embed 1.05 GB"
std::string PeakLine(const PoolTimeline& pool, std::size_t top) {
  std::vector<std::string> kinds;
  for (const KindBytes& k : ByKind(pool.peak.buffers)) kinds.push_back(k.kind + " " + FormatBytes(k.bytes));
  std::string line = "  " + pool.pool + ": " + Join(kinds, ", ");
  std::vector<std::string> largest;
  for (std::size_t i = 0; i < std::min(top, pool.peak.buffers.size()); ++i) {
    largest.push_back(pool.peak.buffers[i].name + " " + FormatBytes(pool.peak.buffers[i].bytes));
  }
  if (!largest.empty()) line += "; largest: " + Join(largest, ", ");
  return line + "\n";
}

// Tokens a phase handles: all of the prompt in a prefill, one a sequence in each decode pass; none in the others.
std::int64_t TokensOf(const PhaseTimeline& phase, const Request& request) {
  if (phase.phase == "prefill") return request.batch * request.prompt_tokens * phase.iterations;
  if (phase.phase == "decode") return request.batch * phase.iterations;
  return 0;
}

std::string TimeOf(const Timeline& timeline, const std::string& phase) {
  const PhaseTimeline* found = FindPhase(timeline, phase);
  return found == nullptr ? "-" : FormatSeconds(found->seconds);
}

std::string PhaseTable(const Timeline& timeline, const Request& request, const TimelineTextOptions& options) {
  const bool interval = options.low != nullptr && options.high != nullptr;
  std::vector<Row> rows = {{"phase", "passes", "time", "a pass", "tokens/s"}};
  if (interval) rows[0].insert(rows[0].end(), {"low", "high"});
  for (const PhaseTimeline& p : timeline.phases) {
    const std::int64_t tokens = TokensOf(p, request);
    const bool timed = p.seconds.value() > 0;
    rows.push_back({p.phase, FormatCount(p.iterations), FormatSeconds(p.seconds),
                    p.iterations > 0 ? FormatSeconds(p.seconds / static_cast<double>(p.iterations)) : "-",
                    tokens > 0 && timed ? fmt::format("{:.4g}", static_cast<double>(tokens) / p.seconds.value()) : ""});
    if (interval)
      rows.back().insert(rows.back().end(), {TimeOf(*options.low, p.phase), TimeOf(*options.high, p.phase)});
  }
  rows.push_back({"total", "", FormatSeconds(timeline.length)});
  if (interval) {
    rows.back().insert(rows.back().end(),
                       {"", "", FormatSeconds(options.low->length), FormatSeconds(options.high->length)});
  }
  return AlignTable(rows);
}

std::string ResourceTable(const Timeline& timeline) {
  std::vector<Row> rows = {{"resource", "busy", "", "idle", "because"}};
  for (const ResourceTimeline& r : timeline.resources) {
    std::vector<std::pair<std::string, Seconds>> causes(r.idle_causes.begin(), r.idle_causes.end());
    std::stable_sort(causes.begin(), causes.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    std::vector<std::string> parts;
    for (const auto& [cause, time] : causes) {
      if (time.value() > 0) parts.push_back(cause + " " + FormatSeconds(time));
    }
    rows.push_back(
        {r.resource, FormatSeconds(r.busy), Share(r.busy, timeline.length), FormatSeconds(r.idle), Join(parts, ", ")});
  }
  return AlignTable(rows);
}

}  // namespace

std::string TimelineText(const Timeline& timeline, const Request& request, const TimelineTextOptions& options) {
  const Style style(options.colour);
  std::string out;
  if (timeline.out_of_memory) {
    const OutOfMemory& oom = *timeline.out_of_memory;
    out += style.Bad(fmt::format("out of memory: {} in {} asks {} for {}, {} are left", oom.step, oom.phase, oom.pool,
                                 FormatBytes(oom.requested), FormatBytes(oom.available))) +
           "\n\n";
  }
  out += style.Heading(PoolTable(timeline));
  for (const PoolTimeline& pool : timeline.pools) {
    if (!pool.peak.buffers.empty()) out += PeakLine(pool, options.top_buffers);
  }
  if (timeline.torch) {
    out += fmt::format("  torch: allocated {}, reserved {}, pinned {}\n", FormatBytes(timeline.torch->allocated_peak),
                       FormatBytes(timeline.torch->reserved_peak), FormatBytes(timeline.torch->pinned));
  }
  out += "\n" + style.Heading(PhaseTable(timeline, request, options));
  out += "\n" + style.Heading(ResourceTable(timeline));
  return out;
}

}  // namespace stowage
