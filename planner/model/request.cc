#include "planner/model/request.h"

#include <fmt/format.h>

namespace stowage {

std::string_view Name(KvCache cache) {
  switch (cache) {
    case KvCache::kNone:
      return "none";
    case KvCache::kDynamic:
      return "dynamic";
    case KvCache::kStatic:
      return "static";
  }
  return "";
}

std::optional<KvCache> ParseKvCache(std::string_view text) {
  for (const KvCache cache : {KvCache::kNone, KvCache::kDynamic, KvCache::kStatic}) {
    if (Name(cache) == text) return cache;
  }
  return std::nullopt;
}

std::string Pass::Name() const {
  return kind == Kind::kPrefill ? fmt::format("prefill(batch {}, tokens {})", batch, tokens)
                                : fmt::format("decode(batch {}, past {})", batch, past);
}

namespace {

std::int64_t ReservedBy(const Request& request) {
  return request.kv == KvCache::kStatic ? request.CachePositions() : 0;
}

}  // namespace

Pass PrefillOf(const Request& request) {
  return {.kind = Pass::Kind::kPrefill,
          .batch = request.batch,
          .tokens = request.prompt_tokens,
          .keeps_cache = request.kv != KvCache::kNone,
          .reserved = ReservedBy(request),
          .all_logits = request.all_logits};
}

Pass RecomputeOf(const Request& request, std::int64_t decode_pass) {
  Pass pass = PrefillOf(request);
  pass.tokens += decode_pass + 1;
  return pass;
}

Pass DecodeOf(const Request& request) {
  return {.kind = Pass::Kind::kDecode,
          .batch = request.batch,
          .tokens = 1,
          .past = request.prompt_tokens,
          .past_step = 1,
          .prompt = request.prompt_tokens,
          .reserved = ReservedBy(request)};
}

}  // namespace stowage
