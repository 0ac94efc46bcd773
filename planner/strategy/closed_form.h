// What a request takes and how fast it is, without a schedule and without simulating one.
//
// Two kinds. Strategy::closed_form, for `plan --quick`, sums over the kernels of one prefill and one decode pass
// (native/native_form.h, torch/torch_form.h). Strategy::from_sizes, for models whose operations are not described, knows the
// sizes of tensors only. There, counted are weights, buffers, caches and reservations; estimated activations, by the
// widest moment of a decoder; bounds are the times, each the largest of what one resource must do.
//
// Each strategy has its own, beside its lowering.
#pragma once

#include <functional>
#include <map>
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
  std::string parameters = {};                           // of the strategy
  std::vector<std::pair<std::string, Bytes>> peak = {};  // by pool; what would be needed where it does not fit
  std::string why_not = {};                              // empty: it fits; what the lowering refuses is refused, too
  Seconds first_token = {}, per_token = {};
  std::string limit = {};  // the resource that is busiest: "gpu0.h2d busy 97 %"

  bool fits() const { return why_not.empty(); }
};

// What is busiest of `seconds`, by resource, in a stretch of that length: as sim/rank says it. Empty: nothing.
std::string LimitOf(const std::map<std::string, Seconds>& busy, Seconds length);

// The quickest request of those that fit, else the last of all; an error is why one does not. Of {} that of {""}.
ClosedForm BestForm(const Request& request, std::vector<std::string> parameters,
                    const std::function<Result<ClosedForm>(const std::string&)>& form);

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
