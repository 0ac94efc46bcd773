// accelerate 1.15's AlignDevicesHook between GPUs.
//
//   > model.layers.1        kEnter
//     (its weights, if they are off the GPUs)
//     allocate, move        pre_forward: send_to_device(args), then kwargs, each tensor that is elsewhere
//     (the module's forward, on the copies)
//     release copies        new_forward returns
//   < model.layers.1        kExit
#include "planner/realize/torch_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/check.h"
#include "planner/realize/torch_calls.h"

namespace stowage {
namespace {

class Spreader {
 public:
  Spreader(TorchProgram program, const Model& model, const TorchDevices& devices)
      : program_(std::move(program)),
        model_(model),
        devices_(devices),
        calls_(FindCalls(program_, model)),
        gpu_(program_.storages.size(), -1) {}

  Result<TorchProgram> Run() {
    if (program_.crossed && !program_.past.empty()) gpu_[EncodedRows(program_)] = devices_.main;
    PlaceCounts();
    const std::vector<TorchEvent> events = std::exchange(program_.events, {});
    program_.events.reserve(events.size() + events.size() / 8);
    for (std::size_t i = 0; i < events.size(); ++i) {
      TorchEvent event = events[i];
      if (to_move_ && !IsUpload(event)) MoveGiven(*std::exchange(to_move_, nullptr));
      if (event.kind == TorchEventKind::kAllocate) MoveOffset(event);
      if (event.kind == TorchEventKind::kRelease) {
        event.storage = Forget(event.storage);
      } else {
        Release(std::exchange(replaced_, {}), event.module);
      }
      if (event.kind == TorchEventKind::kAllocate) STOWAGE_RETURN_IF_ERROR(Allocate(events, i));
      if (event.kind == TorchEventKind::kCompute) {
        event.reads = Now(event.reads);
        event.writes = Now(event.writes);
        STOWAGE_TRY(event.gpu, GpuOf(event));
        last_gpu_ = event.gpu;
        for (const StorageId id : event.reads) SetGpu(id, event.gpu);
      }
      if (event.kind == TorchEventKind::kExit) Leave(event.module);
      program_.events.push_back(event);
      if (event.kind == TorchEventKind::kRelease) DropOffset(event);
      if (event.kind == TorchEventKind::kEnter) Enter(event.module);
    }
    for (std::size_t s = 0; s < program_.storages.size(); ++s) {
      program_.storages[s].gpu = std::max<std::int16_t>(gpu_[s], 0);
    }
    return std::move(program_);
  }

 private:
  struct Frame {
    ModuleId module = kNoId;
    std::int16_t gpu = -1;
    std::vector<std::pair<StorageId, StorageId>> moved;  // what it was given, and its copy
  };

  bool IsUpload(const TorchEvent& event) const {
    if (event.kind == TorchEventKind::kUpload || event.kind == TorchEventKind::kEmptyCache) return true;
    return event.kind == TorchEventKind::kAllocate && program_.storages[event.storage].role == TorchRole::kUpload;
  }

  // What a name means here: the copy that the innermost module was given.
  StorageId Now(StorageId id) const {
    for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
      for (const auto& [original, copy] : frame->moved) {
        if (original == id) return copy;
      }
    }
    return id;
  }

  template <std::size_t N>
  ShortList<StorageId, N> Now(const ShortList<StorageId, N>& ids) const {
    ShortList<StorageId, N> out;
    for (const StorageId id : ids) out.push_back(Now(id));
    return out;
  }

  void SetGpu(StorageId id, std::int16_t gpu) {
    if (gpu_[id] < 0) gpu_[id] = gpu;
  }

  void Enter(ModuleId module) {
    const GivenCall& call = calls_[next_call_++];
    STOWAGE_CHECK(call.module == module);
    const std::int16_t own = devices_.modules[module];
    if (frames_.empty()) {  // the root's ids are where it wants them
      frames_.push_back({module, -1, {}});
      return;
    }
    if (own >= 0 && HandsThrough(call)) PassEmbeddings(own, module);
    frames_.push_back({module, own >= 0 ? own : frames_.back().gpu, {}});
    if (own >= 0) to_move_ = &call;
  }

