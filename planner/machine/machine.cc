#include "planner/machine/machine.h"

#include <algorithm>
#include <array>

namespace stowage {
namespace {

template <class T>
std::int32_t FindByName(const std::vector<T>& items, std::string_view name) {
  const auto it = std::find_if(items.begin(), items.end(), [&](const T& item) { return item.name == name; });
  return it == items.end() ? -1 : static_cast<std::int32_t>(it - items.begin());
}

}  // namespace

std::string_view Name(Origin origin) {
  static constexpr std::array<std::string_view, 4> kNames = {"measured", "published", "computed", "assumed"};
  return kNames[static_cast<std::size_t>(origin)];
}

FlopsPerSecond ComputeRate::Peak(DType dtype) const {
  if (dtype == DType::kBF16 && bf16.value() > 0) return bf16;
  if (dtype == DType::kF16 && fp16.value() > 0) return fp16;
  return fp32;
}

std::int32_t Machine::FindPool(std::string_view pool_name) const { return FindByName(pools, pool_name); }
std::int32_t Machine::FindResource(std::string_view resource_name) const {
  return FindByName(resources, resource_name);
}

Bytes Machine::Reserved(std::string_view pool) const {
  Bytes total;
  for (const Reservation& r : reservations) {
    if (r.pool == pool) total += r.bytes;
  }
  return total;
}

}  // namespace stowage
