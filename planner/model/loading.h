// How weights get from the checkpoint's files to where a strategy wants them: a choice of its own beside the strategy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/dtype.h"

namespace stowage {

//   naive               a model with random weights, a state dict beside it, copied into it (torch.load)
//   by-shard:4          from_pretrained of transformers 4: an empty model, tensor by tensor out of one mapped file a time
//   by-shard:5          of transformers 5: all files mapped, four threads
//   by-shard:accelerate load_checkpoint_in_model: the tensors of a shard stay until the shard is done
//   by-shard:bin        the same of pickled shards, which are read whole
//   stream              slices through a bounded staging ring (native)
enum class LoadMode : std::uint8_t { kNaive, kByShard4, kByShard5, kByShardAccelerate, kByShardBin, kStream };
std::string_view Name(LoadMode mode);  // "naive", …
// "by-shard" is by-shard:5, the version that everything else of the torch runtime is of.
std::optional<LoadMode> ParseLoadMode(std::string_view text);
std::vector<std::string> LoadModeNames();

struct Loading {
  std::optional<LoadMode> mode;  // absent: native: stream; torch: one tensor after the other through host memory
  // The dtype that weights are loaded in, torch_dtype; what is computed with is Request::dtype, and a conversion lies
  // between when they differ. Absent: naive: Request::dtype, else fp32; else what is computed with.
  std::optional<DType> dtype;
  bool as_stored = false;  // --load-dtype auto: as the files have it
  // The files are in the page cache already: reading them is a copy within host memory. The cache is not counted
  // against the host's budget, cold or warm; the system takes it back when it needs the memory.
  bool warm = false;

  bool Default() const { return !mode && !dtype && !as_stored && !warm; }
  friend bool operator==(const Loading&, const Loading&) = default;
};

// "load naive in fp32, warm page cache"; "" for the default.
std::string Describe(const Loading& loading);

// What --load, --load-dtype and --page-cache take, and the same keys of a cases file. kInvalidInput names what there is.
Status ReadLoadMode(std::string_view text, Loading& loading);
Status ReadLoadDType(std::string_view text, Loading& loading);
Status ReadPageCache(std::string_view text, Loading& loading);

}  // namespace stowage
