// The load phase: weights from files through a bounded staging ring in host memory to where they live. Host memory
// while loading is the staging ring and the masters that stay, whatever the shards are.
//
//   disk --Read--> staging slot --Copy--> device arena          a resident tensor
//   disk --Read--> host arena                                   a master: straight into place
//   disk --Read--> staging slot --Convert--> staging slot --Copy--> …   when the file's dtype is not the one computed
//   with
#pragma once

#include <cstdint>
#include <vector>

#include "planner/schedule/builder.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

inline constexpr Bytes kStagingRing{std::int64_t{256} << 20};
inline constexpr Bytes kStagingChunk{std::int64_t{32} << 20};
inline constexpr Bytes kLeastStagingChunk{std::int64_t{1} << 20};  // smaller ones would cost steps, not save memory

// A tensor's rows on their way from a file to one destination.
struct LoadItem {
  TensorId tensor = kNoId;
  bool to_host = false;
  std::int64_t first_element = 0;  // of the tensor
  std::int64_t elements = 0;
};

// Whether the file has a tensor in another dtype than memory will.
bool ConvertsOnLoad(const Tensor& tensor);

LoadFacts LoadFactsOf(const Tensor& tensor);

// Everything that comes from files, in the order of the model's use.
std::vector<LoadItem> LoadItemsOf(const NativeModel& native, const NativeProposal& proposal,
                                  const NativeLayout& layout);

// Where items go, by TensorId: parts of "weights" on the device and of "host_weights".
struct LoadTargets {
  const std::vector<BufferId>& device;
  const std::vector<BufferId>& host;
  const std::vector<std::int16_t>* gpu = nullptr;  // whose memory `device` is in; nullptr: gpu0's
};

struct LoadLanes {
  Lane disk;             // disk0/0
  Lane convert;          // cpu/0
  std::vector<Lane> in;  // gpu0/in, …
};

// What the staging ring takes: nothing when every item goes straight into place.
struct StagingSize {
  Bytes slot;       // of raw bytes
  Bytes converted;  // of a converted slot; 0 without conversion
  std::int32_t slots = 0;
  Bytes total() const { return (slot + converted) * slots; }
};
// The largest that `limit` and kStagingRing allow, but at least two slots of kLeastStagingChunk (or of the largest
// item, if that is less): what StagingFor(…, Bytes(0)) gives.
StagingSize StagingFor(const Model& model, const std::vector<LoadItem>& items, Bytes limit);

// StagingFor(model, LoadItemsOf(native, proposal, layout), Bytes(0)).total(), without the items.
Bytes LeastStaging(const NativeModel& native, const NativeProposal& proposal, const NativeLayout& layout);

// Emits the steps into the builder's open section: allocations are the caller's. Ends with the issuer waiting for all
// of it.
void EmitLoad(ScheduleBuilder& b, const Model& model, const std::vector<LoadItem>& items, const LoadTargets& targets,
              const LoadLanes& lanes, std::int32_t disk_pool, BufferId staging, const StagingSize& size);

}  // namespace stowage
