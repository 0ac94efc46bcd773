// What `inspect dump` prints of a schedule: its text form, or the part of it that was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "planner/base/result.h"
#include "planner/schedule/schedule.h"

namespace stowage {

struct DumpSelection {
  std::optional<std::string> phase;                            // only this one
  std::optional<std::pair<std::int64_t, std::int64_t>> steps;  // only steps [first, second), counted over all phases
};

// "10:20", "10:", ":20".
Result<std::pair<std::int64_t, std::int64_t>> ParseStepRange(std::string_view text);

// Everything when nothing is selected; else the selected steps under the lines of their phases and sections.
// kInvalidInput names an unknown phase or a range without steps.
Result<std::string> ScheduleText(const Schedule& schedule, const DumpSelection& selection);
// {"schedule", "phases": [{"name", "iterations", "steps": [{"id", "section", "name", "kind", "text"}]}]}
Result<std::string> ScheduleJson(const Schedule& schedule, const DumpSelection& selection);

}  // namespace stowage
