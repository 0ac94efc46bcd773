// From a config to a model, and from a model to the operations of a pass. One family, one file: a new family adds its
// file and one line in each function of families.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"
#include "planner/model/op_graph.h"

namespace stowage {

// The model a config.json describes, dispatched by its model_type; `name` becomes Model::name.
// kInvalidInput names the families known.
Result<Model> BuildModel(const HfConfig& config, std::string name);

std::vector<std::string> KnownFamilies();  // the model_type of each
bool IsKnownFamily(std::string_view model_type);

// The ops of one pass with a cache of `cache_positions` positions a sequence. Activations, cache and logits have the
// dtype Model::ComputeDType; token ids are int32. kInvalidInput when the pass does not fit the cache,
// for a model of headers alone, and for several tokens after others when a window is shorter than the context.
//
// A decoder: embedding, then per layer: norm, q, k, v, rope, cache_append, attention, o, add, norm, MLP or experts, add;
// then last_token (left out for one token a sequence, or with pass.all_logits), norm, head, argmax. A model without a
// head ends at the norm, with all its rows. What differs between families is found in the tree (ops/).
// Models that make no tokens take one pass of `tokens` positions without a cache; their result is OpGraph::output.
// An encoder-decoder's prefill is its encoder, then the decoder, whose cross attention makes keys and values of the
// encoder's rows in each layer and caches them; a decode pass (pass.prompt says what the encoder saw) is the decoder
// alone. The ids are the prompt's, then what the decoder is given (PromptIds), then the answer's.
//
// FLOPs: linear 2 m n k (+ m n for a bias); attention 4 d per head and causal pair of positions; per element 4 for a
// norm and silu, 3 for rope, 1 for add, mul and argmax; copies 0.
Result<OpGraph> BuildOpGraph(const Model& model, const Pass& pass, std::int64_t cache_positions);

// Whether the model continues a text token by token: a decoder, with or without its head. Of an encoder-decoder the
// encoder runs in the first pass alone: T5 reads the prompt there and its decoder starts with one token, Whisper hears
// its frames there and its decoder starts with the prompt.
bool MakesTokens(const Model& model);
bool IsEncoderDecoder(const Model& model);
// Of the first pass, a sequence: the rows that an encoder-decoder's encoder makes, which cross attention caches; and the
// ids that the decoder runs on. 0 and the prompt for any other model.
std::int64_t SourcePositions(const Model& model, std::int64_t prompt);
std::int64_t DecoderPrompt(const Model& model, std::int64_t prompt);
// The ids that are there before the answer: the prompt, and the token that T5's decoder starts with.
std::int64_t PromptIds(const Model& model, std::int64_t prompt);

// Request::dtype: the floating parameters of `model` take `dtype` in memory; buffers keep theirs (but gemma's
// embed_scale, which is made in the default dtype), file slices too.
void SetDType(Model& model, DType dtype);

// Bytes that one position of one sequence takes in the caches of all layers, as transformers 5.23 stores them: keys and
// values of the kv heads, or the latent and the rotary key of latent attention. All layers are alike.
Bytes CacheBytesPerPosition(const Model& model);
Bytes LayerCacheBytesPerPosition(const Model& model);
// The same in caches of another dtype; packed ones hold whole blocks a position.
Bytes LayerCacheBytesPerPosition(const Model& model, DType dtype);
DType CacheDType(const Model& model);  // Model::ComputeDType; fp16 for GGUF, llama.cpp's default

// Of `positions` seen, how many the caches of `layer` hold, cross attention's included: its window at most (a static cache; transformers' dynamic
// one keeps the window, and of a longer prompt all of it until the next token), none where it reads another layer's.
std::int64_t CachedPositions(const Model& model, std::int64_t layer, std::int64_t positions);

// The caches of all layers for one sequence of `positions`.
Bytes CacheBytes(const Model& model, std::int64_t positions);

}  // namespace stowage
