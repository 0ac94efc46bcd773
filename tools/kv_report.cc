#include "tools/kv_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "planner/base/text.h"

namespace stowage {
namespace {

std::string KindName(const KvKind& kind) {
  return kind.window > 0 ? fmt::format("sliding {}", FormatCount(kind.window)) : "full";
}

// Shapes have windows and latents only with the families that use them: asked for, not assumed, until those are in.
template <class S>
std::int64_t WindowOf(const S& shape, std::int64_t layer) {
  if constexpr (requires { shape.windows; }) {
    if (!shape.windows.empty()) return shape.windows[static_cast<std::size_t>(layer)];
  }
  return 0;
}

template <class S>
std::int64_t LatentWidth(const S& shape) {
  if constexpr (requires { shape.kv_lora_rank; }) {
    if (shape.kv_lora_rank > 0) return shape.kv_lora_rank + shape.rope_head_dim;
  }
  return 0;
}

DType CacheDType(const Model& model, const Request& request) {
  if (request.dtype) return *request.dtype;
  return model.family.starts_with("gguf/") || model.tensors.empty() ? DType::kF16 : model.tensors[0].dtype;
}

// Keys and values, or the latent; whole blocks a position, as packed caches need.
Bytes LayerBytes(const TransformerShape& s, DType dtype) {
  if (LatentWidth(s) > 0) return SizeOf(dtype, LatentWidth(s));
  return 2 * SizeOf(dtype, s.kv_heads * s.head_dim);
}

}  // namespace

Bytes KvReport::Total() const {
  Bytes total;
  for (const KvKind& kind : kinds) total += kind.bytes;
  return total;
}

Result<KvReport> MakeKvReport(const Model& model, const Request& request) {
  KvReport r{.model = model.name, .family = model.family, .dtype = CacheDType(model, request), .request = request};
  r.latent = LatentWidth(model.shape) > 0;
  r.layers = model.shape.layers;
  r.layer_per_token = LayerBytes(model.shape, r.dtype);
  if (r.PerToken() == Bytes(0)) {
    return Error{
        ErrorCode::kInvalidInput,
        fmt::format("{}: the key-value cache of family '{}' is not known: weights only", model.name, model.family)};
  }
  const std::int64_t positions = request.CachePositions();
  for (std::int64_t layer = 0; layer < r.layers; ++layer) {
    const std::int64_t window = WindowOf(model.shape, layer);
    auto kind = std::find_if(r.kinds.begin(), r.kinds.end(), [&](const KvKind& k) { return k.window == window; });
    if (kind == r.kinds.end()) {
      kind =
          r.kinds.insert(kind, {.window = window, .positions = window > 0 ? std::min(window, positions) : positions});
    }
    ++kind->layers;
    kind->bytes += kind->positions * request.batch * r.layer_per_token;
  }
  return r;
}

std::string KvText(const KvReport& r) {
  std::string out = fmt::format(
      "model      {} ({})\n"
      "per token  {} in {}: {} layers x {} B of {}\n"
      "request    {} for batch {} x {} positions ({} prompt, {} new; the last is never cached)\n",
      r.model, r.family, FormatBytes(r.PerToken()), Name(r.dtype), r.layers, FormatCount(r.layer_per_token.value()),
      r.latent ? "latent and rotary key" : "keys and values", FormatBytes(r.Total()), r.request.batch,
      FormatCount(r.request.CachePositions()), FormatCount(r.request.prompt_tokens), FormatCount(r.request.new_tokens));
  std::vector<std::vector<std::string>> rows = {{"layers", "attention", "positions", "bytes"}};
  for (const KvKind& kind : r.kinds) {
    rows.push_back({FormatCount(kind.layers), KindName(kind), FormatCount(kind.positions), FormatBytes(kind.bytes)});
  }
  return out + AlignTable(rows);
}

std::string KvJson(const KvReport& r) {
  nlohmann::ordered_json j;
  j["model"] = r.model;
  j["family"] = r.family;
  j["dtype"] = Name(r.dtype);
  j["kv_bytes_per_token"] = r.PerToken().value();
  j["batch"] = r.request.batch;
  j["positions"] = r.request.CachePositions();
  j["kv_bytes"] = r.Total().value();
  j["kinds"] = nlohmann::ordered_json::array();
  for (const KvKind& kind : r.kinds) {
    nlohmann::ordered_json row;
    row["kind"] = kind.window > 0 ? "sliding" : "full";
    row["storage"] = r.latent ? "latent" : "keys and values";
    row["window"] = nullptr;
    if (kind.window > 0) row["window"] = kind.window;
    row["layers"] = kind.layers;
    row["bytes_per_token"] = (kind.layers * r.layer_per_token).value();
    row["positions"] = kind.positions;
    row["bytes"] = kind.bytes.value();
    j["kinds"].push_back(std::move(row));
  }
  return j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage
