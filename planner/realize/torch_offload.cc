// accelerate 1.15's AlignDevicesHook as cpu_offload attaches it: to each module that directly owns tensors.
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
  HookInserter(const Model& model, TorchProgram* program) : model_(model), program_(program) {}

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
      if (model_.tensors[id].buffer) continue;
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
    if (MovesIds(module)) MoveIds(module, out);
  }

  // Llama 4's text model moves its ids to where the table's weight is: nowhere ("meta"), so that the hook moves them
  // back.
  bool MovesIds(ModuleId module) const {
    const std::string& model = model_.class_name;
    return (model == "Llama4ForCausalLM" || model == "Llama4TextModel") &&
           model_.modules[module].name.ends_with("embed_tokens");
  }

  void MoveIds(ModuleId module, std::vector<TorchEvent>& out) {
    moved_ids_ = static_cast<StorageId>(program_->storages.size());
    const Bytes bytes = SizeOf(DType::kI64, program_->pass.batch * program_->pass.tokens);
    program_->storages.push_back({.op = "_to_copy.default", .bytes = bytes, .module = module});
    out.push_back({.kind = TorchEventKind::kAllocate, .storage = moved_ids_, .module = module});
  }

  void PostForward(ModuleId module, std::vector<TorchEvent>& out) {
    std::size_t first = uploaded_.size();
    while (first > 0 && model_.tensors[uploaded_[first - 1].tensor].module == module) --first;
    for (std::size_t i = first; i < uploaded_.size(); ++i) {
      out.push_back({.kind = TorchEventKind::kRelease, .storage = uploaded_[i].storage, .module = module});
    }
    uploaded_.resize(first);
    if (moved_ids_ == kNoId || !MovesIds(module)) return;
    out.push_back({.kind = TorchEventKind::kRelease, .storage = moved_ids_, .module = module});
    moved_ids_ = kNoId;
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
  TorchProgram* program_;
  StorageId moved_ids_ = kNoId;
  std::vector<Uploaded> uploaded_;  // a stack: modules nest
};

}  // namespace

TorchProgram AddSequentialOffloadHooks(TorchProgram program, const Model& model) {
  STOWAGE_CHECK(!program.offloaded);
  program.events = HookInserter(model, &program).Run(std::move(program.events));
  program.offloaded = true;
  for (const Tensor& tensor : model.tensors) program.buffers += tensor.buffer ? 1 : 0;
  return program;
}

}  // namespace stowage
