#include "planner/strategy/native/buffers.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "planner/families/families.h"

namespace stowage {
namespace {

class Adder {
 public:
  Adder(ScheduleBuilder& b, const NativeCase& c, const NativePools& pools) : b_(b), c_(c), pools_(pools) {}

  NativeBuffers Run() {
    const NativeLayout& l = c_.layout;
    const BufferId weights = Arena(pools_.gpu, "weights", BufferKind::kWeights, l.weights);
    const BufferId kv = Arena(pools_.gpu, "kv", BufferKind::kKv, l.kv);
    const BufferId activations = Arena(pools_.gpu, "activations", BufferKind::kActivations, l.activations);
    const BufferId tokens = Arena(pools_.gpu, "tokens", BufferKind::kTokens, l.device_tokens);
    const BufferId masters = Arena(pools_.host, "host_weights", BufferKind::kWeights, l.masters);
    const BufferId host_kv = Arena(pools_.host, "host_kv", BufferKind::kKv, l.host_kv);
    const BufferId on_host = Arena(pools_.host, "host_activations", BufferKind::kActivations, l.host_activations);
    Weights(weights, masters);
    Caches(kv, host_kv);
    if (tokens >= 0) out_.tokens = b_.AddPart(tokens, "token_ids", BufferKind::kTokens, Bytes(0), l.device_tokens);
    const NativeProgram &prefill = c_.native.prefill, &decode = c_.native.decode;
    Activations(activations, prefill, l.prefill, "prefill/", "", out_.prefill);
    Activations(activations, decode, l.decode, "decode/", "", out_.decode);
    Activations(on_host, prefill, l.host_prefill, "prefill/", "@host", out_.host_prefill);
    Activations(on_host, decode, l.host_decode, "decode/", "@host", out_.host_decode);
    HostBuffers();
    return std::move(out_);
  }

 private:
  // -1 for nothing. Host memory is pinned: copies are asynchronous.
  BufferId Arena(std::int32_t pool, const char* name, BufferKind kind, Bytes bytes) {
    if (bytes == Bytes(0)) return -1;
    const BufferId id = b_.AddBuffer(pool, name, kind, bytes);
    b_.buffer(id).pinned = pool == pools_.host;
    out_.arenas.push_back(id);
    return id;
  }
  BufferId Initial(std::string name, BufferKind kind, Bytes bytes) {
    const BufferId id = b_.AddInitial(pools_.host, std::move(name), kind, bytes);
    b_.buffer(id).pinned = true;
    return id;
  }

  void Weights(BufferId weights, BufferId masters) {
    out_.resident.assign(c_.model().tensors.size(), -1);
    out_.master.assign(c_.model().tensors.size(), -1);
    for (const TensorId t : c_.native.used) {
      const Tensor& tensor = c_.model().tensors[t];
      const std::int64_t rows = RowsOf(tensor), resident = c_.proposal.resident_rows[t];
      if (resident > 0) {
        const std::string name = resident == rows ? tensor.name : fmt::format("{}[0:{}]", tensor.name, resident);
        out_.resident[t] =
            b_.AddPart(weights, name, BufferKind::kWeights, c_.layout.weight_offset[t], RowBytes(tensor) * resident);
      }
      const std::int64_t begin = c_.layout.master_begin[t];
      if (begin < rows) {
        out_.master[t] = b_.AddPart(masters, tensor.name + "@host", BufferKind::kWeights, c_.layout.master_offset[t],
                                    RowBytes(tensor) * (rows - begin));
      }
    }
  }

  void Caches(BufferId kv, BufferId host_kv) {
    const std::vector<LayerCache>& caches = c_.native.prefill.caches;
    const auto add = [&](std::size_t layer, const char* what, Bytes at, Bytes bytes) {
      if (bytes == Bytes(0)) return BufferId{-1};
      const BufferId arena = OnHost(c_.proposal.cache_on_host, layer) ? host_kv : kv;
      return b_.AddPart(arena, CacheName(c_.model(), layer, what), BufferKind::kKv, at, bytes);
    };
    for (std::size_t l = 0; l < caches.size(); ++l) {
      out_.keys.push_back(add(l, "keys", c_.layout.keys_at[l], caches[l].keys));
      out_.values.push_back(add(l, "values", c_.layout.values_at[l], caches[l].values));
    }
  }

