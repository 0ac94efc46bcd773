// Long because: a whole small model and its lowering, written out.
#include "exec/testing/tiny_llama.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "exec/kernel_args.h"
#include "kernels/rope_frequencies.h"
#include "planner/base/check.h"
#include "planner/schedule/builder.h"

namespace stowage {
namespace {

std::int64_t ElementBytes(DType dtype) { return SizeOf(dtype, 1).value(); }

std::int64_t BytesAs(const TinyTensor& tensor, DType dtype) {
  return SizeOf(dtype, tensor.rows * tensor.columns).value();
}

kernels::Dtype KernelDtype(DType dtype) {
  return dtype == DType::kF32   ? kernels::Dtype::kF32
         : dtype == DType::kF16 ? kernels::Dtype::kF16
                                : kernels::Dtype::kBF16;
}

std::int64_t Aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

std::vector<TinyTensor> TensorsOf(const TinyLlama& m) {
  std::vector<TinyTensor> out;
  std::int64_t offset = 64;  // as behind a header
  const auto add = [&](std::string name, std::int64_t rows, std::int64_t columns) {
    out.push_back({std::move(name), rows, columns, offset});
    offset += BytesAs(out.back(), m.file_dtype);
  };
  const std::int64_t q = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
  add("embed", m.vocab, m.hidden);
  for (std::int64_t l = 0; l < m.layers; ++l) {
    const std::string p = fmt::format("layers.{}.", l);
    add(p + "norm1", 1, m.hidden);
    add(p + "q", q, m.hidden);
    add(p + "k", kv, m.hidden);
    add(p + "v", kv, m.hidden);
    add(p + "o", m.hidden, q);
    add(p + "norm2", 1, m.hidden);
    add(p + "gate", m.intermediate, m.hidden);
    add(p + "up", m.intermediate, m.hidden);
    add(p + "down", m.hidden, m.intermediate);
  }
  add("norm", 1, m.hidden);
  add("head", m.vocab, m.hidden);
  return out;
}

std::string WriteWeights(const TinyLlama& m, const std::string& name) {
  const char* folder = std::getenv("TEST_TMPDIR");
  std::string path = fmt::format("{}/{}", folder == nullptr ? "/tmp" : folder, name);
  const std::vector<TinyTensor> tensors = TensorsOf(m);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(tensors.back().file_offset + BytesAs(tensors.back(), m.file_dtype)));
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.3f);
  for (const TinyTensor& tensor : tensors) {
    std::vector<float> values(static_cast<std::size_t>(tensor.rows * tensor.columns));
    for (float& v : values) v = tensor.rows == 1 ? 1 + 0.1f * normal(random) : normal(random);
    const int code = kernels::ReferenceConvert({.from_dtype = kernels::Dtype::kF32,
                                                .to_dtype = KernelDtype(m.file_dtype),
                                                .count = tensor.rows * tensor.columns,
                                                .from = values.data(),
                                                .to = bytes.data() + tensor.file_offset});
    STOWAGE_CHECK(code == kernels::kOk);
  }
  std::FILE* file = std::fopen(path.c_str(), "wb");
  STOWAGE_CHECK(file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  std::fclose(file);
  return path;
}

Contents InputsOf(const TinyLlama& m) {
  return {{"tokens", BytesOf(m.prompt)},
          {"inv_freq", BytesOf(kernels::ComputeInvFreq(10000, static_cast<int>(m.head_dim)))}};
}

namespace {

struct Piece {  // rows of a tensor, and where they are for the kernel that uses them
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  Slice at;
  std::vector<StepRef> after;
  int use = -1;  // index into uses_: this piece passes through the ring
};
struct Use {  // of ring bytes [begin, end)
  std::int64_t begin = 0;
  std::int64_t end = 0;
  StepId step = -1;
};

// Writes the schedule of one TinyLlama. The names of tensors, activations and kernels are the same in all lowerings.
class Lowering {
 public:
  Lowering(const TinyLlama& m, const TinyLowering& how, const std::string& file)
      : m_(m), how_(how), tensors_(TensorsOf(m)), b_("tiny") {
    const std::int64_t many = 1 << 30;
    gpu_ = b_.AddPool("gpu0", Allocator::kArena, Bytes(many));
    host_ = b_.AddPool("host", Allocator::kPageable, Bytes(many));
    disk_ = b_.AddPool("disk", Allocator::kPageable, Bytes(many));
    compute_ = {b_.AddQueue("gpu0/compute"), {b_.AddResource("gpu0.sm")}};
    in_ = {b_.AddQueue("gpu0/in"), {b_.AddResource("gpu0.h2d")}};
    disk_queue_ = {b_.AddQueue("disk0/0"), {b_.AddResource("disk0")}};
    cpu_ = {b_.AddQueue("cpu/0"), {b_.AddResource("host.cores")}};
    b_.AddIssuer("main", IssuerKind::kNative);
    file_ = b_.AddFile(file);
  }

