#include "reports/simulation_text.h"

#include <string>
#include <vector>

#include "reports/heading.h"
#include "reports/loading_notes.h"
#include "reports/style.h"
#include "reports/timeline_text.h"

namespace stowage {
namespace {

constexpr std::size_t kWidth = 100;

}  // namespace

std::string SimulationText(const SimulationReport& report, const PlotOptions& plot) {
  const Style style(plot.colour);
  std::string out = HeadingText(report.model, report.request, report.machine.name, style);
  out += "strategy: " + style.Strong(report.strategy) + "\n\n";
  const bool interval = report.low && report.high;
  out += TimelineText(
      report.timeline, report.request,
      {.colour = plot.colour, .low = interval ? &*report.low : nullptr, .high = interval ? &*report.high : nullptr});
  if (const std::string drawn = TimelinePlot(report.schedule, report.timeline, plot); !drawn.empty()) {
    out += "\n" + style.Strong("memory and occupancy over time") + "\n" + drawn;
  }
  if (!report.would_help.empty()) out += "\n" + style.Strong("what would help") + "\n";
  for (const std::string& sentence : report.would_help) out += Wrap("- ", sentence, kWidth);
  std::vector<std::string> notes = LoadingNotes(report);
  if (report.timeline.torch && !report.machine.torch_allocator.empty()) {
    notes.push_back("torch: PYTORCH_ALLOC_CONF is " + report.machine.torch_allocator);
  }
  if (interval) {
    notes.emplace_back(
        "low and high: all assumed rates at an end of their intervals, which `inspect machine` and the page of --html "
        "list.");
  }
  if (!notes.empty()) out += "\n";
  for (const std::string& note : notes) out += Wrap("- ", note, kWidth);
  return out;
}

}  // namespace stowage
