// An index file as input. What is accepted names only files inside its folder.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "planner/base/check.h"
#include "planner/formats/checkpoint_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto index = ParseCheckpointIndex(std::string_view(reinterpret_cast<const char*>(data), size), "input");
  if (!index) return 0;
  for (const std::string& file : index->files) STOWAGE_CHECK(file.find('/') == std::string::npos && file != "..");
  for (const auto& e : index->entries) STOWAGE_CHECK(static_cast<std::size_t>(e.file) < index->files.size());
  return 0;
}
