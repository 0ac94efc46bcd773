#include "planner/strategy/torch/torch_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/realize/torch_hooks.h"
#include "planner/strategy/torch/torch_attach.h"
#include "planner/strategy/torch/torch_programs.h"

namespace stowage {
namespace {

constexpr Bytes kWarmupKeepsFree(1'288'490'189);  // transformers 5: 1.2 GiB of the device are left alone

class TorchLoader {
 public:
  TorchLoader(ScheduleBuilder& b, const Model& model, const Machine& machine, const TorchPlacement& placement,
              const TorchLanes& lanes)
      : b_(b), model_(model), machine_(machine), placement_(placement), lanes_(lanes) {
    for (std::vector<BufferId>* ids : {&weights_.device, &weights_.host, &weights_.twin, &weights_.file}) {
      ids->assign(model.tensors.size(), -1);
    }
  }

  Status Load() {
    std::vector<TensorId> parameters, buffers;
    for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
      if (!HasOwnStorage(model_.tensors[i])) continue;
      (model_.tensors[i].buffer ? buffers : parameters).push_back(static_cast<TensorId>(i));
    }
    for (std::size_t g = 0; g < lanes_.gpus.size(); ++g) WarmUp(parameters, static_cast<std::int16_t>(g));
    if (placement_.hooks == TorchPlacement::Hooks::kModelOffload ||
        placement_.hooks == TorchPlacement::Hooks::kGroupOffload) {
      STOWAGE_RETURN_IF_ERROR(LoadForHooks(parameters, buffers));
      parameters.clear();
      buffers.clear();
    }
    for (const TensorId id : parameters) {
      if (placement_.homes[id] == WeightHome::kDisk) {
        weights_.file[id] = FileOf(id);
        continue;
      }
      weights_.host[id] = ReadToHost(id);
      if (placement_.homes[id] == WeightHome::kDevice) MoveToDevice(id);
    }
    for (const TensorId id : buffers) {
      const Tensor& t = model_.tensors[id];
      weights_.host[id] = b_.AddInitial(lanes_.host, t.name + "@host", BufferKind::kWeights, t.bytes());
      CopyToDevice(id);
      if (placement_.hooks != TorchPlacement::Hooks::kNone) {  // as they are attached
        for (const TorchGpu& gpu : lanes_.gpus) b_.EmptyCache(gpu.pool);
      }
    }
    return OkStatus();
  }

  TorchWeights Take() && { return std::move(weights_); }

 private:
  // from_pretrained without a device map, then the hooks.
  Status LoadForHooks(const std::vector<TensorId>& parameters, const std::vector<TensorId>& buffers) {
    for (const TensorId id : parameters) weights_.host[id] = ReadToHost(id);
    for (const TensorId id : buffers) weights_.host[id] = ComputeOnHost(b_, model_, lanes_, id);
    if (placement_.hooks == TorchPlacement::Hooks::kModelOffload) {
      AttachModelOffload(b_, model_, lanes_, weights_);
      return OkStatus();
    }
    STOWAGE_TRY(const OffloadGroups groups, GroupsOf(model_, placement_.group));
    AttachGroupOffload(b_, model_, groups, lanes_, weights_);
    if (!groups.options.disk) return OkStatus();
    for (const std::vector<TensorId>* ids : {&parameters, &buffers}) {
      for (const TensorId id : *ids) weights_.file[id] = GroupFileOf(b_, model_, lanes_.disk, id);
    }
    return OkStatus();
  }

  // transformers' caching_allocator_warmup: one allocation of all parameters of a GPU, dropped at once, so that they
  // come out of one segment.
  void WarmUp(const std::vector<TensorId>& parameters, std::int16_t gpu) {
    Bytes bytes;
    for (const TensorId id : parameters) {
      const bool here = placement_.homes[id] == WeightHome::kDevice && placement_.GpuOf(id) == gpu;
      if (here) bytes += model_.tensors[id].bytes();
    }
    if (bytes == Bytes(0)) return;
    const Bytes total = machine_.pools[machine_.FindPool(fmt::format("gpu{}", gpu))].budget;
    bytes = std::min(bytes, total - kWarmupKeepsFree);
    if (bytes <= Bytes(0)) return;
    const std::string name = gpu == 0 ? "allocator warm-up" : fmt::format("allocator warm-up of gpu{}", gpu);
    const BufferId warmup = b_.AddBuffer(lanes_.gpus[gpu].pool, name, BufferKind::kWeights, bytes);
    b_.Allocate(warmup);
    b_.Free(warmup);
  }

  BufferId FileOf(TensorId id) {
    const Tensor& t = model_.tensors[id];
    return b_.AddFileBuffer(lanes_.disk, t.name + "@disk", t.source ? t.source->file : 0,
                            t.source ? t.source->offset : 0, SizeOf(FileDType(t), Elements(t.shape)));
  }

  // Safetensors are mapped and each tensor materialised, then cast where the file holds another dtype.
  BufferId ReadToHost(TensorId id) {
    const Tensor& t = model_.tensors[id];
    const Bytes raw_bytes = SizeOf(FileDType(t), Elements(t.shape));
    const BufferId file = FileOf(id);
    const bool casts = FileDType(t) != t.dtype;
    const BufferId raw = b_.AddBuffer(lanes_.host, t.name + (casts ? "@file" : "@host"),
                                      casts ? BufferKind::kStaging : BufferKind::kWeights, raw_bytes);
    b_.Allocate(raw);
    const StepId read = b_.Read(lanes_.read, b_.Whole(file), b_.Whole(raw));
    b_.step(read).blocking = true;
    if (!casts) return raw;
    const BufferId cast = b_.AddBuffer(lanes_.host, t.name + "@host", BufferKind::kWeights, t.bytes());
    b_.Allocate(cast);
    Kernel kernel{.kind = KernelKind::kConvert,
                  .name = "convert " + t.name,
                  .dtype = t.dtype,
                  .from_dtype = FileDType(t),
                  .rows = 1,
                  .n = Elements(t.shape)};
    kernel.bytes = AffineBytes(raw_bytes + t.bytes());
    const StepId convert = b_.Compute(lanes_.cpu, b_.AddKernel(std::move(kernel)), {b_.Whole(raw)}, {b_.Whole(cast)});
    b_.step(convert).blocking = true;
    b_.Free(raw);
    return cast;
  }

  void CopyToDevice(TensorId id) {
    const Tensor& t = model_.tensors[id];
    const TorchGpu& gpu = lanes_.gpus[placement_.GpuOf(id)];
    weights_.device[id] = b_.AddBuffer(gpu.pool, t.name, BufferKind::kWeights, t.bytes());
    b_.Allocate(weights_.device[id]);
    CopyAndWait(b_, gpu.in, b_.Whole(weights_.host[id]), b_.Whole(weights_.device[id]));
  }

  void MoveToDevice(TensorId id) {
    CopyToDevice(id);
    b_.Free(weights_.host[id]);
  }

  ScheduleBuilder& b_;
  const Model& model_;
  const Machine& machine_;
  const TorchPlacement& placement_;
  const TorchLanes& lanes_;
  TorchWeights weights_;
};

}  // namespace

DType FileDType(const Tensor& tensor) { return tensor.source ? tensor.source->dtype : tensor.dtype; }

Result<TorchWeights> LoadTorch(ScheduleBuilder& b, const Model& model, const Machine& machine,
                               const TorchPlacement& placement, const TorchLanes& lanes) {
  TorchLoader loader(b, model, machine, placement, lanes);
  STOWAGE_RETURN_IF_ERROR(loader.Load());
  return std::move(loader).Take();
}

}  // namespace stowage
