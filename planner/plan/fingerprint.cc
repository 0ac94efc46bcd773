#include "planner/plan/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"

namespace stowage {
namespace {

class Fnv1a {
 public:
  void Add(std::string_view text) {
    for (const char c : text) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    state_ = (state_ ^ 0xff) * 0x100000001b3;  // no UTF-8 text holds 0xff: "ab", "c" is not "a", "bc"
  }
  std::string Hex() const { return fmt::format("{:016x}", state_); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325;
};

std::string HashOfTensors(const Model& model) {
  Fnv1a hash;
  for (const Tensor& t : model.tensors) {
    hash.Add(t.name);
    hash.Add(Name(t.dtype));
    hash.Add(FormatShape(t.shape));
    hash.Add(fmt::format("{}", t.bytes().value()));
    hash.Add(t.buffer ? (t.persistent ? "buffer" : "transient") : "");
    hash.Add(t.tied_to == kNoId ? "" : model.tensors[t.tied_to].name);
    const ModuleId block = model.BlockOf(t.module);
    hash.Add(block == kNoId ? "" : model.modules[block].name);
  }
  return hash.Hex();
}

std::string Windows(const std::vector<std::int64_t>& windows) {
  std::vector<std::string> texts;
  for (const std::int64_t w : windows) texts.push_back(fmt::format("{}", w));
  return Join(texts, ",");
}

const std::string* Find(const std::vector<std::pair<std::string, std::string>>& config, const std::string& key) {
  const auto it = std::find_if(config.begin(), config.end(), [&](const auto& entry) { return entry.first == key; });
  return it == config.end() ? nullptr : &it->second;
}

template <class T>
void Compare(std::string_view what, const T& then, const T& now, std::vector<std::string>& out) {
  if (then != now) out.push_back(fmt::format("{} is {}, was {}", what, now, then));
}

}  // namespace

ModelFingerprint FingerprintOf(const Model& model, std::string source) {
  ModelFingerprint out{.source = std::move(source),
                       .parameters = model.Parameters(),
                       .weights = model.WeightBytes(),
                       .tensors = static_cast<std::int64_t>(model.tensors.size()),
                       .tensors_hash = HashOfTensors(model)};
  const auto add = [&](const char* name, const auto& value) {
    out.config.emplace_back(name, fmt::format("{}", value));
  };
  const TransformerShape& s = model.shape;
  add("model_type", model.family);
  add("architecture", model.class_name);
  add("num_hidden_layers", s.layers);
  add("hidden_size", s.hidden);
  add("intermediate_size", s.intermediate);
  add("num_attention_heads", s.heads);
  add("num_key_value_heads", s.kv_heads);
  add("head_dim", s.head_dim);
  add("vocab_size", s.vocab);
  add("max_position_embeddings", s.max_positions);
  add("rms_norm_eps", s.norm_eps);
  add("rope_theta", s.rope_theta);
  add("num_experts", s.experts);
  add("num_experts_per_tok", s.experts_per_token);
  add("kv_lora_rank", s.kv_lora_rank);
  add("qk_rope_head_dim", s.rope_head_dim);
  add("windows", Windows(s.windows));
  add("rope_type", model.rope.type);
  add("rope_factor", model.rope.factor);
  add("rope_low_freq_factor", model.rope.low_freq_factor);
  add("rope_high_freq_factor", model.rope.high_freq_factor);
  add("rope_original_max_positions", model.rope.original_max_positions);
  add("attention_bias", model.attention_bias);
  add("mlp_bias", model.mlp_bias);
  add("no_split_modules", Join(model.no_split_classes, ","));
  return out;
}

std::vector<std::string> Changes(const ModelFingerprint& then, const ModelFingerprint& now) {
  std::vector<std::string> out;
  for (const auto& [key, value] : now.config) {
    const std::string* was = Find(then.config, key);
    Compare(key, was == nullptr ? std::string("not known") : *was, value, out);
  }
  Compare("the number of parameters", FormatCount(then.parameters), FormatCount(now.parameters), out);
  Compare("the number of tensors", FormatCount(then.tensors), FormatCount(now.tensors), out);
  if (then.weights != now.weights) {
    Compare("the size of the weights", FormatCount(then.weights.value()) + " B",
            FormatCount(now.weights.value()) + " B", out);
  }
  Compare("the hash of names, dtypes and shapes", then.tensors_hash, now.tensors_hash, out);
  return out;
}

}  // namespace stowage