  void Activations(BufferId arena, const NativeProgram& program, const SideActivations& side, const std::string& prefix,
                   const char* suffix, std::vector<BufferId>& parts) {
    for (std::size_t a = 0; a < program.activations.size(); ++a) {
      const Activation& activation = program.activations[a];
      parts.push_back(!side.there[a] ? -1
                                     : b_.AddPart(arena, prefix + activation.name + suffix, BufferKind::kActivations,
                                                  side.at[a], activation.bytes));
    }
  }

  void HostBuffers() {
    const Bytes prompt(4 * c_.task.request.batch * PromptIds(c_.model(), c_.task.request.prompt_tokens));
    out_.prompt = Initial("prompt", BufferKind::kTokens, prompt);
    out_.tokens_out = Arena(pools_.host, "tokens_out", BufferKind::kTokens, c_.layout.tokens);
    const NativeProgram& prefill = c_.native.prefill;
    if (prefill.input != kNoId) {
      out_.input = Initial("input", BufferKind::kTokens, prefill.activations[prefill.input].bytes);
    }
    if (prefill.output.id != kNoId) {
      out_.output = Arena(pools_.host, "output", BufferKind::kTokens, Bytes(prefill.output.bytes.base));
    } else if (c_.task.request.all_logits) {
      out_.logits_out = Arena(pools_.host, "logits_out", BufferKind::kTokens,
                              c_.native.prefill.activations[c_.native.prefill.logits].bytes);
    }
    out_.computed.assign(c_.model().tensors.size(), -1);
    for (const TensorId t : c_.native.used) {
      const Tensor& tensor = c_.model().tensors[t];
      if (!tensor.buffer) continue;
      out_.computed[t] = Initial(tensor.name + "@host", BufferKind::kWeights, tensor.bytes());
    }
  }

  ScheduleBuilder& b_;
  const NativeCase& c_;
  const NativePools& pools_;
  NativeBuffers out_;
};

}  // namespace

NativeBuffers AddBuffers(ScheduleBuilder& b, const NativeCase& c, const NativePools& pools) {
  return Adder(b, c, pools).Run();
}

void AddRing(ScheduleBuilder& b, const NativeCase& c, const NativePools& pools,
             const std::vector<StreamItem>& prefill_items, const std::vector<StreamItem>& decode_items,
             const RingOffsets& offsets, NativeBuffers& buffers) {
  BufferId ring = -1;
  if (c.proposal.ring > Bytes(0)) {
    ring = b.AddBuffer(pools.gpu, "ring", BufferKind::kStaging, c.proposal.ring);
    buffers.arenas.push_back(ring);
  }
  const auto add = [&](const std::vector<StreamItem>& items, const std::vector<Bytes>& at, const std::string& suffix) {
    std::vector<BufferId> parts;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Tensor& t = c.model().tensors[items[i].tensor];
      const bool whole = items[i].row_end - items[i].row_begin == RowsOf(t);
      const std::string rows = whole ? "" : fmt::format("[{}:{}]", items[i].row_begin, items[i].row_end);
      parts.push_back(b.AddPart(ring, t.name + rows + suffix, BufferKind::kStaging, at[i], items[i].bytes));
    }
    buffers.ring.push_back(std::move(parts));
  };
  add(prefill_items, offsets.prefill, "@ring/prefill");
  for (std::int32_t p = 0; p < offsets.period; ++p) {
    add(decode_items, decode_items.empty() ? std::vector<Bytes>{} : offsets.decode[p], fmt::format("@ring/{}", p));
  }
}

}  // namespace stowage
