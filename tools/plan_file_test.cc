// Plan files from `plan --out` to what simulate, execute and inspect make of them.
#include "tools/common/plan_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "planner/plan/diff.h"
#include "planner/schedule/dump.h"
#include "planner/strategy/registry.h"
#include "planner/zoo/zoo.h"
#include "sim/rank/rank.h"
#include "tools/common/write_file.h"
#include "tools/diff_report.h"
#include "tools/dump_report.h"
#include "tools/explain_report.h"
#include "tools/fabricate_model.h"

namespace stowage {
namespace {

// A folder with a model of two layers, and plans of it; removed at the end.
class PlanFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "stowage_plan_XXXXXX";
    folder_ = mkdtemp(name.data());
    Make("tiny", {.layers = 2, .hidden = 256, .vocab = 512});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string In(const std::string& name) const { return folder_ + "/" + name; }

  void Make(const std::string& name, const FabricateOptions& options) {
    const Result<Model> base = ZooModel("llama-8b");
    ASSERT_TRUE(base);
    const Result<Model> model = ShrinkModel(*base, options);
    ASSERT_TRUE(model) << model.error().message;
    const auto files = WriteModelFolder(*model, In(name), options);
    ASSERT_TRUE(files) << files.error().message;
  }

  LoadedTask Task(const std::string& gpu, const std::string& model = "tiny") const {
    TaskOptions options{.model = In(model)};
    options.machine = {.gpus = {gpu}, .cpu = "1GB", .disk = "1GB"};
    options.request = {.batch = 1, .prompt_tokens = 8, .new_tokens = 6};
    Result<LoadedTask> task = Load(options);
    EXPECT_TRUE(task) << task.error().message;
    // A host that is of no help: what does not fit is streamed.
    Machine& machine = task->machine;
    machine.resources[machine.FindResource("host.cores")].compute->memory = BytesPerSecond(1e8);
    return *std::move(task);
  }

  // What `plan --out` does.
  void Plan(const LoadedTask& task, const std::string& strategy, const std::string& path) const {
    const std::vector<Strategy> all = AllStrategies();
    const auto choice = FindStrategy(all, strategy);
    ASSERT_TRUE(choice) << choice.error().message;
    const std::vector<Ranked> ranked = Rank({*choice->strategy}, task.task());
    ASSERT_TRUE(ranked[0].fits) << ranked[0].why_not;
    ASSERT_TRUE(WriteFile(path, WritePlanJson(MakePlanFile(*ranked[0].plan, task, In("tiny")))));
  }

  static std::string Complaint(const std::string& path, const std::string& model = "") {
    const Result<LoadedPlan> loaded = LoadPlan(path, model);
    return loaded ? "" : loaded.error().message;
  }

