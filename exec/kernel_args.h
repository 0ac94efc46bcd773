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

// Whether some device computes kernels of this kind; the others are simulated only.
bool HasKernel(KernelKind kind);

// kInvalidInput naming the kernel: an operand missing or smaller than its sizes say, a dtype without kernels, an opaque
// kernel (simulated only).
Result<KernelArgs> BindArgs(const KernelCall& call);

// Runs or queues it with the kernels of a table; returns their code.
int RunKernel(const kernels::KernelTable& table, const KernelArgs& args, void* stream);

// The host versions as tables: `stream` is ignored, the work is done on return, on the calling thread.
kernels::KernelTable HostKernels();       // fast
kernels::KernelTable ReferenceKernels();  // slow and obvious

// "code 1 (sizes or pointers that make no sense)"
std::string KernelCodeText(int code);

}  // namespace stowage
