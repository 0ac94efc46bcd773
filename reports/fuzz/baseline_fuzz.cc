// A baseline file as input. What is accepted is written to a text that reads back to the same, and passes against
// itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "reports/memory_baseline.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto cases = ReadBaseline("input", std::string_view(reinterpret_cast<const char*>(data), size));
  if (!cases) {
    STOWAGE_CHECK(cases.error().code == ErrorCode::kInvalidInput && cases.error().message.starts_with("input:"));
    return 0;
  }
  const std::string text = WriteBaseline(*cases);
  const auto back = ReadBaseline("back", text);
  STOWAGE_CHECK(back && WriteBaseline(*back) == text);
  for (const CaseRecord& c : *cases) STOWAGE_CHECK(CompareCase(c, &c, {}).ok());
  return 0;
}