  Schedule Lower() && {
    Arenas();
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    Load();
    const std::int64_t prompt = static_cast<std::int64_t>(m_.prompt.size());
    b_.BeginPhase("prefill", Required());
    b_.BeginPrologue(1);
    Pass(prompt, 0, 0);
    b_.BeginPhase("decode", Required());
    b_.BeginBody(m_.new_tokens - 1, 1);
    Pass(1, prompt, 1);
    return std::move(b_).Take();
  }

 private:
  bool Streamed(const TinyTensor& t) const { return how_.ring_bytes > 0 && t.name.starts_with("layers."); }

  void Arenas() {
    std::int64_t weights = 0, host = 0;
    for (const TinyTensor& t : tensors_) (Streamed(t) ? host : weights) += Aligned(BytesAs(t, m_.dtype));
    const auto root = [&](std::int32_t pool, const char* name, BufferKind kind, std::int64_t bytes) {
      const BufferId id = b_.AddBuffer(pool, name, kind, Bytes(bytes));
      b_.buffer(id).pinned = pool == host_;
      roots_.push_back(id);
      return id;
    };
    weights_ = root(gpu_, "weights", BufferKind::kWeights, weights);
    if (host > 0) {
      host_weights_ = root(host_, "host_weights", BufferKind::kWeights, host);
      ring_ = root(gpu_, "ring", BufferKind::kStaging, how_.ring_bytes);
    }
    staging_ = root(host_, "staging", BufferKind::kStaging, 2 * how_.chunk_bytes);
    converted_ = root(host_, "converted", BufferKind::kStaging, 4 * how_.chunk_bytes);
    std::int64_t at[2] = {0, 0};
    for (const TinyTensor& t : tensors_) {
      const bool streamed = Streamed(t);
      places_[t.name] = b_.AddPart(streamed ? host_weights_ : weights_, t.name, BufferKind::kWeights,
                                   Bytes(at[streamed]), Bytes(BytesAs(t, m_.dtype)));
      at[streamed] += Aligned(BytesAs(t, m_.dtype));
    }
    inv_freq_ = b_.AddInitial(gpu_, "inv_freq", BufferKind::kWeights, Bytes(m_.head_dim / 2 * 4));
    const std::int64_t prompt = static_cast<std::int64_t>(m_.prompt.size());
    tokens_ = b_.AddInitial(gpu_, "tokens", BufferKind::kTokens, Bytes((prompt + m_.new_tokens) * 4));
    const std::int64_t positions = prompt + m_.new_tokens - 1;
    const std::int64_t cache = positions * m_.kv_heads * m_.head_dim * ElementBytes(m_.dtype);
    kv_ = root(gpu_, "kv", BufferKind::kKv, 2 * m_.layers * cache);
    for (std::int64_t l = 0; l < 2 * m_.layers; ++l) {
      caches_.push_back(b_.AddPart(kv_, fmt::format("{}.{}", l % 2 ? "values" : "keys", l / 2), BufferKind::kKv,
                                   Bytes(l * cache), Bytes(cache)));
    }
    const std::pair<const char*, std::int64_t> widths[] = {{"h", m_.hidden},
                                                           {"x", m_.hidden},
                                                           {"q", m_.heads * m_.head_dim},
                                                           {"k", m_.kv_heads * m_.head_dim},
                                                           {"v", m_.kv_heads * m_.head_dim},
                                                           {"a", m_.heads * m_.head_dim},
                                                           {"gate", m_.intermediate},
                                                           {"up", m_.intermediate}};
    std::int64_t bytes = m_.vocab * ElementBytes(m_.dtype);
    for (const auto& [name, width] : widths) bytes += Aligned(prompt * width * ElementBytes(m_.dtype));
    const BufferId arena = root(gpu_, "activations", BufferKind::kActivations, Aligned(bytes));
    std::int64_t offset = 0;
    for (const auto& [name, width] : widths) {
      const std::int64_t size = prompt * width * ElementBytes(m_.dtype);
      activations_[name] = b_.AddPart(arena, name, BufferKind::kActivations, Bytes(offset), Bytes(size));
      offset += Aligned(size);
    }
    activations_["logits"] =
        b_.AddPart(arena, "logits", BufferKind::kActivations, Bytes(offset), Bytes(m_.vocab * ElementBytes(m_.dtype)));
  }

