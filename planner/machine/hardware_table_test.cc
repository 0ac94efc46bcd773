#include "planner/machine/hardware_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace stowage {
namespace {

using Json = nlohmann::json;

double NumberOr0(const Json& device, const char* key) {
  const auto it = device.find(key);
  return it != device.end() && it->is_number() ? it->get<double>() : 0;
}

// The numbers of ours that differ from the collected facts of one device.
std::string Differences(const CardRow& row, const Json& device) {
  std::vector<std::int64_t> totals = device["cuda_total_bytes_observed"];
  if (device.contains("cuda_total_bytes_expected")) totals.push_back(device["cuda_total_bytes_expected"]);
  const double fp32_accumulation = NumberOr0(device, "tensor_fp32acc_fp16");
  const auto capability = static_cast<int>(std::stod(device["cc"].get<std::string>()) * 10 + 0.5);
  std::string out;
  const auto compare = [&](const char* what, double ours, double theirs) {
    if (ours != theirs) out += fmt::format(" {} {} not {}", what, ours, theirs);
  };
  compare("cc", row.compute_capability, capability);
  compare("low", static_cast<double>(row.total_bytes_low),
          static_cast<double>(*std::min_element(totals.begin(), totals.end())));
  compare("high", static_cast<double>(row.total_bytes_high),
          static_cast<double>(*std::max_element(totals.begin(), totals.end())));
  compare("fp32", row.fp32_tflops, NumberOr0(device, "fp32"));
  compare("fp16", row.fp16_tflops, fp32_accumulation > 0 ? fp32_accumulation : NumberOr0(device, "fp16_dense"));
  compare("bf16", row.bf16_tflops, NumberOr0(device, "bf16_dense"));
  compare("memory", row.memory_gbs, NumberOr0(device, "mem_bw_gbs"));
  return out;
}

TEST(HardwareTable, AgreesWithTheCollectedFacts) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  std::ifstream file(std::string(shared) + "/data/hardware.json");
  const Json facts = Json::parse(file, nullptr, false);
  ASSERT_TRUE(facts.is_object());
  std::set<std::string_view> compared;
  for (const Json& device : facts["devices"]) {
    const auto id = device["id"].get<std::string>();
    // No CUDA device, and one without a memory of its own.
    if (id == "mi300x" || id == "jetson-agx-orin-64") continue;
    const auto row = FindCard(id);
    ASSERT_TRUE(row) << row.error().message;
    EXPECT_EQ(Differences(**row, device), "") << id;
    compared.insert((*row)->id);
  }
  EXPECT_EQ(compared.size() + 2, KnownCards().size());  // all but generic and host-device
}

TEST(HardwareTable, FindsCardsAsDriversAndPeopleCallThem) {
  std::string out;
  for (const char* name : {"Tesla T4",
                           "NVIDIA GeForce RTX 4090",
                           "4090",
                           "NVIDIA A100-SXM4-40GB",
                           "NVIDIA A100-SXM4-80GB",
                           "A100",
                           "NVIDIA H100 80GB HBM3",
                           "NVIDIA H100 PCIe",
                           "NVIDIA H200",
                           "Tesla V100-SXM2-16GB",
                           "Tesla V100-SXM3-32GB",
                           "Tesla P100-PCIE-16GB",
                           "NVIDIA GeForce RTX 3060",
                           "rtx_3090",
                           "RTX 2080 Ti",
                           "NVIDIA L4",
                           "NVIDIA L40S",
                           "NVIDIA A10G",
                           "NVIDIA RTX A6000",
                           "NVIDIA RTX 6000 Ada Generation",
                           "TITAN RTX",
                           "NVIDIA B200",
                           "NVIDIA RTX PRO 6000 Blackwell Server Edition"}) {
    const auto row = FindCard(name);
    out += fmt::format("{} ", row ? (*row)->id : std::string_view(row.error().message));
  }
  EXPECT_EQ(out,
            "t4 rtx4090 rtx4090 a100-40 a100-80 a100-40 h100 h100-pcie h200 v100-16 v100-32 p100 rtx3060 rtx3090 "
            "rtx2080ti l4 l40s a10g a6000 rtx6000-ada titan-rtx b200 rtx-pro-6000 ");
}

TEST(HardwareTable, ALaptopsCardIsNotItsDesktopNamesake) {
  EXPECT_FALSE(FindCard("NVIDIA GeForce RTX 4090 Laptop GPU"));
}

TEST(HardwareTable, NoTwoRowsShareAName) {
  for (const CardRow& row : KnownCards()) {
    std::string all = std::string(row.id) + " " + std::string(row.aliases);
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t end = std::min(all.find(' ', begin), all.size());
      if (const std::string name = all.substr(begin, end - begin); !name.empty()) {
        const auto found = FindCard(name);
        ASSERT_TRUE(found) << name;
        EXPECT_EQ(*found, &row) << name;
      }
      begin = end + 1;
    }
  }
}

}  // namespace
}  // namespace stowage
