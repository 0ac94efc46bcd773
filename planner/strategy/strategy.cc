#include "planner/strategy/strategy.h"

#include <fmt/format.h>

namespace stowage {

Status CheckKvCache(const Request& request, std::string_view runtime) {
  if (!request.kv || runtime != "native" || *request.kv == KvCache::kStatic) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("--kv {}: the native runtime's cache is static, allocated once for the whole request",
                           Name(*request.kv))};
}

}  // namespace stowage
