// The cards we know: one row each, with where every number comes from. A row is what a *card* is; what a plan may use
// of it, the context and the host belong to the machine (build_machine.h).
//
// Compute. Peaks are the vendor's dense ones; the efficiencies are relative to them. A roofline with 0.97 of the FLOPs,
// 0.93 of the bandwidth, p = 2 and 4 us a kernel fits 608 measured matmuls on an RTX 4090 (Llama-3.1-8B shapes, bf16,
// public LLMServingSim data) with a mean error of 3.8 %. Where a card's achievable matmul or memory bandwidth has been
// published, its efficiency is that measurement over the peak times what the fit leaves of such a measurement (0.965
// of the FLOPs, 0.978 of the bytes: 166.1 TFLOPS and 958 GB/s are the RTX 4090's). The others keep 0.97 and 0.93.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/machine/machine.h"

namespace stowage {

struct CardRow {
  std::string_view id;                // "t4"
  std::string_view name;              // "NVIDIA T4"
  std::string_view aliases;           // other accepted ids, blank-separated
  int compute_capability = 0;         // 75
  std::int64_t total_bytes_low = 0;   // lowest and highest totals CUDA reports; they move with driver and ECC.
  std::int64_t total_bytes_high = 0;  // 0: a size must be given
  double fp32_tflops = 0;             // dense peaks; fp16 and bf16 with fp32 accumulation. 0: no units of its own
  double fp16_tflops = 0;
  double bf16_tflops = 0;
  double memory_gbs = 0;  // 1 GB/s = 10^9 bytes/s
  double flops_efficiency = 0;
  double memory_efficiency = 0;
  double smoothness = 0;
  double launch_us = 0;
  double h2d_pinned_gbs = 0;
  double h2d_pageable_gbs = 0;
  double d2h_pinned_gbs = 0;
  double d2h_pageable_gbs = 0;
  double peer_gbs = 0;                       // to another card of its kind, one direction; 0: through the host
  Origin memory_origin = Origin::kAssumed;   // of total_bytes
  Origin compute_origin = Origin::kAssumed;  // of the efficiencies
  Origin link_origin = Origin::kAssumed;     // of the four host link rates
  std::string_view memory_source;            // one sentence each
  std::string_view compute_source;
  std::string_view link_source;
};

// In the order help texts list them. "generic" and "host-device" are rows too, with total_bytes 0.
std::span<const CardRow> KnownCards();

// By id or alias; letter case, '-', '_', blanks and a leading "nvidia", "geforce" or "tesla" do not matter.
// kInvalidInput names the nearest id and lists all of them.
Result<const CardRow*> FindCard(std::string_view name);

ComputeRate ComputeOf(const CardRow& row);

}  // namespace stowage
