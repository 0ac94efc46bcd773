// What others have measured and printed, as facts with their sources: the runs, the machines they ran on, and the
// figures as printed. `tools/accuracy` predicts each figure from these facts and writes docs/accuracy.md.
//
// One machine has one set of constants for all its rows. A constant that no data sheet gives is taken from one figure of
// a table, which then says so (`calibrates`) and proves nothing itself; the other figures are predictions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace stowage::published {

enum class Quantity : std::uint8_t {
  kGpuBytes,         // weights and buffers of one GPU, in use after loading
  kHostBytes,        // weights kept in host memory
  kSecondsPerToken,  // a request's time over its new tokens of one sequence
  kTokensPerSecond,  // new tokens of all sequences over a request's time
  kDecodeRate,       // tokens per second of the decode phase alone
  kProcessGpuBytes,  // all that a process holds of a GPU
  kKvTokens,         // positions that fit in a cache
  kLoadSeconds,      // from_pretrained
};

struct Figure {
  Quantity what = Quantity::kSecondsPerToken;
  int gpu = 0;                       // of kGpuBytes
  double value = 0;                  // bytes, seconds, tokens a second, tokens
  double below = 0, above = 0;       // what printed digits leave open; nothing below where digits were cut off
  std::string_view printed = {};     // "21.5 GB"
  std::string_view calibrates = {};  // the machine's constant that this figure was used for
};

// A constant of a machine that is not the hardware table's.
struct Constant {
  std::string_view name;
  std::string_view value;
  std::string_view origin;  // computed, published, assumed
  std::string_view source;
};

struct Machine {
  std::string_view id;
  std::string_view gpus;        // as --gpu takes them
  std::string_view cpu;         // as --cpu
  std::string_view disk;        // as --disk
  std::string_view max_memory;  // what a sequential map may use, in accelerate's JSON; empty: all there is
  std::string_view profile;     // as the text of a --machine file; empty: nothing beyond the hardware table
  std::span<const Constant> constants;
};

struct Row {
  std::string_view label;
  std::string_view model;     // of the zoo
  std::string_view dtype;     // as --dtype
  std::string_view strategy;  // as --strategy; empty: what the row did is not modelled
  std::int64_t batch = 1, prompt = 1, new_tokens = 1;
  std::span<const Figure> figures;
  std::int64_t mask_side = 0;  // the library of then held a mask of [side, side] in each attention; 0: none
  std::int64_t context = 0;    // positions the cache was allocated for, where that is more than the request's; 0: those
  std::string_view remark = {};  // why it misses, or why it is not modelled
  std::string_view load = {};    // as --load; empty: the runtime's own
};

struct Table {
  std::string_view id;
  std::string_view title;
  std::string_view source;
  std::string_view method;  // how the figures came about, as far as it is known
  const Machine* machine = nullptr;
  std::span<const Row> rows;
};

std::span<const Table* const> Tables();

// What vLLM said of the memory it found and took, and the cache it made of the rest.
struct VllmRun {
  std::string_view model;
  std::string_view dtype;
  std::string_view card;
  std::string_view version;
  std::string_view source;
  std::int64_t device_bytes = 0;    // device_total_memory_bytes
  double utilization = 0;           // gpu_memory_utilization
  std::int64_t batched_tokens = 0;  // max_num_batched_tokens
  std::int64_t sequences = 0;       // max_num_seqs
  std::int64_t block = 0;           // block_size
  std::int64_t kv_tokens = 0;
};

std::span<const VllmRun> VllmRuns();

}  // namespace stowage::published
