// Kernels on the host: any split of a pass must pass the checkers; layers:N puts what llama.cpp's -ngl N puts where.
#include "planner/strategy/native/layers.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>
#include <set>

#include "planner/schedule/check.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

std::string Judge(const Lowered& lowered) {
  if (const Status plan = CheckPlan(lowered.plan); !plan) return plan.error().message;
  if (const Status schedule = CheckSchedule(lowered.schedule); !schedule) return schedule.error().message;
  return "";
}

// The layer whose cache a kernel touches, or kNoId.
std::int32_t CacheOf(const NativeKernel& kernel) {
  for (const std::vector<Operand>* operands : {&kernel.reads, &kernel.writes}) {
    for (const Operand& o : *operands) {
      if (o.source == Operand::Source::kKeys || o.source == Operand::Source::kValues) return o.id;
    }
  }
  return kNoId;
}

std::vector<bool> RandomSides(const NativeProgram& program, const std::vector<bool>& caches, std::mt19937_64& random) {
  const std::uint64_t in = 1 + random() % 4;
  std::vector<bool> out;
  for (const NativeKernel& k : program.kernels) {
    const std::int32_t cache = CacheOf(k);
    out.push_back(cache == kNoId ? random() % in == 0 : OnHost(caches, static_cast<std::size_t>(cache)));
  }
  return out;
}

