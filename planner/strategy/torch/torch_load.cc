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

Status Load(TorchLoader& loader, const Model& checkpoint, const std::optional<LoadMode>& mode) {
  if (mode == LoadMode::kNaive) {
    LoadNaive(loader);
    return loader.Attach();
  }
  if (!mode) {
    LoadEach(loader);
  } else if (*mode == LoadMode::kByShard5) {
    LoadParallel(loader, checkpoint);
  } else {
    LoadByShard(loader, *mode);
  }
  loader.ConvertInPlace();
  return loader.Attach();
}

}  // namespace

DType FileDType(const Tensor& tensor) { return tensor.source ? tensor.source->dtype : tensor.dtype; }

TorchLoader::TorchLoader(ScheduleBuilder& b, const PlanningTask& task, const Model& held,
                         const TorchPlacement& placement, const TorchLanes& lanes)
    : b_(b), task_(task), model_(held), placement_(placement), lanes_(&lanes) {
  for (std::vector<BufferId>* ids : {&weights_.device, &weights_.host, &weights_.twin, &weights_.file}) {
    ids->assign(held.tensors.size(), -1);
  }
  for (std::size_t i = 0; i < held.tensors.size(); ++i) {
    if (!HasOwnStorage(held.tensors[i])) continue;
    (held.tensors[i].buffer ? buffers_ : parameters_).push_back(static_cast<TensorId>(i));
  }
}

WeightHome TorchLoader::HomeOf(TensorId id) const {
  const bool moved_by_hooks = placement_.hooks == TorchPlacement::Hooks::kModelOffload ||
                              placement_.hooks == TorchPlacement::Hooks::kGroupOffload;
  return moved_by_hooks ? WeightHome::kHost : placement_.homes[id];
}

DType TorchLoader::LoadDType(TensorId id) const {
  const Loading& loading = task_.request.loading;
  const DType computed = tensor(id).dtype;
  if (!IsFloating(computed)) return computed;
  if (loading.as_stored) return FileDType(tensor(id));
  const bool fp32 = loading.mode == LoadMode::kNaive && !task_.request.dtype;
  return loading.dtype.value_or(fp32 ? DType::kF32 : computed);
}

std::vector<std::vector<TensorId>> TorchLoader::Shards() const {
  std::vector<std::vector<TensorId>> shards(std::max<std::size_t>(model_.files.size(), 1));
  Bytes filled;
  for (const TensorId id : parameters_) {
    const Tensor& t = tensor(id);
    if (t.source) {
      shards[static_cast<std::size_t>(t.source->file)].push_back(id);
      continue;
    }
    const Bytes bytes = BytesIn(id, FileDType(t));
    if (model_.files.empty() && filled + bytes > kShardSize && filled > Bytes(0)) {
      shards.emplace_back();
      filled = Bytes(0);
    }
    filled += bytes;
    shards.back().push_back(id);
  }
  for (std::vector<TensorId>& shard : shards) {
    std::stable_sort(shard.begin(), shard.end(), [&](TensorId a, TensorId b) {
      return tensor(a).source && tensor(b).source && tensor(a).source->offset < tensor(b).source->offset;
    });
  }
  return shards;
}

std::int32_t TorchLoader::PageCache() {
  if (page_cache_ < 0) page_cache_ = b_.AddPool("page cache", Allocator::kPageable, Bytes(0));
  return page_cache_;
}

bool TorchLoader::UsesFolder() const {
  const auto on_disk = [&](TensorId id) { return HomeOf(id) == WeightHome::kDisk; };
  return std::any_of(parameters_.begin(), parameters_.end(), on_disk);
}

BufferId TorchLoader::WriteToFolder(TensorId id, BufferId from, DType dtype) {
  if (folder_ < 0) {
    const Machine& machine = *task_.machine;
    const std::int32_t disk = machine.FindPool("disk");
    folder_ = b_.AddPool("offload folder", Allocator::kPageable, disk < 0 ? Bytes(0) : machine.pools[disk].budget);
  }
  const BufferId file = NewBuffer(id, folder_, "@folder", BufferKind::kWeights, dtype);
  CopyMapped(id, from, file, dtype);
  return file;
}

void TorchLoader::CopyMapped(TensorId id, BufferId from, BufferId to, DType dtype) {
  const BufferId pages = NewBuffer(id, PageCache(), "@memmap", BufferKind::kStaging, dtype);
  b_.step(b_.Copy(lanes_->read, b_.Whole(from), b_.Whole(to))).blocking = true;
  b_.Free(pages);
}

// One allocation of all parameters of a GPU, dropped at once, so that they come out of one segment.
void TorchLoader::WarmUp() {
  for (std::size_t gpu = 0; gpu < lanes_->gpus.size(); ++gpu) {
    Bytes bytes;
    for (const TensorId id : parameters_) {
      const bool here = HomeOf(id) == WeightHome::kDevice && placement_.GpuOf(id) == static_cast<std::int16_t>(gpu);
      if (here) bytes += BytesIn(id, LoadDType(id));
    }
    if (bytes == Bytes(0)) continue;
    const Machine& machine = *task_.machine;
    const Bytes total = machine.pools[machine.FindPool(fmt::format("gpu{}", gpu))].budget;
    bytes = std::min(bytes, total - kWarmupKeepsFree);
    if (bytes <= Bytes(0)) continue;
    const std::string name = gpu == 0 ? "allocator warm-up" : fmt::format("allocator warm-up of gpu{}", gpu);
    const BufferId warmup = b_.AddBuffer(lanes_->gpus[gpu].pool, name, BufferKind::kWeights, bytes);
    b_.Allocate(warmup);
    b_.Free(warmup);
  }
}

