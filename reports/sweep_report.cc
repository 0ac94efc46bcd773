#include "reports/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "planner/base/text.h"
#include "reports/heading.h"
#include "reports/json.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPlotRows = 12;
constexpr std::size_t kMostColumns = 80;  // more would only stretch it

std::string NameOf(const SweepPoint& point) { return point.strategy.substr(0, point.strategy.find(':')); }

// One letter for each strategy of the front, in order of appearance.
std::vector<std::string> LettersOf(const SweepReport& report) {
  std::vector<std::string> names;
  for (const std::size_t i : report.front) {
    const std::string name = NameOf(report.points[i]);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

char LetterOf(const std::vector<std::string>& names, const SweepPoint& point) {
  return static_cast<char>('A' + (std::find(names.begin(), names.end(), NameOf(point)) - names.begin()));
}

// Where a value lies between two others, 0 to 1.
double Share(double value, double low, double high) { return high > low ? (value - low) / (high - low) : 0; }

struct Axes {
  double least_memory = 0, most_memory = 0;  // bytes
  double least_time = 0, most_time = 0;      // logarithms
};

Axes AxesOf(const std::vector<SweepPoint>& points) {
  Axes a{INFINITY, -INFINITY, INFINITY, -INFINITY};
  for (const SweepPoint& p : points) {
    const double memory = static_cast<double>(p.gpu.value());
    const double time = std::log(p.time.value());
    a.least_memory = std::min(a.least_memory, memory);
    a.most_memory = std::max(a.most_memory, memory);
    a.least_time = std::min(a.least_time, time);
    a.most_time = std::max(a.most_time, time);
  }
  return a;
}

std::string PlotOf(const SweepReport& report, std::size_t width) {
  const Axes axes = AxesOf(report.points);
  const std::string top = FormatSeconds(Seconds(std::exp(axes.most_time)));
  const std::string bottom = FormatSeconds(Seconds(std::exp(axes.least_time)));
  const std::size_t label = std::max(top.size(), bottom.size());
  const std::size_t columns = std::clamp<std::size_t>(width - label - 2, 20, kMostColumns);
  std::vector<std::string> cells(kPlotRows, std::string(columns, ' '));
  const auto put = [&](const SweepPoint& p, char c) {
    const double x = Share(static_cast<double>(p.gpu.value()), axes.least_memory, axes.most_memory);
    const double y = Share(std::log(p.time.value()), axes.least_time, axes.most_time);
    cells[kPlotRows - 1 - static_cast<std::size_t>(std::lround(y * (kPlotRows - 1)))]
         [static_cast<std::size_t>(std::lround(x * static_cast<double>(columns - 1)))] = c;
  };
  for (const SweepPoint& p : report.points) put(p, '.');
  const std::vector<std::string> names = LettersOf(report);
  for (const std::size_t i : report.front) put(report.points[i], LetterOf(names, report.points[i]));
  std::string out;
  for (std::size_t row = 0; row < kPlotRows; ++row) {
    std::string line = fmt::format("{:>{}} |{}",
                                   row == 0               ? top
                                   : row + 1 == kPlotRows ? bottom
                                                          : "",
                                   label, cells[row]);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  const std::string from = FormatBytes(Bytes(static_cast<std::int64_t>(axes.least_memory)));
  const std::string to = FormatBytes(Bytes(static_cast<std::int64_t>(axes.most_memory)));
  out += fmt::format("{:{}}  {}{:>{}}\n", "", label, from, to, columns - from.size());
  std::vector<std::string> legend;
  for (std::size_t i = 0; i < names.size(); ++i)
    legend.push_back(fmt::format("{} {}", static_cast<char>('A' + i), names[i]));
  return out + "time, logarithmic, over peak of gpu0: " + Join(legend, ", ") + "; . beaten by another\n";
}

}  // namespace

std::string SweepText(const SweepReport& report, const PlotOptions& plot) {
  const Style style(plot.colour);
  std::string out = HeadingText(report.model, report.request, report.machine, style);
  out += fmt::format("{} from {} to {}, {} budgets\n\n", report.pool, FormatBytes(report.budgets.front()),
                     FormatBytes(report.budgets.back()), report.budgets.size());
  if (report.points.empty()) return out + style.Bad("nothing fits") + "\n";
  std::vector<std::size_t> order = report.front;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return report.points[a].gpu < report.points[b].gpu; });
  std::vector<std::vector<std::string>> rows = {{report.pool + " budget", "gpu0", "host", "time", "strategy"}};
  for (const std::size_t i : order) {
    const SweepPoint& p = report.points[i];
    rows.push_back({FormatBytes(p.budget), FormatBytes(p.gpu), FormatBytes(p.host), FormatSeconds(p.time), p.strategy});
  }
  out += style.Strong(fmt::format("no other of {} results is as good in GPU memory, time and host memory",
                                  report.points.size())) +
         "\n" + style.Heading(AlignTable(rows));
  return out + "\n" + PlotOf(report, plot.width);
}

std::string SweepJson(const SweepReport& report) {
  Json json = {{"model", ModelMembers(report.model)},
               {"request", RequestMembers(report.request)},
               {"machine", report.machine},
               {"pool", report.pool},
               {"budgets", Json::array()},
               {"points", Json::array()}};
  for (const Bytes budget : report.budgets) json["budgets"].push_back(budget.value());
  for (std::size_t i = 0; i < report.points.size(); ++i) {
    const SweepPoint& p = report.points[i];
    const bool front = std::find(report.front.begin(), report.front.end(), i) != report.front.end();
    json["points"].push_back({{"budget_bytes", p.budget.value()},
                              {"strategy", p.strategy},
                              {"gpu_bytes", p.gpu.value()},
                              {"host_bytes", p.host.value()},
                              {"seconds", p.time.value()},
                              {"pareto", front}});
  }
  return DumpJson(json);
}

}  // namespace stowage
