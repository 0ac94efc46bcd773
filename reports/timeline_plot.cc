#include "reports/timeline_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "planner/base/text.h"
#include "reports/activity.h"
#include "reports/style.h"

namespace stowage {
namespace {

constexpr std::size_t kLeastWidth = 40;
constexpr std::size_t kMemoryRows = 3;
constexpr std::array<std::string_view, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<std::string_view, 9> kPlain = {" ", ".", ".", ":", "-", "=", "+", "*", "#"};

class Plot {
 public:
  Plot(const Timeline& timeline, const PlotOptions& options)
      : timeline_(timeline), options_(options), style_(options.colour) {}

  void AddRow(std::string name, std::string value, std::vector<double> levels) {
    rows_.push_back({std::move(name), std::move(value), std::move(levels)});
  }

  std::size_t Columns(std::size_t label) const { return std::max(options_.width, kLeastWidth) - label - 2; }

  std::string Text(std::size_t name_width, std::size_t value_width) const {
    std::string out;
    for (const Row& row : rows_) {
      out += fmt::format("{:<{}}  {:>{}} |", row.name, name_width, row.value, value_width);
      std::string cells;
      for (const double level : row.levels) cells += Cell(level);
      out += style_.Good(cells) + "|\n";
    }
    return out + Ruler(name_width + value_width + 4);
  }

 private:
  struct Row {
    std::string name, value;
    std::vector<double> levels;  // 0 to 1 of the row's height
  };

  // What is there at all is seen.
  std::string_view Cell(double level) const {
    const auto eighths = static_cast<std::size_t>(std::lround(std::clamp(level, 0.0, 1.0) * 8));
    return (options_.unicode ? kBlocks : kPlain)[level > 0 ? std::max<std::size_t>(eighths, 1) : 0];
  }

  // Names of phases under the column where each starts; one too narrow for its name is left out.
  std::string Ruler(std::size_t indent) const {
    const std::size_t columns = rows_.empty() ? 0 : rows_[0].levels.size();
    std::string line(indent, ' ');
    for (const PhaseTimeline& phase : timeline_.phases) {
      const auto at =
          static_cast<std::size_t>(phase.start.value() / timeline_.length.value() * static_cast<double>(columns));
      const auto end = static_cast<std::size_t>((phase.start + phase.seconds).value() / timeline_.length.value() *
                                                static_cast<double>(columns));
      const std::string full = phase.phase + " " + FormatSeconds(phase.seconds);
      const std::string& text = end - at > full.size() ? full : phase.phase;
      if (end - at <= text.size() || line.size() > indent + at) continue;
      line += std::string(indent + at - line.size(), ' ') + text;
    }
    return style_.Faint(line) + "\n";
  }

  const Timeline& timeline_;
  PlotOptions options_;
  Style style_;
  std::vector<Row> rows_;
};

// A pool's curve as rows of the plot, the highest first.
void AddPool(const PoolTimeline& pool, const Stretch& all, std::size_t columns, Plot& plot) {
  const std::vector<Bytes> bins = MemoryBins(pool, all, columns);
  for (std::size_t row = kMemoryRows; row-- > 0;) {
    std::vector<double> levels;
    for (const Bytes bytes : bins) {
      const double share = static_cast<double>(bytes.value()) / static_cast<double>(pool.peak.bytes.value());
      levels.push_back(share * kMemoryRows - static_cast<double>(row));
    }
    const bool top = row + 1 == kMemoryRows;
    plot.AddRow(top ? pool.pool : "", top ? FormatBytes(pool.peak.bytes) : row == 0 ? "0" : "", std::move(levels));
  }
}

}  // namespace

std::string TimelinePlot(const Schedule& schedule, const Timeline& timeline, const PlotOptions& options) {
  if (timeline.length <= Seconds(0)) return "";
  const Stretch all{Seconds(0), timeline.length};
  std::size_t names = 0;
  std::size_t values = std::string_view("100.0 %").size();
  for (const PoolTimeline& pool : timeline.pools) {
    names = std::max(names, pool.pool.size());
    values = std::max(values, FormatBytes(pool.peak.bytes).size());
  }
  for (const std::string& resource : schedule.resources) names = std::max(names, resource.size());
  Plot plot(timeline, options);
  const std::size_t columns = plot.Columns(names + values + 3);
  for (const PoolTimeline& pool : timeline.pools) {
    if (pool.peak.bytes > Bytes(0)) AddPool(pool, all, columns, plot);
  }
  for (Occupancy& lane : OccupancyOf(schedule, timeline, all, columns)) {
    double busy = 0;
    for (const double share : lane.busy) busy += share;
    if (busy <= 0) continue;
    const std::string value = FormatPercent(busy / static_cast<double>(columns));
    plot.AddRow(std::move(lane.resource), value, std::move(lane.busy));
  }
  return plot.Text(names, values);
}

}  // namespace stowage
