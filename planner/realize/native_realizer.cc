// Longer than most files: the core of the walk and every op that needs no lookahead beyond a residual.
#include "planner/realize/native_realizer.h"

#include <fmt/format.h>

#include <limits>

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;  // token ids are int32

bool DependsOnPosition(KernelKind kind) {
  switch (kind) {
    case KernelKind::kRopeCache:
    case KernelKind::kAttention:
    case KernelKind::kRope:
    case KernelKind::kCacheAppend:
    case KernelKind::kSplitHeads:
    case KernelKind::kMaskedAttention:
    case KernelKind::kLatentAttention:
    case KernelKind::kAddRows:
      return true;
    default:
      return false;
  }
}

}  // namespace

AffineBytes LinearBytes(const NativeKernel& kernel) {
  const Kernel& k = kernel.kernel;
  const std::size_t weights_end = kernel.reads.size() - (k.accumulate ? 1 : 0);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < weights_end; ++i) bytes += kernel.reads[i].bytes.base;
  return bytes + SizeOf(k.dtype, k.rows * (k.row_end - k.row_begin)).value() * (k.accumulate ? 2 : 1);
}

Realizer::Realizer(const Model& model, const OpGraph& graph)
    : model_(model),
      graph_(graph),
      home_(graph.values.size()),
      uses_(graph.values.size()),
      last_use_(graph.values.size()) {
  program_.pass = graph.pass;
  program_.cache_positions = graph.cache_positions;
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    for (const ValueId v : graph.ops[i].inputs) {
      ++uses_[static_cast<std::size_t>(v)];
      last_use_[static_cast<std::size_t>(v)] = i;
    }
  }
  if (graph.output != kNoId) {
    ++uses_[static_cast<std::size_t>(graph.output)];
    last_use_[static_cast<std::size_t>(graph.output)] = std::numeric_limits<std::size_t>::max();
  }
}

Result<NativeProgram> Realizer::Run() {
  if (graph_.input != kNoId) program_.input = Fresh(graph_.input).id;
  for (op_ = 0; op_ < graph_.ops.size(); ++op_) {
    STOWAGE_RETURN_IF_ERROR(Realize(graph_.ops[op_]));
  }
  if (graph_.logits != kNoId) {
    program_.logits = home(graph_.logits).activation;
    program_.logit_rows = value(graph_.logits).rows;
  }
  if (graph_.output != kNoId) program_.output = Read(graph_.output);
  FindLifetimes();
  return std::move(program_);
}

Operand Realizer::Read(ValueId id) const {
  const Home& at = home(id);
  if (!at.columns) {
    return {Operand::Source::kActivation, at.activation, AffineBytes(at.offset), AffineBytes(value(id).bytes())};
  }
  const struct Activation& rows = program_.activations[static_cast<std::size_t>(at.activation)];
  return {Operand::Source::kActivation, at.activation, AffineBytes(0), AffineBytes(rows.bytes)};
}

Operand Realizer::Weight(TensorId t) const {
  const Tensor& tensor = model_.tensors[static_cast<std::size_t>(t)];
  const TensorId owner = tensor.tied_to == kNoId ? t : tensor.tied_to;
  return {Operand::Source::kWeight, owner, AffineBytes(0), AffineBytes(tensor.RowBytes() * tensor.Rows())};
}

Operand Realizer::Fresh(ValueId id) {
  home_[static_cast<std::size_t>(id)] = {static_cast<std::int32_t>(program_.activations.size()), 0};
  program_.activations.push_back({.name = value(id).name, .bytes = value(id).bytes()});
  return Read(id);
}

Operand Realizer::InPlace(ValueId out, ValueId in) {
  home_[static_cast<std::size_t>(out)] = home(in);
  return Read(out);
}

Operand Realizer::InPlaceOrFresh(ValueId out, ValueId in, std::size_t ahead) {
  return LastUse(in, op_ + ahead) && !home(in).columns ? InPlace(out, in) : Fresh(out);
}

Operand Realizer::Tokens(std::int64_t shift, std::int64_t tokens) const {
  const std::int64_t row = graph_.pass.batch * kIdBytes;
  const std::int64_t past = graph_.first_id + graph_.pass.past;
  return {Operand::Source::kTokens, kNoId, AffineBytes((past + shift) * row, graph_.pass.past_step * row),
          AffineBytes(tokens * row)};
}

