#include "planner/machine/build_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "planner/base/text.h"
#include "planner/machine/hardware_table.h"
#include "planner/machine/machine_json.h"
#include "planner/machine/size.h"
#include "planner/machine/spread.h"

namespace stowage {
namespace {

// What issuing costs a host thread. Only torch_operator rests on data: public RTX 4090 measurements of single eager
// kernels (LLMServingSim, decode attention) have a floor of 9-14 us. The others are round assumptions, to be replaced
// by a calibration.
constexpr DispatchCost kDispatch = {.native_launch = Seconds(3e-6),
                                    .torch_operator = Seconds(12e-6),
                                    .torch_hook = Seconds(50e-6),
                                    .device_malloc = Seconds(100e-6),
                                    .device_free = Seconds(100e-6),
                                    .empty_cache = Seconds(10e-6),
                                    .spread = kAssumedDispatch};
constexpr Seconds kCopyLatency(5e-6);  // assumed: one DMA's start and completion

// The host nobody described.
constexpr double kHostGflops = 100;      // assumed: 8 cores with AVX2, fp32
constexpr double kHostDramGbs = 40;      // assumed: two channels of DDR4-3200 (51.2 GB/s) at 0.8
constexpr double kDiskGbs = 2.9;         // measured: Samsung 980 PRO, 1 GiB files (fio)
constexpr Seconds kDiskLatency(100e-6);  // assumed

BytesPerSecond Gbs(double gbs) { return BytesPerSecond(gbs * 1e9); }

struct Gpu {
  const CardRow* card = nullptr;
  Bytes budget;
  bool sized = false;  // the user gave the budget
  bool bare = false;   // and nothing else
};

bool StartsLikeANumber(std::string_view text) {
  return !text.empty() &&
         (std::string_view("+-.").find(text[0]) != std::string_view::npos || (text[0] >= '0' && text[0] <= '9'));
}

Result<Gpu> ParseBareSize(std::string_view text) {
  Result<Bytes> parsed = ParseSize(text);
  if (!parsed) return std::move(parsed).error().In("gpu");
  const Bytes size = *parsed;
  STOWAGE_TRY(const CardRow* card, FindCard(size < kSmallestCudaCard ? "host-device" : "generic"));
  return Gpu{card, size, true, true};
}

Result<Gpu> ParseGpu(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  Result<const CardRow*> card = FindCard(name);  // before sizes: "4090" is a card
  if (!card && colon == std::string_view::npos && StartsLikeANumber(text)) return ParseBareSize(text);
  if (!card) return std::move(card).error();
  const CardRow& row = **card;
  if (colon == std::string_view::npos) {
    if (row.total_bytes_low > 0) return Gpu{&row, Bytes(row.total_bytes_low), false, false};
    return Error{ErrorCode::kInvalidInput, fmt::format("gpu '{0}' needs a size, such as {0}:15GB", row.id)};
  }
  Result<Bytes> parsed = ParseSize(text.substr(colon + 1));
  if (!parsed) return std::move(parsed).error().In(fmt::format("gpu '{}'", text));
  const Bytes size = *parsed;
  if (row.total_bytes_high > 0 && size.value() > row.total_bytes_high) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("gpu '{}' asks for {}, and CUDA reports at most {} on the {}", text, FormatBytes(size),
                             FormatBytes(Bytes(row.total_bytes_high)), row.name)};
  }
  return Gpu{&row, size, true, false};
}

// "4xt4" -> 4, "t4"; text without a count stands for one.
Result<std::pair<int, std::string_view>> SplitCount(std::string_view text) {
  int count = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const auto used = static_cast<std::size_t>(stop - text.data());
  const bool counted = used > 0 && used < text.size() && (text[used] == 'x' || text[used] == 'X');
  if (!counted) return std::pair(1, text);
  if (error != std::errc() || count < 1 || count > kMostGpus) {
    return Error{ErrorCode::kInvalidInput, fmt::format("gpu '{}' asks for {} cards; 1 to {} are possible", text,
                                                       text.substr(0, used), kMostGpus)};
  }
  return std::pair(count, text.substr(used + 1));
}

