#include <algorithm>
#include <utility>

#include "planner/realize/native_realizer.h"

namespace stowage {

bool Realizer::IsRing(ValueId cache) const {
  return !value(cache).fixed && value(cache).rows < graph_.cache_positions * graph_.pass.batch;
}

// The positions of this pass (or, whole, all up to them), as bytes of a cache laid out [positions, batch, width]. Of a
// ring of positions a pass after others may touch any.
Operand Realizer::Cache(ValueId cache, bool whole) const {
  const Value& v = value(cache);
  const auto source = v.kind == ValueKind::kKeys ? Operand::Source::kKeys : Operand::Source::kValues;
  if (v.fixed) return {source, v.layer, AffineBytes(0), AffineBytes(v.bytes())};
  const std::int64_t row = SizeOf(v.dtype, v.width).value() * graph_.pass.batch;
  if (IsRing(cache)) {
    const std::int64_t kept = v.bytes().value();
    const bool first = graph_.pass.past == 0;
    return {source, v.layer, AffineBytes(0), AffineBytes(first ? std::min(kept, graph_.pass.tokens * row) : kept)};
  }
  const AffineBytes past(graph_.pass.past * row, graph_.pass.past_step * row);
  const std::int64_t fresh = graph_.pass.tokens * row;
  if (whole) return {source, v.layer, AffineBytes(0), AffineBytes(past.base + fresh, past.step)};
  return {source, v.layer, past, AffineBytes(fresh)};
}

void Realizer::NoteCaches(const Op& append) {
  const std::size_t layer = static_cast<std::size_t>(value(append.outputs[0]).layer);
  if (program_.caches.size() <= layer) program_.caches.resize(layer + 1);
  program_.caches[layer].keys = value(append.outputs[0]).bytes();
  if (append.outputs.size() > 1) program_.caches[layer].values = value(append.outputs[1]).bytes();
}

// kRopeCache rotates whole heads by one table.
bool Realizer::RotatesWholeHeads(const Op& rope) const {
  if (rope.weights.size() != 1) return false;
  return 2 * Elements(model_.tensors[static_cast<std::size_t>(rope.weights[0])].shape) == model_.shape.head_dim;
}

Status Realizer::Rope(const Op& op) {
  const Op* append = Next();
  const bool appends = RotatesWholeHeads(op) && append != nullptr && append->kind == OpKind::kCacheAppend &&
                       append->inputs.size() == 2 && append->inputs[0] == op.outputs[1] && !IsRing(append->outputs[0]);
  std::vector<Operand> reads = {Read(op.inputs[0]), Read(op.inputs[1])};
  if (!appends) {
    Kernel k = Describe(KernelKind::kRope, op, value(op.outputs[0]));
    for (const TensorId t : op.weights) reads.push_back(Weight(t));
    Operand q = InPlaceOrFresh(op.outputs[0], op.inputs[0]);
    Operand key = InPlaceOrFresh(op.outputs[1], op.inputs[1]);
    Emit(std::move(k), op, std::move(reads), {q, key});
    return OkStatus();
  }
  Kernel k = Describe(KernelKind::kRopeCache, op, value(op.inputs[0]));
  AddWork(k, *append);
  const ValueId v = append->inputs[1];
  // k and v are read, their cache slices written: the append's own traffic, without the copy of a rotated k.
  k.bytes = {
      value(op.inputs[0]).bytes().value() * 2 + value(op.inputs[1]).bytes().value() * 2 + value(v).bytes().value() * 2,
      0};
  reads.push_back(Read(v));
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  Operand rotated = InPlace(op.outputs[0], op.inputs[0]);
  NoteCaches(*append);
  Emit(std::move(k), op, std::move(reads),
       {rotated, Cache(append->outputs[0], false), Cache(append->outputs[1], false)});
  ++op_;
  return OkStatus();
}

// Of rows beyond the cache's positions the last are kept.
Status Realizer::CacheAppend(const Op& op) {
  NoteCaches(op);
  Kernel k = Describe(KernelKind::kCacheAppend, op, value(op.inputs[0]));
  if (value(op.outputs[0]).fixed) k.past = k.past_step = 0;
  std::vector<Operand> reads, writes;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    Operand rows = Read(op.inputs[i]);
    const std::int64_t kept = value(op.outputs[i]).bytes().value();
    if (!home(op.inputs[i]).columns && rows.bytes.base > kept) {
      rows.offset.base += rows.bytes.base - kept;
      rows.bytes = AffineBytes(kept);
    }
    reads.push_back(rows);
    writes.push_back(Cache(op.outputs[i], false));
  }
  Emit(std::move(k), op, std::move(reads), std::move(writes));
  return OkStatus();
}

// With the rope and the append that follow: keys and values go straight to a cache that holds them all.
Status Realizer::SplitHeads(const Op& op) {
  const Op* rope = Next();
  if (rope != nullptr && rope->kind != OpKind::kRope) rope = nullptr;
  const Op* append = Next(rope == nullptr ? 1 : 2);
  if (append != nullptr && (append->kind != OpKind::kCacheAppend || IsRing(append->outputs[0]))) append = nullptr;
  ValueId q = op.outputs[0], key = op.outputs[1];
  const ValueId v = op.outputs[2];
  if (rope != nullptr) {
    q = rope->outputs[0];
    key = rope->outputs[1];
  }
  Kernel k = Describe(KernelKind::kSplitHeads, op, value(q));
  std::vector<Operand> reads = {Read(op.inputs[0])};
  k.bytes = AffineBytes(2 * value(op.inputs[0]).bytes());  // every part is read and written once
  if (rope != nullptr) {
    AddWork(k, *rope);
    k.bytes.base += rope->weight_bytes.base;
    for (const TensorId t : rope->weights) reads.push_back(Weight(t));
    ++op_;
  }
  std::vector<Operand> writes = {Fresh(q)};
  if (append != nullptr) {
    NoteCaches(*append);
    writes.push_back(Cache(append->outputs[0], false));
    writes.push_back(Cache(append->outputs[1], false));
    ++op_;
  } else {
    writes.push_back(Fresh(key));
    writes.push_back(Fresh(v));
  }
  Emit(std::move(k), op, std::move(reads), std::move(writes));
  return OkStatus();
}

Status Realizer::Attention(const Op& op, KernelKind kind) {
  Kernel k = Describe(kind, op, value(op.outputs[0]));
  if (value(op.inputs[1]).fixed) k.past = k.past_step = 0;
  std::vector<Operand> reads;
  for (const ValueId v : op.inputs) {
    const bool cached = value(v).kind == ValueKind::kKeys || value(v).kind == ValueKind::kValues;
    reads.push_back(cached ? Cache(v, true) : Read(v));
  }
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  Operand y = Fresh(op.outputs[0]);
  Emit(std::move(k), op, std::move(reads), {y});
  return OkStatus();
}

}  // namespace stowage
