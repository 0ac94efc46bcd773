// A llama of a few thousand parameters with random weights, hand-made schedules for it, and its referee. So exec/ is
// tested without the planner's strategies: what is wrong here is the executor's fault.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exec/run/execute.h"
#include "kernels/table.h"
#include "planner/model/dtype.h"
#include "planner/schedule/schedule.h"

namespace stowage {

struct TinyLlama {
  std::int64_t layers = 2;
  std::int64_t hidden = 32;
  std::int64_t intermediate = 48;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 8;
  std::int64_t vocab = 64;
  DType file_dtype = DType::kF32;
  DType dtype = DType::kF32;  // computed with; the load phase converts where they differ
  std::vector<std::int32_t> prompt = {3, 1, 4, 1, 5};
  std::int64_t new_tokens = 5;
};

struct TinyTensor {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t file_offset = 0;
};
std::vector<TinyTensor> TensorsOf(const TinyLlama& llama);

// Seeded random weights as one raw file; the result is its path, in the test's temporary folder.
std::string WriteWeights(const TinyLlama& llama, const std::string& name);
Contents InputsOf(const TinyLlama& llama);  // tokens, inv_freq

struct TinyLowering {
  std::int64_t ring_bytes = 0;      // 0: everything resident; else the layers' weights pass through a ring of this size
  std::int64_t tile_rows = 0;       // ring: matrices pass in tiles of this many rows; 0: whole
  std::int64_t chunk_bytes = 1024;  // staging slot of the load phase; there are two
};

// Phases load, prefill, decode; buffers "tokens" (prompt and answer) and "logits".
Schedule LowerTiny(const TinyLlama& llama, const TinyLowering& lowering, const std::string& weights_file);

struct TinyAnswer {
  std::vector<std::int32_t> tokens;    // prompt and answer
  std::vector<std::byte> logits;       // of the prompt's last position
  std::vector<std::byte> last_logits;  // of the last decode pass
};
// The kernels called one after the other on plain vectors: no schedule, no device.
TinyAnswer RunPlainly(const TinyLlama& llama, const std::string& weights_file, const kernels::KernelTable& kernels);

}  // namespace stowage
