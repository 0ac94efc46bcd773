// The steps of one pass of a TorchProgram. Internal to planner/strategy/torch.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "planner/machine/machine.h"
#include "planner/realize/torch.h"
#include "planner/schedule/builder.h"

namespace stowage {

// One GPU: all in the queue gpu0/default.
struct TorchGpu {
  std::int32_t pool = -1;
  Lane compute;            // on gpu0.sm
  Lane in, out;            // on the links to the host
  std::vector<Lane> peer;  // to another GPU, by its index, on the link between the two
};

// What all passes share.
struct TorchLanes {
  std::vector<TorchGpu> gpus;
  std::int32_t host = -1;  // pools
  std::int32_t disk = -1;
  Lane side;     // gpu0/copy on the link to the device: diffusers' stream; no queue without one
  Lane cpu;      // cpu/0 on host.cores
  Lane python;   // host work
  Lane read;     // disk0/0
  Lane load;     // the same in the load phase, or on host.dram where files are cached
  Seconds hook;  // beyond what issuing a step costs
};

// What the streams of several GPUs wait for in each other: a copy between two is in the stream of its source; it starts
// when the other stream has come as far, and what is issued there next waits for it.
class TorchStreams {
 public:
  TorchStreams(ScheduleBuilder& b, std::size_t gpus) : b_(b), last_(gpus, -1), arriving_(gpus) {}

  // What the next step in the stream of `gpu` waits for; the caller adds it.
  std::vector<StepRef> WaitsOf(std::int16_t gpu) const { return arriving_[gpu].copies; }
  // The same for a kernel, which also reads what has arrived: of all that is moved some is never looked at.
  std::vector<StepRef> Arrive(std::int16_t gpu, std::vector<Slice>& reads);
  void Gone(BufferId buffer);  // freed before anything there looked at it: copied on, to a third GPU or back
  void Issued(std::int16_t gpu, StepId step) { last_[gpu] = step; }
  void Move(const Lane& lane, std::int16_t from, std::int16_t to, Slice source, Slice target);

  // Around a body: its moves also wait for the last step of the other stream in the iteration before.
  void BeginBody() { body_ = b_.next(); }
  void EndBody();

 private:
  struct Arriving {
    std::vector<StepRef> copies;
    std::vector<Slice> targets;
  };
  ScheduleBuilder& b_;
  std::vector<StepId> last_;                                 // by GPU
  std::vector<Arriving> arriving_;                           // by GPU
  std::vector<std::pair<StepId, std::int16_t>> reach_back_;  // moves of the body, and the stream they wait for
  StepId body_ = -1;
};

struct TorchWeights {
  std::vector<BufferId> device;  // by TensorId: resident parameters and buffers; -1: uploaded when used
  std::vector<BufferId> host;    // by TensorId: the copy that uploads come from; -1: none
  std::vector<BufferId> twin;    // by TensorId: of the buffers that a group's hooks hold twice; -1: none
  // What hooks leave on the device after a pass, and where the next one puts it; exchanged by each pass.
  std::map<TensorId, std::array<BufferId, 2>> lingering = {};
  std::vector<BufferId> file;  // by TensorId: where uploads without one are read from; -1: none
};

// tensor.to() between a device and pageable memory.
void CopyAndWait(ScheduleBuilder& b, const Lane& lane, Slice from, Slice to);

// A blocking copy within host memory.
void EmitHostCopy(ScheduleBuilder& b, const TorchLanes& lanes, BufferId from, BufferId to, std::string_view name);

// Buffers of a program's storages; one per storage, whatever the pass, except those that hold caches or grow.
class TorchPassEmitter {
 public:
  // All must outlive the emitter. `prefix` names the buffers: "prefill/". Kernels and required ops stay without names
  // unless `named`: a sample's are never read.
  TorchPassEmitter(ScheduleBuilder& b, const Model& model, const TorchProgram& program, const TorchLanes& lanes,
                   TorchWeights& weights, TorchStreams& streams, std::string prefix, bool named);

  // The phase's required ops: one per kernel of the program.
  std::vector<RequiredOp> Required() const;

  struct PassInput {
    BufferId ids = -1;  // ids on the main GPU to feed, freed once they are; -1: `prompt` is copied from the host
    BufferId prompt = -1;
    std::vector<BufferId> past;       // as TorchProgram::past
    std::vector<BufferId> new_cache;  // as TorchProgram::cache
    // Iteration i of the section runs pass first + i * stride of the program; outside a body stride is 0.
    std::int64_t first = 0;
    std::int64_t stride = 0;
    std::int32_t pass = 0;             // of the section: Instance::pass
    std::vector<BufferId> workspaces;  // by GPU: allocated before its first matrix product; -1 or none: it is there
  };
  // Emits one pass. Returns the buffer of the logits, which is still alive; so are the new caches.
  BufferId Emit(const PassInput& input);

  // Frees all that a pass that is the only one leaves: logits or hidden states, and its cache.
  void DropResults();

 private:
  BufferId BufferOf(StorageId storage, const PassInput& input);
  AffineBytes At(AffineBytes bytes, const PassInput& input) const;
  AffineFlops At(AffineFlops flops, const PassInput& input) const;
  void AddSlice(StorageId storage, const PassInput& input, std::vector<Slice>& slices);
  void EmitCompute(const TorchEvent& event, const PassInput& input, std::int32_t op);
  void EmitMove(const TorchEvent& event, const PassInput& input);
  void EmitUpload(const TorchEvent& event, const PassInput& input);
  const TorchGpu& GpuOf(StorageId storage) const { return lanes_.gpus[program_.storages[storage].gpu]; }
  void EmitHook(const TorchEvent& event, const PassInput& input);
  void EmitRelease(StorageId storage, const PassInput& input);
  void WaitFor(std::int32_t queue);
  StepId Entered(StepId step);  // notes it as its queue's last one
  BufferId StagingOf(TensorId owner);
  bool Hooked(ModuleId module) const;
  bool MakesIds(const TorchEvent& event) const;
  std::string NameOf(const TorchEvent& event) const;

  ScheduleBuilder& b_;
  const Model& model_;
  const TorchProgram& program_;
  const TorchLanes& lanes_;
  TorchWeights& weights_;
  TorchStreams& streams_;
  std::string prefix_;
  bool named_;
  std::vector<BufferId> buffers_;         // by StorageId; -1: not made yet
  std::vector<StorageId> growing_;        // made for this pass alone
  std::map<TensorId, BufferId> staging_;  // of what is read from the disk
  std::int32_t hook_kernel_ = -1;
  std::map<std::int32_t, StepId> last_;  // by queue: the last step of this pass that the host has not waited for
  std::vector<StorageId> in_flight_;     // pinned memory that an asynchronous copy reads
  std::vector<StorageId> late_;          // of it, what was released; it returns when the copies are done
};

}  // namespace stowage
