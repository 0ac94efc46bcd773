#include "planner/realize/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;  // token ids are int32

// Input, matrix rows, bias rows and output columns, each once; an accumulating kernel also reads what it adds to.
// `row` is one row of the matrix as stored: a quantized one is read as it is and dequantized on the way.
AffineBytes LinearBytes(const Kernel& k, Bytes row) {
  const std::int64_t rows = k.row_end - k.row_begin;
  const std::int64_t elements = k.rows * k.k + (k.has_bias ? rows : 0) + k.rows * rows * (k.accumulate ? 2 : 1);
  return SizeOf(k.dtype, elements) + row * rows;
}

// Walks the op graph once, fusing as it goes. `home_` maps each op-graph value to the activation that holds it and the
// byte offset in it (the last token's rows are a view).
class Realizer {
 public:
  Realizer(const Model& model, const OpGraph& graph) : model_(model), graph_(graph), home_(graph.values.size()) {
    program_.pass = graph.pass;
    program_.cache_positions = graph.cache_positions;
    for (const Op& op : graph_.ops) {
      for (const ValueId v : op.inputs) ++uses_[v];
    }
  }

  Result<NativeProgram> Run() {
    for (op_ = 0; op_ < graph_.ops.size(); ++op_) {
      STOWAGE_RETURN_IF_ERROR(Realize(graph_.ops[op_]));
    }
    FindLifetimes();
    if (graph_.logits != kNoId) {
      program_.logits = home_[graph_.logits].activation;
      program_.logit_rows = graph_.values[graph_.logits].rows;
    }
    return std::move(program_);
  }

 private:
  struct Home {
    std::int32_t activation = kNoId;
    std::int64_t offset = 0;
  };

  const Value& value(ValueId id) const { return graph_.values[id]; }
  const Op* Next(std::size_t ahead = 1) const {
    return op_ + ahead < graph_.ops.size() ? &graph_.ops[op_ + ahead] : nullptr;
  }
  TensorId Owner(TensorId t) const { return model_.tensors[t].tied_to == kNoId ? t : model_.tensors[t].tied_to; }

  Operand Read(ValueId id) const {
    const Home& home = home_[id];
    return {Operand::Source::kActivation, home.activation, AffineBytes(home.offset), AffineBytes(value(id).bytes())};
  }
  Operand Weight(TensorId t) const {
    const Tensor& tensor = model_.tensors[t];
    return {Operand::Source::kWeight, Owner(t), AffineBytes(0), AffineBytes(tensor.RowBytes() * tensor.Rows())};
  }
  Operand Fresh(ValueId id) {
    home_[id] = {static_cast<std::int32_t>(program_.activations.size()), 0};
    program_.activations.push_back({.name = value(id).name, .bytes = value(id).bytes()});
    return Read(id);
  }
  Operand InPlace(ValueId out, ValueId in) {
    home_[out] = home_[in];
    return Read(out);
  }
  // Positions [from, to) of a layer's keys or values, as bytes of a cache laid out [positions, batch, width].
  Operand Cache(Operand::Source source, std::int32_t layer, const Value& row_like, bool whole) const {
    const std::int64_t row = row_like.bytes().value() / row_like.rows * graph_.pass.batch;
    const AffineBytes past(graph_.pass.past * row, graph_.pass.past_step * row);
    const std::int64_t fresh = graph_.pass.tokens * row;
    if (whole) return {source, layer, AffineBytes(0), AffineBytes(past.base + fresh, past.step)};
    return {source, layer, past, AffineBytes(fresh)};
  }
  Operand Tokens(std::int64_t shift, std::int64_t tokens) const {
    const std::int64_t row = graph_.pass.batch * kIdBytes;
    return {Operand::Source::kTokens, kNoId, AffineBytes((graph_.pass.past + shift) * row, graph_.pass.past_step * row),
            AffineBytes(tokens * row)};
  }