std::string_view Strip(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Result<std::vector<Gpu>> ParseGpus(const std::vector<std::string>& texts) {
  std::vector<Gpu> gpus;
  for (const std::string& list : texts) {
    for (std::size_t begin = 0; begin <= list.size();) {
      const std::size_t comma = std::min(list.find(',', begin), list.size());
      const std::string_view text = Strip(std::string_view(list).substr(begin, comma - begin));
      begin = comma + 1;
      if (text.empty()) {
        return Error{ErrorCode::kInvalidInput, fmt::format("gpu list '{}' has an empty entry", list)};
      }
      STOWAGE_TRY(const auto counted, SplitCount(text));
      STOWAGE_TRY(const Gpu gpu, ParseGpu(counted.second));
      if (gpu.budget < kSmallestBudget) {
        return Error{ErrorCode::kInvalidInput,
                     fmt::format("gpu '{}' is {} bytes; write 15GB or 15GiB", text, gpu.budget.value())};
      }
      gpus.insert(gpus.end(), static_cast<std::size_t>(counted.first), gpu);
      if (gpus.size() > kMostGpus) {
        return Error{ErrorCode::kInvalidInput, fmt::format("more than {} gpus asked for", kMostGpus)};
      }
    }
  }
  if (gpus.empty()) return Error{ErrorCode::kInvalidInput, "no gpu given; say --gpu 15GB or --gpu t4"};
  return gpus;
}

void AddGpu(const Gpu& gpu, Machine& machine) {
  const CardRow& row = *gpu.card;
  const std::string pool = fmt::format("gpu{}", machine.gpus.size());
  machine.gpus.push_back({std::string(row.id), std::string(row.name), row.compute_capability});
  machine.pools.push_back({pool, PoolKind::kGpu, gpu.budget, std::nullopt});
  if (row.compute_capability > 0) {
    machine.reservations.push_back({pool, "CUDA context", kCudaContext, Origin::kAssumed,
                                    "seen between 256 MiB (torch 2.7, RTX 3090) and 457 MiB (ollama's reserve); the "
                                    "largest is taken",
                                    kLeastCudaContext});
  }
  const CardSpread spread = SpreadOf(row, gpu.budget);
  machine.resources.push_back(
      {pool + ".sm", false, ComputeOf(row), std::nullopt, row.compute_origin, spread.flops, spread.memory});
  machine.resources.push_back({pool + ".h2d",
                               false,
                               std::nullopt,
                               TransferRate{kCopyLatency, Gbs(row.h2d_pinned_gbs), Gbs(row.h2d_pageable_gbs)},
                               row.link_origin,
                               {},
                               spread.link});
  machine.resources.push_back({pool + ".d2h",
                               false,
                               std::nullopt,
                               TransferRate{kCopyLatency, Gbs(row.d2h_pinned_gbs), Gbs(row.d2h_pageable_gbs)},
                               row.link_origin,
                               {},
                               spread.link});
}

void AddPeerLinks(const std::vector<Gpu>& gpus, Machine& machine) {
  bool staged = false;
  for (std::size_t a = 0; a < gpus.size(); ++a) {
    for (std::size_t b = a + 1; b < gpus.size(); ++b) {
      const CardRow& one = *gpus[a].card;
      const CardRow& other = *gpus[b].card;
      const bool direct = gpus[a].card == gpus[b].card && one.peer_gbs > 0;
      const double gbs = direct ? one.peer_gbs : std::min(one.d2h_pinned_gbs, other.h2d_pinned_gbs);
      staged = staged || !direct;
      machine.resources.push_back({fmt::format("link:gpu{}-gpu{}", a, b),
                                   false,
                                   std::nullopt,
                                   TransferRate{kCopyLatency, Gbs(gbs), Gbs(gbs)},
                                   Origin::kAssumed,
                                   {},
                                   kAssumedLink});
    }
  }
  if (gpus.size() < 2) return;
  machine.assumptions.push_back(staged ? "Cards without NVLink exchange tensors at the slower of their host links."
                                       : "Each pair of cards has a link of its own at full rate.");
}

void AddHost(Bytes host, Bytes disk, Machine& machine) {
  machine.pools.push_back({"host", PoolKind::kHost, host, std::nullopt});
  machine.pools.push_back({"disk", PoolKind::kDisk, disk, std::nullopt});
  const ComputeRate cores{.fp32 = FlopsPerSecond(kHostGflops * 1e9),
                          .memory = Gbs(kHostDramGbs),
                          .launch = Seconds(),
                          .in_place = Gbs(kHostDramGbs)};
  machine.resources.push_back(
      {"host.cores", false, cores, std::nullopt, Origin::kAssumed, kAssumedCores, kAssumedDram});
  machine.resources.push_back({"host.dram",
                               true,
                               std::nullopt,
                               TransferRate{Seconds(), Gbs(kHostDramGbs), Gbs(kHostDramGbs)},
                               Origin::kAssumed,
                               {},
                               kAssumedDram});
  machine.resources.push_back({"disk0",
                               false,
                               std::nullopt,
                               TransferRate{kDiskLatency, Gbs(kDiskGbs), Gbs(kDiskGbs)},
                               Origin::kPublished,
                               {},
                               kAssumedDiskRate});
}

// One sentence per distinct gpu entry: what stands for what was not said.
void AddGpuAssumptions(const std::vector<Gpu>& gpus, Machine& machine) {
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    const Gpu& gpu = gpus[i];
    const CardRow& row = *gpu.card;
    const bool said = std::any_of(gpus.begin(), gpus.begin() + static_cast<std::ptrdiff_t>(i), [&](const Gpu& earlier) {
      return earlier.card == gpu.card && earlier.bare == gpu.bare && earlier.sized == gpu.sized &&
             (gpu.card->compute_capability > 0 || earlier.budget == gpu.budget);
    });
    if (said) continue;
    if (gpu.bare && row.compute_capability == 0) {
      machine.assumptions.push_back(
          fmt::format("gpu{}: {} is less than any CUDA card has, so it is a host device: {}, {}, "
                      "no context.",
                      i, FormatBytes(gpu.budget), row.compute_source, row.link_source));
    } else if (gpu.bare) {
      machine.assumptions.push_back(
          fmt::format("gpu{}: only a size was given, so its rates are assumed: {}; {}. Name the "
                      "card for better times: --gpu t4, --gpu rtx4090:22GiB.",
                      i, row.compute_source, row.link_source));
    } else {
      const std::string memory = gpu.sized ? "as asked for" : std::string(row.memory_source);
      machine.assumptions.push_back(fmt::format("gpu{}, {}: memory {}; rates {}; link {}.", i, row.name, memory,
                                                row.compute_source, row.link_source));
    }
  }
}

