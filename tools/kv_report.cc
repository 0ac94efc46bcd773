#include "tools/kv_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "planner/base/text.h"
#include "planner/families/families.h"

namespace stowage {
namespace {

std::string KindName(const KvKind& kind) {
  return kind.window > 0 ? fmt::format("sliding {}", FormatCount(kind.window)) : "full";
}

std::int64_t WindowOf(const TransformerShape& shape, std::int64_t layer) {
  return shape.windows.empty() ? 0 : shape.windows[static_cast<std::size_t>(layer)];
}

}  // namespace

Bytes KvReport::Total() const {
  Bytes total;
  for (const KvKind& kind : kinds) total += kind.bytes;
  return total;
}

Result<KvReport> MakeKvReport(const Model& model, const Request& request) {
  KvReport r{.model = model.name,
             .family = model.family,
             .dtype = request.dtype.value_or(CacheDType(model)),
             .request = request};
  r.latent = model.shape.kv_lora_rank > 0;
  r.layers = model.shape.layers - model.shape.kv_shared_layers;
  r.shared_layers = model.shape.kv_shared_layers;
  r.source = SourcePositions(model, request.prompt_tokens);
  if (model.shape.cached_heads > 0) r.repeated = model.shape.cached_heads / model.shape.kv_heads;
  r.layer_per_token = LayerCacheBytesPerPosition(model, r.dtype);
  if (r.PerToken() == Bytes(0)) {
    return Error{
        ErrorCode::kInvalidInput,
        fmt::format("{}: the key-value cache of family '{}' is not known: weights only", model.name, model.family)};
  }
  const std::int64_t positions = request.kv == KvCache::kNone ? 0 : request.CachePositions();
  for (std::int64_t layer = 0; layer < r.layers; ++layer) {
    const std::int64_t window = WindowOf(model.shape, layer);
    auto kind = std::find_if(r.kinds.begin(), r.kinds.end(), [&](const KvKind& k) { return k.window == window; });
    if (kind == r.kinds.end()) {
      kind = r.kinds.insert(kind, {.window = window, .positions = CachedPositions(model, layer, positions)});
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
      "request    ",
      r.model, r.family, FormatBytes(r.PerToken()), Name(r.dtype), r.layers, FormatCount(r.layer_per_token.value()),
      r.latent ? "latent and rotary key" : "keys and values");
  if (r.request.kv == KvCache::kNone) {
    return out + "nothing is cached (--kv none): each new token is a pass over the whole context\n";
  }
  out += fmt::format("{} for batch {} x {} positions ({} prompt, {} new; the last is never cached)\n",
                     FormatBytes(r.Total()), r.request.batch, FormatCount(r.request.CachePositions()),
                     FormatCount(r.request.prompt_tokens), FormatCount(r.request.new_tokens));
  if (r.request.kv == KvCache::kDynamic) {
    out += "dynamic    the same positions; while a layer's cache grows, its old and its new copy are both there\n";
  }
  if (r.source > 0) {
    out += fmt::format("cross      {} of a layer's positions are the encoder's rows, cached once for cross attention\n",
                       FormatCount(r.source));
  }
  if (r.repeated > 1) {
    out += fmt::format(
        "stored     {} per token, {} for the request by transformers, which repeats each head {} times first\n",
        FormatBytes(r.repeated * r.PerToken()), FormatBytes(r.repeated * r.Total()), r.repeated);
  }
  std::vector<std::vector<std::string>> rows = {{"layers", "attention", "positions", "bytes"}};
  for (const KvKind& kind : r.kinds) {
    rows.push_back({FormatCount(kind.layers), KindName(kind), FormatCount(kind.positions), FormatBytes(kind.bytes)});
  }
  if (r.shared_layers > 0) {
    rows.push_back({FormatCount(r.shared_layers), "an earlier layer's", "0", FormatBytes(Bytes(0))});
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
  j["kv"] = r.request.kv ? Name(*r.request.kv) : "static";
  j["positions"] = r.request.kv == KvCache::kNone ? 0 : r.request.CachePositions();
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
  j["transformers"] = {{"kv_bytes_per_token", (r.repeated * r.PerToken()).value()},
                       {"kv_bytes", (r.repeated * r.Total()).value()}};
  return j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage
