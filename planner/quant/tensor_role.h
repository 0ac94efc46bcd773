// What a tensor is to a quantizer, from its name, its module's class and its shape; never from the model's name.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/model/model.h"

namespace stowage {

enum class TensorRole : std::uint8_t {
  kTable,      // token embedding
  kPositions,  // embeddings of positions and token types, relative attention biases
  kOutput,     // the head that makes logits
  kQuery,
  kKey,
  kValue,
  kQkv,  // fused
  kAttentionOutput,
  kMlaUp,  // kv_b_proj: keys without positions, and values, from the latent
  kFfnDown,
  kRouter,
  kConvolution,
  kOther,   // any other matrix
  kVector,  // a norm, a bias: one dimension
};

// A stack of matrices, one an expert: [experts, in, out].
bool IsStacked(const Tensor& tensor);
// A weight as products use it: x [.., k] times the transpose of [rows, k]. Conv1D of GPT-2 and stacks store the
// transpose. A stack's rows are those of all experts; {0, 0} for anything that is neither.
struct MatrixSize {
  std::int64_t rows = 0;
  std::int64_t k = 0;
};

struct TensorFacts {
  TensorRole role = TensorRole::kOther;
  MatrixSize matrix;
  std::int64_t layer = -1;     // the first number in its name; -1: none
  bool routed_expert = false;  // of one, stacked or a module of its own
  bool vision = false;         // of a vision tower or its projector
};

// By TensorId. Names are looked at here, once for all schemes.
std::vector<TensorFacts> FactsOf(const Model& model);

}  // namespace stowage