  // disk -> staging slot (-> converted) -> place, in chunks, two slots in turn. The issuer waits for host work before a
  // device copy depends on it, one chunk behind what it has issued.
  void Load() {
    for (const BufferId root : roots_) b_.Allocate(root);
    const std::int64_t from = ElementBytes(m_.file_dtype), to = ElementBytes(m_.dtype);
    const bool convert = m_.file_dtype != m_.dtype;
    std::vector<StepRef> freed[2];
    int slot = 0;
    for (const TinyTensor& t : tensors_) {
      const BufferId source = b_.AddFileBuffer(disk_, t.name, file_, t.file_offset, Bytes(BytesAs(t, m_.file_dtype)));
      const std::int64_t count = t.rows * t.columns, step = how_.chunk_bytes / from;
      for (std::int64_t i = 0; i < count; i += step, slot ^= 1) {
        const std::int64_t n = std::min(step, count - i);
        Slice staged{staging_, slot * how_.chunk_bytes, Bytes(n * from)};
        StepId last = b_.Read(disk_queue_, {source, i * from, Bytes(n * from)}, staged, freed[slot]);
        StepId reader = -1;
        if (convert) {
          Kernel kernel{.kind = KernelKind::kConvert, .name = "convert " + t.name, .dtype = m_.dtype};
          kernel.from_dtype = m_.file_dtype;
          kernel.rows = 1;
          kernel.n = n;
          const Slice target{converted_, slot * 2 * how_.chunk_bytes, Bytes(n * to)};
          std::vector<StepRef> after = freed[slot];
          after.push_back({last});
          reader = last = b_.Compute(cpu_, b_.AddKernel(kernel), {staged}, {target}, {}, after);
          staged = target;
        }
        // The issuer first waits for the copy's source: a stream cannot.
        b_.Wait({last});
        const StepId copy = b_.Copy(in_, staged, {places_.at(t.name), i * to, Bytes(n * to)}, {{last}});
        freed[slot] = {{copy}};
        if (reader >= 0) freed[slot].push_back({reader});
        loaded_ = {{copy}};
      }
    }
  }

  std::vector<RequiredOp> Required() const {
    std::vector<RequiredOp> out;
    const auto add = [&](std::string name, std::int64_t rows = 1) {
      const std::int64_t tile = how_.ring_bytes > 0 && how_.tile_rows > 0 ? how_.tile_rows : rows;
      out.push_back({.name = std::move(name), .tiles = static_cast<std::int16_t>((rows + tile - 1) / tile)});
    };
    add("embed");
    for (std::int64_t l = 0; l < m_.layers; ++l) {
      const std::string p = fmt::format("layers.{}.", l);
      for (const char* name : {"norm1", "rope", "attention", "norm2", "silu"}) add(p + name);
      for (const TinyTensor& t : tensors_) {
        if (t.name.starts_with(p) && t.rows > 1) add(t.name, t.rows);
      }
    }
    for (const char* name : {"norm", "head", "argmax"}) add(name);
    return out;
  }

  const TinyTensor& Find(const std::string& name) const {
    return *std::find_if(tensors_.begin(), tensors_.end(), [&](const TinyTensor& t) { return t.name == name; });
  }

  std::int64_t TileRows(const TinyTensor& t) const {
    return Streamed(t) && how_.tile_rows > 0 ? how_.tile_rows : t.rows;
  }

  // Where the rows from `row` on are, a tile's worth; streamed ones are copied into the ring first. The kernel that
  // uses them must be emitted before the next piece is brought: that copy may have to wait for it.
  Piece Bring(const std::string& name, std::int64_t row = 0) {
    const TinyTensor& t = Find(name);
    if (!Streamed(t)) return {0, t.rows, b_.Whole(places_.at(name)), loaded_};
    const std::int64_t end = std::min(t.rows, row + TileRows(t)), width = t.columns * ElementBytes(m_.dtype);
    const std::int64_t bytes = (end - row) * width;
    STOWAGE_CHECK(bytes <= how_.ring_bytes);
    if (head_ + bytes > how_.ring_bytes) head_ = 0;
    const BufferId part =
        b_.AddPart(ring_, fmt::format("ring {}[{}]", name, row), BufferKind::kStaging, Bytes(head_), Bytes(bytes));
    std::vector<StepRef> after = loaded_;
    for (const Use& use : previous_) Overlapping(use, bytes, 0, after);  // of the phase before, in each iteration
    for (const Use& use : uses_) Overlapping(use, bytes, 0, after);      // of this pass
    const StepId copy = b_.Copy(in_, {places_.at(name), row * width, Bytes(bytes)}, b_.Whole(part), after);
    copies_.push_back({head_, head_ + bytes, copy});
    uses_.push_back({head_, head_ + bytes, -1});
    head_ += Aligned(bytes);
    return {row, end, b_.Whole(part), {{copy}}, static_cast<int>(uses_.size()) - 1};
  }

  void Overlapping(const Use& use, std::int64_t bytes, int back, std::vector<StepRef>& after) const {
    if (use.step >= 0 && use.begin < head_ + bytes && head_ < use.end) after.push_back({use.step, back});
  }

  Slice Rows(const char* name, std::int64_t first, std::int64_t rows, std::int64_t width) const {
    const std::int64_t e = ElementBytes(m_.dtype);
    return {activations_.at(name), first * width * e, Bytes(rows * width * e)};
  }

  void Emit(const std::string& op, Kernel kernel, std::vector<Slice> reads, std::vector<Slice> writes,
            const Piece& piece = {}, int tile = 0) {
    kernel.name = op;
    kernel.dtype = m_.dtype;
    const Instance instance{.op = b_.FindRequired(op), .tile = static_cast<std::int16_t>(tile)};
    const StepId id =
        b_.Compute(compute_, b_.AddKernel(kernel), std::move(reads), std::move(writes), instance, piece.after);
    if (piece.use >= 0) uses_[piece.use].step = id;
  }

  void Norm(const std::string& tensor, const char* from, const char* to, std::int64_t rows, std::int64_t first = 0) {
    const Piece gain = Bring(tensor);
    Emit(tensor, {.kind = KernelKind::kRmsNorm, .rows = rows, .n = m_.hidden, .eps = 1e-5},
         {Rows(from, first, rows, m_.hidden), gain.at}, {Rows(to, 0, rows, m_.hidden)}, gain);
  }

  void Linear(const std::string& tensor, const char* from, const char* to, std::int64_t rows, bool accumulate = false) {
    const TinyTensor& t = Find(tensor);
    int tile = 0;
    for (std::int64_t row = 0; row < t.rows; row += TileRows(t)) {
      const Piece w = Bring(tensor, row);
      Kernel kernel{.kind = KernelKind::kLinear, .rows = rows, .n = t.rows, .k = t.columns};
      kernel.row_begin = w.row_begin;
      kernel.row_end = w.row_end;
      kernel.accumulate = accumulate;
      const Slice y = Rows(to, 0, rows, t.rows);
      std::vector<Slice> reads = {Rows(from, 0, rows, t.columns), w.at};
      if (accumulate) reads.push_back(y);
      Emit(tensor, kernel, std::move(reads), {y}, w, tile++);
    }
  }