Kernel Realizer::Describe(KernelKind kind, const Op& op, const Value& out) const {
  const TransformerShape& s = model_.shape;
  Kernel k{.kind = kind, .name = op.name, .batch = graph_.pass.batch, .tokens = graph_.pass.tokens};
  if (DependsOnPosition(kind)) {
    k.past = graph_.pass.past;
    k.past_step = graph_.pass.past_step;
  }
  k.dtype = out.dtype;
  k.rows = out.rows;
  k.n = out.width;
  k.heads = s.heads;
  k.kv_heads = s.kv_heads;
  k.head_dim = s.head_dim;
  k.window = op.window;
  k.eps = s.norm_eps;
  k.flops = op.flops;
  k.bytes = {op.weight_bytes.base + op.activation_bytes.base, op.weight_bytes.step + op.activation_bytes.step};
  return k;
}

void Realizer::AddWork(Kernel& kernel, const Op& op) {
  kernel.flops.base += op.flops.base;
  kernel.flops.step += op.flops.step;
}

NativeKernel& Realizer::Emit(Kernel kernel, const Op& op, std::vector<Operand> reads, std::vector<Operand> writes) {
  program_.kernels.push_back({std::move(kernel), std::move(reads), std::move(writes), op.module});
  return program_.kernels.back();
}

Status Realizer::Unknown(const Op& op) const {
  return Error{ErrorCode::kInternal, fmt::format("op '{}' ({}) has no native kernel here", op.name, Name(op.kind))};
}

Status Realizer::Realize(const Op& op) {
  switch (op.kind) {
    case OpKind::kEmbedding:
      return Embedding(op);
    case OpKind::kRmsNorm:
      return Norm(op, KernelKind::kRmsNorm);
    case OpKind::kRmsNormOnePlus:
      return Norm(op, KernelKind::kRmsNormOnePlus);
    case OpKind::kLayerNorm:
      return Norm(op, KernelKind::kLayerNorm);
    case OpKind::kL2Norm:
      return Norm(op, KernelKind::kL2Norm);
    case OpKind::kLinear:
      return Linear(op);
    case OpKind::kRope:
      return Rope(op);
    case OpKind::kCacheAppend:
      return CacheAppend(op);
    case OpKind::kSplitHeads:
      return SplitHeads(op);
    case OpKind::kAttention:
      return Attention(op, op.plain ? KernelKind::kAttention : KernelKind::kMaskedAttention);
    case OpKind::kLatentAttention:
      return Attention(op, KernelKind::kLatentAttention);
    case OpKind::kAdd:
      return Add(op);
    case OpKind::kArgmax:
      return Argmax(op);
    default:
      return RealizeMore(op);
  }
}

Status Realizer::RealizeMore(const Op& op) {
  switch (op.kind) {
    case OpKind::kSilu:
      return Activation(op, Function::kSilu);
    case OpKind::kGelu:
      return Activation(op, Function::kGelu);
    case OpKind::kGeluTanh:
      return Activation(op, Function::kGeluTanh);
    case OpKind::kQuickGelu:
      return Activation(op, Function::kQuickGelu);
    case OpKind::kRelu:
      return Activation(op, Function::kRelu);
    case OpKind::kTanh:
      return Activation(op, Function::kTanh);
    case OpKind::kOtherActivation:
      return Activation(op, Function::kNone);
    case OpKind::kSoftcap:
      return Activation(op, Function::kSoftcap);
    case OpKind::kScale:
      return Activation(op, Function::kScale);
    case OpKind::kClampedSwiglu: {
      Kernel k = Describe(KernelKind::kActivationMul, op, value(op.outputs[0]));
      k.function = Function::kClampedSwiglu;
      return ActivationMul(op, op.inputs[0], op.inputs[1], op.outputs[0], std::move(k));
    }
    case OpKind::kAddRows:
      return Table(op, KernelKind::kAddRows);
    case OpKind::kPrependRow:
      return Table(op, KernelKind::kPrependRow);
    case OpKind::kConvolution:
      return Table(op, KernelKind::kConvolution);
    case OpKind::kSelectToken:
      return Table(op, KernelKind::kSelectRows);
    case OpKind::kLastToken:
      return View(op, true);
    case OpKind::kFirstToken:
      return View(op, false);
    case OpKind::kSplitHalves:
      return SplitHalves(op);
    case OpKind::kRoute:
      return Route(op);
    case OpKind::kGroupedLinear:
      return Grouped(op);
    case OpKind::kCombine:
      return Combine(op);
    default:
      return Unknown(op);
  }
}

