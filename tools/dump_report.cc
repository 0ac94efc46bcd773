#include "tools/dump_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "planner/base/text.h"
#include "planner/schedule/dump.h"
#include "tools/common/read_number.h"

namespace stowage {
namespace {

constexpr std::int64_t kLastStep = std::numeric_limits<std::int32_t>::max();

// A line of the text form with what it belongs to.
struct Line {
  std::string_view text;
  StepId step = -1;       // of a step's line
  std::size_t phase = 0;  // index into Schedule::phases, of lines from the first phase on
  bool in_phase = false;
  std::string_view section;  // "body"
};

std::vector<Line> LinesOf(std::string_view dump) {
  std::vector<Line> out;
  Line at;
  std::size_t phases = 0;
  StepId steps = 0;
  while (!dump.empty()) {
    const std::size_t end = dump.find('\n');
    at.text = dump.substr(0, end);
    dump.remove_prefix(end + 1);  // every line ends with one
    at.step = at.text.starts_with("  ") ? steps++ : -1;
    if (at.text.starts_with("phase ")) {
      at.phase = phases++;
      at.in_phase = true;
    } else if (at.in_phase && at.step < 0) {
      at.section = at.text.substr(0, at.text.find(' '));
    }
    out.push_back(at);
  }
  return out;
}

// Which steps are meant; an empty choice is an error.
Result<std::vector<bool>> Select(const Schedule& schedule, const DumpSelection& selection) {
  std::vector<bool> chosen(schedule.steps.size(), true);
  if (selection.phase) {
    const auto is_it = [&](const Phase& p) { return p.name == *selection.phase; };
    const auto it = std::find_if(schedule.phases.begin(), schedule.phases.end(), is_it);
    if (it == schedule.phases.end()) {
      std::vector<std::string> names;
      for (const Phase& p : schedule.phases) names.push_back(p.name);
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("no phase '{}'; there are {}", *selection.phase, Join(names, ", "))};
    }
    for (StepId s = 0; s < static_cast<StepId>(chosen.size()); ++s)
      chosen[s] = s >= it->prologue.begin && s < it->epilogue.end;
  }
  if (selection.steps) {
    for (StepId s = 0; s < static_cast<StepId>(chosen.size()); ++s)
      chosen[s] = chosen[s] && s >= selection.steps->first && s < selection.steps->second;
  }
  if (std::find(chosen.begin(), chosen.end(), true) == chosen.end()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("no step is meant; there are {}, counted from 0", chosen.size())};
  }
  return chosen;
}

}  // namespace

Result<std::pair<std::int64_t, std::int64_t>> ParseStepRange(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return Error{ErrorCode::kInvalidInput, fmt::format("must be FIRST:END, such as 10:20, not '{}'", text)};
  }
  std::pair<std::int64_t, std::int64_t> range = {0, kLastStep};
  if (colon > 0) {
    STOWAGE_TRY(range.first, ReadNumber(text.substr(0, colon), 0, kLastStep));
  }
  if (colon + 1 < text.size()) {
    STOWAGE_TRY(range.second, ReadNumber(text.substr(colon + 1), 0, kLastStep));
  }
  return range;
}

Result<std::string> ScheduleText(const Schedule& schedule, const DumpSelection& selection) {
  std::string dump = Dump(schedule);
  if (!selection.phase && !selection.steps) return dump;
  STOWAGE_TRY(const std::vector<bool> chosen, Select(schedule, selection));
  std::string out;
  std::vector<std::string_view> headings;  // of the phase and section at hand, until a step of theirs is printed
  for (const Line& line : LinesOf(dump)) {
    if (line.text.starts_with("phase ")) headings.clear();
    if (line.in_phase && line.step < 0) {
      if (!headings.empty() && !headings.back().starts_with("phase ")) headings.pop_back();
      headings.push_back(line.text);
    }
    if (line.step < 0 || !chosen[line.step]) continue;
    for (const std::string_view heading : headings) out += fmt::format("{}\n", heading);
    headings.clear();
    out += fmt::format("{}\n", line.text);
  }
  return out;
}

Result<std::string> ScheduleJson(const Schedule& schedule, const DumpSelection& selection) {
  using Json = nlohmann::ordered_json;
  STOWAGE_TRY(const std::vector<bool> chosen, Select(schedule, selection));
  Json out = {{"schedule", schedule.name}, {"phases", Json::array()}};
  for (const Phase& p : schedule.phases)
    out["phases"].push_back({{"name", p.name}, {"iterations", p.iterations}, {"steps", Json::array()}});
  const std::string dump = Dump(schedule);
  for (const Line& line : LinesOf(dump)) {
    if (line.step < 0 || !chosen[line.step]) continue;
    const Step& step = schedule.steps[line.step];
    out["phases"][line.phase]["steps"].push_back({{"id", line.step},
                                                  {"section", line.section},
                                                  {"name", schedule.StepName(line.step)},
                                                  {"kind", Name(step.kind)},
                                                  {"text", line.text.substr(2)}});
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace stowage
