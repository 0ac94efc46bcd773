#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "exec/host/host_device.h"

namespace stowage {
namespace {

using std::chrono::duration;

std::unique_ptr<Device> Make(std::string name, Bytes budget) {
  return MakeHostDevice({.name = std::move(name), .budget = budget}, MakeThreadWorkers());
}

TEST(HostDevice, KeepsItsBudget) {
  const auto device = Make("gpu0", Bytes(10000));
  const auto first = device->AllocateArena({"weights", Bytes(6000)});
  ASSERT_TRUE(first);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(*first) % 256, 0u);
  const auto second = device->AllocateArena({"kv", Bytes(4001)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(second.error().message, "arena 'kv' needs 4001 bytes, gpu0 has 4000 left of 10000");
  EXPECT_EQ(device->used(), Bytes(6000));
  ASSERT_TRUE(device->FreeArena(*first));
  EXPECT_TRUE(device->AllocateArena({"kv", Bytes(10000)}));
}

TEST(HostDevice, SkipsWhatIsBehindAFailureAndHandsItsErrorOn) {
  const auto device = Make("host", Bytes(1000));
  const auto other = Make("gpu0", Bytes(1000));
  const int disk = *device->OpenQueue("disk0/0");
  const int in = *other->OpenQueue("gpu0/in");
  std::byte* staging = *device->AllocateArena({"staging", Bytes(16)});
  std::byte* weights = *other->AllocateArena({"weights", Bytes(16)});
  std::memset(weights, 7, 16);
  const WeightFiles none;
  ASSERT_TRUE(device->Read(disk, {.to = staging, .files = &none, .file = 0, .bytes = Bytes(16), .name = "w"}, {}));
  const EventPtr read = *device->Record(disk);
  ASSERT_TRUE(other->WaitFor(in, read));
  ASSERT_TRUE(other->Copy(in, {weights, staging, Bytes(16), "copy w"}, {}));
  const Status drained = other->Drain();
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().message, "w: file 0 of 0");
  EXPECT_EQ(weights[0], std::byte{7});
}

// Four devices, each a copy and a compute queue with 8 paced steps, compute i after copy i:
//   serial    4 x 8 x 2 x 20 ms = 1280 ms
//   pipelined (8 + 1) x 20 ms   =  180 ms, whatever the number of cores
TEST(HostDevice, OverlapsPacedCopiesAndComputesOfFourDevices) {
  constexpr int kSteps = 8;
  constexpr Seconds kPace(0.02);
  std::vector<std::unique_ptr<Device>> devices;
  for (int d = 0; d < 4; ++d) devices.push_back(Make("gpu" + std::to_string(d), Bytes(1 << 20)));
  const Kernel kernel{.kind = KernelKind::kConvert,
                      .name = "work",
                      .dtype = DType::kF32,
                      .from_dtype = DType::kF32,
                      .rows = 1,
                      .n = 64};
  const auto start = Device::Clock::now();
  for (const auto& device : devices) {
    device->StartClock(start);
    const int in = *device->OpenQueue("in"), compute = *device->OpenQueue("compute");
    std::byte* a = *device->AllocateArena({"a", Bytes(256 * kSteps)});
    std::byte* b = *device->AllocateArena({"b", Bytes(256 * kSteps)});
    std::byte* c = *device->AllocateArena({"c", Bytes(256)});
    for (int i = 0; i < kSteps; ++i) {
      ASSERT_TRUE(device->Copy(in, {b + 256 * i, a + 256 * i, Bytes(256), "copy"}, {.step = i, .at_least = kPace}));
      ASSERT_TRUE(device->WaitFor(compute, *device->Record(in)));
      KernelCall call{.kernel = &kernel, .read_count = 1, .write_count = 1};
      call.reads[0] = {b + 256 * i, Bytes(256)};
      call.writes[0] = {c, Bytes(256)};
      ASSERT_TRUE(device->Launch(compute, call, {.step = kSteps + i, .at_least = kPace}));
    }
  }
  for (const auto& device : devices) ASSERT_TRUE(device->Drain());
  const double seconds = duration<double>(Device::Clock::now() - start).count();
  EXPECT_GE(seconds, 0.180);
  EXPECT_LE(seconds, 0.640);
  for (const auto& device : devices) {
    const std::vector<StepSpan> spans = device->TakeSpans();
    ASSERT_EQ(spans.size(), 2u * kSteps);
    for (const StepSpan& span : spans) {  // a late start is caught up, so a step has its pace from when it could start
      const int i = span.step % kSteps;
      EXPECT_GE(span.end.value(), (span.step < kSteps ? i + 1 : i + 2) * kPace.value()) << span.step;
    }
  }
}

}  // namespace
}  // namespace stowage
