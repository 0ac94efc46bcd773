// The load phase of a torch program: weights from the checkpoint's files to where a placement wants them, and what
// attaching its hooks does. Internal to planner/strategy/torch.
#pragma once

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/model/model.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/torch/torch_lowering.h"
#include "planner/strategy/torch/torch_pass.h"

namespace stowage {

// Of a tensor in its file; its own without a file.
DType FileDType(const Tensor& tensor);

// Emits the steps into the builder's open section. `model` is as transformers holds it, `placement` is of its tensors.
Result<TorchWeights> LoadTorch(ScheduleBuilder& b, const Model& model, const Machine& machine,
                               const TorchPlacement& placement, const TorchLanes& lanes);

}  // namespace stowage