  std::string folder_;
};

TEST_F(PlanFileTest, APlanIsLoweredToTheScheduleOfItsStrategyInBothRuntimes) {
  int lowered = 0;
  for (const Strategy& strategy : AllStrategies()) {
    const LoadedTask task = Task(strategy.name == "ring" ? "1.5MB" : "40MB");
    const std::string path = In(strategy.name + ".json");
    if (!Rank({strategy}, task.task())[0].fits) continue;  // wants another machine
    ++lowered;
    Plan(task, strategy.name, path);
    const Result<LoadedPlan> loaded = LoadPlan(path, "");
    ASSERT_TRUE(loaded) << loaded.error().message;
    const Result<Lowered> again = LowerBest(strategy, task.task(), "");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(Dump(loaded->lowered.schedule), Dump(again->schedule)) << strategy.name;
    EXPECT_TRUE(CheckLowered(loaded->lowered)) << strategy.name;
  }
  EXPECT_GE(lowered, 4);
}

TEST_F(PlanFileTest, AModelThatChangedIsNamedWithWhatChanged) {
  Plan(Task("40MB"), "resident", In("p.json"));
  Make("other", {.layers = 3, .hidden = 256, .vocab = 512});
  EXPECT_EQ(Complaint(In("p.json"), In("tiny")), "");
  EXPECT_NE(Complaint(In("p.json"), In("other"))
                .find("other is not the model the plan was made for: num_hidden_layers is 3, was 2; the number of "
                      "parameters is "),
            std::string::npos)
      << Complaint(In("p.json"), In("other"));
}

TEST_F(PlanFileTest, APlanThatItsStrategyDoesNotMakeIsRefusedWithTheFirstDifference) {
  Plan(Task("40MB"), "resident", In("p.json"));
  Result<PlanFile> file = ReadPlanFile(In("p.json"));
  ASSERT_TRUE(file) << file.error().message;
  for (TensorPlan& t : file->plan.tensors) {
    if (t.name != "model.layers.1.mlp.up_proj.weight") continue;
    t.parts[0].where = Where::kStreamed;
    t.parts[0].pool = "host";
    t.parts[0].arena = "";
  }
  ASSERT_TRUE(WriteFile(In("q.json"), WritePlanJson(*file)));
  EXPECT_EQ(Complaint(In("q.json")).substr(In("q.json").size()),
            ": resident does not make this plan: 'model.layers.1.mlp.up_proj.weight' moved (458.8 kB, streamed host -> "
            "458.8 kB, resident gpu0/weights). It was changed by hand, or made by another version; plan again");
}

TEST_F(PlanFileTest, APlanThatBreaksARuleIsRefusedBeforeTheModelIsRead) {
  Plan(Task("40MB"), "resident", In("p.json"));
  Result<PlanFile> file = ReadPlanFile(In("p.json"));
  ASSERT_TRUE(file) << file.error().message;
  file->plan.tensors[0].parts.clear();
  file->model.source = "/no/such/folder";
  ASSERT_TRUE(WriteFile(In("q.json"), WritePlanJson(*file)));
  EXPECT_EQ(Complaint(In("q.json")), In("q.json") + ": plan: tensor 'model.embed_tokens.weight' is nowhere");
}

TEST_F(PlanFileTest, DiffSaysWhatMovedAndWhatEachPoolHolds) {
  Plan(Task("40MB"), "resident", In("a.json"));
  Plan(Task("1.5MB"), "ring", In("b.json"));
  const Result<PlanFile> a = ReadPlanFile(In("a.json"));
  const Result<PlanFile> b = ReadPlanFile(In("b.json"));
  ASSERT_TRUE(a && b);
  EXPECT_EQ(DiffText(DiffPlans(a->plan, a->plan)), "the plans are equal\n");
  const PlanDiff diff = DiffPlans(a->plan, b->plan);
  EXPECT_FALSE(diff.Same());
  Bytes moved_out;
  for (const PlanChange& c : diff.tensors) EXPECT_NE(c.kind, ChangeKind::kAppeared) << c.name;
  for (const TotalChange& t : diff.arenas) {
    if (t.name == "gpu0/weights") moved_out += t.before.value() - t.after.value();
  }
  EXPECT_GT(moved_out, Bytes(0));
  const std::string text = DiffText(diff);
  EXPECT_NE(text.find("strategy: resident -> ring:"), std::string::npos) << text;
  EXPECT_NE(text.find("tensors moved:\n"), std::string::npos) << text;
}

TEST_F(PlanFileTest, ExplainCountsWhatABlockStreamsAndWhatWouldHaveToLeave) {
  Plan(Task("1.5MB"), "ring", In("p.json"));
  const Result<PlanFile> file = ReadPlanFile(In("p.json"));
  ASSERT_TRUE(file);
  Bytes streamed, total;
  for (const TensorPlan& t : file->plan.tensors) {
    if (t.block != "model.layers.0") continue;
    total += t.bytes();
    for (const Residency& r : t.parts) {
      if (r.where == Where::kStreamed) streamed += t.bytes() / t.Rows() * (r.row_end - r.row_begin);
    }
  }
  const Result<ExplainReport> report = Explain(*file, "model.layers.0");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->kind, "block");
  EXPECT_EQ(report->streamed, streamed);
  EXPECT_EQ(report->streamed + report->resident, total);
  EXPECT_EQ(Explain(*file, "model.layer.0").error().message,
            "the plan has no block, module or tensor 'model.layer.0'; did you mean 'model.layers.0'?");
}

TEST_F(PlanFileTest, DumpShowsTheStepsOfAPhaseUnderItsHeadings) {
  Plan(Task("40MB"), "resident", In("p.json"));
  const Result<LoadedPlan> loaded = LoadPlan(In("p.json"), "");
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Schedule& s = loaded->lowered.schedule;
  EXPECT_EQ(*ScheduleText(s, {}), Dump(s));
  const Phase& decode = s.phases.back();
  const StepId first = decode.body.begin;
  const Result<std::string> one = ScheduleText(s, {.phase = "decode", .steps = std::pair(first, first + 1)});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->substr(0, one->find("\n  ")), "phase decode iterations=" + std::to_string(decode.iterations) +
                                                   "\nbody passes=" + std::to_string(decode.body.passes));
  EXPECT_EQ(std::count(one->begin(), one->end(), '\n'), 3);
  EXPECT_EQ(ScheduleText(s, {.phase = "encode"}).error().message, "no phase 'encode'; there are load, prefill, decode");
  EXPECT_FALSE(ScheduleText(s, {.steps = std::pair(1'000'000, 1'000'001)}));
}

TEST(StepRange, IsReadAsHalfOpen) {
  EXPECT_EQ(*ParseStepRange("10:20"), std::pair(std::int64_t{10}, std::int64_t{20}));
  EXPECT_EQ(ParseStepRange(":20")->first, 0);
  EXPECT_EQ(ParseStepRange("10:")->first, 10);
  EXPECT_EQ(ParseStepRange("10").error().message, "must be FIRST:END, such as 10:20, not '10'");
  EXPECT_FALSE(ParseStepRange("a:b"));
}

}  // namespace
}  // namespace stowage
