// Feed-forward layers, dense and by experts.
#pragma once

#include <cstdint>

#include "planner/families/ops/graph_builder.h"

namespace stowage {

// The dense MLP of a module: gate and up (separate or in one matrix), or one matrix up; activation; down. Found by the
// names of all families.
ValueId DenseMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x);

// Of `experts`, how many some of `rows` rows choose, each of them `per_row` different ones: E (1 - (1 - k / E)^rows). An
// expert escapes one row with probability 1 - k / E, and all rows with its power; summed over the experts by linearity
// of expectation. Assumes that rows choose independently and evenly, as routers are trained to (load-balancing losses);
// skewed routing touches fewer.
double ExpectedExperts(std::int64_t experts, std::int64_t per_row, std::int64_t rows);

// Whether the module routes rows to experts; if so, MoeMlp is its forward: router, the chosen experts of each row,
// their weighted sum, and a dense MLP beside them where there is one. Adds the residual x itself: the sums of the two
// parts go onto it one after the other.
bool IsMoe(const GraphBuilder& g, ModuleId module);
ValueId MoeMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId normed, ValueId residual,
               const std::string& residual_name);

}  // namespace stowage