Status Realizer::Embedding(const Op& op) {
  Kernel k = Describe(KernelKind::kEmbedding, op, value(op.outputs[0]));
  k.k = model_.tensors[static_cast<std::size_t>(op.weights[0])].shape[0];
  Operand y = Fresh(op.outputs[0]);
  const bool source = op.inputs[0] == graph_.source_ids;
  const Operand ids = source ? Tokens(-graph_.first_id, graph_.first_id) : Tokens(0, graph_.pass.tokens);
  Emit(std::move(k), op, {ids, Weight(op.weights[0])}, {y});
  return OkStatus();
}

// One per head is a norm of that many more, shorter rows. Inside a layer a norm goes in place where nothing else reads
// its input: those of q, k and of what a half of the layer gives.
Status Realizer::Norm(const Op& op, KernelKind kind) {
  Kernel k = Describe(kind, op, value(op.outputs[0]));
  if (kind == KernelKind::kL2Norm) {
    k.rows = k.rows * k.n / k.head_dim;
    k.n = k.head_dim;
  } else if (!op.weights.empty()) {
    const std::int64_t gain = Elements(model_.tensors[static_cast<std::size_t>(op.weights[0])].shape);
    if (gain < k.n && k.n % gain == 0) k.rows *= k.n / gain;
    k.n = gain;
  }
  std::vector<Operand> reads = {Read(op.inputs[0])};
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  Operand y = op.layer == kNoId ? Fresh(op.outputs[0]) : InPlaceOrFresh(op.outputs[0], op.inputs[0]);
  Emit(std::move(k), op, std::move(reads), {y});
  return OkStatus();
}

ValueId Realizer::Residual(const Op& op) const {
  const Op* add = Next();
  if (add == nullptr || add->kind != OpKind::kAdd || !UsedOnce(op.outputs[0])) return kNoId;
  const bool first = add->inputs[0] == op.outputs[0];
  if (!first && add->inputs[1] != op.outputs[0]) return kNoId;
  const ValueId residual = add->inputs[first ? 1 : 0];
  return LastUse(residual, op_ + 1) && !home(residual).columns ? residual : kNoId;
}

NativeKernel& Realizer::Accumulate(Kernel kernel, const Op& op, std::vector<Operand> reads, ValueId residual) {
  const Op& add = *Next();
  AddWork(kernel, add);
  kernel.accumulate = true;
  home_[static_cast<std::size_t>(op.outputs[0])] = home(residual);
  reads.push_back(Read(residual));
  Operand y = InPlace(add.outputs[0], residual);
  ++op_;
  return Emit(std::move(kernel), op, std::move(reads), {y});
}

Status Realizer::Linear(const Op& op) {
  const Tensor& weight = model_.tensors[static_cast<std::size_t>(op.weights[0])];
  const bool transposed = model_.modules[static_cast<std::size_t>(op.module)].class_name == "Conv1D";
  const Value& out = value(op.outputs[0]);
  Kernel k = Describe(transposed ? KernelKind::kLinearTransposed : KernelKind::kLinear, op, out);
  k.k = transposed ? weight.shape[0] : Elements(weight.shape) / weight.shape[0] * weight.weights_per_element;
  k.row_end = k.n;
  const Tensor& last = model_.tensors[static_cast<std::size_t>(op.weights.back())];
  k.has_bias = op.weights.size() > 1 && last.name.ends_with("bias");
  if (weight.dtype != k.dtype || op.weights.size() > (k.has_bias ? 2U : 1U)) {
    k.kind = KernelKind::kQuantLinear;
    k.from_dtype = weight.dtype;
  }
  std::vector<Operand> reads = {Read(op.inputs[0])};
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  NativeKernel* kernel = nullptr;
  if (const ValueId residual = Residual(op); residual != kNoId) {
    kernel = &Accumulate(std::move(k), op, std::move(reads), residual);
    kernel->kernel.bytes = LinearBytes(*kernel);
  } else {
    Operand y = Fresh(op.outputs[0]);
    kernel = &Emit(std::move(k), op, std::move(reads), {y});
  }
  kernel->first_matrix = 1;
  kernel->matrices = 1;
  return OkStatus();
}

