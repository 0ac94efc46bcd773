#include "tools/common/device_map_file.h"

#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr std::int64_t kLargest = 64 << 20;

}  // namespace

std::string OnOneLine(std::string_view json) {
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] != '\n') {
      out += json[i];
      continue;
    }
    while (i + 1 < json.size() && json[i + 1] == ' ') ++i;
  }
  return out;
}

Result<std::string> ReadDeviceMapFile(const std::string& path) {
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kLargest));
  return OnOneLine(text);
}

}  // namespace stowage
