#include "planner/strategy/torch/torch_attach.h"

#include <algorithm>
#include <utility>

namespace stowage {
namespace {

// `id`'s pinned copy, beside the pageable original that it stands for from now on.
void PinCopy(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, TensorId id, TorchWeights& weights) {
  const Tensor& t = model.tensors[id];
  const BufferId pinned = b.AddBuffer(lanes.host, t.name + "@pinned", BufferKind::kWeights, t.bytes());
  b.buffer(pinned).pinned = true;
  b.Allocate(pinned);
  EmitHostCopy(b, lanes, weights.host[id], pinned, "pin_memory");
  weights.host[id] = pinned;
}

void PinGroups(ScheduleBuilder& b, const Model& model, const OffloadGroups& groups, const TorchLanes& lanes,
               TorchWeights& weights) {
  std::vector<BufferId> originals;
  std::vector<bool> pinned(model.tensors.size());
  const auto drop = [&] {
    for (const BufferId original : originals) b.Free(original);
    originals.clear();
  };
  for (const OffloadGroup& group : groups.groups) {
    for (const TensorId id : group.up) {
      if (!groups.IsPinned(group) || pinned[id]) continue;
      pinned[id] = true;
      const bool lingers = std::find(group.lingering.begin(), group.lingering.end(), id) != group.lingering.end();
      if (lingers) {
        weights.twin[id] = weights.host[id];
      } else {
        originals.push_back(weights.host[id]);
      }
      PinCopy(b, model, lanes, id, weights);
    }
    if (groups.options.leaf) drop();
  }
  drop();
}

}  // namespace

BufferId ComputeOnHost(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, TensorId id) {
  const Tensor& t = model.tensors[id];
  const BufferId buffer = b.AddBuffer(lanes.host, t.name + "@host", BufferKind::kWeights, t.bytes());
  b.Allocate(buffer);
  Kernel kernel{.kind = KernelKind::kOpaque, .name = "make " + t.name};
  kernel.bytes = AffineBytes(t.bytes());
  b.step(b.Compute(lanes.cpu, b.AddKernel(std::move(kernel)), {}, {b.Whole(buffer)})).blocking = true;
  return buffer;
}

void AttachModelOffload(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, TorchWeights& weights) {
  for (const TensorId id : ModuleToOrder(model, 0)) {
    const Tensor& t = model.tensors[id];
    weights.device[id] = b.AddBuffer(lanes.gpus[0].pool, t.name, BufferKind::kWeights, t.bytes());
  }
}

void AttachGroupOffload(ScheduleBuilder& b, const Model& model, const OffloadGroups& groups, const TorchLanes& lanes,
                        TorchWeights& weights) {
  if (groups.options.disk) {
    for (BufferId& host : weights.host) {
      if (host >= 0) b.Free(std::exchange(host, -1));
    }
    return;
  }
  PinGroups(b, model, groups, lanes, weights);
  for (const OffloadGroup& group : groups.groups) {
    for (const TensorId id : group.lingering) {
      const Tensor& t = model.tensors[id];
      for (BufferId& buffer : weights.lingering[id]) {
        buffer = b.AddBuffer(lanes.gpus[0].pool, t.name, BufferKind::kWeights, t.bytes());
      }
    }
    std::vector<bool> seen(model.tensors.size());
    for (const TensorId id : group.up) {
      if (seen[id]) {
        const Tensor& t = model.tensors[id];
        weights.twin[id] = b.AddBuffer(lanes.host, t.name + "@twin", BufferKind::kWeights, t.bytes());
      }
      seen[id] = true;
    }
  }
}

BufferId GroupFileOf(ScheduleBuilder& b, const Model& model, std::int32_t disk, TensorId id) {
  const Tensor& t = model.tensors[id];
  return b.AddFileBuffer(disk, t.name + "@group", t.source ? t.source->file : 0, 0, t.bytes());
}

void DetachModelOffload(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, const TorchWeights& weights) {
  b.BeginPhase("offload", {});
  b.BeginPrologue(0);
  for (const TensorId id : ModuleToOrder(model, 0)) {
    BufferId home = weights.host[id];
    if (b.buffer(home).pool != lanes.host) {
      const Tensor& t = model.tensors[id];
      home = b.AddBuffer(lanes.host, t.name + "@host", BufferKind::kWeights, t.bytes());
    }
    b.Allocate(home);
    CopyAndWait(b, lanes.gpus[0].out, b.Whole(weights.device[id]), b.Whole(home));
    b.Free(weights.device[id]);
  }
}

}  // namespace stowage
