#include "exec/measure/calibrate.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "exec/host/host_device.h"
#include "exec/weights/files.h"

namespace stowage {
namespace {

using Clock = std::chrono::steady_clock;

// The best of several runs: what disturbs a measurement only makes it longer.
template <class Work>
Seconds BestOf(int runs, Work work) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return Seconds(best);
}

// FLOPs per second of a matmul that fits the caches: 64 x 256 x 256.
FlopsPerSecond MatmulRate(kernels::Dtype dtype) {
  constexpr int kRows = 64, kWidth = 256;
  const std::size_t e = static_cast<std::size_t>(kernels::ElementBytes(dtype));
  std::vector<std::byte> x(kRows * kWidth * e), w(kWidth * kWidth * e), y(kRows * kWidth * e);
  kernels::LinearArgs args{.dtype = dtype, .rows = kRows, .k = kWidth, .n = kWidth};
  args.row_end = kWidth;
  args.x = x.data();
  args.weight = w.data();
  args.y = y.data();
  const Seconds time = BestOf(5, [&] { (void)kernels::HostLinear(args); });
  return FlopsPerSecond(2.0 * kRows * kWidth * kWidth / time.value());
}

// Bytes per second of a matrix-vector product whose matrix fits no cache: what bounds a decode pass.
BytesPerSecond StreamRate() {
  constexpr int kWidth = 2048;
  constexpr int kRows = 8192;  // 64 MiB of fp32
  std::vector<float> x(kWidth), w(static_cast<std::size_t>(kWidth) * kRows, 1.0f), y(kRows);
  kernels::LinearArgs args{.dtype = kernels::Dtype::kF32, .rows = 1, .k = kWidth, .n = kRows};
  args.row_end = kRows;
  args.x = x.data();
  args.weight = w.data();
  args.y = y.data();
  const Seconds time = BestOf(3, [&] { (void)kernels::HostLinear(args); });
  return Bytes(static_cast<std::int64_t>(w.size()) * 4) / time;
}

TransferRate CopyRate() {
  std::vector<std::byte> from(std::size_t{32} << 20, std::byte{1}), to(from.size());
  const Seconds time = BestOf(4, [&] { std::memcpy(to.data(), from.data(), to.size()); });
  TransferRate rate;
  rate.pinned = rate.pageable = Bytes(static_cast<std::int64_t>(to.size())) / time;
  return rate;
}

Result<double> PopulateCost() {
  constexpr Bytes kArena(std::int64_t{32} << 20);
  const HostMemory memory = PlainHostMemory();
  Status status = OkStatus();
  const Seconds time = BestOf(3, [&] {
    const Result<std::byte*> arena = memory.allocate(kArena, false);
    if (!arena) {
      status = arena.error();
      return;
    }
    memory.free(*arena, kArena, false);
  });
  STOWAGE_RETURN_IF_ERROR(status);
  return time.value() / static_cast<double>(kArena.value());
}

// Per step: a burst of one-byte copies, so issue and execution overlap as they do in a run.
Result<Seconds> StepCost() {
  constexpr int kSteps = 2000;
  const auto device = MakeHostDevice({.name = "probe", .budget = Bytes(4096)}, MakeThreadWorkers());
  STOWAGE_TRY(const int queue, device->OpenQueue("probe/0"));
  STOWAGE_TRY(std::byte * memory, device->AllocateArena({"probe", Bytes(4096)}));
  Status status = OkStatus();
  const Seconds time = BestOf(3, [&] {
    for (int i = 0; i < kSteps && status; ++i)
      status = device->Copy(queue, {memory, memory + 64, Bytes(1), "probe"}, {});
    if (status) status = device->Drain();
  });
  STOWAGE_RETURN_IF_ERROR(status);
  (void)device->TakeSpans();
  return time / kSteps;
}

Result<TransferRate> DiskRate(const std::string& path) {
  TransferRate rate;
  if (path.empty()) return rate;
  STOWAGE_TRY(const WeightFiles files, WeightFiles::Open({path}));
  std::error_code error;
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  const std::int64_t bytes = std::min<std::int64_t>(error ? 0 : size, std::int64_t{32} << 20);
  if (bytes == 0) return rate;
  std::vector<std::byte> to(static_cast<std::size_t>(bytes));
  Status status = OkStatus();
  const Seconds time = BestOf(2, [&] { status = files.Read(0, 0, to, "probe"); });
  STOWAGE_RETURN_IF_ERROR(status);
  rate.pinned = rate.pageable = Bytes(bytes) / time;
  return rate;
}

}  // namespace

Result<HostRates> CalibrateHost(const std::string& probe_file) {
  HostRates out;
  out.compute.fp32 = MatmulRate(kernels::Dtype::kF32);
  out.compute.bf16 = MatmulRate(kernels::Dtype::kBF16);
  out.compute.fp16 = MatmulRate(kernels::Dtype::kF16);
  out.compute.memory = StreamRate();
  out.copy = CopyRate();
  STOWAGE_TRY(out.step, StepCost());
  STOWAGE_TRY(out.disk, DiskRate(probe_file));
  STOWAGE_TRY(out.populate, PopulateCost());
  // What a step costs its queue beside its work: the same hand-over.
  out.compute.launch = out.step;
  out.copy.latency = out.disk.latency = out.step;
  return out;
}

Machine WithHostDispatch(Machine machine, const HostRates& rates) {
  machine.dispatch.native_launch = rates.step;
  machine.dispatch.populate_gpu = machine.dispatch.populate_host = rates.populate;
  machine.reservations.clear();
  return machine;
}

Machine WithHostRates(Machine machine, const HostRates& rates) {
  for (Resource& resource : machine.resources) {
    const bool disk = resource.name.starts_with("disk");
    if (disk && rates.disk.pinned.value() == 0) continue;
    if (resource.compute) {
      resource.compute = rates.compute;
      resource.compute->in_place = rates.compute.memory;  // host memory is as near as a host device's own
    }
    if (resource.transfer) resource.transfer = disk ? rates.disk : rates.copy;
    if (resource.compute || resource.transfer) resource.origin = Origin::kMeasured;
  }
  return WithHostDispatch(std::move(machine), rates);
}

}  // namespace stowage
