#include <algorithm>
#include <cmath>
#include <utility>

#include "planner/realize/native_realizer.h"

namespace stowage {

// No kernel: both halves are columns of the same rows.
Status Realizer::SplitHalves(const Op& op) {
  Home rows = home(op.inputs[0]);
  rows.columns = true;
  for (const ValueId half : op.outputs) home_[static_cast<std::size_t>(half)] = rows;
  return OkStatus();
}

Status Realizer::Route(const Op& op) {
  Kernel k = Describe(KernelKind::kRoute, op, value(op.outputs[0]));
  k.k = value(op.inputs[0]).width;
  std::vector<Operand> reads = {Read(op.inputs[0])};
  for (const TensorId t : op.weights) reads.push_back(Weight(t));
  Operand y = Fresh(op.outputs[0]);
  Emit(std::move(k), op, std::move(reads), {y});
  return OkStatus();
}

// The matrices come first in `op.weights`; they have more elements than the scales and biases that follow.
Status Realizer::Grouped(const Op& op) {
  const auto tensor = [&](TensorId t) -> const Tensor& { return model_.tensors[static_cast<std::size_t>(t)]; };
  Kernel k = Describe(KernelKind::kGroupedLinear, op, value(op.outputs[0]));
  k.k = value(op.inputs[0]).width;
  k.from_dtype = tensor(op.weights[0]).dtype;
  std::vector<Operand> reads = {Read(op.inputs[0]), Read(op.inputs[1])};
  std::int32_t matrices = 0;
  for (const TensorId t : op.weights) {
    reads.push_back(Weight(t));
    const bool matrix =
        tensor(t).shape == tensor(op.weights[0]).shape && tensor(t).dtype == tensor(op.weights[0]).dtype;
    if (matrix && matrices == static_cast<std::int32_t>(reads.size()) - 3) ++matrices;
  }
  Operand y = Fresh(op.outputs[0]);
  NativeKernel& kernel = Emit(std::move(k), op, std::move(reads), {y});
  kernel.first_matrix = 2;
  kernel.matrices = matrices;
  kernel.touched = op.touched;
  return OkStatus();
}

Status Realizer::Combine(const Op& op) {
  Kernel k = Describe(KernelKind::kCombine, op, value(op.outputs[0]));
  k.k = value(op.inputs[1]).width / 2;
  std::vector<Operand> reads = {Read(op.inputs[0]), Read(op.inputs[1])};
  if (const ValueId residual = Residual(op); residual != kNoId) {
    k.bytes.base += value(op.outputs[0]).bytes().value();
    Accumulate(std::move(k), op, std::move(reads), residual);
    return OkStatus();
  }
  Operand y = Fresh(op.outputs[0]);
  Emit(std::move(k), op, std::move(reads), {y});
  return OkStatus();
}

namespace {

// A grouped kernel without its matrices and what goes with them, its work that of `count` of them: all have one shape.
NativeKernel Without(const NativeKernel& kernel, std::int32_t count) {
  NativeKernel part{.kernel = kernel.kernel, .reads = {}, .writes = kernel.writes, .module = kernel.module};
  part.first_matrix = kernel.first_matrix;
  part.matrices = count;
  part.touched = kernel.touched;
  part.reads.assign(kernel.reads.begin(), kernel.reads.begin() + kernel.first_matrix);
  const double share = static_cast<double>(count) / static_cast<double>(kernel.matrices);
  part.kernel.flops.base *= share;
  part.kernel.bytes.base = std::llround(static_cast<double>(kernel.kernel.bytes.base) * share);
  return part;
}

// Scales and biases of one matrix: after the matrices come as many of them for each. Where that is not so they belong to
// all and go with the first that is kept.
void AddExtras(const NativeKernel& kernel, std::int32_t matrix, bool first, NativeKernel& part) {
  const auto begin = static_cast<std::size_t>(kernel.first_matrix) + static_cast<std::size_t>(kernel.matrices);
  const auto count = static_cast<std::size_t>(kernel.matrices);
  const std::size_t extras = kernel.reads.size() - begin, each = extras / count;
  const bool apart = extras % count == 0;
  if (!apart && !first) return;
  const std::size_t from = apart ? begin + each * static_cast<std::size_t>(matrix) : begin;
  const std::size_t to = apart ? from + each : kernel.reads.size();
  for (std::size_t i = from; i < to; ++i) part.reads.push_back(kernel.reads[i]);
}

}  // namespace

NativeKernel Subset(const NativeKernel& kernel, const std::vector<bool>& keep) {
  NativeKernel part = Without(kernel, static_cast<std::int32_t>(std::count(keep.begin(), keep.end(), true)));
  for (std::int32_t m = 0; m < kernel.matrices; ++m) {
    if (keep[static_cast<std::size_t>(m)]) {
      part.reads.push_back(kernel.reads[kernel.first_matrix + m]);
    }
  }
  bool first = true;
  for (std::int32_t m = 0; m < kernel.matrices; ++m) {
    if (keep[static_cast<std::size_t>(m)]) AddExtras(kernel, m, std::exchange(first, false), part);
  }
  return part;
}

NativeKernel RowTile(const NativeKernel& kernel, std::int64_t rows, std::int64_t row_begin, std::int64_t row_end,
                     std::int32_t matrix) {
  const double share = static_cast<double>(row_end - row_begin) / static_cast<double>(rows);
  if (kernel.kernel.kind == KernelKind::kGroupedLinear) {
    NativeKernel tile = Without(kernel, 1);
    Operand w = kernel.reads[kernel.first_matrix + matrix];
    const std::int64_t row_bytes = w.bytes.base / rows;
    w.offset = AffineBytes(row_begin * row_bytes);
    w.bytes = AffineBytes((row_end - row_begin) * row_bytes);
    tile.reads.push_back(w);
    AddExtras(kernel, matrix, true, tile);
    tile.kernel.row_begin = row_begin;
    tile.kernel.row_end = row_end;
    tile.kernel.flops.base *= share;
    tile.kernel.bytes.base = std::llround(static_cast<double>(tile.kernel.bytes.base) * share);
    return tile;
  }
  NativeKernel tile = kernel;
  if (row_end - row_begin == rows) return tile;
  Kernel& k = tile.kernel;
  k.row_begin = row_begin;
  k.row_end = row_end;
  k.flops.base *= share;
  // The matrix and its bias have a row for each output column; scales of blocks stay whole.
  const auto cut = [&](std::size_t read) {
    const std::int64_t row_bytes = tile.reads[read].bytes.base / rows;
    tile.reads[read].offset = AffineBytes(row_begin * row_bytes);
    tile.reads[read].bytes = AffineBytes((row_end - row_begin) * row_bytes);
  };
  cut(1);
  if (k.has_bias) cut(tile.reads.size() - (k.accumulate ? 2 : 1));
  k.bytes = LinearBytes(tile);
  return tile;
}

}  // namespace stowage