  Kernel Describe(KernelKind kind, const Op& op) const {
    const TransformerShape& s = model_.shape;
    Kernel k{.kind = kind, .name = op.name, .batch = graph_.pass.batch, .tokens = graph_.pass.tokens};
    if (kind == KernelKind::kRopeCache || kind == KernelKind::kAttention) {
      k.past = graph_.pass.past;
      k.past_step = graph_.pass.past_step;
    }
    k.heads = s.heads;
    k.kv_heads = s.kv_heads;
    k.head_dim = s.head_dim;
    k.eps = s.norm_eps;
    k.flops = op.flops;
    k.bytes = {op.weight_bytes.base + op.activation_bytes.base, op.weight_bytes.step + op.activation_bytes.step};
    return k;
  }
  static void AddWork(Kernel& kernel, const Op& op) {
    kernel.flops.base += op.flops.base;
    kernel.flops.step += op.flops.step;
  }

  void Emit(Kernel kernel, const Op& op, std::vector<Operand> reads, std::vector<Operand> writes) {
    program_.kernels.push_back({std::move(kernel), std::move(reads), std::move(writes), op.module});
  }

  Status Unknown(const Op& op) const {
    return Error{ErrorCode::kInternal, fmt::format("op '{}' ({}) has no native kernel here", op.name, Name(op.kind))};
  }

  Status Realize(const Op& op) {
    switch (op.kind) {
      case OpKind::kEmbedding:
        return Embedding(op);
      case OpKind::kRmsNorm:
        return RmsNorm(op);
      case OpKind::kLinear:
        return Linear(op);
      case OpKind::kRope:
        return RopeCache(op);
      case OpKind::kAttention:
        return Attention(op);
      case OpKind::kSilu:
        return SiluMul(op);
      case OpKind::kLastToken:
        return LastToken(op);
      case OpKind::kArgmax:
        return Argmax(op);
      default:
        return Unknown(op);
    }
  }

  Status Embedding(const Op& op) {
    Kernel k = Describe(KernelKind::kEmbedding, op);
    const Value& out = value(op.outputs[0]);
    k.dtype = out.dtype;
    k.rows = out.rows;
    k.n = out.width;
    k.k = model_.tensors[op.weights[0]].shape[0];
    Operand y = Fresh(op.outputs[0]);
    Emit(std::move(k), op, {Tokens(0, graph_.pass.tokens), Weight(op.weights[0])}, {y});
    return OkStatus();
  }

  Status RmsNorm(const Op& op) {
    Kernel k = Describe(KernelKind::kRmsNorm, op);
    const Value& out = value(op.outputs[0]);
    k.dtype = out.dtype;
    k.rows = out.rows;
    k.n = out.width;
    const Operand x = Read(op.inputs[0]);
    Operand y = Fresh(op.outputs[0]);
    Emit(std::move(k), op, {x, Weight(op.weights[0])}, {y});
    return OkStatus();
  }

  Status Linear(const Op& op) {
    Kernel k = Describe(KernelKind::kLinear, op);
    const Value& out = value(op.outputs[0]);
    k.dtype = out.dtype;
    k.rows = out.rows;
    k.n = out.width;
    k.k = value(op.inputs[0]).width;
    k.row_end = k.n;
    k.has_bias = op.weights.size() > 1;
    std::vector<Operand> reads = {Read(op.inputs[0])};
    for (const TensorId t : op.weights) reads.push_back(Weight(t));
    const Op* add = Next();
    if (add != nullptr && add->kind == OpKind::kAdd && uses_[op.outputs[0]] == 1) {
      const bool first = add->inputs[0] == op.outputs[0];
      if (!first && add->inputs[1] != op.outputs[0]) return Unknown(*add);
      const ValueId residual = add->inputs[first ? 1 : 0];
      AddWork(k, *add);
      k.accumulate = true;
      home_[op.outputs[0]] = home_[residual];
      k.bytes = LinearBytes(k, model_.tensors[op.weights[0]].RowBytes());
      reads.push_back(Read(residual));
      Operand y = InPlace(add->outputs[0], residual);
      Emit(std::move(k), op, std::move(reads), {y});
      ++op_;
      return OkStatus();
    }
    Operand y = Fresh(op.outputs[0]);
    Emit(std::move(k), op, std::move(reads), {y});
    return OkStatus();
  }

