// The cards known by their data sheets, with what has been measured on some. A line each; hardware_table.cc makes whole
// rows of them. Peaks as CardRow's: dense, fp16 and bf16 with fp32 accumulation (half of the data sheet's fp16 on
// GeForce). Sources: data sheets; totals from public logs of torch, vLLM and deviceQuery; measurements as named.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "planner/machine/machine.h"

namespace stowage {

enum class HostLink : std::uint8_t { kGen3, kGen4, kGen4x8, kGen5 };  // PCIe, x16 unless said

struct CardSheet {
  std::string_view id, name, aliases;
  int compute_capability;
  std::int64_t total_bytes_low, total_bytes_high;
  double fp32_tflops, fp16_tflops, bf16_tflops, memory_gbs;
  double bf16_measured, memory_measured;  // 0: not published
  double nvlink_gbs;                      // one direction, all links; 0: none
  HostLink link;
  Origin memory_origin;
  std::string_view memory_source;
  std::string_view measurements;  // where the two measured rates are from; empty: none
};

namespace hardware_sheets {

using enum HostLink;
using enum Origin;

inline constexpr std::array<CardSheet, 22> kSheets = {{
    {"p100", "Tesla P100 PCIe 16GB", "p100-16 p100-pcie p100-pcie-16 p100-pcie-16gb", 60, 17'070'817'280,
     17'070'817'280, 9.3, 18.7, 0, 732, 0, 0, 0, kGen3, kPublished, "reported by torch", ""},
    {"v100-16", "Tesla V100 SXM2 16GB", "v100 v100-16gb v100-sxm2 v100-sxm2-16 v100-sxm2-16gb", 70, 16'913'530'880,
     16'944'988'160, 15.7, 125, 0, 900, 0, 866, 150, kGen3, kPublished, "the lowest of three totals torch reports",
     "866 GB/s stream read (gpu-benches)"},
    {"v100-32", "Tesla V100 SXM3 32GB (DGX-2)", "v100-32gb v100-sxm2-32gb v100-sxm3 v100-sxm3-32 v100-sxm3-32gb", 70,
     34'089'205'760, 34'089'205'760, 15.7, 125, 0, 900, 0, 0, 150, kGen3, kAssumed,
     "expected of nvidia-smi's 32,768 MiB; not seen reported", ""},
    {"titan-rtx", "TITAN RTX 24GB", "titan", 75, 25'365'053'440, 25'365'053'440, 16.3, 130, 0, 672, 0, 0, 50, kGen3,
     kAssumed, "expected of nvidia-smi's 24,576 MiB; not seen reported", ""},
    {"rtx2080ti", "GeForce RTX 2080 Ti", "2080ti", 75, 11'554'258'944, 11'810'832'384, 13.45, 53.8, 0, 616, 0, 0, 50,
     kGen3, kPublished, "11,019 MiB of older drivers; deviceQuery shows 11,264", ""},
    {"rtx3060", "GeForce RTX 3060 12GB", "3060 rtx3060-12 rtx3060-12gb", 86, 12'510'560'256, 12'517'900'288, 12.7, 25.6,
     25.6, 360, 0, 0, 0, kGen4, kPublished, "the lower of two totals torch reports", ""},
    {"rtx3080", "GeForce RTX 3080 10GB", "3080 rtx3080-10 rtx3080-10gb", 86, 10'501'488'640, 10'501'488'640, 29.77,
     59.5, 59.5, 760, 0, 0, 0, kGen4, kAssumed, "expected of nvidia-smi's 10,240 MiB; not seen reported", ""},
    {"rtx3090", "GeForce RTX 3090", "3090", 86, 25'318'832'209, 25'437'405'184, 35.58, 71.2, 71.2, 936, 0, 0, 56.25,
     kGen4, kPublished, "reported by vLLM; others show 25.44 GB", ""},
    {"rtx4060", "GeForce RTX 4060 8GB", "4060 rtx4060-8 rtx4060-8gb", 89, 8'185'184'256, 8'185'184'256, 15.11, 30.2,
     30.2, 272, 0, 0, 0, kGen4x8, kAssumed, "expected of nvidia-smi's 8,188 MiB; not seen reported", ""},
    {"rtx4070", "GeForce RTX 4070 12GB", "4070 rtx4070-12 rtx4070-12gb", 89, 12'576'620'544, 12'576'620'544, 29.15,
     58.3, 58.3, 504, 0, 0, 0, kGen4, kAssumed, "expected of nvidia-smi's 12,282 MiB; not seen reported", ""},
    {"rtx4080", "GeForce RTX 4080 16GB", "4080 rtx4080-16 rtx4080-16gb", 89, 16'708'009'984, 16'749'953'024, 48.74,
     97.5, 97.5, 716.8, 0, 0, 0, kGen4, kPublished,
     "reported by torch for the 4070 Ti SUPER, a board of the same class", ""},
    {"rtx5080", "GeForce RTX 5080 16GB", "5080 rtx5080-16 rtx5080-16gb", 120, 16'610'492'416, 16'610'492'416, 56.28,
     112.6, 112.6, 960, 0, 0, 0, kGen5, kAssumed, "expected of nvidia-smi's 16,303 MiB; not seen reported", ""},
    {"rtx5090", "GeForce RTX 5090", "5090", 120, 33'669'775'360, 33'669'775'360, 104.8, 209.5, 209.5, 1792, 0, 0, 0,
     kGen5, kAssumed, "expected of nvidia-smi's 32,607 MiB; not seen reported", ""},
    {"a10", "NVIDIA A10", "a10-24gb", 86, 23'608'688'640, 23'608'688'640, 31.2, 125, 125, 600, 0, 0, 0, kGen4, kAssumed,
     "expected of nvidia-smi's 23,028 MiB; not seen reported", ""},
    {"a10g", "NVIDIA A10G", "", 86, 23'684'186'112, 23'826'792'448, 35, 70, 70, 600, 0, 0, 0, kGen4x8, kPublished,
     "the lower of two totals torch reports", ""},
    {"l4", "NVIDIA L4", "l4-24gb", 89, 23'569'891'328, 23'569'891'328, 30.3, 121, 121, 300, 0, 0, 0, kGen4x8, kAssumed,
     "expected of nvidia-smi's 23,034 MiB; not seen reported", ""},
    {"l40s", "NVIDIA L40S", "l40s-48gb", 89, 47'803'531'264, 47'803'531'264, 91.6, 362, 362, 864, 0, 844, 0, kGen4,
     kPublished, "reported by torch", "844 GB/s stream read (gpu-benches)"},
    {"h100-pcie", "H100 PCIe 80GB", "h100-pcie-80gb", 90, 84'943'044'608, 84'943'044'608, 51, 756, 756, 2039, 0, 1942,
     300, kGen5, kPublished, "reported by torch", "1942 GB/s stream read (gpu-benches)"},
    {"b200", "B200 SXM 180GB", "b200-sxm b200-180gb", 100, 191'501'854'310, 191'501'854'310, 80, 2250, 2250, 8000, 1745,
     0, 900, kGen5, kAssumed, "expected of nvidia-smi's 183,359 MiB; not seen reported",
     "1745 TFLOPS bf16 (ml-engineering)"},
    {"rtx6000-ada", "RTX 6000 Ada 48GB", "6000ada rtx6000ada rtx6000-ada-generation", 89, 50'864'324'608,
     50'864'324'608, 91.1, 364.2, 364.2, 960, 0, 0, 0, kGen4, kAssumed,
     "expected of nvidia-smi's 49,140 MiB; not seen reported", ""},
    {"a6000", "RTX A6000 48GB (Ampere)", "rtx-a6000 rtxa6000", 86, 50'894'733'312, 50'894'733'312, 38.7, 154.8, 154.8,
     768, 0, 0, 56.25, kGen4, kAssumed, "expected of nvidia-smi's 49,140 MiB; not seen reported", ""},
    {"rtx-pro-6000", "RTX PRO 6000 Blackwell Server 96GB", "rtx-pro-6000-server rtx-pro-6000-blackwell-server-edition",
     120, 101'974'016'000, 101'974'016'000, 120, 467.8, 467.8, 1597, 0, 0, 0, kGen5, kAssumed,
     "expected of nvidia-smi's 97,887 MiB; not seen reported", ""},
}};

}  // namespace hardware_sheets
}  // namespace stowage
