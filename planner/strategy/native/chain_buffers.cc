#include "planner/strategy/native/chain_buffers.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "planner/families/families.h"
#include "planner/strategy/native/layout.h"

namespace stowage {
namespace {

class Adder {
 public:
  Adder(ScheduleBuilder& b, const ChainCase& c) : b_(b), c_(c), m_(c.proposal.micro_batches) {}

  ChainBuffers Run() {
    AddMachine();
    AddBuffers();
    return std::move(out_);
  }

 private:
  void AddMachine() {
    const Machine& machine = *c_.task.machine;
    const auto budget = [&](std::string_view pool) {
      return machine.pools[machine.FindPool(pool)].budget - machine.Reserved(pool);
    };
    out_.gpus.resize(c_.gpus());
    for (std::size_t g = 0; g < out_.gpus.size(); ++g) {
      const std::string pool = fmt::format("gpu{}", g);
      out_.gpus[g].pool = b_.AddPool(pool, Allocator::kArena, budget(pool));
    }
    out_.host = b_.AddPool("host", Allocator::kPageable, budget("host"));
    out_.disk = b_.AddPool("disk", Allocator::kPageable, Bytes(0));
    for (std::size_t g = 0; g < out_.gpus.size(); ++g) {
      const auto lane = [&](const char* queue, const std::string& resource) {
        return Lane{b_.AddQueue(fmt::format("gpu{}/{}", g, queue)), {b_.AddResource(resource)}};
      };
      out_.gpus[g].compute = lane("compute", fmt::format("gpu{}.sm", g));
      out_.gpus[g].in = lane("in", fmt::format("gpu{}.h2d", g));
      out_.gpus[g].out = lane("out", fmt::format("gpu{}.d2h", g));
      for (std::size_t other = 0; other < out_.gpus.size(); ++other) {
        out_.gpus[g].peer.push_back({out_.gpus[g].out.queue, {}});
        if (other == g) continue;
        out_.gpus[g].peer.back() = lane("out", fmt::format("link:gpu{}-gpu{}", std::min(g, other), std::max(g, other)));
      }
    }
    out_.read = {b_.AddQueue("disk0/0"), {b_.AddResource(LoadsFrom(c_.task.request.loading))}};
    out_.convert = {b_.AddQueue("cpu/0"), {b_.AddResource("host.cores")}};
    b_.AddIssuer("main", IssuerKind::kNative);
    for (const std::string& file : c_.model().files) b_.AddFile(file);
    if (c_.model().files.empty()) b_.AddFile(c_.model().name + " (no checkpoint)");
  }

  BufferId Arena(std::int32_t pool, std::string name, BufferKind kind, Bytes bytes) {
    if (bytes == Bytes(0)) return -1;
    const BufferId id = b_.AddBuffer(pool, std::move(name), kind, bytes);
    b_.buffer(id).pinned = pool == out_.host;
    out_.arenas.push_back(id);
    return id;
  }

  void AddBuffers() {
    out_.device.assign(c_.model().tensors.size(), -1);
    const ChainLayout& l = c_.layout;
    out_.keys.assign(m_, std::vector<BufferId>(l.layer_gpu.size(), -1));
    out_.values = out_.keys;
    for (std::size_t g = 0; g < out_.gpus.size(); ++g) {
      ChainGpu& gpu = out_.gpus[g];
      const BufferId weights = Arena(gpu.pool, OnGpu("weights", g), BufferKind::kWeights, l.weights[g]);
      const BufferId kv = Arena(gpu.pool, OnGpu("kv", g), BufferKind::kKv, l.kv[g]);
      const BufferId activations = Arena(gpu.pool, OnGpu("activations", g), BufferKind::kActivations, l.activations[g]);
      const BufferId tokens = Arena(gpu.pool, OnGpu("tokens", g), BufferKind::kTokens, l.tokens[g]);
      rings_.push_back(Arena(gpu.pool, OnGpu("ring", g), BufferKind::kStaging, l.rings[g]));
      AddWeights(g, weights);
      for (std::int64_t m = 0; m < m_; ++m) {
        AddCaches(g, m, kv);
        const std::string name = OnGpu(OfMicroBatch("token_ids", m, m_), g);
        const Bytes at = l.tokens_each * m;
        gpu.tokens.push_back(tokens < 0 ? -1 : b_.AddPart(tokens, name, BufferKind::kTokens, at, TokenBytes()));
        gpu.prefill.push_back(Activations(g, m, activations, false));
        gpu.decode.push_back(Activations(g, m, activations, true));
      }
    }
    AddMasters();
    AddHostBuffers();
    out_.prefill_pieces = AddPieces(l.prefill, "prefill");
    out_.decode_pieces = AddPieces(l.decode, "decode");
  }

  Bytes TokenBytes() const {
    const Request& r = c_.task.request;
    return Bytes((PromptIds(c_.model(), r.prompt_tokens) + std::max<std::int64_t>(r.new_tokens, 1)) * (r.batch / m_) *
                 4);
  }