BufferId TorchLoader::FileOf(TensorId id) {
  const Tensor& t = tensor(id);
  return b_.AddFileBuffer(lanes_->disk, t.name + "@disk", t.source ? t.source->file : 0,
                          t.source ? t.source->offset : 0, BytesIn(id, FileDType(t)));
}

BufferId TorchLoader::NewBuffer(TensorId id, std::int32_t pool, std::string_view suffix, BufferKind kind, DType dtype) {
  const BufferId buffer = b_.AddBuffer(pool, fmt::format("{}{}", tensor(id).name, suffix), kind, BytesIn(id, dtype));
  b_.Allocate(buffer);
  return buffer;
}

void TorchLoader::Read(BufferId file, BufferId to) {
  b_.step(b_.Read(lanes_->load, b_.Whole(file), b_.Whole(to))).blocking = true;
}

BufferId TorchLoader::Cast(TensorId id, BufferId from, DType from_dtype, DType to, std::string_view suffix,
                           bool on_device) {
  const BufferId cast = NewBuffer(id, on_device ? GpuOf(id).pool : lanes_->host, suffix, BufferKind::kWeights, to);
  Kernel kernel{.kind = KernelKind::kConvert,
                .name = "convert " + tensor(id).name,
                .dtype = to,
                .from_dtype = from_dtype,
                .rows = 1,
                .n = Elements(tensor(id).shape)};
  kernel.bytes = AffineBytes(BytesIn(id, from_dtype) + BytesIn(id, to));
  const Lane& lane = on_device ? GpuOf(id).compute : lanes_->cpu;
  const StepId convert = b_.Compute(lane, b_.AddKernel(std::move(kernel)), {b_.Whole(from)}, {b_.Whole(cast)});
  b_.step(convert).blocking = true;
  return cast;
}

void TorchLoader::HostKernel(std::string name, Bytes bytes, std::vector<Slice> reads, BufferId to, double flops) {
  Kernel kernel{.kind = KernelKind::kOpaque, .name = std::move(name), .dtype = DType::kF32};
  kernel.bytes = AffineBytes(bytes);
  kernel.flops = {flops};
  b_.step(b_.Compute(lanes_->cpu, b_.AddKernel(std::move(kernel)), std::move(reads), {b_.Whole(to)})).blocking = true;
}

BufferId TorchLoader::CopyToDevice(TensorId id, BufferId from, DType dtype, std::string_view suffix) {
  const BufferId to = NewBuffer(id, GpuOf(id).pool, suffix, BufferKind::kWeights, dtype);
  CopyAndWait(b_, GpuOf(id).in, b_.Whole(from), b_.Whole(to));
  return to;
}

void TorchLoader::ConvertInPlace() {
  for (const TensorId id : parameters_) {
    const bool on_device = weights_.device[id] >= 0;
    BufferId& at = on_device ? weights_.device[id] : weights_.host[id];
    if (at < 0 || LoadDType(id) == tensor(id).dtype) continue;
    const BufferId loaded = at;
    at = Cast(id, loaded, LoadDType(id), tensor(id).dtype, on_device ? "" : "@host", on_device);
    b_.Free(loaded);
  }
}

Status TorchLoader::Attach() {
  const TorchPlacement::Hooks hooks = placement_.hooks;
  if (hooks == TorchPlacement::Hooks::kModelOffload || hooks == TorchPlacement::Hooks::kGroupOffload) {
    for (const TensorId id : buffers_) weights_.host[id] = ComputeOnHost(b_, model_, *lanes_, id);
    if (hooks == TorchPlacement::Hooks::kModelOffload) {
      AttachModelOffload(b_, model_, *lanes_, weights_);
      return OkStatus();
    }
    STOWAGE_TRY(const OffloadGroups groups, GroupsOf(model_, placement_.group));
    AttachGroupOffload(b_, model_, groups, *lanes_, weights_);
    if (!groups.options.disk) return OkStatus();
    for (const std::vector<TensorId>* ids : {&parameters_, &buffers_}) {
      for (const TensorId id : *ids) weights_.file[id] = GroupFileOf(b_, model_, lanes_->disk, id);
    }
    return OkStatus();
  }
  for (const TensorId id : buffers_) {
    const Tensor& t = tensor(id);
    weights_.host[id] = b_.AddInitial(lanes_->host, t.name + "@host", BufferKind::kWeights, t.bytes());
    weights_.device[id] = CopyToDevice(id, weights_.host[id], t.dtype);
    if (hooks == TorchPlacement::Hooks::kNone) continue;
    for (const TorchGpu& gpu : lanes_->gpus) b_.EmptyCache(gpu.pool);  // as they are attached
  }
  return OkStatus();
}

Result<TorchWeights> LoadTorch(ScheduleBuilder& b, const PlanningTask& task, const Model& held,
                               const TorchPlacement& placement, const TorchLanes& lanes) {
  TorchLoader loader(b, task, held, placement, lanes);
  STOWAGE_RETURN_IF_ERROR(Load(loader, *task.model, task.request.loading.mode));
  return std::move(loader).Take();
}

}  // namespace stowage
