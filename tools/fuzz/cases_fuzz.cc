// A cases file as input. What is accepted names every case once and says where it is.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "tools/check_cases.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto cases = ReadCases("input", std::string_view(reinterpret_cast<const char*>(data), size));
  if (!cases) {
    STOWAGE_CHECK(cases.error().code == ErrorCode::kInvalidInput && cases.error().message.starts_with("input:"));
    return 0;
  }
  std::set<std::string> names;
  for (const CheckCase& c : *cases) {
    STOWAGE_CHECK(names.insert(c.name).second && c.place.starts_with("input:"));
    STOWAGE_CHECK(c.limits.tolerance.fraction >= 0 && c.limits.tolerance.bytes >= Bytes(0));
    STOWAGE_CHECK(c.task.request.batch >= 1 && c.task.request.prompt_tokens >= 1);
  }
  return 0;
}
