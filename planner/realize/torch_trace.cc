#include <fmt/format.h>

#include <algorithm>

#include "planner/realize/torch.h"

namespace stowage {
namespace {

constexpr Bytes kRounding(512);

class Recorder {
 public:
  Recorder(const TorchProgram& program, const Model& model, std::int64_t iteration, bool modules)
      : program_(program), model_(model), iteration_(iteration), modules_(modules) {}

  TorchTrace Record() {
    for (const Tensor& tensor : model_.tensors) {
      if (tensor.tied_to == kNoId) trace_.parameters += tensor.bytes();
    }
    BeforeRecording();
    for (const StorageId id : program_.past) Allocate(id);
    for (const TorchEvent& event : program_.events) {
      Mark(event);
      if (event.kind == TorchEventKind::kAllocate) Allocate(event.storage);
      if (event.kind == TorchEventKind::kRelease) Release(event.storage);
    }
    trace_.kept = live_;
    // `del output`. The recorder itself holds on to the cache object that it passed to a decode pass.
    for (const StorageId id : program_.kept) {
      const TorchRole role = program_.storages[id].role;
      if (role == TorchRole::kModel) continue;
      if (role != TorchRole::kCache || program_.past.empty()) Release(id);
    }
    return std::move(trace_);
  }

 private:
  // Flushes and module marks are noted even while the allocations are not.
  void BeforeRecording() {
    for (std::int64_t i = 0; i < program_.buffers; ++i) trace_.events.emplace_back("empty_cache", 0);
    if (program_.past.empty() || program_.own_text) return;
    for (const TorchEvent& event : program_.events) Mark(event);
  }

  void Mark(const TorchEvent& event) {
    if (event.kind == TorchEventKind::kEmptyCache) trace_.events.emplace_back("empty_cache", 0);
    if (!modules_) return;
    if (event.kind == TorchEventKind::kEnter) trace_.events.emplace_back("> " + model_.modules[event.module].name, 0);
    if (event.kind == TorchEventKind::kExit) trace_.events.emplace_back("< " + model_.modules[event.module].name, 0);
  }

  std::string NameOf(StorageId id) const {
    const TorchStorage& storage = program_.storages[id];
    return storage.gpu == 0 ? std::string(storage.op) : fmt::format("{}@{}", storage.op, storage.gpu);
  }

  void Allocate(StorageId id) {
    const Bytes bytes = program_.storages[id].bytes.at(iteration_);
    trace_.events.emplace_back(NameOf(id), bytes.value());
    live_ += bytes;
    rounded_ += RoundUp(bytes, kRounding);
    trace_.peak_live = std::max(trace_.peak_live, live_);
    trace_.peak_rounded = std::max(trace_.peak_rounded, rounded_);
  }

  void Release(StorageId id) {
    const Bytes bytes = program_.storages[id].bytes.at(iteration_);
    trace_.events.emplace_back(NameOf(id), -bytes.value());
    live_ -= bytes;
    rounded_ -= RoundUp(bytes, kRounding);
  }

  const TorchProgram& program_;
  const Model& model_;
  const std::int64_t iteration_;
  const bool modules_;
  TorchTrace trace_;
  Bytes live_, rounded_;
};

}  // namespace

TorchTrace RecorderForm(const TorchProgram& program, const Model& model, std::int64_t iteration, bool modules) {
  return Recorder(program, model, iteration, modules).Record();
}

}  // namespace stowage
