#include "planner/families/ops/decoder_ops.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "planner/families/ops/attention.h"
#include "planner/families/ops/graph_builder.h"
#include "planner/families/ops/mlp.h"

namespace stowage {
namespace {

class DecoderOps {
 public:
  DecoderOps(const Model& model, const Pass& pass, std::int64_t cache_positions) : g_(model, pass, cache_positions) {}

  OpGraph Build() {
    FindBody();
    const ModuleId layers = g_.FindAny(body_, {"layers", "h"});
    ValueId x = Embed();
    for (std::size_t i = 0; i < g_.Children(layers).size(); ++i) {
      x = Layer(g_.Children(layers)[i], static_cast<std::int32_t>(i), x);
    }
    if (head_ != kNoId && !g_.pass().all_logits && g_.pass().tokens > 1) x = g_.LastToken(body_, x);
    const ModuleId norm = g_.FindAny(body_, {"norm", "ln_f", "final_layer_norm"});
    if (norm != kNoId) x = g_.Norm(norm, kNoId, x);
    if (const ModuleId out = g_.Find(body_, "project_out"); out != kNoId) x = g_.Linear(out, kNoId, x);
    if (head_ != kNoId) Head(x);
    return g_.Take();
  }

 private:
  // Down to the module that has the layers. The head is beside one of those passed on the way.
  void FindBody() {
    body_ = 0;
    while (g_.FindAny(body_, {"layers", "h"}) == kNoId) {
      if (head_ == kNoId) head_ = g_.Find(body_, "lm_head");
      body_ = g_.FindAny(body_, {"language_model", "model", "transformer", "gpt_neox", "decoder"});
    }
  }

  ValueId Embed() {
    const ModuleId table = g_.FindAny(body_, {"embed_tokens", "wte", "embed_in", "word_embeddings"});
    ValueId x = g_.Embedding(table, g_.TokenIds());
    if (g_.OwnTensor(table, "embed_scale") != kNoId) x = Scale(OpKind::kScale, table, "scale", x);
    if (const ModuleId in = g_.Find(body_, "project_in"); in != kNoId) x = g_.Linear(in, kNoId, x);
    if (const ModuleId positions = g_.FindAny(body_, {"wpe", "embed_positions"}); positions != kNoId) {
      x = g_.AddRows(positions, g_.OwnTensor(positions, "weight"), g_.pass().tokens, x);
    }
    const ModuleId norm = g_.Find(body_, "word_embeddings_layernorm");
    return norm == kNoId ? x : g_.Norm(norm, kNoId, x);
  }

  ValueId Scale(OpKind kind, ModuleId module, const char* what, ValueId x) {
    return g_.Elementwise(kind, g_.NameOf(module) + "." + what, module, kNoId, {x}, 1);
  }

  void Head(ValueId x) {
    const ForwardFacts& f = g_.model().forward;
    const bool as_is = f.logit_scale == 1 && f.logit_softcap == 0;
    ValueId logits = g_.Linear(head_, kNoId, x, as_is ? ValueKind::kLogits : ValueKind::kActivation);
    if (f.logit_scale != 1) logits = Scale(OpKind::kScale, head_, "scale", logits);
    if (f.logit_softcap != 0) {
      logits =
          g_.Elementwise(OpKind::kSoftcap, g_.NameOf(head_) + ".softcap", head_, kNoId, {logits}, 2 + kActivationFlops);
    }
    g_.graph().values[static_cast<std::size_t>(logits)].kind = ValueKind::kLogits;
    g_.Argmax(logits);
  }

  ValueId Attention(ModuleId layer_module, std::int32_t layer, ValueId x) {
    const ModuleId attention = g_.FindAny(layer_module, {"self_attn", "attn", "attention", "self_attention"});
    if (g_.shape().kv_lora_rank > 0) return LatentAttention(g_, body_, attention, layer, x);
    return SelfAttention(g_, body_, attention, layer, x);
  }

  // The feed-forward half on normed rows, without its residual; opt has its matrices in the layer itself.
  ModuleId MlpOf(ModuleId layer) const {
    const ModuleId mlp = g_.FindAny(layer, {"mlp", "block_sparse_moe", "feed_forward"});
    return mlp == kNoId ? layer : mlp;
  }