  // The first call of a stack's dropout: it follows that of the table.
  bool HandsThrough(const GivenCall& call) const {
    const Module& module = model_.modules[call.module];
    return module.class_name == "Dropout" && model_.modules[module.parent].class_name.ends_with("T5Stack") &&
           program_.storages[last_made_].op == "embedding.default";
  }

  void PassEmbeddings(std::int16_t gpu, ModuleId module) {
    if (gpu_[last_made_] == gpu) return;
    passed_ = MoveTo(last_made_, gpu, TorchRole::kTemporary, module);
    frames_.back().moved.emplace_back(last_made_, passed_);
  }

  // `frame` is left: the first layer, whose result takes the name.
  void DropPassed(const Frame& frame) {
    const auto is_passed = [&](const auto& moved) { return moved.second == passed_; };
    const bool layer = model_.BlockOf(frame.module) == frame.module;
    if (passed_ == kNoId || !layer) return;
    std::erase_if(frames_.back().moved, is_passed);
    replaced_.push_back(std::exchange(passed_, kNoId));
  }

  StorageId MoveTo(StorageId from, std::int16_t gpu, TorchRole role, ModuleId module) {
    const auto to = static_cast<StorageId>(program_.storages.size());
    const AffineBytes bytes = program_.storages[from].view.value_or(program_.storages[from].bytes);
    program_.storages.push_back({.op = "_to_copy.default", .bytes = bytes, .module = module, .role = role});
    gpu_.push_back(gpu);
    program_.events.push_back({.kind = TorchEventKind::kAllocate, .storage = to, .module = module});
    TorchEvent move{.kind = TorchEventKind::kMove, .storage = to, .module = module, .gpu = gpu_[from]};
    move.reads.push_back(from);
    program_.events.push_back(move);
    return to;
  }

  void MoveGiven(const GivenCall& call) {
    Frame& frame = frames_.back();
    for (const StorageId given : call.given) {
      const StorageId now = Now(given);
      if (gpu_[now] < 0 || gpu_[now] == frame.gpu) continue;
      frame.moved.emplace_back(given, MoveTo(now, frame.gpu, TorchRole::kTemporary, call.module));
    }
  }

  // Positions and masks look at the counts of static layers before their layers do.
  void PlaceCounts() {
    if (program_.pass.reserved == 0) return;
    const std::size_t layers = program_.past.size() / 3;
    std::vector<bool> is_count(program_.storages.size());
    for (std::size_t i = 0; i < layers; ++i) is_count[program_.past[3 * i + 2]] = true;
    for (const TorchEvent& event : program_.events) {
      if (event.kind != TorchEventKind::kCompute || event.module == kNoId) continue;
      if (model_.BlockOf(event.module) == kNoId) continue;
      for (const StorageId id : event.reads) {
        if (is_count[id]) SetGpu(id, GpuOfModule(event.module));
      }
    }
  }

  std::int16_t GpuOfModule(ModuleId module) const {
    while (module != kNoId && devices_.modules[module] < 0) module = model_.modules[module].parent;
    return module == kNoId ? devices_.main : devices_.modules[module];
  }

  // TorchProgram::offsets. `mask` makes or drops something of a mask.
  void MoveOffset(const TorchEvent& mask) {
    for (const TorchProgram::Offset& offset : program_.offsets) {
      const std::int16_t to = GpuOfText();
      if (offset.first != mask.storage || gpu_[offset.count] < 0 || gpu_[offset.count] == to) continue;
      offset_ = MoveTo(offset.count, to, TorchRole::kTemporary, mask.module);
    }
  }

  void DropOffset(const TorchEvent& mask) {
    for (const TorchProgram::Offset& offset : program_.offsets) {
      if (offset.last == mask.storage && offset_ != kNoId) Release({std::exchange(offset_, kNoId)}, mask.module);
    }
  }

  void Release(const std::vector<StorageId>& storages, ModuleId module) {
    for (const StorageId id : storages) {
      program_.events.push_back({.kind = TorchEventKind::kRelease, .storage = id, .module = module});
    }
  }

  void Leave(ModuleId module) {
    if (frames_.size() == 1) ReturnResults(module);
    const Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (const auto& [original, copy] : frame.moved) {
      if (program_.storages[original].returned && !frames_.empty()) {
        replaced_.push_back(Forget(original));
        frames_.back().moved.emplace_back(original, copy);
      } else {
        Release({copy}, module);
      }
    }
    DropPassed(frame);
  }

