#include "planner/machine/build_machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "planner/machine/hardware_table.h"
#include "planner/machine/machine_json.h"

namespace stowage {
namespace {

Result<Machine> Build(std::vector<std::string> gpus) {
  return BuildMachine({.gpus = std::move(gpus), .cpu = "30GB"}, {});
}

std::string Refusal(std::vector<std::string> gpus) {
  const Result<Machine> machine = Build(std::move(gpus));
  return machine ? "accepted" : machine.error().message;
}

TEST(BuildMachine, DescribesTwoCardsWithEverythingAssumed) {
  const Result<Machine> machine = Build({"t4", "rtx4090:22GiB"});
  ASSERT_TRUE(machine) << machine.error().message;
  EXPECT_EQ(Describe(*machine),
            "NVIDIA T4 15.63 GB, GeForce RTX 4090 23.62 GB, host 30.00 GB\n"
            "pool    budget  reserved  what\n"
            "gpu0  15.63 GB  479.2 MB  NVIDIA T4\n"
            "gpu1  23.62 GB  479.2 MB  GeForce RTX 4090\n"
            "host  30.00 GB       0 B  host memory\n"
            "disk   1.00 TB       0 B  disk\n"
            "resource        serves         origin     rate\n"
            "gpu0.sm         one at a time  published  fp32 8.1 TFLOPS, fp16 65 TFLOPS, bf16 -, memory 320.0 GB/s; "
            "0.327 and 0.730 of them, p 2, +4.00 us\n"
            "gpu0.h2d        one at a time  published  12.40 GB/s, pageable 6.20 GB/s, +5.00 us\n"
            "gpu0.d2h        one at a time  published  13.10 GB/s, pageable 6.20 GB/s, +5.00 us\n"
            "gpu1.sm         one at a time  published  fp32 82.58 TFLOPS, fp16 165.2 TFLOPS, bf16 165.2 TFLOPS, memory "
            "1.01 TB/s; 0.970 and 0.930 of them, p 2, +4.00 us\n"
            "gpu1.h2d        one at a time  assumed    25.50 GB/s, pageable 10.00 GB/s, +5.00 us\n"
            "gpu1.d2h        one at a time  assumed    25.50 GB/s, pageable 10.80 GB/s, +5.00 us\n"
            "host.cores      one at a time  assumed    fp32 0.1 TFLOPS, fp16 -, bf16 -, memory 40.00 GB/s; 1.000 and "
            "1.000 of them, p 2, +0 s\n"
            "host.dram       shared         assumed    40.00 GB/s, pageable 40.00 GB/s, +0 s\n"
            "disk0           one at a time  published  2.90 GB/s, pageable 2.90 GB/s, +100.0 us\n"
            "link:gpu0-gpu1  one at a time  assumed    13.10 GB/s, pageable 13.10 GB/s, +5.00 us\n"
            "reserved on gpu0: CUDA context 479.2 MB (assumed: seen between 256 MiB (torch 2.7, RTX 3090) and 457 MiB "
            "(ollama's reserve); the largest is taken)\n"
            "reserved on gpu1: CUDA context 479.2 MB (assumed: seen between 256 MiB (torch 2.7, RTX 3090) and 457 MiB "
            "(ollama's reserve); the largest is taken)\n"
            "- gpu0, NVIDIA T4: memory the lowest of six totals torch reports, 15.63 to 15.84 GB; rates 21.2 TFLOPS "
            "fp16 (FlexGen's fit on a cloud T4; 70 W throttle it far below its 65), 234 GB/s (bandwidthTest); bf16 has "
            "no units and runs at fp32's 2.6; link PCIe 3.0 x16, measured 12.4 GB/s up and 13.1 down pinned, 6.2 "
            "pageable (what accelerate's OPT-30B row implies); an x8 cloud link gives 6.3.\n"
            "- gpu1, GeForce RTX 4090: memory as asked for; rates 0.97 of 165 TFLOPS and 0.93 of 1008 GB/s, the fit to "
            "608 measured matmuls (mean error 3.8 %); link PCIe 4.0 x16, 25.5 GB/s pinned of the 26.0 measured "
            "elsewhere; pageable as on an A100's host (10.0, 10.8).\n"
            "- Cards without NVLink exchange tensors at the slower of their host links.\n"
            "- host: 100 GFLOPS fp32 and 40 GB/s assumed (8 cores, two channels). disk: 2.90 GB/s (one NVMe drive, "
            "fio), 1.00 TB assumed.\n"
            "- A host thread pays 3.00 us for a native launch, 12.00 us for a torch operator (single eager kernels on "
            "an RTX 4090 show 9-14 us), 50.00 us for a module hook, 100.0 us for cudaMalloc or cudaFree, 10.00 us for "
            "empty_cache; all but the second assumed.\n"
            "- Low and high are with all of these at an end of their interval: gpu1.h2d 0.5 to 1.06, gpu1.d2h 0.5 to "
            "1.06, host.cores 0.25 to 10 of its FLOPS and 0.5 to 5 of its bandwidth, host.dram 0.5 to 5, disk0 0.19 to "
            "2.4, link:gpu0-gpu1 0.5 to 1.06, dispatch costs 0.75 to 1.17.\n");
}

TEST(BuildMachine, ABareSizeIsAGenericCardAndSaysSo) {
  const Result<Machine> machine = Build({"15GB"});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->name, "generic card 15.00 GB, host 30.00 GB");
  EXPECT_EQ(machine->gpus[0].id, "generic");
  EXPECT_EQ(machine->Reserved("gpu0"), kCudaContext);
  EXPECT_EQ(machine->assumptions[0],
            "gpu0: only a size was given, so its rates are assumed: 21.2 TFLOPS fp16 and 234 GB/s as a T4, the slowest "
            "card known here; bf16 as fast as fp16; PCIe 3.0 x16, measured 12.4 GB/s up and 13.1 down pinned, 6.2 "
            "pageable (what accelerate's OPT-30B row implies); an x8 cloud link gives 6.3. Name the card for better "
            "times: --gpu t4, --gpu rtx4090:22GiB.");
}

TEST(BuildMachine, ABareSizeBelowOneGibibyteIsAHostDeviceWithoutAContext) {
  const Result<Machine> machine = Build({"20MB"});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->gpus[0].id, "host-device");
  EXPECT_EQ(machine->gpus[0].compute_capability, 0);
  EXPECT_EQ(machine->pools[0].budget, Bytes(20'000'000));
  EXPECT_EQ(machine->Reserved("gpu0"), Bytes(0));
  EXPECT_EQ(machine->assumptions[0],
            "gpu0: 20.00 MB is less than any CUDA card has, so it is a host device: 20 GFLOPS and 10 GB/s assumed for "
            "one core, 5 GB/s assumed for a copy by one thread, no context.");
  EXPECT_EQ(Build({"1073741823"})->gpus[0].id, "host-device");
  EXPECT_EQ(Build({"1GiB"})->gpus[0].id, "generic");
  EXPECT_EQ(Build({"host-device:20GB"})->Reserved("gpu0"), Bytes(0));
}

