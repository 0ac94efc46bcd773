#include "planner/realize/torch_alibi.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

namespace stowage::torch_eager {

AlibiSlopes MakeAlibiSlopes(TorchWords& t) {
  const auto heads = static_cast<std::uint64_t>(std::max<std::int64_t>(1, t.s.heads));
  const auto closest = static_cast<std::int64_t>(std::bit_floor(heads));
  const std::int64_t remaining = std::min(closest, t.s.heads - closest);
  AlibiSlopes out;
  out.base = t.eager.Op("full.default", {{1}, DType::kF32}, {});
  out.powers = t.eager.Op("arange.start", {{closest}, DType::kI32}, {});
  out.slopes = t.eager.Op("pow.Tensor_Tensor", {{closest}, DType::kF32}, {&out.base, &out.powers});
  if (remaining <= 0) return out;
  out.extra_base = t.eager.Op("full.default", {{1}, DType::kF32}, {});
  out.extra_powers = t.eager.Op("arange.start_step", {{remaining}, DType::kI32}, {});
  Ref extra = t.eager.Op("pow.Tensor_Tensor", {{remaining}, DType::kF32}, {&out.extra_base, &out.extra_powers});
  Ref all = t.eager.Op("cat.default", {{t.s.heads}, DType::kF32}, {&out.slopes, &extra});
  extra.Drop();
  out.slopes = std::move(all);
  return out;
}

}  // namespace stowage::torch_eager
