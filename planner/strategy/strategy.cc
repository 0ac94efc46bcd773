#include "planner/strategy/strategy.h"

#include <fmt/format.h>

namespace stowage {
namespace {

Status CheckKvCache(const Request& request, std::string_view runtime) {
  if (!request.kv || runtime != "native" || *request.kv == KvCache::kStatic) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("--kv {}: the native runtime's cache is static, allocated once for the whole request",
                           Name(*request.kv))};
}

Status CheckLoading(const Loading& loading, std::string_view runtime) {
  const bool native = runtime == "native";
  if (loading.mode && (*loading.mode == LoadMode::kStream) != native) {
    return Error{ErrorCode::kInvalidInput, fmt::format("--load {}: the {} runtime loads by {}", Name(*loading.mode),
                                                       runtime, native ? "stream" : "naive or by-shard")};
  }
  if (!native || (!loading.dtype && !loading.as_stored)) return OkStatus();
  return Error{ErrorCode::kInvalidInput, "--load-dtype: the native runtime loads in the dtype it computes with"};
}

}  // namespace

Status CheckForRuntime(const Request& request, std::string_view runtime) {
  STOWAGE_RETURN_IF_ERROR(CheckKvCache(request, runtime));
  return CheckLoading(request.loading, runtime);
}

std::string_view LoadsFrom(const Loading& loading) { return loading.warm ? "host.dram" : "disk0"; }

}  // namespace stowage