// With the product that follows when it is the gate of one.
Status Realizer::Activation(const Op& op, Function function) {
  const Op* mul = Next();
  const ValueId x = op.inputs[0];
  if (mul != nullptr && mul->kind == OpKind::kMul && mul->inputs[0] == op.outputs[0]) {
    const ValueId up = mul->inputs[1];
    const bool rows = home(x).columns || home(up).columns;
    const bool silu = function == Function::kSilu && !rows;
    Kernel k = Describe(silu ? KernelKind::kSiluMul : KernelKind::kActivationMul, op, value(x));
    AddWork(k, *mul);
    k.name = mul->name;
    if (!silu) k.function = function;
    k.bytes = {value(x).bytes().value() * 3, 0};
    ++op_;
    return ActivationMul(op, x, up, mul->outputs[0], std::move(k));
  }
  Kernel k = Describe(KernelKind::kActivation, op, value(op.outputs[0]));
  k.function = function;
  const Operand in = Read(x);
  Operand y = InPlaceOrFresh(op.outputs[0], x);
  Emit(std::move(k), op, {in}, {y});
  return OkStatus();
}

Status Realizer::ActivationMul(const Op& op, ValueId gate, ValueId up, ValueId out, Kernel kernel) {
  std::vector<Operand> reads = {Read(gate)};
  if (!home(gate).columns) reads.push_back(Read(up));
  Operand y = InPlaceOrFresh(out, gate);
  Emit(std::move(kernel), op, std::move(reads), {y});
  return OkStatus();
}

Status Realizer::Add(const Op& op) {
  const std::vector<Operand> reads = {Read(op.inputs[0]), Read(op.inputs[1])};
  Operand y = InPlaceOrFresh(op.outputs[0], op.inputs[0]);
  Emit(Describe(KernelKind::kAdd, op, value(op.outputs[0])), op, reads, {y});
  return OkStatus();
}

// x with tensors that are read beside it. Adding rows goes in place, the others make rows of another number or width.
Status Realizer::Table(const Op& op, KernelKind kind) {
  Kernel k = Describe(kind, op, value(op.outputs[0]));
  k.k = value(op.inputs[0]).width;
  std::vector<Operand> reads = {Read(op.inputs[0])};
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  Operand y = kind == KernelKind::kAddRows ? InPlaceOrFresh(op.outputs[0], op.inputs[0]) : Fresh(op.outputs[0]);
  Emit(std::move(k), op, std::move(reads), {y});
  return OkStatus();
}

Status Realizer::View(const Op& op, bool last) {
  const Home from = home(op.inputs[0]);
  const std::int64_t dropped = value(op.inputs[0]).bytes().value() - value(op.outputs[0]).bytes().value();
  home_[static_cast<std::size_t>(op.outputs[0])] = {from.activation, from.offset + (last ? dropped : 0)};
  return OkStatus();
}

Status Realizer::Argmax(const Op& op) {
  const Value& logits = value(op.inputs[0]);
  Kernel k = Describe(KernelKind::kArgmax, op, logits);
  k.rows = graph_.pass.batch;  // only the last position chooses a token
  Operand x = Read(op.inputs[0]);
  const std::int64_t chosen = logits.bytes().value() / logits.rows * k.rows;
  x.offset.base += x.bytes.base - chosen;
  x.bytes = AffineBytes(chosen);
  k.bytes = {chosen, 0};
  Emit(std::move(k), op, {x}, {Tokens(graph_.pass.tokens, 1)});
  return OkStatus();
}

void Realizer::FindLifetimes() {
  std::vector<bool> seen(program_.activations.size());
  for (std::size_t i = 0; i < program_.kernels.size(); ++i) {
    const auto touch = [&](const Operand& o) {
      if (o.source != Operand::Source::kActivation) return;
      struct Activation& a = program_.activations[static_cast<std::size_t>(o.id)];
      if (!seen[static_cast<std::size_t>(o.id)]) a.first = o.id == program_.input ? 0 : static_cast<std::int32_t>(i);
      seen[static_cast<std::size_t>(o.id)] = true;
      a.last = static_cast<std::int32_t>(i);
    };
    for (const Operand& o : program_.kernels[i].writes) touch(o);
    for (const Operand& o : program_.kernels[i].reads) touch(o);
  }
  if (graph_.output != kNoId) {
    program_.activations[static_cast<std::size_t>(program_.output.id)].last =
        static_cast<std::int32_t>(program_.kernels.size()) - 1;
  }
}

}  // namespace stowage
