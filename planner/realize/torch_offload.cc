// accelerate 1.15's AlignDevicesHook as cpu_offload attaches it, to each module that directly owns tensors, and
// dispatch_model, to those of offloaded parts.
//
//   > model.norm            kEnter     torch's own hooks run first
//     allocate weight       pre_forward: set_module_tensor_to_device per parameter ...
//     upload weight           ... a blocking copy from pageable memory ...
//     empty_cache             ... and a flush after each
//     (the module's forward; its locals are gone when it returns)
//     release weight        post_forward: the parameters become meta tensors, in the same order
//   < model.norm            kExit
//
// Buffers are not offloaded (offload_buffers is set only when the root module itself owns parameters): attaching moved
// them to the device once, with a flush each.
#include <utility>

#include "planner/base/check.h"
#include "planner/realize/torch.h"

namespace stowage {
namespace {

class HookInserter {
 public:
  HookInserter(const Model& model, const std::vector<bool>& offloaded, TorchProgram* program)
      : model_(model), offloaded_(offloaded), program_(program) {}

  std::vector<TorchEvent> Run(std::vector<TorchEvent> events) {
    std::vector<TorchEvent> out;
    out.reserve(events.size() * 2);
    for (TorchEvent& event : events) {
      if (event.kind == TorchEventKind::kExit) PostForward(event.module, out);
      if (event.kind == TorchEventKind::kCompute) ReadUploads(event);
      const ModuleId entered = event.kind == TorchEventKind::kEnter ? event.module : kNoId;
      out.push_back(event);
      if (entered != kNoId) PreForward(entered, out);
    }
    STOWAGE_CHECK(uploaded_.empty());
    return out;
  }

 private:
  void PreForward(ModuleId module, std::vector<TorchEvent>& out) {
    for (const TensorId id : model_.modules[module].tensors) {
      if (!offloaded_[id]) continue;
      const auto storage = static_cast<StorageId>(program_->storages.size());
      program_->storages.push_back({.op = "_to_copy.default",
                                    .bytes = model_.tensors[id].bytes(),
                                    .module = module,
                                    .role = TorchRole::kUpload,
                                    .tensor = id});
      uploaded_.push_back({id, storage});
      out.push_back({.kind = TorchEventKind::kAllocate, .storage = storage, .module = module});
      out.push_back({.kind = TorchEventKind::kUpload, .storage = storage, .module = module});
      out.push_back({.kind = TorchEventKind::kEmptyCache, .module = module});
    }
  }

  void PostForward(ModuleId module, std::vector<TorchEvent>& out) {
    std::size_t first = uploaded_.size();
    while (first > 0 && model_.tensors[uploaded_[first - 1].tensor].module == module) --first;
    for (std::size_t i = first; i < uploaded_.size(); ++i) {
      out.push_back({.kind = TorchEventKind::kRelease, .storage = uploaded_[i].storage, .module = module});
    }
    uploaded_.resize(first);
  }

  void ReadUploads(TorchEvent& event) const {
    for (const TensorId weight : event.weights) {
      for (const Uploaded& uploaded : uploaded_) {
        if (uploaded.tensor == weight) event.reads.push_back(uploaded.storage);
      }
    }
  }

  struct Uploaded {
    TensorId tensor;
    StorageId storage;
  };

  const Model& model_;
  const std::vector<bool>& offloaded_;  // by TensorId
  TorchProgram* program_;
  std::vector<Uploaded> uploaded_;  // a stack: modules nest
};

}  // namespace

TorchProgram AddSequentialOffloadHooks(TorchProgram program, const Model& model) {
  STOWAGE_CHECK(program.hooked.empty());
  std::vector<bool> parameters;
  for (const Tensor& tensor : model.tensors) {
    parameters.push_back(!tensor.buffer);
    program.buffers += tensor.buffer ? 1 : 0;
  }
  program.events = HookInserter(model, parameters, &program).Run(std::move(program.events));
  for (const Module& module : model.modules) program.hooked.push_back(!module.tensors.empty());
  return program;
}

TorchProgram AddDispatchHooks(TorchProgram program, const Model& model, const std::vector<bool>& offloaded) {
  STOWAGE_CHECK(program.hooked.empty() && offloaded.size() == model.tensors.size());
  program.events = HookInserter(model, offloaded, &program).Run(std::move(program.events));
  program.hooked.assign(model.modules.size(), false);
  for (const Tensor& tensor : model.tensors) {
    if (tensor.buffer && !tensor.persistent) continue;
    for (ModuleId m = tensor.module; m != kNoId; m = model.modules[m].parent) program.hooked[m] = true;
  }
  return program;
}

}  // namespace stowage
