// Elementwise change of element type: round to nearest even, NaN stays NaN, overflow gives infinity.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct ConvertArgs {
  Dtype from_dtype = Dtype::kF32;
  Dtype to_dtype = Dtype::kF32;
  std::int64_t count = 0;
  const void* from = nullptr;  // [count]
  void* to = nullptr;          // [count]; does not overlap `from`, or equals it where both types have one size
};

// HostConvert divides the elements.
int ReferenceConvert(const ConvertArgs& args);
int HostConvert(const ConvertArgs& args, Part part = {});
int LaunchConvert(const ConvertArgs& args, void* stream);
namespace emulated {
int LaunchConvert(const ConvertArgs& args, void* stream);
}

}  // namespace stowage::kernels
