// A whole GGUF file as input. What is accepted must have its tensors inside the file, one after the other, and answer
// every question about its metadata.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "planner/formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto file_size = static_cast<std::int64_t>(size);
  const auto header = ParseGgufHeader(file, file_size, "input");
  if (!header) return 0;
  std::int64_t end = header->data_begin;
  for (const StoredTensor& t : header->tensors) {
    STOWAGE_CHECK(t.offset >= end && t.offset % header->alignment == 0);
    STOWAGE_CHECK(t.bytes == SizeOf(t.dtype, Elements(t.shape)).value());
    end = t.offset + t.bytes;
    STOWAGE_CHECK(end <= file_size);
  }
  for (const GgufPair& p : header->metadata.pairs) {
    STOWAGE_CHECK(header->metadata.Find(p.key) == &p.value);
    for (std::size_t i = 0; i < ItemsIn(p.value); ++i) (void)ItemOf(p.value, i);
    (void)header->metadata.Integers(p.key);
    (void)header->metadata.Number(p.key);
    (void)header->metadata.Text(p.key);
  }
  return 0;
}
