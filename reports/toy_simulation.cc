#include "reports/toy_simulation.h"

#include <utility>

#include "planner/schedule/builder.h"

namespace stowage {
namespace {

struct Toy {
  Schedule schedule;
  std::vector<StepSpan> spans;
};

Toy MakeToy() {
  ScheduleBuilder b("toy");
  const std::int32_t disk = b.AddPool("disk", Allocator::kPageable, Bytes(0));
  const std::int32_t gpu = b.AddPool("gpu0", Allocator::kArena, Bytes(1000));
  const Lane from_disk{b.AddQueue("disk0/0"), {b.AddResource("disk0")}};
  const Lane in{b.AddQueue("gpu0/in"), {b.AddResource("gpu0.h2d")}};
  const Lane compute{b.AddQueue("gpu0/compute"), {b.AddResource("gpu0.sm")}};
  b.AddIssuer("main", IssuerKind::kNative);
  const std::int32_t first = b.AddFile("shards/model-00001-of-00002.safetensors");
  const std::int32_t second = b.AddFile("shards/model-00002-of-00002.safetensors");
  const BufferId file_a = b.AddFileBuffer(disk, "a on disk", first, 0, Bytes(400));
  const BufferId file_b = b.AddFileBuffer(disk, "b on disk", second, 0, Bytes(300));
  const BufferId weights = b.AddBuffer(gpu, "weights", BufferKind::kWeights, AffineBytes(700));
  Kernel mm;
  mm.name = "mm";
  const std::int32_t kernel = b.AddKernel(mm);

  Toy toy;
  const auto ran = [&](StepId step, std::int64_t iteration, double start, double end) {
    toy.spans.push_back({step, iteration, Seconds(start), Seconds(start), Seconds(end)});
  };
  b.BeginPhase("load", {});
  b.BeginPrologue(0);
  ran(b.Read(from_disk, b.Whole(file_a), b.Whole(weights)), 0, 0, 1);
  ran(b.Read(from_disk, b.Whole(file_b), b.Whole(weights)), 0, 1, 2);
  ran(b.Copy(in, b.Whole(weights), b.Whole(weights)), 0, 1, 2);
  ran(b.Copy(in, b.Whole(weights), b.Whole(weights)), 0, 2, 3);
  b.BeginPhase("decode", {});
  b.BeginBody(/*iterations=*/3, /*passes=*/1);
  const StepId copy = b.Copy(in, b.Whole(weights), b.Whole(weights));
  const StepId multiply = b.Compute(compute, kernel, {}, {});
  b.step(copy).name = "copy <b>";
  for (int i = 0; i < 3; ++i) {
    ran(copy, i, 4 + i, 4.5 + i);
    ran(multiply, i, 4 + i, 5 + i);
  }
  toy.schedule = std::move(b).Take();
  return toy;
}

}  // namespace

SimulationReport ToySimulation() {
  Toy toy = MakeToy();
  SimulationReport r;
  r.model = {.name = "toy",
             .family = "llama",
             .parameters = 350,
             .weights = Bytes(700),
             .dtype = "bf16",
             .layers = 2,
             .kv_per_token = Bytes(8),
             .source = "a test",
             .notes = {}};
  r.request = {.prompt_tokens = 4, .new_tokens = 4};
  r.machine.name = "a card of 1 kB";
  r.machine.pools = {{"gpu0", PoolKind::kGpu, Bytes(1000), std::nullopt}};
  r.machine.resources = {{"gpu0.sm", false, ComputeRate{}, std::nullopt, Origin::kMeasured},
                         {"gpu0.h2d", false, std::nullopt, TransferRate{}, Origin::kAssumed, {}, {0.5, 2}}};
  r.strategy = "ring:100";
  r.schedule = std::move(toy.schedule);
  Timeline& t = r.timeline;
  t.spans = std::move(toy.spans);
  t.length = Seconds(7);
  t.phases = {{"load", 0, Seconds(0), Seconds(3)}, {"decode", 3, Seconds(3), Seconds(4)}};
  t.pools = {{"gpu0",
              Bytes(1000),
              {Bytes(800),
               Seconds(3),
               "allocate ring",
               "decode",
               {{"weights", "weights", Bytes(700)}, {"ring", "staging", Bytes(100)}}},
              {{Seconds(0), Bytes(400)}, {Seconds(1), Bytes(700)}, {Seconds(3), Bytes(800)}}}};
  t.resources = {{"disk0", Seconds(2), Seconds(5), {{"nothing left to do", Seconds(5)}}},
                 {"gpu0.h2d", Seconds(3.5), Seconds(3.5), {{"waiting for compute", Seconds(3.5)}}},
                 {"gpu0.sm", Seconds(3), Seconds(4), {{"waiting for a copy", Seconds(4)}}}};
  r.low = r.high = t;
  r.low->length = Seconds(5);
  r.low->phases[0].seconds = Seconds(1);
  r.high->length = Seconds(9);
  r.high->phases[0].seconds = Seconds(5);
  r.would_help = {"gpu0.h2d twice as fast: 3 s in place of 4 s after loading (25 % less)."};
  return r;
}

}  // namespace stowage