  void Attention(std::int64_t l, std::int64_t tokens, std::int64_t past, std::int64_t step) {
    const std::string p = fmt::format("layers.{}.", l);
    const std::int64_t q = m_.heads * m_.head_dim, kv = m_.kv_heads * m_.head_dim;
    const std::int64_t position = kv * ElementBytes(m_.dtype);
    Kernel kernel{.kind = KernelKind::kRopeCache, .rows = tokens, .n = q, .batch = 1, .tokens = tokens, .past = past};
    kernel.past_step = step;
    kernel.heads = m_.heads;
    kernel.kv_heads = m_.kv_heads;
    kernel.head_dim = m_.head_dim;
    const auto fresh = [&](int which) {
      return Slice{caches_[2 * l + which], AffineBytes(past * position, step * position), Bytes(tokens * position)};
    };
    const auto all = [&](int which) {
      return Slice{caches_[2 * l + which], 0, AffineBytes((past + tokens) * position, step * position)};
    };
    Emit(p + "rope", kernel,
         {Rows("q", 0, tokens, q), Rows("k", 0, tokens, kv), Rows("v", 0, tokens, kv), b_.Whole(inv_freq_)},
         {Rows("q", 0, tokens, q), fresh(0), fresh(1)});
    kernel.kind = KernelKind::kAttention;
    Emit(p + "attention", kernel, {Rows("q", 0, tokens, q), all(0), all(1)}, {Rows("a", 0, tokens, q)});
  }

  void Pass(std::int64_t tokens, std::int64_t past, std::int64_t step) {
    uses_.clear();
    copies_.clear();
    head_ = 0;
    const Piece table = Bring("embed");
    Emit("embed", {.kind = KernelKind::kEmbedding, .rows = tokens, .n = m_.hidden},
         {{tokens_, AffineBytes(past * 4, step * 4), Bytes(tokens * 4)}, table.at}, {Rows("h", 0, tokens, m_.hidden)},
         table);
    for (std::int64_t l = 0; l < m_.layers; ++l) {
      const std::string p = fmt::format("layers.{}.", l);
      Norm(p + "norm1", "h", "x", tokens);
      Linear(p + "q", "x", "q", tokens);
      Linear(p + "k", "x", "k", tokens);
      Linear(p + "v", "x", "v", tokens);
      Attention(l, tokens, past, step);
      Linear(p + "o", "a", "h", tokens, true);
      Norm(p + "norm2", "h", "x", tokens);
      Linear(p + "gate", "x", "gate", tokens);
      Linear(p + "up", "x", "up", tokens);
      const Slice gate = Rows("gate", 0, tokens, m_.intermediate), up = Rows("up", 0, tokens, m_.intermediate);
      Emit(p + "silu", {.kind = KernelKind::kSiluMul, .rows = tokens, .n = m_.intermediate}, {gate, up}, {gate});
      Linear(p + "down", "gate", "h", tokens, true);
    }
    Norm("norm", "h", "x", 1, tokens - 1);
    Linear("head", "x", "logits", 1);
    Emit("argmax", {.kind = KernelKind::kArgmax, .rows = 1, .n = m_.vocab}, {Rows("logits", 0, 1, m_.vocab)},
         {{tokens_, AffineBytes((past + tokens) * 4, step * 4), Bytes(4)}});
    if (step > 0) {
      // The ring goes on across iterations: a copy also waits for who used its bytes in the one before.
      for (const Use& copy : copies_) {
        head_ = copy.begin;
        for (const Use& use : uses_) {
          // In this iteration's order only what comes later can still be in use from the previous one.
          if (use.step > copy.step) Overlapping(use, copy.end - copy.begin, 1, b_.step(copy.step).after);
        }
      }
    }
    previous_ = uses_;
  }

  const TinyLlama& m_;
  const TinyLowering& how_;
  std::vector<TinyTensor> tensors_;
  ScheduleBuilder b_;
  std::int32_t gpu_, host_, disk_, file_;
  Lane compute_, in_, disk_queue_, cpu_;
  std::vector<BufferId> roots_, caches_;
  BufferId weights_ = -1, host_weights_ = -1, ring_ = -1, staging_ = -1, converted_ = -1, kv_ = -1;
  BufferId inv_freq_ = -1, tokens_ = -1;
  std::map<std::string, BufferId> places_, activations_;
  std::vector<StepRef> loaded_;
  std::vector<Use> uses_, copies_, previous_;
  std::int64_t head_ = 0;
};

}  // namespace

Schedule LowerTiny(const TinyLlama& llama, const TinyLowering& lowering, const std::string& weights_file) {
  return Lowering(llama, lowering, weights_file).Lower();
}

}  // namespace stowage
