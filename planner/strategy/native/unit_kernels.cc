#include "planner/strategy/native/unit_kernels.h"

#include <cmath>

namespace stowage {

const NativeKernel* UnitKernels::Of(const NativeKernel& whole, const Unit& unit) {
  const Kernel& k = whole.kernel;
  if (unit.part == Unit::Part::kResident) {
    return &own_.emplace_back(Subset(whole, WhollyResident(whole, model_, proposal_)));
  }
  if (unit.part == Unit::Part::kTile) {
    const TensorId matrix = whole.reads[whole.first_matrix + unit.matrix].id;
    return &own_.emplace_back(
        RowTile(whole, RowsOf(model_.tensors[matrix]), unit.row_begin, unit.row_end, unit.matrix));
  }
  if (k.kind == KernelKind::kEmbedding) {
    const TensorId table = whole.reads[1].id;
    if (layout_.master_begin[table] == RowsOf(model_.tensors[table])) return &whole;
    // One that is not wholly resident is gathered from its master.
    NativeKernel& gather = own_.emplace_back(whole);
    gather.kernel.host_bytes = AffineBytes(RowBytes(model_.tensors[table]) * k.rows);
    return &gather;
  }
  std::int64_t on_host = 0;
  for (std::int32_t m = 0; m < whole.matrices; ++m) {
    const TensorId t = whole.reads[whole.first_matrix + m].id;
    const Tensor& tensor = model_.tensors[t];
    on_host += (RowBytes(tensor) * (RowsOf(tensor) - proposal_.resident_rows[t])).value();
  }
  if (on_host == 0) return &whole;
  NativeKernel& gather = own_.emplace_back(whole);  // experts: the expected share of those that are not resident
  gather.kernel.host_bytes = AffineBytes(std::llround(static_cast<double>(on_host) * whole.touched));
  return &gather;
}

}  // namespace stowage
