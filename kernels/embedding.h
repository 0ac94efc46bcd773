// Rows of a table, picked by token id. A row order used throughout: position-major, row = token * batch + sequence.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct EmbeddingArgs {
  Dtype dtype = Dtype::kF32;
  int rows = 0;
  int hidden = 0;
  int vocab = 0;
  const std::int32_t* ids = nullptr;  // [rows], each in [0, vocab)
  const void* table = nullptr;        // [vocab, hidden]
  void* out = nullptr;                // [rows, hidden]
  // LaunchEmbedding cannot return what it finds later: for an id out of range it fills the row with NaN and, unless
  // null, adds one to this device counter. ReferenceEmbedding and HostEmbedding return kTokenOutOfRange before they
  // write anything, and leave the counter alone.
  std::int32_t* bad_ids = nullptr;
};

// HostEmbedding divides the rows.
int ReferenceEmbedding(const EmbeddingArgs& args);
int HostEmbedding(const EmbeddingArgs& args, Part part = {});
int LaunchEmbedding(const EmbeddingArgs& args, void* stream);
namespace emulated {
int LaunchEmbedding(const EmbeddingArgs& args, void* stream);
}

}  // namespace stowage::kernels
