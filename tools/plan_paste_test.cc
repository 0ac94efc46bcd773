#include "tools/plan_paste.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/machine/build_machine.h"
#include "planner/strategy/registry.h"
#include "planner/zoo/zoo.h"
#include "tools/plan_quick.h"

namespace stowage {
namespace {

struct Case {
  Model model;
  Machine machine;
  Request request = {.prompt_tokens = 8, .new_tokens = 8};
  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
};

Case On(const std::string& gpu, Model model) {
  Result<Machine> machine = BuildMachine({.gpus = {gpu}, .cpu = "30GB"}, {});
  EXPECT_TRUE(machine.ok());
  machine->reservations.clear();
  return {std::move(model), *std::move(machine)};
}

Case On(const std::string& gpu, const std::string& zoo_name) {
  Result<Model> model = ZooModel(zoo_name);
  EXPECT_TRUE(model.ok());
  return On(gpu, *std::move(model));
}

std::string TextOf(const PasteBlock& block) { return Join(block.lines, "\n"); }

TEST(Paste, AModelThatFitsGoesToOneDevice) {
  const std::vector<PasteBlock> blocks = PasteFor(On("24GB", "llama-8b").task(), true);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(TextOf(blocks[0]),
            "AutoModelForCausalLM.from_pretrained(\n"
            "    \"meta-llama/Llama-3.1-8B\",\n"
            "    dtype=torch.bfloat16,\n"
            "    device_map={\"\": 0},\n"
            ")");
}

// 15 GB less the cache of 15 positions (1,966,080 B), 8 rows of logits and hidden states (2,117,632 B), the table of
// inverse frequencies (256 B) and one table of 1,050,673,152 B.
TEST(Paste, AModelThatDoesNotFitGetsBudgetsForItsWeights) {
  const std::vector<PasteBlock> blocks = PasteFor(On("15GB", "llama-8b").task(), false);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(TextOf(blocks[0]),
            "AutoModelForCausalLM.from_pretrained(\n"
            "    \"meta-llama/Llama-3.1-8B\",\n"
            "    dtype=torch.bfloat16,\n"
            "    device_map=\"auto\",\n"
            "    max_memory={0: \"13.94GB\", \"cpu\": \"30.00GB\"},\n"
            ")");
  ASSERT_EQ(blocks[0].notes.size(), 2u);
  EXPECT_EQ(blocks[0].notes[1],
            "The copies alone take 341.2 ms a token, at 6.20 GB/s; plan --strategy device-map:auto shows the map.");
}

// Most of its checkpoint is in a format that nothing computes with.
TEST(Paste, AQuantizedCheckpointIsLoadedAsItIs) {
  const std::string text = TextOf(PasteFor(On("80GB", "gpt-oss-20b").task(), false)[0]);
  EXPECT_NE(text.find("    dtype=\"auto\",\n"), std::string::npos) << text;
}

std::string QuantizedText(const char* scheme, bool resident) {
  Case c = On(resident ? "24GB" : "8GB", "llama-8b");
  c.model.quantization = scheme;
  const PasteBlock block = PasteFor(c.task(), false)[0];
  const auto line = std::find_if(block.lines.begin(), block.lines.end(),
                                 [](const std::string& l) { return l.find("quantization_config") != l.npos; });
  return line == block.lines.end() ? block.notes.at(0) : *line;
}

TEST(Paste, AFormatThatTransformersMakesIsAskedForInItsConfig) {
  EXPECT_EQ(QuantizedText("int8", true), "    quantization_config=BitsAndBytesConfig(load_in_8bit=True),");
  EXPECT_EQ(QuantizedText("nf4-double", false),
            "    quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\"nf4\", "
            "bnb_4bit_compute_dtype=torch.bfloat16, bnb_4bit_use_double_quant=True, "
            "llm_int8_enable_fp32_cpu_offload=True),");
  EXPECT_EQ(QuantizedText("q4_k_m", true), "from_pretrained does not make q4_k_m: name a checkpoint that holds it.");
}

// 4 blocks of 100 bytes, 60 of them experts when asked for; a table of 50 that is the head too unless there is one.
Model Gguf(bool experts, bool head) {
  Model model{.name = "g", .family = "gguf/x"};
  model.modules.push_back({.name = "", .class_name = "Gguf"});
  const auto add = [&](const std::string& name, std::int64_t bytes) {
    model.tensors.push_back({.name = name, .shape = {bytes}, .dtype = DType::kU8, .module = 0});
  };
  add("token_embd.weight", 50);
  for (int i = 0; i < 4; ++i) {
    const std::string block = "blk." + std::to_string(i);
    add(block + ".attn_q.weight", experts ? 40 : 100);
    if (experts) add(block + ".ffn_up_exps.weight", 60);
  }
  add("output_norm.weight", 5);
  if (head) add("output.weight", 30);
  return model;
}

LlamaCppSplit Split(std::int64_t budget, const Model& model) {
  Case c = On("1GB", model);
  c.machine.pools[c.machine.FindPool("gpu0")].budget = Bytes(budget);
  return SplitForLlamaCpp(c.task());
}

TEST(LlamaCpp, CountsTheOutputFirstAndThenTheLastBlocks) {
  const Model model = Gguf(false, true);
  EXPECT_EQ(Split(34, model).gpu_layers, 0);
  EXPECT_EQ(Split(35, model).gpu_layers, 1);
  EXPECT_EQ(Split(134, model).gpu_layers, 1);
  EXPECT_EQ(Split(135, model).gpu_layers, 2);
  EXPECT_EQ(Split(435, model).gpu_layers, 5);
  EXPECT_EQ(Split(435, model).layers, 5);
  EXPECT_EQ(Split(435, model).gpu, Bytes(435));
}

TEST(LlamaCpp, ATableThatServesAsHeadIsCopied) {
  const Model model = Gguf(false, false);
  EXPECT_EQ(Split(54, model).gpu_layers, 0);
  EXPECT_EQ(Split(55, model).gpu_layers, 1);
}

TEST(LlamaCpp, ExpertsOfTheFirstBlocksMakeRoomForAllLayers) {
  const Model model = Gguf(true, true);
  const LlamaCppSplit most = Split(434, model), dense = Split(195, model), less = Split(194, model);
  EXPECT_EQ(most.gpu_layers, 5);
  EXPECT_EQ(most.expert_blocks, 1);
  EXPECT_EQ(most.gpu, Bytes(375));
  EXPECT_EQ(dense.gpu_layers, 5);
  EXPECT_EQ(dense.expert_blocks, 4);
  EXPECT_EQ(less.gpu_layers, 2);
  EXPECT_EQ(less.expert_blocks, 0);
}

TEST(LlamaCpp, TheCommandNamesTheBlocksWhoseExpertsStay) {
  Case c = On("1GB", Gguf(true, true));
  c.machine.pools[c.machine.FindPool("gpu0")].budget = Bytes(350);
  const std::vector<PasteBlock> blocks = PasteFor(c.task(), false);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(TextOf(blocks[0]), R"(llama-cli -m g -c 16 -ngl 5 -ot "blk\.(0|1)\.ffn_.*_exps\.=CPU")");
}

// ---- plan_quick.h ----

TEST(Quick, OfAFamilyWithoutOperationsSaysWhatIsKnown) {
  Model model = *ZooModel("llama-3.2-1b");
  model.family = "someone's own";
  const Case c = On("15GB", std::move(model));
  const std::optional<std::string> reason = OperationsUnknown(c.task());
  ASSERT_TRUE(reason.has_value());
  const PlanReport report = QuickReportOf(c.task(), AllStrategies(), PlanBasis::kSizesOnly, *reason);
  for (const StrategyLine& line : report.strategies) {
    EXPECT_TRUE(line.fits) << line.name;
    EXPECT_FALSE(line.first_token || line.per_token);
  }
  ASSERT_EQ(report.facts.size(), 2u);
  EXPECT_NE(report.facts[1].find("all of it fits"), std::string::npos) << report.facts[1];
}

TEST(Quick, SaysHowManyBlocksFitWhereNotAllDo) {
  const Case c = On("8GB", "llama-8b");
  const PlanReport report = QuickReportOf(c.task(), AllStrategies(), PlanBasis::kSizesOnly, "no reason");
  ASSERT_EQ(report.facts.size(), 2u);
  EXPECT_EQ(report.facts[0],
            "32 blocks take 13.96 GB, the largest is model.layers.0 (LlamaDecoderLayer) with 436.2 MB; 2.10 GB are "
            "outside of blocks.");
  EXPECT_EQ(
      report.facts[1],
      "weights 16.06 GB + cache 1.97 MB + activations about 589.8 kB = 16.06 GB of gpu0's 8.00 GB: 8.06 GB short; "
      "13 of 32 blocks fit beside the rest.");
}

TEST(Quick, OfAKnownFamilyHasEveryStrategyBestFirst) {
  const Case c = On("15GB", "llama-8b");
  EXPECT_FALSE(OperationsUnknown(c.task()).has_value());
  const PlanReport report = QuickReportOf(c.task(), AllStrategies(), PlanBasis::kClosedForms);
  EXPECT_EQ(report.strategies.size(), AllStrategies().size());
  EXPECT_TRUE(report.strategies[0].name.starts_with("ring:")) << report.strategies[0].name;
  EXPECT_TRUE(report.strategies[0].per_token.has_value());
  EXPECT_TRUE(report.chosen.empty());
}

}  // namespace
}  // namespace stowage
