// What the user wants computed, and the passes that come of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "planner/base/units.h"
#include "planner/model/dtype.h"
#include "planner/model/loading.h"

namespace stowage {

// How keys and values of earlier positions are kept.
//   none     not at all: each token is a pass over the whole context
//   dynamic  transformers' default: each pass makes a longer copy of what there is
//   static   allocated once for the whole request
enum class KvCache : std::uint8_t { kNone, kDynamic, kStatic };
std::string_view Name(KvCache cache);  // "none", …
std::optional<KvCache> ParseKvCache(std::string_view text);

struct Request {
  std::int64_t batch = 1;
  std::int64_t prompt_tokens = 512;
  bool prompt_given = false;      // else a model that takes another prompt by default gets that (tools/common/task)
  std::int64_t new_tokens = 128;  // the first comes from the prefill, the others from one decode pass each
  std::optional<DType> dtype;     // --dtype; absent: as the checkpoint holds it
  std::string quantization;       // --dtype nf4: the scheme's name (planner/quant); "": none
  std::optional<KvCache> kv;      // --kv; absent: static for the native runtime, dynamic for torch
  bool all_logits = false;        // logits of every prompt position, not only of the last
  Loading loading;                // --load, --load-dtype, --page-cache

  // Positions a cache must hold: the last new token is never fed back.
  std::int64_t CachePositions() const { return prompt_tokens + new_tokens - (new_tokens > 0 ? 1 : 0); }
  std::int64_t DecodePasses() const { return new_tokens > 1 ? new_tokens - 1 : 0; }
};

// One run of the network. A decode pass stands for a whole phase of them: iteration i has past + i * past_step
// positions in its cache before it starts.
struct Pass {
  enum class Kind { kPrefill, kDecode };
  Kind kind = Kind::kPrefill;
  std::int64_t batch = 1;
  std::int64_t tokens = 1;     // new positions per sequence
  std::int64_t past = 0;       // positions already cached, at iteration 0
  std::int64_t past_step = 0;  // growth of past per iteration
  std::int64_t prompt = 0;     // of `past`, what an encoder saw; a prefill's are all its tokens
  bool keeps_cache = true;     // false: nothing is cached (kv none), past is 0
  std::int64_t reserved =
      0;                    // positions of a static cache, allocated by the prefill; 0: torch's grows by concatenation
  bool all_logits = false;  // native: the head runs on the last position unless set; torch always runs all

  std::string Name() const;  // "prefill(batch 1, tokens 512)", "decode(batch 1, past 512)"
};

Pass PrefillOf(const Request& request);
Pass RecomputeOf(const Request& request, std::int64_t decode_pass);  // kv none: the whole context once more
Pass DecodeOf(const Request& request);

}  // namespace stowage
