#include "planner/solve/pack/testing/minimalloc.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace stowage {

std::optional<std::vector<PackItem>> MinimallocInstance(char letter) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) return std::nullopt;
  const std::string path = std::string(shared) + "/data/minimalloc/" + letter + ".1048576.csv";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "r"), &std::fclose);
  if (file == nullptr) return std::nullopt;
  if (std::fscanf(file.get(), "id,lower,upper,size") == EOF) return std::nullopt;
  std::vector<PackItem> items;
  std::int64_t id = 0, size = 0;
  std::int32_t lower = 0, upper = 0;  // half-open
  while (std::fscanf(file.get(), "%" SCNd64 ",%" SCNd32 ",%" SCNd32 ",%" SCNd64, &id, &lower, &upper, &size) == 4) {
    items.push_back({Bytes(size), lower, upper - 1});
  }
  return items;
}

bool IsPacked(const std::vector<PackItem>& items, const std::vector<Bytes>& offsets, Bytes size, Bytes alignment) {
  if (offsets.size() != items.size()) return false;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (offsets[i] < Bytes(0) || offsets[i].value() % alignment.value() != 0) return false;
    if (offsets[i] + items[i].size > size) return false;
    for (std::size_t j = 0; j < i; ++j) {
      const bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
      const bool apart = offsets[i] + items[i].size <= offsets[j] || offsets[j] + items[j].size <= offsets[i];
      if (together && !apart) return false;
    }
  }
  return true;
}

}  // namespace stowage
