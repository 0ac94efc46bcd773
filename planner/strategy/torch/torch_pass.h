// The steps of one pass of a TorchProgram. Internal to planner/strategy/torch.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "planner/machine/machine.h"
#include "planner/realize/torch.h"
#include "planner/schedule/builder.h"

namespace stowage {

// What all passes share.
struct TorchLanes {
  std::int32_t gpu = -1, host = -1;  // pools
  Lane compute;                      // gpu0/default on gpu0.sm
  Lane in, out;                      // gpu0/default on the links
  Lane side;                         // gpu0/copy on the link to the device: diffusers' stream; no queue without one
  Lane cpu;                          // cpu/0 on host.cores
  Lane python;                       // host work
  Lane read;                         // disk0/0
  Seconds hook;                      // beyond what issuing a step costs
};

struct TorchWeights {
  std::vector<BufferId> device;  // by TensorId: resident parameters and buffers; -1: uploaded when used
  std::vector<BufferId> host;    // by TensorId: the copy that uploads come from; -1: none
  std::vector<BufferId> twin;    // by TensorId: of the buffers that a group's hooks hold twice; -1: none
  // What hooks leave on the device after a pass, and where the next one puts it; exchanged by each pass.
  std::map<TensorId, std::array<BufferId, 2>> lingering = {};
  std::vector<BufferId> file;  // by TensorId: where uploads without one are read from; -1: none
};

// A blocking copy within host memory.
void EmitHostCopy(ScheduleBuilder& b, const TorchLanes& lanes, BufferId from, BufferId to, std::string_view name);

// Buffers of a program's storages; one per storage, whatever the pass, except those that hold caches or grow.
class TorchPassEmitter {
 public:
  // All must outlive the emitter. `prefix` names the buffers: "prefill/". Kernels and required ops stay without names
  // unless `named`: a sample's are never read.
  TorchPassEmitter(ScheduleBuilder& b, const Model& model, const TorchProgram& program, const TorchLanes& lanes,
                   TorchWeights& weights, std::string prefix, bool named);

  // The phase's required ops: one per kernel of the program.
  std::vector<RequiredOp> Required() const;

  struct PassInput {
    BufferId ids = -1;  // "gpu0" ids to feed, freed once they are; -1: `prompt` is copied from the host
    BufferId prompt = -1;
    std::vector<BufferId> past;       // as TorchProgram::past
    std::vector<BufferId> new_cache;  // as TorchProgram::cache
    // Iteration i of the section runs pass first + i * stride of the program; outside a body stride is 0.
    std::int64_t first = 0;
    std::int64_t stride = 0;
    std::int32_t pass = 0;    // of the section: Instance::pass
    BufferId workspace = -1;  // allocated before the first matrix product; -1: it is there
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
  void EmitUpload(const TorchEvent& event, const PassInput& input);
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
