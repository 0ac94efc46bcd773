// What attaching diffusers' and accelerate's hooks to a model in host memory does, and taking it off the device again.
// Internal to planner/strategy/torch.
#pragma once

#include "planner/model/model.h"
#include "planner/realize/torch_hooks.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/torch/torch_pass.h"

namespace stowage {

// A buffer that no checkpoint has, made by its module's constructor.
BufferId ComputeOnHost(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, TensorId id);

// Places on the device for what the first pass moves there.
void AttachModelOffload(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, TorchWeights& weights);

// Pinned copies of what has a stream, leaf by leaf, or at block level all of them before any original goes. With files
// every group's weights are dropped; the files are there from an earlier run.
void AttachGroupOffload(ScheduleBuilder& b, const Model& model, const OffloadGroups& groups, const TorchLanes& lanes,
                        TorchWeights& weights);

// Where a group's file has a tensor. Of a checkpoint's file, since it holds the same bytes.
BufferId GroupFileOf(ScheduleBuilder& b, const Model& model, std::int32_t disk, TensorId id);

// The phase "offload": UserCpuOffloadHook.offload() when the last pass is done. What was a view of a mapped file is in
// host memory from then on.
void DetachModelOffload(ScheduleBuilder& b, const Model& model, const TorchLanes& lanes, const TorchWeights& weights);

}  // namespace stowage