  Status RopeCache(const Op& op) {
    const Op* append = Next();
    if (append == nullptr || append->kind != OpKind::kCacheAppend) return Unknown(op);
    Kernel k = Describe(KernelKind::kRopeCache, op);
    AddWork(k, *append);
    const Value& q = value(op.inputs[0]);
    k.dtype = q.dtype;
    k.rows = q.rows;
    k.n = q.width;
    const ValueId v = append->inputs[1];
    // k and v are read, their cache slices written: the append's own traffic, without the copy of a rotated k.
    k.bytes = {q.bytes().value() * 2 + value(op.inputs[1]).bytes().value() * 2 + value(v).bytes().value() * 2, 0};
    std::vector<Operand> reads = {Read(op.inputs[0]), Read(op.inputs[1]), Read(v), Weight(op.weights[0])};
    Operand rotated = InPlace(op.outputs[0], op.inputs[0]);
    const Value& row_like = value(op.inputs[1]);
    program_.cache_bytes_per_layer =
        Bytes(row_like.bytes().value() / row_like.rows * graph_.pass.batch * graph_.cache_positions);
    Emit(std::move(k), op, std::move(reads),
         {rotated, Cache(Operand::Source::kKeys, op.layer, row_like, false),
          Cache(Operand::Source::kValues, op.layer, value(v), false)});
    cache_row_like_ = op.inputs[1];
    ++op_;
    return OkStatus();
  }

  Status Attention(const Op& op) {
    Kernel k = Describe(KernelKind::kAttention, op);
    const Value& out = value(op.outputs[0]);
    k.dtype = out.dtype;
    k.rows = out.rows;
    k.n = out.width;
    const Operand q = Read(op.inputs[0]);
    Operand y = Fresh(op.outputs[0]);
    const Value& row_like = value(cache_row_like_);
    Emit(std::move(k), op,
         {q, Cache(Operand::Source::kKeys, op.layer, row_like, true),
          Cache(Operand::Source::kValues, op.layer, row_like, true)},
         {y});
    return OkStatus();
  }

  Status SiluMul(const Op& op) {
    // The up projection may stand between silu and mul; look for the mul that uses our output.
    const Op* mul = nullptr;
    std::size_t at = op_ + 1;
    for (; at < graph_.ops.size() && at <= op_ + 2; ++at) {
      const Op& candidate = graph_.ops[at];
      if (candidate.kind == OpKind::kMul && candidate.inputs[0] == op.outputs[0]) {
        mul = &candidate;
        break;
      }
    }
    if (mul == nullptr || at != op_ + 1) return Unknown(op);
    Kernel k = Describe(KernelKind::kSiluMul, op);
    AddWork(k, *mul);
    k.name = mul->name;
    const Value& gate = value(op.inputs[0]);
    k.dtype = gate.dtype;
    k.rows = gate.rows;
    k.n = gate.width;
    k.bytes = {gate.bytes().value() * 3, 0};
    const Operand a = Read(op.inputs[0]);
    const Operand b = Read(mul->inputs[1]);
    home_[op.outputs[0]] = home_[op.inputs[0]];
    Operand y = InPlace(mul->outputs[0], op.inputs[0]);
    Emit(std::move(k), op, {a, b}, {y});
    ++op_;
    return OkStatus();
  }

  Status LastToken(const Op& op) {
    const Home from = home_[op.inputs[0]];
    const std::int64_t dropped = value(op.inputs[0]).bytes().value() - value(op.outputs[0]).bytes().value();
    home_[op.outputs[0]] = {from.activation, from.offset + dropped};
    return OkStatus();
  }

  Status Argmax(const Op& op) {
    Kernel k = Describe(KernelKind::kArgmax, op);
    const Value& logits = value(op.inputs[0]);
    k.dtype = logits.dtype;
    k.rows = graph_.pass.batch;  // only the last position chooses a token
    k.n = logits.width;
    Operand x = Read(op.inputs[0]);
    const std::int64_t chosen = logits.bytes().value() / logits.rows * k.rows;
    x.offset.base += x.bytes.base - chosen;
    x.bytes = AffineBytes(chosen);
    k.bytes = {chosen, 0};
    Emit(std::move(k), op, {x}, {Tokens(graph_.pass.tokens, 1)});
    return OkStatus();
  }