TEST(BuildMachine, ANamedCardHasTheLowestTotalThatCudaReports) {
  EXPECT_EQ(Build({"t4"})->pools[0].budget, Bytes(15'634'268'160));
  EXPECT_EQ(Build({"Tesla T4:15GB"})->pools[0].budget, Bytes(15'000'000'000));
  EXPECT_EQ(Build({"NVIDIA_H200"})->gpus[0].name, "H200 SXM 141GB");
  EXPECT_EQ(Build({"4090"})->gpus[0].id, "rtx4090");
}

TEST(BuildMachine, CountsAndListsGiveOnePoolPerCard) {
  const Result<Machine> machine = Build({"24GiB,10GiB", "2xt4"});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->name, "generic card 25.77 GB, generic card 10.74 GB, 2 x NVIDIA T4 15.63 GB, host 30.00 GB");
  std::vector<std::string> names;
  for (const Pool& pool : machine->pools) names.push_back(pool.name);
  for (const Resource& resource : machine->resources) names.push_back(resource.name);
  EXPECT_EQ(names, (std::vector<std::string>{"gpu0",           "gpu1",           "gpu2",           "gpu3",
                                             "host",           "disk",           "gpu0.sm",        "gpu0.h2d",
                                             "gpu0.d2h",       "gpu1.sm",        "gpu1.h2d",       "gpu1.d2h",
                                             "gpu2.sm",        "gpu2.h2d",       "gpu2.d2h",       "gpu3.sm",
                                             "gpu3.h2d",       "gpu3.d2h",       "host.cores",     "host.dram",
                                             "disk0",          "link:gpu0-gpu1", "link:gpu0-gpu2", "link:gpu0-gpu3",
                                             "link:gpu1-gpu2", "link:gpu1-gpu3", "link:gpu2-gpu3"}));
}

TEST(BuildMachine, CardsWithNvlinkUseItOnlyAmongTheirOwnKind) {
  const auto rate = [](const Machine& machine) {
    return machine.resources[static_cast<std::size_t>(machine.FindResource("link:gpu0-gpu1"))].transfer->pinned;
  };
  EXPECT_DOUBLE_EQ(rate(*Build({"2xh200"})).value(), 396.4e9);
  EXPECT_DOUBLE_EQ(rate(*Build({"h200", "t4"})).value(), 12.4e9);
}

TEST(BuildMachine, WithoutACpuSizeTheHostHasWhatIsAvailable) {
  const Result<Machine> machine = BuildMachine({.gpus = {"t4"}}, {.available = Bytes(7'000'000'000)});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->pools[1].budget, Bytes(7'000'000'000));
  EXPECT_EQ(machine->assumptions[1], "host: the memory available on this computer now; say --cpu 30GB for another.");
  EXPECT_EQ(BuildMachine({.gpus = {"t4"}}, {}).error().message,
            "this computer does not say how much memory is available; say --cpu 30GB");
}

TEST(BuildMachine, RefusalsNameTheCulpritAndTheLimit) {
  EXPECT_EQ(Refusal({}), "no gpu given; say --gpu 15GB or --gpu t4");
  EXPECT_EQ(
      Refusal({"rtx4095"}),
      "gpu 'rtx4095' is neither a size such as 15GB nor a known card; did you mean 'rtx4090'? known: t4, "
      "rtx4090, a100-40, a100-80, h100, h200, p100, v100-16, v100-32, titan-rtx, rtx2080ti, rtx3060, rtx3080, rtx3090, "
      "rtx4060, rtx4070, rtx4080, rtx5080, rtx5090, a10, a10g, l4, l40s, h100-pcie, b200, rtx6000-ada, a6000, "
      "rtx-pro-6000, generic, host-device");
  EXPECT_EQ(
      Refusal({"zx spectrum"}),
      "gpu 'zx spectrum' is neither a size such as 15GB nor a known card; known: t4, "
      "rtx4090, a100-40, a100-80, h100, h200, p100, v100-16, v100-32, titan-rtx, rtx2080ti, rtx3060, rtx3080, rtx3090, "
      "rtx4060, rtx4070, rtx4080, rtx5080, rtx5090, a10, a10g, l4, l40s, h100-pcie, b200, rtx6000-ada, a6000, "
      "rtx-pro-6000, generic, host-device");
  EXPECT_EQ(Refusal({"t4:40GB"}),
            "gpu 't4:40GB' asks for 40.00 GB, and CUDA reports at most 15.84 GB on the NVIDIA T4");
  EXPECT_EQ(Refusal({"generic"}), "gpu 'generic' needs a size, such as generic:15GB");
  EXPECT_EQ(Refusal({"15"}), "gpu '15' is 15 bytes; write 15GB or 15GiB");
  EXPECT_EQ(Refusal({"0xt4"}), "gpu '0xt4' asks for 0 cards; 1 to 64 are possible");
  EXPECT_EQ(Refusal({"65xt4"}), "gpu '65xt4' asks for 65 cards; 1 to 64 are possible");
  EXPECT_EQ(Refusal({"99999999999xt4"}), "gpu '99999999999xt4' asks for 99999999999 cards; 1 to 64 are possible");
  EXPECT_EQ(Refusal({"64xt4,t4"}), "more than 64 gpus asked for");
  EXPECT_EQ(Refusal({"t4,,t4"}), "gpu list 't4,,t4' has an empty entry");
  EXPECT_EQ(Refusal({"15G"}),
            "gpu: '15G' is not a size; write a number with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers "
            "of 1024) or Kb, Mb, Gb, Tb (bits), or a whole number of bytes");
  EXPECT_EQ(Refusal({"t4:"}),
            "gpu 't4:': '' is not a size; write a number with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB "
            "(powers of 1024) or Kb, Mb, Gb, Tb (bits), or a whole number of bytes");
  EXPECT_EQ(BuildMachine({.gpus = {"t4"}, .cpu = "lots"}, {}).error().message,
            "cpu: 'lots' is not a size; write a number with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB "
            "(powers of 1024) or Kb, Mb, Gb, Tb (bits), or a whole number of bytes");
  EXPECT_EQ(BuildMachine({.gpus = {"t4"}, .cpu = "1GB", .disk = "-1GB"}, {}).error().message,
            "disk: size '-1GB' is below 0");
}

TEST(BuildMachine, TheDiskIsWhatIsFreeWhereItIsMeant) {
  const MachineSpec spec{.gpus = {"t4"}, .cpu = "1GB", .disk_path = "/data"};
  const auto machine = BuildMachine(spec, {.disk_free = Bytes(5'000)});
  ASSERT_TRUE(machine) << machine.error().message;
  EXPECT_EQ(machine->pools[machine->FindPool("disk")].budget, Bytes(5'000));
  bool said = false;
  for (const std::string& a : machine->assumptions) {
    said = said || a.find("as large as what is free in /data now") != std::string::npos;
  }
  EXPECT_TRUE(said);
  EXPECT_EQ(BuildMachine(spec, {})->pools[2].budget, kAssumedDisk);
}

// A row that forgets a rate would divide by zero in the simulator.
TEST(HardwareTable, EveryRowIsComplete) {
  std::set<std::string_view> ids;
  for (const CardRow& row : KnownCards()) {
    EXPECT_TRUE(ids.insert(row.id).second) << row.id;
    EXPECT_GE(row.total_bytes_high, row.total_bytes_low) << row.id;
    for (const double rate :
         {row.fp32_tflops, row.memory_gbs, row.flops_efficiency, row.memory_efficiency, row.smoothness, row.launch_us,
          row.h2d_pinned_gbs, row.h2d_pageable_gbs, row.d2h_pinned_gbs, row.d2h_pageable_gbs}) {
      EXPECT_GT(rate, 0) << row.id;
    }
    EXPECT_LE(row.flops_efficiency, 1) << row.id;
    EXPECT_LE(row.memory_efficiency, 1) << row.id;
    EXPECT_LE(row.h2d_pageable_gbs, row.h2d_pinned_gbs) << row.id;
    EXPECT_FALSE(row.memory_source.empty() || row.compute_source.empty() || row.link_source.empty()) << row.id;
    EXPECT_EQ(*FindCard(row.id), &row);
  }
}

// The fit was made on this card; the roofline of any other card reaches its own published measurement times the same.
TEST(HardwareTable, MeasuredCardsKeepTheFitsShareOfTheirMeasurement) {
  const ComputeRate a100 = ComputeOf(**FindCard("a100-40"));
  EXPECT_NEAR(a100.bf16.value() * a100.flops_efficiency, 271.2e12 * 0.965, 0.2e12);
  EXPECT_NEAR(a100.memory.value() * a100.memory_efficiency, 1490e9 * 0.978, 2e9);
}

const std::string kProfile =
    "{\"stowage_machine\": 1, \"pools\": {\"gpu0\": {\"budget\": \"14GB\"}, \"host\": {\"budget\": \"20GB\"}}, "
    "\"resources\": {\"gpu0.h2d\": {\"origin\": \"measured\", \"transfer\": {\"pinned_bytes_per_s\": 13e9}}}}";

Result<Machine> WithProfile(MachineSpec spec, const std::string& profile) {
  spec.profile_path = "m.json";
  spec.profile = profile;
  return BuildMachine(spec, {.available = Bytes(8'000'000'000)});
}

TEST(BuildMachine, AProfileReplacesTheTableAndSizesReplaceTheProfile) {
  const Result<Machine> m = WithProfile({.gpus = {"t4"}}, kProfile);
  ASSERT_TRUE(m) << m.error().message;
  EXPECT_EQ(m->name, "NVIDIA T4 14.00 GB, host 20.00 GB");
  EXPECT_EQ(m->resources[m->FindResource("gpu0.h2d")].transfer->pinned, BytesPerSecond(13e9));
  EXPECT_EQ(m->resources[m->FindResource("gpu0.h2d")].origin, Origin::kMeasured);
  EXPECT_EQ(m->assumptions.back(), "m.json says the rates of gpu0.h2d and the budget of gpu0, host.");
  const Result<Machine> sized = WithProfile({.gpus = {"t4:15GB"}, .cpu = "30GB"}, kProfile);
  ASSERT_TRUE(sized) << sized.error().message;
  EXPECT_EQ(sized->name, "NVIDIA T4 15.00 GB, host 30.00 GB");
}

TEST(BuildMachine, AProfileAloneMustDescribeTheWholeMachine) {
  const Result<Machine> whole = BuildMachine({.gpus = {"t4"}, .cpu = "30GB", .disk = "1TB"}, HostFacts());
  ASSERT_TRUE(whole);
  const Result<Machine> alone = WithProfile({}, WriteMachineJson(*whole));
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_TRUE(alone->resources == whole->resources);
  EXPECT_EQ(alone->pools[alone->FindPool("gpu0")], whole->pools[whole->FindPool("gpu0")]);
  EXPECT_EQ(WithProfile({}, kProfile).error().message, "m.json: machine: 0 gpus and 1 pools for them");
}

TEST(BuildMachine, RefusesAProfileOfOtherCardsOrOfTooLittleMemory) {
  const Result<Machine> two = BuildMachine({.gpus = {"2xt4"}, .cpu = "30GB", .disk = "1TB"}, HostFacts());
  ASSERT_TRUE(two);
  EXPECT_EQ(WithProfile({.gpus = {"t4"}}, WriteMachineJson(*two)).error().message,
            "m.json describes 2 gpus, and --gpu says 1");
  EXPECT_EQ(WithProfile({.gpus = {"t4"}}, "{\"stowage_machine\": 1, \"pools\": {\"gpu0\": {\"budget\": 15}}}")
                .error()
                .message,
            "m.json: pool 'gpu0' has 15 B; the least that makes sense is 65536 B");
}

TEST(BuildMachine, TheSettingsOfTorchsAllocatorAreSaidOnce) {
  const MachineSpec spec = {.gpus = {"t4"}, .cpu = "30GB", .torch_allocator = "expandable_segments:True"};
  const Result<Machine> machine = BuildMachine(spec, {});
  ASSERT_TRUE(machine) << machine.error().message;
  EXPECT_EQ(machine->torch_allocator, "expandable_segments:True");
  EXPECT_EQ(machine->assumptions.back(), "torch: PYTORCH_ALLOC_CONF is expandable_segments:True.");
  const Result<Machine> again =
      BuildMachine({.cpu = "20GB", .profile_path = "m.json", .profile = WriteMachineJson(*machine)}, {});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->torch_allocator, machine->torch_allocator);
  const auto said = std::count(again->assumptions.begin(), again->assumptions.end(), machine->assumptions.back());
  EXPECT_EQ(said, 1);
}

}  // namespace
}  // namespace stowage
