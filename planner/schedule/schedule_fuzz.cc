// Any text is refused or read; what is read is written back equal and can be checked, whatever it says.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "planner/base/check.h"
#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto schedule = ParseSchedule(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!schedule) return 0;
  const auto again = ParseSchedule(Dump(*schedule));
  STOWAGE_CHECK(again && *again == *schedule);
  CheckOptions options;
  options.max_executions = 2000;
  (void)FindProblems(*schedule, options);
  return 0;
}
