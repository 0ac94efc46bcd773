// What `inspect kv` says: the bytes of a request's key-value caches, by kinds of layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

// Layers whose caches are alike.
struct KvKind {
  std::int64_t window = 0;  // positions kept at most; 0: all
  std::int64_t layers = 0;
  std::int64_t positions = 0;  // kept of each sequence at the request's end
  Bytes bytes;                 // of all these layers and sequences
};

struct KvReport {
  std::string model;
  std::string family;
  DType dtype = DType::kF16;
  bool latent = false;             // one latent and one rotary key a position instead of keys and values (MLA)
  Bytes layer_per_token;           // one layer, one position of one sequence
  std::int64_t layers = 0;         // with caches of their own
  std::int64_t shared_layers = 0;  // that read an earlier one's
  std::int64_t source = 0;         // of an encoder-decoder: positions that its encoder makes and cross attention caches
  std::int64_t repeated = 1;       // transformers stores each head so often (falcon-40b: once for each head of a group)
  Request request;
  std::vector<KvKind> kinds;  // by the first layer of each

  Bytes PerToken() const { return layers * layer_per_token; }  // before any window is full
  Bytes Total() const;
};

// The caches hold Request::dtype, or else what the model computes with (fp16 for GGUF, llama.cpp's default); packed
// types are llama.cpp's quantized caches. With --kv none they hold nothing. kInvalidInput for a model whose cache is not known.
Result<KvReport> MakeKvReport(const Model& model, const Request& request);

std::string KvText(const KvReport& report);
// {"model","family","dtype","kv_bytes_per_token","batch","kv","positions","kv_bytes","kinds":[{"kind": "full"|"sliding",
//  "storage": "keys and values"|"latent","window": n or null,"layers","bytes_per_token","positions","bytes"}],
//  "transformers":{"kv_bytes_per_token","kv_bytes"}}
std::string KvJson(const KvReport& report);

}  // namespace stowage
