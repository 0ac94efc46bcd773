// The smallest fuzz target: whatever the number, its text with separators has the same digits.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "planner/base/check.h"
#include "planner/base/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::int64_t number = 0;
  std::memcpy(&number, data, std::min(size, sizeof number));
  std::string text = stowage::FormatCount(number);
  text.erase(std::remove(text.begin(), text.end(), ','), text.end());
  STOWAGE_CHECK(text == std::to_string(number));
  return 0;
}
