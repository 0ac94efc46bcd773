// What a request takes and how fast it can be at best, from sizes alone: no operations, no schedule, no simulation. For
// `plan --quick`, and for models whose operations are not described.
//
// Counted: weights, buffers, caches, reservations. Estimated: activations, by the widest moment of a decoder. Bounds:
// times, each the largest of what one resource must do; kernels' launches and all waiting are left out.
//
// Each strategy has its own, beside its lowering.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/units.h"
#include "planner/strategy/strategy.h"

namespace stowage {

// Of the whole model, wherever it lies. Sizes that the shape does not tell (a checkpoint of an unknown family) are
// nothing.
struct RequestSizes {
  Bytes weights;         // parameters, a tied one once
  Bytes buffers;         // beside them
  Bytes tables;          // of `weights`: embedding tables that nothing multiplies by
  Bytes touched;         // of `weights`: what one token of one sequence multiplies by; experts as far as it uses them
  Bytes first_only;      // of `touched`: an encoder-decoder's weights that only the first pass multiplies by
  Bytes largest_tensor;  // of `weights`
  std::optional<Bytes> kv;  // all layers and sequences at the end of the request
  std::optional<Bytes> native_activations;
  std::optional<Bytes> torch_activations;
  Flops prefill, decode;  // of one pass: two per weight that is multiplied by and row; attention is left out
};

RequestSizes SizesOf(const Model& model, const Request& request);

struct ClosedForm {
  std::vector<std::pair<std::string, Bytes>> peak;  // by pool; what would be needed where it does not fit
  std::string why_not;                              // empty: it fits; what the lowering refuses is refused here, too
  Seconds first_token, per_token;                   // at least
  std::string limit;                                // the resource whose bound is the largest: "gpu0.h2d"
};

// What a strategy puts where, reservations left out, and what it moves.
struct Demand {
  Bytes gpu, host;
  Bytes streamed;            // over gpu0's link in each pass, but of weights that only the first one touches
  bool pageable = false;     // at the pageable rate
  std::string refusal = {};  // why the lowering refuses the task, whatever the memory; empty: it does not
};
ClosedForm CloseForm(const PlanningTask& task, const RequestSizes& sizes, const Demand& demand);

// The type most of the parameters have.
DType MainDType(const Model& model);

}  // namespace stowage