  void FindLifetimes() {
    std::vector<bool> seen(program_.activations.size());
    for (std::size_t i = 0; i < program_.kernels.size(); ++i) {
      const auto touch = [&](const Operand& o) {
        if (o.source != Operand::Source::kActivation) return;
        Activation& a = program_.activations[o.id];
        if (!seen[o.id]) a.first = static_cast<std::int32_t>(i);
        seen[o.id] = true;
        a.last = static_cast<std::int32_t>(i);
      };
      for (const Operand& o : program_.kernels[i].writes) touch(o);
      for (const Operand& o : program_.kernels[i].reads) touch(o);
    }
  }

  const Model& model_;
  const OpGraph& graph_;
  NativeProgram program_;
  std::vector<Home> home_;
  std::map<ValueId, int> uses_;
  ValueId cache_row_like_ = kNoId;  // the k of the layer at hand: one row of its cache
  std::size_t op_ = 0;
};

AffineBytes Shift(AffineBytes b, std::int64_t first, std::int64_t stride) {
  return {b.base + first * b.step, stride * b.step};
}

std::string OperandText(const Operand& o, const NativeProgram& program, const Model& model) {
  const auto affine = [](AffineBytes b) {
    return b.step == 0 ? fmt::format("{}", b.base) : fmt::format("{}+{}i", b.base, b.step);
  };
  std::string what;
  switch (o.source) {
    case Operand::Source::kActivation:
      what = program.activations[o.id].name;
      break;
    case Operand::Source::kWeight:
      what = model.tensors[o.id].name;
      break;
    case Operand::Source::kKeys:
      what = fmt::format("keys.{}", o.id);
      break;
    case Operand::Source::kValues:
      what = fmt::format("values.{}", o.id);
      break;
    case Operand::Source::kTokens:
      what = "tokens";
      break;
  }
  return fmt::format("{}[{}:{}]", what, affine(o.offset), affine(o.bytes));
}

}  // namespace

Result<NativeProgram> RealizeNative(const Model& model, const OpGraph& graph) { return Realizer(model, graph).Run(); }

bool DependsOnPass(const Kernel& kernel) {
  return kernel.past_step != 0 || kernel.flops.step != 0 || kernel.bytes.step != 0;
}

Kernel AtPasses(const Kernel& kernel, std::int64_t first, std::int64_t stride) {
  Kernel k = kernel;
  k.past = kernel.past + first * kernel.past_step;
  k.past_step = stride * kernel.past_step;
  k.flops = {kernel.flops.base + static_cast<double>(first) * kernel.flops.step,
             static_cast<double>(stride) * kernel.flops.step};
  k.bytes = Shift(kernel.bytes, first, stride);
  return k;
}

Operand AtPasses(const Operand& operand, std::int64_t first, std::int64_t stride) {
  return {operand.source, operand.id, Shift(operand.offset, first, stride), Shift(operand.bytes, first, stride)};
}

NativeKernel RowTile(const NativeKernel& linear, std::int64_t row_begin, std::int64_t row_end) {
  NativeKernel tile = linear;
  Kernel& k = tile.kernel;
  const double share = static_cast<double>(row_end - row_begin) / static_cast<double>(k.n);
  k.row_begin = row_begin;
  k.row_end = row_end;
  k.flops.base *= share;
  k.bytes = LinearBytes(k, Bytes(tile.reads[1].bytes.base / k.n));
  const std::size_t weights = k.has_bias ? 2 : 1;
  for (std::size_t r = 1; r <= weights; ++r) {
    const std::int64_t row_bytes = tile.reads[r].bytes.base / k.n;
    tile.reads[r].offset = AffineBytes(row_begin * row_bytes);
    tile.reads[r].bytes = AffineBytes((row_end - row_begin) * row_bytes);
  }
  return tile;
}

std::string Dump(const NativeProgram& program, const Model& model) {
  std::string out = program.pass.Name() + "\n";
  for (const NativeKernel& k : program.kernels) {
    out += fmt::format("{} {}{}", k.kernel.name, Name(k.kernel.kind), k.kernel.accumulate ? " +=" : "");
    for (const Operand& o : k.reads) out += " " + OperandText(o, program, model);
    out += " ->";
    for (const Operand& o : k.writes) out += " " + OperandText(o, program, model);
    out += "\n";
  }
  for (const Activation& a : program.activations) {
    out += fmt::format("activation {} {} [{}, {}]\n", a.name, a.bytes.value(), a.first, a.last);
  }
  return out;
}

}  // namespace stowage
