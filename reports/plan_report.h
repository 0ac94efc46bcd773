// Everything the `plan` tool shows, as plain data; plan_text.h and plan_json.h write it down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/units.h"
#include "planner/machine/machine.h"
#include "planner/model/request.h"

namespace stowage {

struct ModelLine {
  std::string name;    // "llama-8b"
  std::string family;  // "llama"
  std::int64_t parameters = 0;
  Bytes weights;
  std::string dtype;  // "bf16"; "bf16, fp32" when mixed
  std::int64_t layers = 0;
  Bytes kv_per_token;              // of one sequence, all layers
  std::string source;              // where the figures are from: "the zoo's facts of meta-llama/Llama-3.1-8B"
  std::vector<std::string> notes;  // sentences: where files and config differ, what was not read
};

struct PoolBytes {
  std::string pool;
  Bytes bytes;
};

// One row of the table.
struct StrategyLine {
  std::string name;     // "ring"
  std::string runtime;  // "native", "torch"
  bool fits = false;
  std::vector<PoolBytes> peak;  // empty when the strategy never got that far
  std::optional<Seconds> first_token;
  std::optional<Seconds> per_token;  // of each later one; absent when the request makes none
  std::string limit;                 // when it fits: "gpu0.h2d, busy 93 %"
  std::string why_not;               // when it does not: "gpu0 is 1.94 GB short"
  // At the ends of the machine's intervals; absent where it has none.
  std::optional<Seconds> first_token_low = {}, first_token_high = {};
  std::optional<Seconds> per_token_low = {}, per_token_high = {};
  std::optional<Bytes> least_gpu;      // the smallest budget of gpu0 with which it fits, the other pools as they are
  std::vector<Bytes> least_gpus = {};  // of all GPUs, in the ratio of their budgets, of what uses several; else empty
};

// What lies in one pool under the chosen strategy. The parts add up to the pool's budget when a "free" part is there.
struct PoolContents {
  std::string pool;
  Bytes budget;
  struct Part {
    std::string what;  // "weights resident", "weights streamed", "ring", "kv", "activations", "CUDA context", "free", …
    Bytes bytes;
  };
  std::vector<Part> parts;
};

// How well lifetimes were packed into an arena: no packing needs less than the bytes alive at one moment.
struct PackingLine {
  std::string arena;  // "gpu0 activations"
  Bytes size;
  Bytes live_bound;
};

// One number format of the model: whether gpu0 (several GPUs: their budgets together) holds all of it beside what the
// request needs.
struct FormatLine {
  std::string name;   // what to give --dtype
  std::string about;  // "bitsandbytes nf4, blocks of 64"
  Bytes weights;
  Bytes needed;  // weights, caches, activations, reservations
  bool fits = false;
  std::optional<Bytes> resident;  // of the weights, when they do not fit and the chosen strategy streams what is over
};

struct SmallestBudget {
  std::string pool;
  Bytes bytes;
  std::string strategy;
};

// Where the figures of a report come from.
enum class PlanBasis : std::uint8_t {
  kSimulated,
  kClosedForms,  // `plan --quick`: times are estimates
  kSizesOnly,    // operations are not known, so there are no times
};

// Lines for somebody else's program.
struct PasteBlock {
  std::string title;  // "transformers"
  std::vector<std::string> lines;
  std::vector<std::string> notes;  // sentences
};

struct PlanReport {
  PlanBasis basis = PlanBasis::kSimulated;
  std::string basis_note;  // a sentence: what is not known and why; empty when simulated
  ModelLine model;
  Request request;
  Machine machine;  // budgets, reservations and assumptions are shown
  std::vector<StrategyLine> strategies;
  std::string chosen;  // a name of `strategies`; empty when nothing fits
  std::vector<PoolContents> contents;
  bool contents_at_peak = false;  // they are what torch holds at the peak, not arenas
  std::vector<PackingLine> packing;
  std::vector<FormatLine> formats;      // the model as it is first; empty: not asked
  std::vector<std::string> facts;       // sentences about blocks and what is needed; when sizes are all there is
  std::vector<std::string> would_help;  // sentences
  std::vector<PasteBlock> paste;
  std::optional<SmallestBudget> smallest_budget;  // when nothing fits
};

// Fitting ones first, by the seconds of the whole request (first token, then decode_passes others); equals and the rest
// stay in the order they are in.
void SortBestFirst(std::vector<StrategyLine>& strategies, std::int64_t decode_passes);

}  // namespace stowage
