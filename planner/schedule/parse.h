// Reads the text form that Dump writes (see dump.h).
#pragma once

#include <string_view>

#include "planner/base/result.h"
#include "planner/schedule/schedule.h"

namespace stowage {

// Any bytes may come in. An error names the line, the text and what was expected there:
// "line 12: 'gpu0/inn': expected a queue". The result has no index out of range and consecutive sections; whether it
// makes sense is CheckSchedule's to say.
Result<Schedule> ParseSchedule(std::string_view text);

}  // namespace stowage
