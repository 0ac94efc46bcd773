#include "planner/machine/hardware_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include "planner/base/nearest.h"
#include "planner/base/text.h"
#include "planner/machine/hardware_sheets.h"

namespace stowage {
namespace {

// The published fit, and the same fit relative to measured rates (header).
constexpr double kFlopsOfPeak = 0.97;
constexpr double kMemoryOfPeak = 0.93;
constexpr double kFlopsOfMeasured = kFlopsOfPeak * 165.2 / 166.1;
constexpr double kMemoryOfMeasured = kMemoryOfPeak * 1008 / 958;
constexpr double kSmoothness = 2;
constexpr double kLaunchUs = 4;

constexpr double FlopsMeasured(double measured, double peak) { return kFlopsOfMeasured * measured / peak; }
constexpr double MemoryMeasured(double measured, double peak) { return kMemoryOfMeasured * measured / peak; }

// NVLink gives 396.4 of its 450 GB/s per direction to one peer (nvbandwidth, 8 x H200); the ratio is used for A100 too.
constexpr double kNvlinkEfficiency = 396.4 / 450;

constexpr std::string_view kPcie3 =
    "PCIe 3.0 x16, measured 12.4 GB/s up and 13.1 down pinned, 6.2 pageable (what accelerate's OPT-30B row implies); "
    "an "
    "x8 cloud link gives 6.3";
constexpr std::string_view kPcie5Sxm =
    "PCIe 5.0 x16, measured 55.4 GB/s up and 55.1 down pinned on 8 x H200; pageable assumed as on an A100's host "
    "(10.0, "
    "10.8)";

constexpr std::array<CardRow, 8> kMeasuredCards = {{
    {.id = "t4",
     .name = "NVIDIA T4",
     .aliases = "",
     .compute_capability = 75,
     .total_bytes_low = 15'634'268'160,
     .total_bytes_high = 15'842'934'784,
     .fp32_tflops = 8.1,
     .fp16_tflops = 65,
     .bf16_tflops = 0,
     .memory_gbs = 320,
     .flops_efficiency = 21.24 / 65,
     .memory_efficiency = 233.6 / 320,
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 12.4,
     .h2d_pageable_gbs = 6.2,
     .d2h_pinned_gbs = 13.1,
     .d2h_pageable_gbs = 6.2,
     .peer_gbs = 0,
     .memory_origin = Origin::kPublished,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kPublished,
     .memory_source = "the lowest of six totals torch reports, 15.63 to 15.84 GB",
     .compute_source = "21.2 TFLOPS fp16 (FlexGen's fit on a cloud T4; 70 W throttle it far below its 65), 234 GB/s "
                       "(bandwidthTest); bf16 has no units and runs at fp32's 2.6",
     .link_source = kPcie3},
    {.id = "rtx4090",
     .name = "GeForce RTX 4090",
     .aliases = "4090",
     .compute_capability = 89,
     .total_bytes_low = 25'250'627'584,
     .total_bytes_high = 25'393'364'992,
     .fp32_tflops = 82.58,
     .fp16_tflops = 165.2,
     .bf16_tflops = 165.2,
     .memory_gbs = 1008,
     .flops_efficiency = kFlopsOfPeak,
     .memory_efficiency = kMemoryOfPeak,
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 25.5,
     .h2d_pageable_gbs = 10.0,
     .d2h_pinned_gbs = 25.5,
     .d2h_pageable_gbs = 10.8,
     .peer_gbs = 0,
     .memory_origin = Origin::kPublished,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kAssumed,
     .memory_source = "reported by torch 2.10 on one card; 25.39 GB is expected of others",
     .compute_source = "0.97 of 165 TFLOPS and 0.93 of 1008 GB/s, the fit to 608 measured matmuls (mean error 3.8 %)",
     .link_source =
         "PCIe 4.0 x16, 25.5 GB/s pinned of the 26.0 measured elsewhere; pageable as on an A100's host (10.0, "
         "10.8)"},
    {.id = "a100-40",
     .name = "A100 SXM4 40GB",
     .aliases = "a100 a100-40gb a100-sxm4-40 a100-sxm4-40gb",
     .compute_capability = 80,
     .total_bytes_low = 42'284'875'776,
     .total_bytes_high = 42'297'458'688,
     .fp32_tflops = 19.5,
     .fp16_tflops = 312,
     .bf16_tflops = 312,
     .memory_gbs = 1555,
     .flops_efficiency = FlopsMeasured(271.2, 312),
     .memory_efficiency = MemoryMeasured(1490, 1555),
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 26.1,
     .h2d_pageable_gbs = 10.0,
     .d2h_pinned_gbs = 25.6,
     .d2h_pageable_gbs = 10.8,
     .peer_gbs = 300 * kNvlinkEfficiency,
     .memory_origin = Origin::kPublished,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kPublished,
     .memory_source = "reported by torch",
     .compute_source = "271.2 TFLOPS bf16 (ml-engineering), 1490 GB/s stream read (gpu-benches)",
     .link_source = "bandwidthTest on an A100-SXM4-40GB; pageable on an 80 GB one"},
    {.id = "a100-80",
     .name = "A100 SXM4 80GB",
     .aliases = "a100-80gb a100-sxm4-80 a100-sxm4-80gb",
     .compute_capability = 80,
     .total_bytes_low = 84'987'084'800,
     .total_bytes_high = 84'987'084'800,
     .fp32_tflops = 19.5,
     .fp16_tflops = 312,
     .bf16_tflops = 312,
     .memory_gbs = 2039,
     .flops_efficiency = FlopsMeasured(271.2, 312),
     .memory_efficiency = MemoryMeasured(1769, 2039),
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 26.03,
     .h2d_pageable_gbs = 10.0,
     .d2h_pinned_gbs = 25.8,
     .d2h_pageable_gbs = 10.8,
     .peer_gbs = 300 * kNvlinkEfficiency,
     .memory_origin = Origin::kAssumed,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kPublished,
     .memory_source = "expected from the 40 GB card and nvidia-smi's 81920 MiB; not seen reported",
     .compute_source = "271.2 TFLOPS bf16 (ml-engineering), 1769 GB/s stream read (gpu-benches)",
     .link_source = "nvbandwidth and bandwidthTest on an A100-SXM4-80GB node"},
    {.id = "h100",
     .name = "H100 SXM5 80GB",
     .aliases = "h100-sxm h100-80 h100-80gb h100-sxm5-80gb h100-80gb-hbm3",
     .compute_capability = 90,
     .total_bytes_low = 85'020'639'232,
     .total_bytes_high = 85'061'827'297,
     .fp32_tflops = 67,
     .fp16_tflops = 989,
     .bf16_tflops = 989,
     .memory_gbs = 3350,
     .flops_efficiency = FlopsMeasured(794.5, 989),
     .memory_efficiency = kMemoryOfPeak,
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 55.43,
     .h2d_pageable_gbs = 10.0,
     .d2h_pinned_gbs = 55.06,
     .d2h_pageable_gbs = 10.8,
     .peer_gbs = 450 * kNvlinkEfficiency,
     .memory_origin = Origin::kPublished,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kAssumed,
     .memory_source = "the lowest of four totals torch and vLLM report, 85.02 to 85.06 GB",
     .compute_source = "794.5 TFLOPS bf16 (ml-engineering); bandwidth by the published fit",
     .link_source = kPcie5Sxm},
    {.id = "h200",
     .name = "H200 SXM 141GB",
     .aliases = "h200-sxm h200-141 h200-141gb",
     .compute_capability = 90,
     .total_bytes_low = 150'023'207'649,
     .total_bytes_high = 150'149'398'528,
     .fp32_tflops = 67,
     .fp16_tflops = 989,
     .bf16_tflops = 989,
     .memory_gbs = 4800,
     .flops_efficiency = FlopsMeasured(794.5, 989),
     .memory_efficiency = MemoryMeasured(3884, 4800),
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 55.43,
     .h2d_pageable_gbs = 10.0,
     .d2h_pinned_gbs = 55.06,
     .d2h_pageable_gbs = 10.8,
     .peer_gbs = 450 * kNvlinkEfficiency,
     .memory_origin = Origin::kPublished,
     .compute_origin = Origin::kPublished,
     .link_origin = Origin::kPublished,
     .memory_source = "the lowest of four totals in public logs, 150.02 to 150.15 GB",
     .compute_source =
         "794.5 TFLOPS bf16 (ml-engineering), 3884 GB/s writing (gpu-benches; its read kernel falls short)",
     .link_source = kPcie5Sxm},
    {.id = "generic",
     .name = "generic card",
     .aliases = "",
     .compute_capability = 80,
     .fp32_tflops = 8.1,
     .fp16_tflops = 65,
     .bf16_tflops = 65,
     .memory_gbs = 320,
     .flops_efficiency = 21.24 / 65,
     .memory_efficiency = 233.6 / 320,
     .smoothness = kSmoothness,
     .launch_us = kLaunchUs,
     .h2d_pinned_gbs = 12.4,
     .h2d_pageable_gbs = 6.2,
     .d2h_pinned_gbs = 13.1,
     .d2h_pageable_gbs = 6.2,
     .peer_gbs = 0,
     .memory_origin = Origin::kAssumed,
     .compute_origin = Origin::kAssumed,
     .link_origin = Origin::kAssumed,
     .memory_source = "as asked for",
     .compute_source = "21.2 TFLOPS fp16 and 234 GB/s as a T4, the slowest card known here; bf16 as fast as fp16",
     .link_source = kPcie3},
    {.id = "host-device",
     .name = "host device",
     .aliases = "",
     .compute_capability = 0,
     .fp32_tflops = 0.02,
     .fp16_tflops = 0,
     .bf16_tflops = 0,
     .memory_gbs = 10,
     .flops_efficiency = 1,
     .memory_efficiency = 1,
     .smoothness = kSmoothness,
     .launch_us = 2,
     .h2d_pinned_gbs = 5,
     .h2d_pageable_gbs = 5,
     .d2h_pinned_gbs = 5,
     .d2h_pageable_gbs = 5,
     .peer_gbs = 5,
     .memory_origin = Origin::kAssumed,
     .compute_origin = Origin::kAssumed,
     .link_origin = Origin::kAssumed,
     .memory_source = "as asked for; ordinary host memory",
     .compute_source = "20 GFLOPS and 10 GB/s assumed for one core",
     .link_source = "5 GB/s assumed for a copy by one thread"},
}};

struct LinkRow {
  double h2d_pinned_gbs, h2d_pageable_gbs, d2h_pinned_gbs, d2h_pageable_gbs;
  std::string_view source;
};

constexpr LinkRow LinkOf(HostLink link) {
  switch (link) {
    case HostLink::kGen3:
      return {12.4, 6.2, 13.1, 6.2, kPcie3};
    case HostLink::kGen4:
      return {25.5, 10.0, 25.5, 10.8,
              "PCIe 4.0 x16, 25.5 GB/s pinned of the 26.0 measured on an A100's host; pageable as there (10.0, 10.8)"};
    case HostLink::kGen4x8:
      return {12.5, 10.0, 12.5, 10.8, "PCIe 4.0 x8, what the card has or clouds give it: half of an x16 link's 25"};
    case HostLink::kGen5:
      break;
  }
  return {55.4, 10.0, 55.1, 10.8, kPcie5Sxm};
}

constexpr CardRow RowOf(const CardSheet& s) {
  const LinkRow link = LinkOf(s.link);
  const bool measured = !s.measurements.empty();
  return {
      .id = s.id,
      .name = s.name,
      .aliases = s.aliases,
      .compute_capability = s.compute_capability,
      .total_bytes_low = s.total_bytes_low,
      .total_bytes_high = s.total_bytes_high,
      .fp32_tflops = s.fp32_tflops,
      .fp16_tflops = s.fp16_tflops,
      .bf16_tflops = s.bf16_tflops,
      .memory_gbs = s.memory_gbs,
      .flops_efficiency = s.bf16_measured > 0 ? FlopsMeasured(s.bf16_measured, s.bf16_tflops) : kFlopsOfPeak,
      .memory_efficiency = s.memory_measured > 0 ? MemoryMeasured(s.memory_measured, s.memory_gbs) : kMemoryOfPeak,
      .smoothness = kSmoothness,
      .launch_us = kLaunchUs,
      .h2d_pinned_gbs = link.h2d_pinned_gbs,
      .h2d_pageable_gbs = link.h2d_pageable_gbs,
      .d2h_pinned_gbs = link.d2h_pinned_gbs,
      .d2h_pageable_gbs = link.d2h_pageable_gbs,
      .peer_gbs = s.nvlink_gbs * kNvlinkEfficiency,
      .memory_origin = s.memory_origin,
      .compute_origin = measured ? Origin::kPublished : Origin::kAssumed,
      .link_origin = Origin::kAssumed,
      .memory_source = s.memory_source,
      .compute_source = measured ? s.measurements : "the data sheet's peaks, times 0.97 and 0.93 (an RTX 4090's fit)",
      .link_source = link.source};
}

// The two rows that are no cards come last.
constexpr auto MakeCards() {
  constexpr std::size_t kNoCards = 2;
  std::array<CardRow, kMeasuredCards.size() + hardware_sheets::kSheets.size()> cards = {};
  std::size_t n = 0;
  for (std::size_t i = 0; i + kNoCards < kMeasuredCards.size(); ++i) cards[n++] = kMeasuredCards[i];
  for (const CardSheet& sheet : hardware_sheets::kSheets) cards[n++] = RowOf(sheet);
  for (std::size_t i = kMeasuredCards.size() - kNoCards; i < kMeasuredCards.size(); ++i) cards[n++] = kMeasuredCards[i];
  return cards;
}

constexpr auto kCards = MakeCards();

std::string Normalise(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != ' ') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (const std::string_view vendor : {"nvidia", "geforce", "tesla"}) {
    if (out.starts_with(vendor) && out.size() > vendor.size()) out.erase(0, vendor.size());
  }
  return out;
}

std::vector<std::string_view> NamesOf(const CardRow& row) {
  std::vector<std::string_view> names = {row.id};
  for (std::string_view rest = row.aliases; !rest.empty();) {
    const std::size_t blank = std::min(rest.find(' '), rest.size());
    names.push_back(rest.substr(0, blank));
    rest.remove_prefix(std::min(blank + 1, rest.size()));
  }
  return names;
}

}  // namespace