// Any kernels on the host, of what the device reads any rows streamed.
NativeProposal RandomProposal(const NativeModel& native, const Model& model, std::mt19937_64& random) {
  NativeProposal out{.strategy = "random"};
  std::vector<bool> caches;
  for (std::size_t l = 0; l < native.prefill.caches.size(); ++l) caches.push_back(random() % 2 == 0);
  out.prefill_on_host = RandomSides(native.prefill, caches, random);
  out.decode_on_host = RandomSides(native.decode, caches, random);
  FollowKernels(native, model, out);
  if (random() % 2 == 0) return out;
  out.ring = Bytes(131'072);
  out.tile = Bytes(65'536);
  const Readers readers = ReadersOf(native, out, model.tensors.size());
  for (const TensorId t : native.used) {
    if (!native.multiplied[t] || !readers.device[t]) continue;
    const std::int64_t groups = RowsOf(model.tensors[t]) / native.row_step[t];
    out.resident_rows[t] = native.row_step[t] * static_cast<std::int64_t>(random() % (groups + 1));
  }
  return out;
}

TEST(NativeLowering, OfAnyKernelsOnTheHostPassesTheCheckers) {
  EXPECT_TRUE(rc::check([] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const TestTask test = RandomTask(seed);
    std::mt19937_64 random(seed + 7);
    const auto native = RealizeModel(test.task());
    RC_ASSERT(native.ok());
    const Result<Lowered> lowered = LowerNative(**native, test.task(), RandomProposal(**native, test.model, random));
    RC_LOG() << (lowered ? "" : lowered.error().message) << "\n";
    RC_ASSERT(lowered.ok());
    const std::string wrong = Judge(*lowered);
    RC_LOG() << wrong << "\n";
    RC_ASSERT(wrong == "");
  }));
}

TestTask FourLayers() {
  TestTask out{TinyLlamaModel({.layers = 4}), TinyMachine(), {}};
  out.request = {.prompt_tokens = 3, .new_tokens = 5};
  return out;
}

Result<Lowered> LowerLayers(const TestTask& test, std::string_view parameters) {
  return LayersStrategy().lower(test.task(), parameters);
}

// What the host computes in a phase, modules without their kernels, each once.
std::string OnTheHost(const Schedule& schedule, const char* phase) {
  std::string out;
  std::set<std::string> seen;
  for (const Phase& p : schedule.phases) {
    if (p.name != phase) continue;
    for (StepId id = p.prologue.begin; id < p.epilogue.end; ++id) {
      const Step& step = schedule.steps[id];
      if (step.kind != StepKind::kCompute || schedule.queues[step.queue].name != "cpu/0") continue;
      std::string name = schedule.kernels[step.kernel].name;
      const std::size_t layer = name.find("layers.");
      if (layer != std::string::npos) name = name.substr(0, name.find('.', layer + 7));
      if (seen.insert(name).second) out += name + " ";
    }
  }
  return out;
}

TEST(LayersStrategy, ComputesTheOutputAndTheLastLayersOnTheDevice) {
  const auto host = [](const char* parameters) {
    const Result<Lowered> lowered = LowerLayers(FourLayers(), parameters);
    if (!lowered) return lowered.error().message;
    EXPECT_EQ(Judge(*lowered), "") << parameters;
    const std::string decode = OnTheHost(lowered->schedule, "decode");
    EXPECT_EQ(OnTheHost(lowered->schedule, "prefill"), decode);
    return decode;
  };
  const std::string layers = "model.embed_tokens model.layers.0 model.layers.1 model.layers.2 model.layers.3 ";
  EXPECT_EQ(host("0"), layers + "model.norm lm_head argmax ");
  EXPECT_EQ(host("1"), layers);
  EXPECT_EQ(host("3"), "model.embed_tokens model.layers.0 model.layers.1 ");
  EXPECT_EQ(host("5"), "");
  EXPECT_EQ(host("all"), "");
}

Bytes ArenaOf(const Plan& plan, std::string_view name) {
  for (const ArenaPlan& a : plan.arenas) {
    if (a.name == name) return a.bytes;
  }
  return Bytes(0);
}

TEST(LayersStrategy, KeepsWeightsAndCachesBesideTheirLayers) {
  const TestTask test = FourLayers();
  const Result<Lowered> all = LowerLayers(test, "all"), half = LowerLayers(test, "3"), none = LowerLayers(test, "0");
  ASSERT_TRUE(all && half && none);
  EXPECT_EQ(ArenaOf(half->plan, "kv"), ArenaOf(all->plan, "kv") / 2);
  EXPECT_EQ(ArenaOf(half->plan, "host_kv"), ArenaOf(all->plan, "kv") / 2);
  EXPECT_EQ(ArenaOf(none->plan, "kv"), Bytes(0));
  EXPECT_EQ(none->plan.ArenaBytes("gpu0"), Bytes(0));
  for (const TensorPlan& t : half->plan.tensors) {
    const bool front = t.name.find("layers.0.") != std::string::npos || t.name.find("layers.1.") != std::string::npos;
    EXPECT_EQ(t.device, front || t.name == "model.embed_tokens.weight" ? "host" : "gpu0") << t.name;
  }
}

TEST(LayersStrategy, CrossesTheResidualOnceAPassAndTheTokenBack) {
  const Result<Lowered> lowered = LowerLayers(FourLayers(), "3");
  ASSERT_TRUE(lowered);
  std::string copies;
  for (const Phase& p : lowered->schedule.phases) {
    if (p.name != "decode") continue;
    for (StepId id = p.body.begin; id < p.body.end; ++id) {
      const Step& step = lowered->schedule.steps[id];
      if (step.kind == StepKind::kCopy)
        copies += fmt::format("{} {} B\n", lowered->schedule.StepName(id), step.writes[0].bytes.base);
    }
  }
  EXPECT_EQ(copies,
            "copy decode/model.embed_tokens.out 16 B\n"
            "copy tokens_out 4 B\n");
}

TEST(LayersStrategy, NamesWhatIsWrongWithItsParameters) {
  const auto message = [](const char* parameters) {
    const Result<Lowered> lowered = LowerLayers(FourLayers(), parameters);
    return lowered ? "fine" : lowered.error().message;
  };
  EXPECT_EQ(message("most"),
            "layers: how many layers the device computes is a number or 'all', not 'most'; e.g. layers:20, "
            "layers:all:cpu-moe");
  EXPECT_EQ(message("2:gpu-moe"), "layers: experts are 'cpu-moe' or 'n-cpu-moe:M', not 'gpu-moe'");
  EXPECT_EQ(message("2:n-cpu-moe:x"),
            "layers: how many layers' experts the host has is a number or 'all', not 'x'; e.g. layers:20, "
            "layers:all:cpu-moe");
  EXPECT_EQ(message("99999999999999999999"), "fine");
}

TEST(LayersStrategy, SaysHowManyLayersFitWhenThoseAskedForDoNot) {
  TestTask test = FourLayers();
  const Result<Lowered> three = LowerLayers(test, "3");
  ASSERT_TRUE(three) << three.error().message;
  Bytes needed = test.machine.Reserved("gpu0");
  for (const ArenaPlan& a : three->plan.arenas) {
    if (a.pool == "gpu0") needed += a.bytes;
  }
  test.machine.pools[test.machine.FindPool("gpu0")].budget = needed;
  EXPECT_TRUE(LowerLayers(test, "3"));
  const Result<Lowered> four = LowerLayers(test, "4");
  ASSERT_FALSE(four);
  EXPECT_TRUE(four.error().message.starts_with("layers:4 needs ")) << four.error().message;
  EXPECT_TRUE(four.error().message.ends_with("; layers:3 fits")) << four.error().message;
}

}  // namespace
}  // namespace stowage
