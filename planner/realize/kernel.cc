#include "planner/realize/kernel.h"

#include <array>

namespace stowage {

std::string_view Name(KernelKind kind) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "embedding", "rms_norm", "linear", "rope_cache", "attention", "silu_mul", "argmax", "convert", "opaque"};
  return kNames[static_cast<std::size_t>(kind)];
}

}  // namespace stowage
