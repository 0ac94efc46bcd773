#include <gtest/gtest.h>

#include "exec/recording/recording_device.h"
#include "planner/schedule/builder.h"

namespace stowage {
namespace {

// Two weights pass through one slot: what the executor tells its devices, the whole of it.
TEST(Execute, TellsItsDevicesExactlyTheSchedule) {
  ScheduleBuilder b("slot");
  const auto gpu = b.AddPool("gpu0", Allocator::kArena, Bytes(4096));
  const auto host = b.AddPool("host", Allocator::kPageable, Bytes(4096));
  const Lane in{b.AddQueue("gpu0/in"), {}}, compute{b.AddQueue("gpu0/compute"), {}};
  b.AddIssuer("main", IssuerKind::kNative);
  const BufferId masters = b.AddInitial(host, "masters", BufferKind::kWeights, Bytes(512));
  b.buffer(masters).pinned = true;
  const BufferId slot = b.AddBuffer(gpu, "slot", BufferKind::kStaging, Bytes(256));
  const BufferId sum = b.AddBuffer(gpu, "sum", BufferKind::kTokens, Bytes(256));
  b.BeginPhase("load", {});
  b.BeginPrologue(0);
  b.Allocate(slot);
  b.Allocate(sum);
  b.BeginPhase("decode", {{.name = "use"}});
  b.BeginBody(2, 1);
  Kernel kernel{.kind = KernelKind::kConvert, .name = "use"};
  const auto use = b.AddKernel(kernel);
  const StepId copy = b.Copy(in, {masters, AffineBytes(0, 256), Bytes(256)}, b.Whole(slot));
  const StepId used = b.Compute(compute, use, {b.Whole(slot)}, {b.Whole(sum)}, {}, {{copy}});
  b.step(copy).after = {{used, 1}};
  b.step(copy).name = "copy w";
  b.BeginEpilogue(0);
  b.Wait({used});
  const Schedule schedule = std::move(b).Take();

  RecordedLines log;
  DeviceSet devices = MakeRecordingDevices(schedule, &log);
  const auto run = Execute(schedule, devices, {{{"masters", std::vector<std::byte>(512)}}}, {});
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_EQ(log, (RecordedLines{"arena host masters 512 B pinned",
                                "write host 512 B",
                                "arena gpu0 slot 256 B",
                                "arena gpu0 sum 256 B",
                                "gpu0/in: copy 256 B copy w",
                                "gpu0/in: record 1",
                                "gpu0/compute: wait 1",
                                "gpu0/compute: launch convert use 0",
                                "gpu0/compute: record 2",
                                "gpu0/in: wait 2",
                                "gpu0/in: copy 256 B copy w",
                                "gpu0/in: record 3",
                                "gpu0/compute: wait 3",
                                "gpu0/compute: launch convert use 1",
                                "gpu0/compute: record 4",
                                "wait 4",
                                "drain gpu0",
                                "drain host",
                                "fetch gpu0 256 B",
                                "free host masters",
                                "free gpu0 slot",
                                "free gpu0 sum"}));
}

}  // namespace
}  // namespace stowage
