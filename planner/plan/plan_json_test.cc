#include "planner/plan/plan_json.h"

#include <gtest/gtest.h>

#include <string>

#include "planner/machine/build_machine.h"

namespace stowage {
namespace {

// A tensor of each kind: resident and streamed rows, a phase of its own, a tie, a scalar.
PlanFile Small() {
  PlanFile f;
  Plan& p = f.plan;
  p.model = "toy";
  p.strategy = "ring:65536:rows";
  p.runtime = "native";
  p.request = {.batch = 2,
               .prompt_tokens = 3,
               .new_tokens = 4,
               .dtype = DType::kBF16,
               .kv = KvCache::kStatic,
               .all_logits = true,
               .loading = {.mode = LoadMode::kNaive, .dtype = DType::kF32, .warm = true}};
  p.request.quantization = "nf4";
  p.budgets = {{"gpu0", Bytes(64)}, {"host", Bytes(100)}};
  p.reservations = {{"gpu0", Bytes(4)}};
  p.arenas = {{"weights", "gpu0", "weights", Bytes(24), Bytes(24)}, {"ring", "gpu0", "staging", Bytes(16), Bytes(0)}};
  p.tensors = {{.name = "a", .dtype = DType::kF32, .shape = {4, 1}, .device = "gpu0", .block = "l0"},
               {.name = "b \"é\"", .dtype = DType::kQ4_K, .shape = {4, 256}, .device = "gpu0"},
               {.name = "c", .dtype = DType::kF32, .shape = {4, 1}, .device = "gpu0", .tied_to = "a"},
               {.name = "s", .dtype = DType::kF16, .shape = {}, .device = "gpu0"}};
  p.tensors[0].parts = {{.pool = "gpu0", .arena = "weights", .offset = Bytes(16), .row_end = 2},
                        {Where::kStreamed, "prefill", "host", "host_weights", Bytes(0), 2, 4}};
  p.tensors[1].scales = Bytes(8);
  p.tensors[1].parts = {{Where::kInPlace, "*", "host", "", Bytes(7), 0, 4}};
  p.tensors[3].parts = {{.pool = "gpu0", .arena = "weights", .row_end = 1}};
  p.placements = {{"x", "activations", Bytes(0), Bytes(12), "prefill", 1, 2},
                  {"kv", "kv", Bytes(4), Bytes(8), "*", 0, 0}};
  p.refused = {"b stays in host memory"};
  f.model = {.source = "/models/toy", .parameters = 12, .weights = Bytes(48), .tensors = 4, .tensors_hash = "00ff"};
  f.model.config = {{"hidden_size", "4"}, {"rope_theta", "10000"}};
  f.machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB", .disk = "1TB"}, HostFacts());
  return f;
}

std::string Complaint(const std::string& text) {
  const Result<PlanFile> file = ReadPlanJson("p.json", text);
  return file ? "" : file.error().message;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(PlanJson, ReadsBackWhatItWrote) {
  const PlanFile file = Small();
  const Result<PlanFile> back = ReadPlanJson("p.json", WritePlanJson(file));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(Dump(back->plan), Dump(file.plan));
  EXPECT_EQ(back->model, file.model);
  EXPECT_EQ(back->plan.request.quantization, "nf4");
  EXPECT_EQ(back->plan.request.kv, KvCache::kStatic);
  EXPECT_EQ(back->plan.tensors[1].bytes(), file.plan.tensors[1].bytes());
  EXPECT_EQ(WritePlanJson(*back), WritePlanJson(file));
}

TEST(PlanJson, RefusesAnUnknownVersionAndNamesBoth) {
  EXPECT_EQ(Complaint(Replaced(WritePlanJson(Small()), "\"stowage_plan\": 2", "\"stowage_plan\": 1")),
            "p.json:2:19: plan version 1 is not 2, the one this program reads");
}

TEST(PlanJson, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(Complaint("{"), "p.json:1:2: expected a string");
  EXPECT_EQ(Complaint("[]"), "p.json:1:1: expected an object");
  EXPECT_EQ(Complaint("{}"), "p.json:1:3: a plan has no 'stowage_plan'");
  EXPECT_EQ(Complaint("{\"stowage_plan\": 2, \"model\": 3}"), "p.json:1:30: expected an object");
  const std::string good = WritePlanJson(Small());
  EXPECT_EQ(Complaint(good.substr(0, good.size() / 2)).substr(0, 7), "p.json:");
  const auto with = [&](const char* from, const char* to) {
    const std::string all = Complaint(Replaced(good, from, to));
    return all.substr(all.find(": ") + 2);  // the line is the writer's business
  };
  EXPECT_EQ(with("\"resident\"", "\"nearby\""), "'nearby' is not resident, streamed, in_place or computed");
  EXPECT_EQ(with("\"dtype\": \"f", "\"dtype\": \"g"), "'gp32' is no dtype");
  EXPECT_EQ(with("\"strategy\"", "\"strategie\""), "a plan has no member 'strategie'; did you mean 'strategy'?");
  EXPECT_EQ(with("\"offset\": 16", "\"offset\": -16"), "expected an integer that is not negative");
}

// Sums and products of what was read must not overflow: everything is bounded where it is read.
TEST(PlanJson, RefusesNumbersThatCouldOverflow) {
  const std::string good = WritePlanJson(Small());
  const auto with = [&](const char* from, const char* to) {
    const std::string all = Complaint(Replaced(good, from, to));
    return all.substr(all.find(": ") + 2);
  };
  EXPECT_EQ(with("\"offset\": 16", "\"offset\": 9000000000000000000"),
            "9000000000000000000 is more than 1125899906842624");
  EXPECT_EQ(with("\"offset\": 16", "\"offset\": 99999999999999999999"), "number beyond 2^63");
  EXPECT_EQ(with("    4,\n    256", "    1000000000,\n    1000000000"), "a shape with more elements than any memory");
  EXPECT_EQ(with("\"batch\": 2", "\"batch\": 100000"), "100000 is more than 65536");
  EXPECT_EQ(with("      2,\n      4", "      2,\n      5"), "rows [2, 5) of tensor 'a', which has 4");
  EXPECT_EQ(with("      2,\n      4", "      4,\n      2"), "rows [4, 2) of tensor 'a', which has 4");
}

TEST(Fingerprint, NamesWhatChangedAndNothingElse) {
  const ModelFingerprint then = Small().model;
  ModelFingerprint now = then;
  now.source = "elsewhere";
  EXPECT_EQ(Changes(then, now), std::vector<std::string>{});
  now.config[1].second = "500000";
  now.parameters = 13;
  now.tensors_hash = "0100";
  EXPECT_EQ(Changes(then, now),
            (std::vector<std::string>{"rope_theta is 500000, was 10000", "the number of parameters is 13, was 12",
                                      "the hash of names, dtypes and shapes is 0100, was 00ff"}));
}

}  // namespace
}  // namespace stowage
