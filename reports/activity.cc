#include "reports/activity.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace stowage {
namespace {

using Interval = std::pair<double, double>;

// The union of intervals, in order.
std::vector<Interval> Merged(std::vector<Interval> intervals) {
  if (!std::is_sorted(intervals.begin(), intervals.end())) std::sort(intervals.begin(), intervals.end());
  std::vector<Interval> out;
  for (const Interval& i : intervals) {
    if (!out.empty() && i.first <= out.back().second) {
      out.back().second = std::max(out.back().second, i.second);
    } else {
      out.push_back(i);
    }
  }
  return out;
}

double Width(const Stretch& stretch, std::size_t bins) {
  return (stretch.end - stretch.begin).value() / static_cast<double>(bins);
}

std::size_t BinOf(double at, const Stretch& stretch, std::size_t bins) {
  const double bin = (at - stretch.begin.value()) / Width(stretch, bins);
  return static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(bins - 1)));
}

// Adds the part of [from, to) in each bin, in bins.
void AddShare(double from, double to, const Stretch& stretch, std::vector<double>& bins) {
  const double width = Width(stretch, bins.size());
  from = std::max(from, stretch.begin.value());
  to = std::min(to, stretch.end.value());
  if (from >= to) return;
  const std::size_t first = BinOf(from, stretch, bins.size()), last = BinOf(to, stretch, bins.size());
  for (std::size_t b = first; b <= last; ++b) {
    const double begin = stretch.begin.value() + width * static_cast<double>(b);
    bins[b] += std::max(0.0, std::min(to, begin + width) - std::max(from, begin)) / width;
  }
}

// The file a Read takes from: -1 without one.
std::int32_t FileOf(const Schedule& schedule, const Step& step) {
  return step.reads.empty() ? -1 : schedule.buffers[static_cast<std::size_t>(step.reads[0].buffer)].file;
}

}  // namespace

std::vector<Occupancy> OccupancyOf(const Schedule& schedule, const Timeline& timeline, const Stretch& stretch,
                                   std::size_t bins) {
  std::vector<std::vector<Interval>> intervals(schedule.resources.size());
  for (const StepSpan& span : timeline.spans) {
    if (span.end <= span.start || span.end <= stretch.begin || span.start >= stretch.end) continue;
    for (const std::int16_t r : schedule.steps[static_cast<std::size_t>(span.step)].resources) {
      if (r >= 0) intervals[static_cast<std::size_t>(r)].emplace_back(span.start.value(), span.end.value());
    }
  }
  std::vector<Occupancy> lanes;
  for (std::size_t r = 0; r < intervals.size(); ++r) {
    Occupancy lane{schedule.resources[r], std::vector<double>(bins)};
    for (const auto& [from, to] : Merged(std::move(intervals[r]))) AddShare(from, to, stretch, lane.busy);
    for (double& share : lane.busy) share = std::min(share, 1.0);
    lanes.push_back(std::move(lane));
  }
  return lanes;
}

std::vector<Bytes> MemoryBins(const PoolTimeline& pool, const Stretch& stretch, std::size_t bins) {
  std::vector<Bytes> out(bins);
  for (std::size_t i = 0; i < pool.curve.size(); ++i) {
    const double from = pool.curve[i].at.value();
    const double to = i + 1 < pool.curve.size() ? pool.curve[i + 1].at.value() : stretch.end.value();
    if (to < stretch.begin.value() || from > stretch.end.value()) continue;
    const std::size_t last = BinOf(to, stretch, bins);
    for (std::size_t b = BinOf(from, stretch, bins); b <= last; ++b) out[b] = std::max(out[b], pool.curve[i].bytes);
  }
  return out;
}

std::vector<Arrival> ArrivalsOf(const Schedule& schedule, const Timeline& timeline, const Stretch& stretch,
                                std::size_t bins) {
  std::vector<Arrival> all(schedule.files.size() + 1);
  for (std::size_t f = 0; f < schedule.files.size(); ++f) all[f].file = schedule.files[f];
  all.back().file = "the checkpoint";
  for (Arrival& a : all) a.so_far.resize(bins);
  for (const StepSpan& span : timeline.spans) {
    const Step& step = schedule.steps[static_cast<std::size_t>(span.step)];
    if (step.kind != StepKind::kRead || step.reads.empty() || span.end > stretch.end) continue;
    const std::int32_t file = FileOf(schedule, step);
    Arrival& a = file < 0 ? all.back() : all[static_cast<std::size_t>(file)];
    const Bytes bytes = step.reads[0].bytes.at(span.iteration);
    a.first = a.bytes == Bytes(0) ? span.start : std::min(a.first, span.start);
    a.last = std::max(a.last, span.end);
    a.bytes += bytes;
    a.so_far[BinOf(span.end.value(), stretch, bins)] += bytes;
  }
  std::erase_if(all, [](const Arrival& a) { return a.bytes == Bytes(0); });
  for (Arrival& a : all) {
    for (std::size_t b = 1; b < bins; ++b) a.so_far[b] += a.so_far[b - 1];
  }
  return all;
}

}  // namespace stowage
