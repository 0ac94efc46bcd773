// From a kernel of the schedule with its operand pointers to the argument struct of kernels/: the one place that knows
// both vocabularies. Every device launches what this returns.
#pragma once

#include <variant>

#include "exec/device.h"
#include "kernels/call.h"
#include "kernels/table.h"
#include "planner/base/result.h"

namespace stowage {

using KernelArgs =
    std::variant<kernels::EmbeddingArgs, kernels::RmsNormArgs, kernels::LinearArgs, kernels::RopeCacheArgs,
                 kernels::AttentionArgs, kernels::SiluMulArgs, kernels::ArgmaxArgs, kernels::ConvertArgs>;

// kInvalidInput naming the kernel: an operand missing or smaller than its sizes say, a dtype without kernels, an opaque
// kernel (simulated only).
Result<KernelArgs> BindArgs(const KernelCall& call);

// Runs the whole call on this thread with the fast host kernels; returns their code.
int RunHostKernel(const KernelArgs& args);

// Queues it with the kernels of a table.
int RunTableKernel(const kernels::KernelTable& table, const KernelArgs& args, void* stream);

// The references as a table: `stream` is ignored, the work is done on return.
kernels::KernelTable ReferenceKernels();

// "code 1 (sizes or pointers that make no sense)"
std::string KernelCodeText(int code);

}  // namespace stowage
