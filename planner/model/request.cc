#include "planner/model/request.h"

#include <fmt/format.h>

namespace stowage {

std::string Pass::Name() const {
  return kind == Kind::kPrefill ? fmt::format("prefill(batch {}, tokens {})", batch, tokens)
                                : fmt::format("decode(batch {}, past {})", batch, past);
}

Pass PrefillOf(const Request& request) {
  return {.kind = Pass::Kind::kPrefill,
          .batch = request.batch,
          .tokens = request.prompt_tokens,
          .all_logits = request.all_logits};
}

Pass DecodeOf(const Request& request) {
  return {
      .kind = Pass::Kind::kDecode, .batch = request.batch, .tokens = 1, .past = request.prompt_tokens, .past_step = 1};
}

}  // namespace stowage
