// BERT (transformers' BertModel, 5.23, with its pooler). Configs mostly name a class with a head (BertForMaskedLM); the
// model is BertModel all the same, what AutoModel loads and encoders are used as.
//
//   embeddings BertEmbeddings          word [V, h], position [P, h], token_type [types, h] embeddings, LayerNorm; buffers
//                                      position_ids, token_type_ids int64 [1, P], in no checkpoint
//   encoder.layer.i BertLayer          attention.self query, key, value; attention.output dense, LayerNorm;
//                                      intermediate.dense [I, h]; output dense [h, I], LayerNorm
//   pooler.dense [h, h]
//
// No-split: BertEmbeddings, BertLayer.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildBert(const HfConfig& config, std::string name);

}  // namespace stowage
