// What `inspect trace` prints: what a pass of a model allocates under eager torch, in the form of ../shared's trace
// recorder.
//
//   inspect trace llama-8b --pass decode:512 --offload sequential --json
#pragma once

#include <cstdint>
#include <string>

#include "planner/base/result.h"

namespace stowage {

struct TraceOptions {
  std::string model;                 // what LoadModel takes
  std::string pass = "prefill:512";  // prefill:TOKENS, or decode:PAST: one step over a cache of PAST positions
  std::int64_t batch = 1;
  std::int64_t prompt = 0;  // of T5's decode passes, what its encoder saw; 0: as many as PAST, those of its decoder
  std::string dtype = "bfloat16";  // of weights and activations, as the recorder's default; "" keeps the checkpoint's
  std::string kv = "dynamic";      // or static:POSITIONS: transformers' StaticCache of that length
  std::string offload = "none";    // "sequential": accelerate's cpu_offload
  std::string runtime = "torch";   // the only one that has traces
  bool loaded = false;             // dtypes as from_pretrained leaves them (KeepInFp32); false: as from_config
  bool modules = false;            // with marks where modules are entered ("> path") and left ("< path")
  bool json = false;
};

// kInvalidInput names the option that is wrong.
Result<std::string> ReportTrace(const TraceOptions& options);

}  // namespace stowage