  ValueId Layer(ModuleId module, std::int32_t layer, ValueId x) {
    const ForwardFacts& f = g_.model().forward;
    const ModuleId first = g_.FindAny(module, {"input_layernorm", "ln_1", "ln_attn", "self_attn_layer_norm"});
    const bool opt = g_.Find(module, "self_attn_layer_norm") != kNoId;
    const ModuleId second =
        opt ? g_.Find(module, "final_layer_norm") : g_.FindAny(module, {"post_attention_layernorm", "ln_2", "ln_mlp"});
    if (f.parallel) return Parallel(module, first, second, layer, x);
    if (g_.Find(module, "post_feedforward_layernorm") != kNoId || !f.norm_first) {
      return NormsAfter(module, first, second, layer, x);
    }
    const std::string& name = g_.NameOf(module);
    const ValueId attention = Attention(module, layer, g_.Norm(first, layer, x));
    x = g_.Residual(name + ".attention_residual", module, layer, x, attention);
    const ValueId normed = g_.Norm(second, layer, x);
    const ModuleId mlp = MlpOf(module);
    if (IsMoe(g_, mlp)) return MoeMlp(g_, mlp, layer, normed, x, name + ".mlp_residual");
    return g_.Residual(name + ".mlp_residual", module, layer, x, DenseMlp(g_, mlp, layer, normed));
  }

  // x + attention(norm x) + mlp(norm x), by one norm or by two; both read x before anything is added to it.
  ValueId Parallel(ModuleId module, ModuleId first, ModuleId second, std::int32_t layer, ValueId x) {
    const std::string& name = g_.NameOf(module);
    const ValueId a = g_.Norm(first, layer, x);
    const ValueId b = second == kNoId ? a : g_.Norm(second, layer, x);
    x = g_.Residual(name + ".attention_residual", module, layer, x, Attention(module, layer, a));
    return g_.Residual(name + ".mlp_residual", module, layer, x, DenseMlp(g_, MlpOf(module), layer, b));
  }

  // Norms on what a half gives: gemma 2 and 3 (and before it), olmo2; opt-350m norms the sum.
  ValueId NormsAfter(ModuleId module, ModuleId first, ModuleId second, std::int32_t layer, ValueId x) {
    const std::string& name = g_.NameOf(module);
    const bool of_the_sum = !g_.model().forward.norm_first;
    const ModuleId before_mlp = g_.Find(module, "pre_feedforward_layernorm");
    const ModuleId after_mlp = of_the_sum ? second : g_.Find(module, "post_feedforward_layernorm");
    ValueId y = Attention(module, layer, of_the_sum || first == kNoId ? x : g_.Norm(first, layer, x));
    if (!of_the_sum) y = g_.Norm(second, layer, y);
    x = g_.Residual(name + ".attention_residual", module, layer, x, y);
    if (of_the_sum) x = g_.Norm(first, layer, x);
    y = DenseMlp(g_, MlpOf(module), layer, before_mlp == kNoId ? x : g_.Norm(before_mlp, layer, x));
    if (!of_the_sum) y = g_.Norm(after_mlp, layer, y);
    x = g_.Residual(name + ".mlp_residual", module, layer, x, y);
    return of_the_sum ? g_.Norm(after_mlp, layer, x) : x;
  }

  GraphBuilder g_;
  ModuleId body_ = 0;
  ModuleId head_ = kNoId;
};

}  // namespace

Result<OpGraph> BuildDecoderOps(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  const TransformerShape& s = model.shape;
  for (const Module& m : model.modules) {
    if (m.name.ends_with("crossattention")) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("model '{}': no op graph for family {} with cross attention", model.name, model.family)};
    }
    if (m.name.ends_with(".experts") && (s.experts_per_token < 1 || s.experts_per_token > s.experts)) {
      return Error{ErrorCode::kInvalidInput, fmt::format("model '{}': {} has {} experts, of which a token takes {}",
                                                         model.name, m.name, s.experts, s.experts_per_token)};
    }
  }
  return DecoderOps(model, pass, cache_positions).Build();
}

}  // namespace stowage
