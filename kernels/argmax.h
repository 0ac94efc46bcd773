// The index of the largest element of each row. Of equal ones the lowest index wins; NaN is larger than any number
// (as torch.argmax).
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct ArgmaxArgs {
  Dtype dtype = Dtype::kF32;
  int rows = 0;
  int vocab = 0;
  const void* logits = nullptr;  // [rows, vocab]
  std::int32_t* out = nullptr;   // [rows]
};

// HostArgmax divides the rows.
int ReferenceArgmax(const ArgmaxArgs& args);
int HostArgmax(const ArgmaxArgs& args, Part part = {});
int LaunchArgmax(const ArgmaxArgs& args, void* stream);
namespace emulated {
int LaunchArgmax(const ArgmaxArgs& args, void* stream);
}

}  // namespace stowage::kernels
