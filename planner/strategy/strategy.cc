#include "planner/strategy/strategy.h"

#include <fmt/format.h>

namespace stowage {

Status CheckKvCache(const Request& request, std::string_view runtime) {
  if (!request.kv) return OkStatus();
  const bool native = runtime == "native";
  if (native ? *request.kv == KvCache::kStatic : *request.kv != KvCache::kStatic) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("--kv {}: the {} runtime's cache is {}", Name(*request.kv), runtime,
                           native ? "static, allocated once for the whole request"
                                  : "dynamic or none; a static one is not realized yet")};
}

}  // namespace stowage
