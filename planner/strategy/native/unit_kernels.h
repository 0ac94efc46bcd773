// What a unit launches, and what that reads; the same for a device with a ring and for a chain of them.
#pragma once

#include <deque>
#include <vector>

#include "planner/schedule/builder.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

class UnitKernels {
 public:
  // All of it outlives this.
  UnitKernels(const Model* model, const NativeProposal* proposal, const NativeLayout* layout)
      : model_(*model), proposal_(*proposal), layout_(*layout) {}

  // The program's kernel itself, or one of this: a row tile, a subset of the matrices, or one that gathers what is not
  // resident from its master, over the link. Stays where it is.
  const NativeKernel* Of(const NativeKernel& whole, const Unit& unit);

 private:
  const Model& model_;
  const NativeProposal& proposal_;
  const NativeLayout& layout_;
  std::deque<NativeKernel> own_;
};

// Where a launch finds weights that are not simply resident.
struct WeightParts {
  const std::vector<BufferId>& resident;  // by TensorId; -1: none
  const std::vector<BufferId>& master;
  BufferId piece = -1;  // in the ring, of the unit's item
};

// What a launch of `unit` by `kernel` (as Of gave it) reads, in the order of its operands: a streamed matrix in the
// ring, a gathered one in its resident rows and its master, a gathered table in its master. `slice_of` says where
// everything else is.
template <class SliceOf>
std::vector<Slice> ReadsOf(const ScheduleBuilder& b, const NativeKernel& kernel, const Unit& unit,
                           const WeightParts& parts, SliceOf slice_of) {
  std::vector<Slice> reads;
  reads.reserve(kernel.reads.size());
  const bool gathers = kernel.kernel.host_bytes.base > 0;
  for (std::size_t i = 0; i < kernel.reads.size(); ++i) {
    const Operand& operand = kernel.reads[i];
    const auto matrix = static_cast<std::int32_t>(i) - kernel.first_matrix;
    const bool is_matrix = matrix >= 0 && matrix < kernel.matrices;
    if (unit.item >= 0 && is_matrix) {
      reads.push_back(b.Whole(parts.piece));
    } else if (gathers && is_matrix) {
      for (const BufferId part : {parts.resident[operand.id], parts.master[operand.id]}) {
        if (part >= 0) reads.push_back(b.Whole(part));
      }
    } else {
      reads.push_back(slice_of(operand));
      if (gathers && kernel.kernel.kind == KernelKind::kEmbedding && i == 1) {
        reads.back().buffer = parts.master[operand.id];
      }
    }
  }
  return reads;
}

}  // namespace stowage