std::string DiskAssumption(const MachineSpec& spec, const HostFacts& facts) {
  if (spec.disk) return "";
  if (!facts.disk_free) return fmt::format(", {} assumed", FormatBytes(kAssumedDisk));
  return fmt::format(", as large as what is free in {} now", spec.disk_path.value_or("the current folder"));
}

void AddCommonAssumptions(const MachineSpec& spec, const HostFacts& facts, Machine& machine) {
  if (!spec.cpu)
    machine.assumptions.push_back("host: the memory available on this computer now; say --cpu 30GB for another.");
  machine.assumptions.push_back(
      fmt::format("host: {:.0f} GFLOPS fp32 and {:.0f} GB/s assumed (8 cores, two channels). disk: {} (one NVMe drive, "
                  "fio){}.",
                  kHostGflops, kHostDramGbs, FormatRate(Gbs(kDiskGbs)), DiskAssumption(spec, facts)));
  machine.assumptions.push_back(fmt::format(
      "A host thread pays {} for a native launch, {} for a torch operator (single eager kernels on an RTX 4090 "
      "show 9-14 us), {} for a module hook, {} for cudaMalloc or cudaFree, {} for empty_cache; all but the "
      "second assumed.",
      FormatSeconds(kDispatch.native_launch), FormatSeconds(kDispatch.torch_operator),
      FormatSeconds(kDispatch.torch_hook), FormatSeconds(kDispatch.device_malloc),
      FormatSeconds(kDispatch.empty_cache)));
}

// "2 x NVIDIA T4 15.63 GB, GeForce RTX 4090 25.25 GB, host 30.00 GB"
std::string NameOf(const Machine& machine) {
  const auto budget = [&](const std::string& pool) { return machine.pools[machine.FindPool(pool)].budget; };
  const auto text = [&](std::size_t i) {
    const GpuInfo& gpu = machine.gpus[i];
    return fmt::format("{} {}, ", gpu.name.empty() ? gpu.id : gpu.name, FormatBytes(budget(fmt::format("gpu{}", i))));
  };
  std::string name;
  for (std::size_t i = 0; i < machine.gpus.size();) {
    std::size_t end = i + 1;
    while (end < machine.gpus.size() && text(end) == text(i)) ++end;
    name += (end - i > 1 ? fmt::format("{} x ", end - i) : "") + text(i);
    i = end;
  }
  return name + "host " + FormatBytes(budget("host"));
}

