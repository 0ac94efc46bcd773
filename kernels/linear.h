// y = x · Wᵀ (+ bias) (+ y), for all of W or for a tile of its rows.
//
// With acc the sum over k in fp32:  y[r, c] = round(acc + bias[c] + (accumulate ? y[r, c] : 0)), one rounding.
//
// Tiles: W may arrive in pieces. A call with [row_begin, row_end) gets only those rows of W and writes only those
// columns of y:
//              row_begin  row_end
//   y  rows │ . . . . █ █ █ █ . . . . │ n columns, stride n
//
// Bit identity: the value of an element never depends on the tile it was computed in. Every version sums over k in an
// order that depends on nothing but (dtype, rows, n, k). So all tilings of a matrix give the same bytes, per version.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct LinearArgs {
  Dtype dtype = Dtype::kF32;
  int rows = 0;       // of x and y
  int k = 0;          // columns of x and of W
  int n = 0;          // rows of the whole W = columns of y, whatever the tile
  int row_begin = 0;  // the tile: rows [row_begin, row_end) of W
  int row_end = 0;
  const void* x = nullptr;       // [rows, k]
  const void* weight = nullptr;  // [row_end - row_begin, k]: points at row `row_begin`
  const void* bias = nullptr;    // [n], indexed by the whole matrix's row; null = none
  void* y = nullptr;             // [rows, n]; columns outside the tile are left alone
  bool accumulate = false;       // adds to what y holds: the fused residual connection
};

int ReferenceLinear(const LinearArgs& args);
// Divides the tile's columns.
int HostLinear(const LinearArgs& args, Part part = {});

// Rows up to which LaunchLinearSmall is meant (it reads W once per call; more rows cost registers).
inline constexpr int kLinearSmallRows = 8;

// One warp per row of W, for rows <= kLinearSmallRows (kInvalidValue beyond).
int LaunchLinearSmall(const LinearArgs& args, void* stream);
// Shared-memory tiles, any number of rows: the fallback where cuBLASLt is absent (kernels/cublaslt.h).
int LaunchLinearTiled(const LinearArgs& args, void* stream);
// Small or tiled, by rows alone.
int LaunchLinear(const LinearArgs& args, void* stream);
namespace emulated {
int LaunchLinearSmall(const LinearArgs& args, void* stream);
int LaunchLinearTiled(const LinearArgs& args, void* stream);
int LaunchLinear(const LinearArgs& args, void* stream);
}  // namespace emulated

}  // namespace stowage::kernels
