// The rows of the zoo beyond llama. Facts are the fields of config.json that the model's size depends on and that differ
// from the class defaults, as JSON, so that a row goes the way a config file goes. Source of each: config.json of its
// hub_id. For zoo.cc only.
#pragma once

#include <span>

namespace stowage {

struct ZooRow {
  const char* name;
  const char* hub_id;
  const char* alias;  // "" for none
  const char* facts;
};

std::span<const ZooRow> DecoderRows();  // mistral, qwen, gemma, deepseek ... (zoo_rows_decoders.cc)
std::span<const ZooRow> OtherRows();    // gpt2, opt, bert, t5 ... (zoo_rows_others.cc)

}  // namespace stowage