Result<Bytes> HostBudget(const MachineSpec& spec, const HostFacts& facts) {
  if (!spec.cpu) {
    if (facts.available) return *facts.available;
    if (spec.profile) return Bytes();  // it may say
    return Error{ErrorCode::kInvalidInput, "this computer does not say how much memory is available; say --cpu 30GB"};
  }
  Result<Bytes> size = ParseSize(*spec.cpu);
  if (!size) return std::move(size).error().In("cpu");
  return size;
}

// A sentence on what the profile replaced.
std::string ProfileAssumption(const std::string& path, const Machine& before, const Machine& after) {
  std::vector<std::string> rates, budgets;
  for (const Resource& r : after.resources) {
    const std::int32_t index = before.FindResource(r.name);
    if (index < 0 || !(before.resources[index] == r)) rates.push_back(r.name);
  }
  for (const Pool& p : after.pools) {
    const std::int32_t index = before.FindPool(p.name);
    if (index < 0 || !(before.pools[index] == p)) budgets.push_back(p.name);
  }
  std::string out = fmt::format("{} says the rates of {}", path, rates.empty() ? "nothing" : Join(rates, ", "));
  if (!budgets.empty()) out += fmt::format(" and the budget of {}", Join(budgets, ", "));
  return out + ".";
}

// The profile over `machine`; what the user gave a size wins.
Result<Machine> WithProfile(Machine machine, const MachineSpec& spec, const std::vector<Gpu>& gpus) {
  const std::string path = spec.profile_path.value_or("machine");
  const Machine before = machine;
  STOWAGE_TRY(machine, ReadMachineFile(path, *spec.profile, std::move(machine)));
  if (!gpus.empty() && machine.gpus.size() != gpus.size()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} describes {} gpus, and --gpu says {}", path, machine.gpus.size(), gpus.size())};
  }
  // As BuildMachine orders them: cards first.
  std::stable_partition(machine.pools.begin(), machine.pools.end(),
                        [](const Pool& p) { return p.kind == PoolKind::kGpu; });
  std::stable_partition(machine.resources.begin(), machine.resources.end(),
                        [](const Resource& r) { return r.name.starts_with("gpu"); });
  const auto keep = [&](const std::string& pool) {
    machine.pools[machine.FindPool(pool)].budget = before.pools[before.FindPool(pool)].budget;
  };
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    if (gpus[i].sized) keep(fmt::format("gpu{}", i));
  }
  if (spec.cpu) keep("host");
  if (spec.disk) keep("disk");
  for (const Pool& pool : machine.pools) {
    if (pool.kind != PoolKind::kDisk && pool.budget < kSmallestBudget) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("{}: pool '{}' has {} B; the least that makes sense is {} B", path, pool.name,
                               pool.budget.value(), kSmallestBudget.value())};
    }
  }
  machine.assumptions.push_back(ProfileAssumption(path, before, machine));
  return machine;
}

// A file of a whole machine may say it already.
void SayTorchAllocator(Machine& machine) {
  if (machine.torch_allocator.empty()) return;
  std::string sentence = fmt::format("torch: PYTORCH_ALLOC_CONF is {}.", machine.torch_allocator);
  std::vector<std::string>& said = machine.assumptions;
  if (std::find(said.begin(), said.end(), sentence) == said.end()) said.push_back(std::move(sentence));
}

}  // namespace

Result<Machine> BuildMachine(const MachineSpec& spec, const HostFacts& facts) {
  std::vector<Gpu> gpus;
  if (!spec.profile || !spec.gpus.empty()) {
    STOWAGE_TRY(gpus, ParseGpus(spec.gpus));
  }
  STOWAGE_TRY(const Bytes host, HostBudget(spec, facts));
  Result<Bytes> disk = spec.disk ? ParseSize(*spec.disk) : facts.disk_free.value_or(kAssumedDisk);
  if (!disk) return std::move(disk).error().In("disk");
  Machine machine;
  for (const Gpu& gpu : gpus) AddGpu(gpu, machine);
  AddHost(host, *disk, machine);
  machine.dispatch = kDispatch;
  AddGpuAssumptions(gpus, machine);
  AddPeerLinks(gpus, machine);
  AddCommonAssumptions(spec, facts, machine);
  if (spec.profile) {
    if (gpus.empty()) machine.assumptions.clear();  // the profile is the whole machine and says its own
    STOWAGE_TRY(machine, WithProfile(std::move(machine), spec, gpus));
  }
  if (spec.torch_allocator) machine.torch_allocator = *spec.torch_allocator;
  SayTorchAllocator(machine);
  machine.name = NameOf(machine);
  return machine;
}

}  // namespace stowage