std::span<const CardRow> KnownCards() { return kCards; }

Result<const CardRow*> FindCard(std::string_view name) {
  const std::string wanted = Normalise(name);
  std::vector<std::string_view> ids;
  std::vector<std::string> known;
  for (const CardRow& row : kCards) {
    for (const std::string_view candidate : NamesOf(row)) {
      if (Normalise(candidate) == wanted) return &row;
    }
    ids.push_back(row.id);
    known.emplace_back(row.id);
  }
  const std::string_view nearest = Nearest(wanted, ids);
  return Error{ErrorCode::kInvalidInput,
               fmt::format("gpu '{}' is neither a size such as 15GB nor a known card;{} known: {}", name,
                           nearest.empty() ? "" : fmt::format(" did you mean '{}'?", nearest), Join(known, ", "))};
}

ComputeRate ComputeOf(const CardRow& row) {
  constexpr double kTera = 1e12;
  constexpr double kGiga = 1e9;
  return {.fp32 = FlopsPerSecond(row.fp32_tflops * kTera),
          .fp16 = FlopsPerSecond(row.fp16_tflops * kTera),
          .bf16 = FlopsPerSecond(row.bf16_tflops * kTera),
          .memory = BytesPerSecond(row.memory_gbs * kGiga),
          .flops_efficiency = row.flops_efficiency,
          .memory_efficiency = row.memory_efficiency,
          .smoothness = row.smoothness,
          .launch = Seconds(row.launch_us * 1e-6),
          .in_place = BytesPerSecond(row.h2d_pinned_gbs * kGiga)};
}

}  // namespace stowage
