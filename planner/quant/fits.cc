#include "planner/quant/fits.h"

#include <algorithm>
#include <array>

#include "planner/families/families.h"
#include "planner/quant/quantize.h"

namespace stowage {
namespace {

// One of each kind: two schemes of nearly the same size tell nobody more than one does.
constexpr std::array kShown = std::to_array<std::string_view>(
    {"q8_0", "int8", "fp8", "q6_k", "q5_k_m", "q4_k_m", "nf4", "nf4-double", "gptq", "mxfp4", "q3_k_m", "q2_k"});

// The columns between an expert's matrices; experts that are stacked in one tensor are as wide as the shape says.
std::int64_t ExpertWidth(const Model& model) {
  for (const Tensor& t : model.tensors) {
    if (t.shape.size() == 2 && t.name.find(".experts.") != std::string::npos) {
      return t.shape[0] == model.shape.hidden ? t.shape[1] : t.shape[0];
    }
  }
  return model.shape.intermediate;
}

// Elements a row at the widest moment of a fused prefill.
std::int64_t WidestRow(const Model& model) {
  const TransformerShape& s = model.shape;
  const std::int64_t attention = 2 * s.hidden + (s.heads + 2 * s.kv_heads) * s.head_dim;
  if (s.experts == 0) return std::max(attention, 2 * s.hidden + 2 * s.intermediate);
  const std::int64_t k = s.experts_per_token, width = ExpertWidth(model);
  return std::max({attention, 2 * s.hidden + 2 * k * width, s.hidden + k * (s.hidden + width)});
}

}  // namespace

RequestMemory MemoryOf(const Model& model, const Request& request) {
  const TransformerShape& s = model.shape;
  const DType dtype = model.ComputeDType();
  const bool cached = request.kv != KvCache::kNone;
  const std::int64_t decoded =
      request.batch * (cached ? DecoderPrompt(model, request.prompt_tokens) : request.CachePositions());
  const std::int64_t rows = std::max(decoded, request.batch * SourcePositions(model, request.prompt_tokens));
  const std::int64_t widest = WidestRow(model);
  return {.kv = cached ? CacheBytes(model, request.CachePositions()) * request.batch : Bytes(0),
          .activations = SizeOf(dtype, rows * widest),
          .logits = SizeOf(dtype, (request.all_logits ? decoded : request.batch) * s.vocab)};
}

std::vector<FormatFit> FormatsThatFit(const Model& model, const Request& request, Bytes budget, Bytes reserved) {
  const Bytes beside = MemoryOf(model, request).total() + reserved;
  const auto fit = [&](std::string_view name, std::string_view about, Bytes weights) {
    return FormatFit{name, about, weights, weights + beside, weights + beside <= budget};
  };
  std::vector<FormatFit> out = {fit("auto", "as it is", model.WeightBytes())};
  const std::vector<TensorFacts> facts = FactsOf(model);
  for (const std::string_view name : kShown) {
    const QuantScheme& scheme = *FindScheme(name);
    const Result<Bytes> weights = QuantizedWeightBytes(model, facts, scheme);
    if (weights) out.push_back(fit(scheme.name, scheme.about, *weights));
  }
  std::stable_sort(out.begin() + 1, out.end(),
                   [](const FormatFit& a, const FormatFit& b) { return a.weights > b.weights; });
  return out;
}

}  // namespace stowage
