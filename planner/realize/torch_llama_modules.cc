#include "planner/realize/torch_llama_modules.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <unordered_map>

namespace stowage::torch_eager {

Result<LlamaModules> FindModules(const Model& model) {
  std::unordered_map<std::string_view, ModuleId> by_name;
  for (std::size_t i = 0; i < model.modules.size(); ++i)
    by_name.emplace(model.modules[i].name, static_cast<ModuleId>(i));
  std::string missing;
  const auto find = [&](const std::string& name) {
    const auto at = by_name.find(name);
    if (at != by_name.end()) return at->second;
    if (missing.empty()) missing = name;
    return kNoId;
  };
  const auto mark = [&](const std::string& name) {
    const auto at = by_name.find(name);
    return at == by_name.end() ? kNoId : at->second;
  };
  const bool headless = by_name.count("embed_tokens") > 0;
  const std::string base = headless ? "" : "model.";
  LlamaModules m{};
  m.root = 0;
  m.base = headless ? 0 : find("model");
  m.embed = find(base + "embed_tokens");
  m.rotary = mark(base + "rotary_emb");
  m.norm = find(base + "norm");
  m.head = headless ? kNoId : find("lm_head");
  for (std::int64_t i = 0; i < model.shape.layers; ++i) {
    const std::string p = fmt::format("{}layers.{}", base, i);
    m.layers.push_back({.layer = find(p),
                        .input_norm = find(p + ".input_layernorm"),
                        .attention = find(p + ".self_attn"),
                        .q = find(p + ".self_attn.q_proj"),
                        .k = find(p + ".self_attn.k_proj"),
                        .v = find(p + ".self_attn.v_proj"),
                        .o = find(p + ".self_attn.o_proj"),
                        .post_norm = find(p + ".post_attention_layernorm"),
                        .mlp = find(p + ".mlp"),
                        .gate = find(p + ".mlp.gate_proj"),
                        .act = mark(p + ".mlp.act_fn"),
                        .up = find(p + ".mlp.up_proj"),
                        .down = find(p + ".mlp.down_proj")});
  }
  if (!missing.empty()) {
    return Error{ErrorCode::kInvalidInput, fmt::format("model '{}' has no module '{}'", model.name, missing)};
  }
  return m;
}

}  // namespace stowage::torch_eager