  void AddWeights(std::size_t g, BufferId arena) {
    out_.gpus[g].weights.assign(c_.model().tensors.size(), -1);
    for (const TensorId t : c_.native.used) {
      const Bytes at = c_.layout.weight_at[g][t];
      if (at == kNowhere) continue;
      const Tensor& tensor = c_.model().tensors[t];
      const std::int64_t rows = RowsOf(tensor), resident = c_.rows.resident_rows[t];
      if (resident == 0) continue;
      const bool copy = !tensor.buffer && static_cast<std::size_t>(c_.proposal.gpu[t]) != g;  // NativeModel::shared
      std::string name = tensor.buffer || copy ? OnGpu(tensor.name, g) : tensor.name;
      if (resident < rows) name += fmt::format("[0:{}]", resident);
      out_.gpus[g].weights[t] = b_.AddPart(arena, name, BufferKind::kWeights, at, RowBytes(tensor) * resident);
      if (!tensor.buffer && !copy) out_.device[t] = out_.gpus[g].weights[t];
    }
  }

  void AddMasters() {
    out_.master.assign(c_.model().tensors.size(), -1);
    const BufferId masters = Arena(out_.host, "host_weights", BufferKind::kWeights, c_.whole.masters);
    for (const TensorId t : c_.native.used) {
      const Tensor& tensor = c_.model().tensors[t];
      const std::int64_t kept = RowsOf(tensor) - c_.whole.master_begin[t];
      if (kept == 0) continue;
      out_.master[t] = b_.AddPart(masters, tensor.name + "@host", BufferKind::kWeights, c_.whole.master_offset[t],
                                  RowBytes(tensor) * kept);
    }
  }

  // Each in its slot of the ring.
  std::vector<BufferId> AddPieces(const ChainPass& pass, const char* phase) {
    std::vector<BufferId> parts;
    for (std::size_t i = 0; i < pass.units.items.size(); ++i) {
      const StreamItem& item = pass.units.items[i];
      const Tensor& t = c_.model().tensors[item.tensor];
      const std::int16_t g = c_.proposal.gpu[item.tensor];
      const bool whole = item.row_end - item.row_begin == RowsOf(t);
      const std::string rows = whole ? "" : fmt::format("[{}:{}]", item.row_begin, item.row_end);
      parts.push_back(b_.AddPart(rings_[g], fmt::format("{}{}@ring/{}", t.name, rows, phase), BufferKind::kStaging,
                                 c_.layout.slot_bytes[g] * pass.item_slot[i], item.bytes));
    }
    return parts;
  }

  void AddCaches(std::size_t g, std::int64_t m, BufferId arena) {
    const std::vector<LayerCache>& caches = c_.native.prefill.caches;
    const Bytes begin = c_.layout.kv_each[g] * m;
    for (std::size_t l = 0; l < caches.size(); ++l) {
      if (static_cast<std::size_t>(c_.layout.layer_gpu[l]) != g) continue;
      const auto add = [&](const char* what, Bytes at, Bytes bytes) {
        const std::string name = OfMicroBatch(CacheName(c_.model(), l, what), m, m_);
        return bytes == Bytes(0) ? BufferId{-1} : b_.AddPart(arena, name, BufferKind::kKv, begin + at, bytes);
      };
      out_.keys[m][l] = add("keys", c_.layout.keys_at[l], caches[l].keys);
      out_.values[m][l] = add("values", c_.layout.values_at[l], caches[l].values);
    }
  }

  std::vector<BufferId> Activations(std::size_t g, std::int64_t m, BufferId arena, bool decode) {
    const NativeProgram& program = decode ? c_.native.decode : c_.native.prefill;
    std::vector<BufferId> parts(program.activations.size(), -1);
    for (std::size_t a = 0; a < parts.size(); ++a) {
      const Bytes at =
          c_.layout.ActivationAt(decode, static_cast<std::int16_t>(g), static_cast<std::int32_t>(a), m, m_);
      if (at == kNowhere) continue;
      const std::string name = fmt::format("{}/{}", decode ? "decode" : "prefill", program.activations[a].name);
      parts[a] = b_.AddPart(arena, OnGpu(OfMicroBatch(name, m, m_), g), BufferKind::kActivations, at,
                            program.activations[a].bytes);
    }
    return parts;
  }

  void AddHostBuffers() {
    const Request& r = c_.task.request;
    const auto initial = [&](std::string name, BufferKind kind, Bytes bytes) {
      const BufferId id = b_.AddInitial(out_.host, std::move(name), kind, bytes);
      b_.buffer(id).pinned = true;
      return id;
    };
    for (std::int64_t m = 0; m < m_; ++m) {
      const Bytes bytes(PromptIds(c_.model(), r.prompt_tokens) * (r.batch / m_) * 4);
      out_.prompts.push_back(initial(OfMicroBatch("prompt", m, m_), BufferKind::kTokens, bytes));
      if (const std::int32_t input = c_.native.prefill.input; input != kNoId) {
        out_.inputs.push_back(
            initial(OfMicroBatch("input", m, m_), BufferKind::kTokens, c_.native.prefill.activations[input].bytes));
      }
      out_.answers.push_back(Arena(out_.host, OfMicroBatch("tokens_out", m, m_), BufferKind::kTokens, TokenBytes()));
    }
    for (const TensorId t : c_.native.used) {
      const Tensor& tensor = c_.model().tensors[t];
      if (tensor.buffer)
        out_.computed.emplace_back(t, initial(tensor.name + "@host", BufferKind::kWeights, tensor.bytes()));
    }
  }

  ScheduleBuilder& b_;
  const ChainCase& c_;
  const std::int64_t m_;
  ChainBuffers out_;
  std::vector<BufferId> rings_;  // by GPU
};

}  // namespace

ChainBuffers AddChainBuffers(ScheduleBuilder& b, const ChainCase& c) { return Adder(b, c).Run(); }

}  // namespace stowage
