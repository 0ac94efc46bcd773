// The frames of op graphs: what comes before, between and after the layers.
#pragma once

#include "planner/base/result.h"
#include "planner/model/op_graph.h"

namespace stowage {

// All decoder-only families. By names in the tree: the table (and positions, a norm, a projection after it), layers
// whose norms say how their halves are joined, the last norm, the head.
Result<OpGraph> BuildDecoderOps(const Model& model, const Pass& pass, std::int64_t cache_positions);

// Models of one pass without a cache: bert, t5 encoders, clip text, vit. The result is OpGraph::output.
Result<OpGraph> BuildEncoderOps(const Model& model, const Pass& pass);

// T5 with its decoder, and whisper. Without a head, the first pass's result is OpGraph::output.
Result<OpGraph> BuildEncoderDecoderOps(const Model& model, const Pass& pass, std::int64_t cache_positions);

}  // namespace stowage