  // What the name of something returned means, which is about to be another or nothing.
  StorageId Forget(StorageId original) {
    if (!program_.storages[original].returned) return original;
    const StorageId now = Now(original);
    for (Frame& frame : frames_) std::erase(frame.moved, std::pair(original, now));
    return now;
  }

  // io_same_device of the root's hook. The encoder's rows are among the results, caches are not.
  void ReturnResults(ModuleId root) {
    if (program_.kept.empty()) return;
    std::vector<StorageId> moved;
    const auto move = [&](StorageId& result) {
      if (gpu_[result] == devices_.main) return;
      moved.push_back(result);
      result = MoveTo(result, devices_.main, program_.storages[result].role, root);
    };
    if (program_.storages[program_.kept.front()].role != TorchRole::kCache) move(program_.kept.front());
    if (program_.crossed) {
      move(program_.kept.back());
      program_.cache.front() = program_.kept.back();
    }
    Release(moved, root);
  }

  // An allocation is on the GPU of the kernel that follows.
  Status Allocate(const std::vector<TorchEvent>& events, std::size_t i) {
    const StorageId id = events[i].storage;
    if (program_.storages[id].role != TorchRole::kUpload) last_made_ = id;
    if (program_.storages[id].role == TorchRole::kUpload) {
      SetGpu(id, devices_.main);
      return OkStatus();
    }
    for (; i < events.size() && events[i].kind != TorchEventKind::kEnter; ++i) {
      if (events[i].kind != TorchEventKind::kCompute) continue;
      TorchEvent next = events[i];
      next.reads = Now(next.reads);
      STOWAGE_TRY(const std::int16_t gpu, GpuOf(next));
      SetGpu(id, gpu);
      return OkStatus();
    }
    SetGpu(id, last_gpu_ < 0 ? devices_.main : last_gpu_);
    return OkStatus();
  }

  // Where an operator runs: where its operands are.
  Result<std::int16_t> GpuOf(const TorchEvent& event) const {
    std::int16_t gpu = -1;
    const auto takes = [&](std::int16_t at) {
      const bool fine = at < 0 || gpu < 0 || at == gpu;
      if (at >= 0) gpu = at;
      return fine;
    };
    bool one = true;
    for (const StorageId id : event.reads) {
      if (program_.storages[id].role != TorchRole::kUpload) one = takes(gpu_[id]) && one;
    }
    for (const TensorId id : event.weights) one = takes(devices_.tensors[id]) && one;
    if (!one) {
      const std::string& module = event.module == kNoId ? model_.name : model_.modules[event.module].name;
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("the device map gives {} of {} operands on several GPUs: torch would raise "
                               "(RuntimeError: Expected all tensors to be on the same device)",
                               event.op, module)};
    }
    return gpu >= 0 ? gpu : GpuOfText();
  }

  // Of an operator without operands: its module's, or where the last one ran.
  std::int16_t GpuOfText() const {
    if (!frames_.empty() && frames_.back().gpu >= 0) return frames_.back().gpu;
    return last_gpu_ < 0 ? devices_.main : last_gpu_;
  }

  TorchProgram program_;
  const Model& model_;
  const TorchDevices& devices_;
  const std::vector<GivenCall> calls_;
  std::vector<std::int16_t> gpu_;  // by storage; -1: not known yet
  std::vector<Frame> frames_;
  std::size_t next_call_ = 0;
  const GivenCall* to_move_ = nullptr;
  StorageId last_made_ = 0;
  StorageId passed_ = kNoId;         // the copy of the embeddings
  StorageId offset_ = kNoId;         // the copy of a mask's count
  std::vector<StorageId> replaced_;  // returned by the last module as copies: the names now mean those
  std::int16_t last_gpu_ = -1;
};

}  // namespace

Result<TorchProgram> SpreadOverGpus(TorchProgram program, const Model& model, const TorchDevices& devices) {
  STOWAGE_CHECK(devices.tensors.size() == model.tensors.size() && devices.modules.size() == model.modules.size());
  return Spreader(std::move(program), model, devices).Run();
}

}  // namespace stowage
