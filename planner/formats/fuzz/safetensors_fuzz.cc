// A whole safetensors file as input. What is accepted must tile the file: the property every reader of a header relies
// on.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "planner/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto file_size = static_cast<std::int64_t>(size);
  const Result<std::int64_t> length = SafetensorsHeaderLength(file.substr(0, 8), file_size, "input");
  if (!length) return 0;
  const auto header = ParseSafetensorsHeader(file.substr(8, static_cast<std::size_t>(*length)), file_size, "input");
  if (!header) return 0;
  std::int64_t end = header->data_begin;
  for (const StoredTensor& t : header->tensors) {
    STOWAGE_CHECK(t.offset == end && t.bytes == SizeOf(t.dtype, Elements(t.shape)).value());
    end += t.bytes;
  }
  STOWAGE_CHECK(end == file_size);
  return 0;
}
