// What the encoders' frames share: attention without a cache, inputs that are no tokens, T5's encoder, which is a model
// and the first half of one.
#pragma once

#include <cstdint>

#include "planner/families/ops/graph_builder.h"

namespace stowage {

// Attention of a module with separate projections, without cache, up to and with `out`'s product. `bias` is a table that
// is added to the scores, or kNoId.
ValueId Projected(GraphBuilder& g, ModuleId module, ModuleId out, std::int32_t layer, ValueId x, bool causal,
                  TensorId bias = kNoId);

// x + half(norm x), for attention.
ValueId AttentionHalf(GraphBuilder& g, ModuleId module, ModuleId norm, std::int32_t layer, ValueId x, bool causal);

// A convolution whose result has `rows` positions.
ValueId Product(GraphBuilder& g, ModuleId convolution, ValueId image, std::int64_t rows);

ValueId Input(GraphBuilder& g, const char* name, std::int64_t rows, std::int64_t width);

// The rows after final_layer_norm, of ids that the encoder embeds. UMT5 has a table of position bias in every block, the
// others share the first one's.
ValueId T5Encoder(GraphBuilder& g, ValueId ids);
// x + DenseReluDense(layer_norm x) of a block, whose part that is.
ValueId T5FeedForward(GraphBuilder& g, ModuleId block, ModuleId part, std::int32_t layer, ValueId x);
// The table of a block's own self attention, or `before`.
TensorId T5Bias(const GraphBuilder& g, ModuleId attention, TensorId before);

}  // namespace stowage
