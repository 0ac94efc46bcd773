#include "planner/realize/torch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <set>
#include <sstream>

#include "planner/realize/library_workspace.h"
#include "planner/realize/testing/trace_golden.h"

namespace stowage {
namespace {

using testing::HasSubstr;

constexpr const char* kGoldens = "tests/goldens/torch_traces";

// A Llama from its facts, as planner/families builds it from a config.
class LlamaBuilder {
 public:
  LlamaBuilder(TransformerShape shape, bool head, bool tied, bool attention_bias, bool mlp_bias, DType dtype)
      : dtype_(dtype) {
    model_.name = "test";
    model_.family = "llama";
    model_.class_name = head ? "LlamaForCausalLM" : "LlamaModel";
    model_.shape = shape;
    const ModuleId root = Add("", kNoId);
    const ModuleId base = head ? Add("model", root) : root;
    const TensorId table = Weight(Add("embed_tokens", base), "weight", {shape.vocab, shape.hidden});
    const ModuleId layers = Add("layers", base);
    for (std::int64_t i = 0; i < shape.layers; ++i) Layer(Add(std::to_string(i), layers), attention_bias, mlp_bias);
    Weight(Add("norm", base), "weight", {shape.hidden});
    const ModuleId rotary = Add("rotary_emb", base);
    for (const char* name : {"inv_freq", "original_inv_freq"}) {
      const TensorId id = Weight(rotary, name, {shape.head_dim / 2});
      model_.tensors[id].dtype = DType::kF32;
      model_.tensors[id].buffer = true;
      model_.tensors[id].persistent = false;
    }
    if (head) {
      const TensorId weight = Weight(Add("lm_head", root), "weight", {shape.vocab, shape.hidden});
      if (tied) model_.tensors[weight].tied_to = table;
    }
  }
  Model Build() && { return std::move(model_); }

 private:
  void Layer(ModuleId layer, bool attention_bias, bool mlp_bias) {
    const TransformerShape& s = model_.shape;
    const ModuleId attention = Add("self_attn", layer);
    Linear(Add("q_proj", attention), s.hidden, s.heads * s.head_dim, attention_bias);
    Linear(Add("k_proj", attention), s.hidden, s.kv_heads * s.head_dim, attention_bias);
    Linear(Add("v_proj", attention), s.hidden, s.kv_heads * s.head_dim, attention_bias);
    Linear(Add("o_proj", attention), s.heads * s.head_dim, s.hidden, attention_bias);
    const ModuleId mlp = Add("mlp", layer);
    Linear(Add("gate_proj", mlp), s.hidden, s.intermediate, mlp_bias);
    Linear(Add("up_proj", mlp), s.hidden, s.intermediate, mlp_bias);
    Linear(Add("down_proj", mlp), s.intermediate, s.hidden, mlp_bias);
    Add("act_fn", mlp);
    Weight(Add("input_layernorm", layer), "weight", {s.hidden});
    Weight(Add("post_attention_layernorm", layer), "weight", {s.hidden});
  }

  ModuleId Add(const std::string& name, ModuleId parent) {
    const auto id = static_cast<ModuleId>(model_.modules.size());
    const std::string prefix = parent == kNoId || parent == 0 ? "" : model_.modules[parent].name + ".";
    model_.modules.push_back(
        {.name = prefix + name, .class_name = "", .parent = parent, .children = {}, .tensors = {}});
    if (parent != kNoId) model_.modules[parent].children.push_back(id);
    return id;
  }

  void Linear(ModuleId module, std::int64_t in, std::int64_t out, bool bias) {
    Weight(module, "weight", {out, in});
    if (bias) Weight(module, "bias", {out});
  }

  TensorId Weight(ModuleId module, const std::string& name, Shape shape) {
    const auto id = static_cast<TensorId>(model_.tensors.size());
    Tensor tensor;
    tensor.name = model_.modules[module].name + "." + name;
    tensor.shape = std::move(shape);
    tensor.dtype = dtype_;
    tensor.module = module;
    model_.tensors.push_back(std::move(tensor));
    model_.modules[module].tensors.push_back(id);
    return id;
  }

  DType dtype_;
  Model model_;
};

Model ModelOf(const TraceGolden& golden) {
  TransformerShape shape;
  shape.layers = golden.Number("layers");
  shape.hidden = golden.Number("hidden");
  shape.intermediate = golden.Number("intermediate");
  shape.heads = golden.Number("heads");
  shape.kv_heads = golden.Number("kv_heads");
  shape.head_dim = golden.Number("head_dim");
  shape.vocab = golden.Number("vocab");
  return LlamaBuilder(shape, golden.facts.at("class") == "LlamaForCausalLM", golden.Number("tied") != 0,
                      golden.Number("attention_bias") != 0, golden.Number("mlp_bias") != 0,
                      *ParseDType(golden.facts.at("dtype")))
      .Build();
}

Pass PassOf(const TraceGolden& golden) {
  const std::int64_t past = golden.Number("past");
  return {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
          .batch = golden.Number("batch"),
          .tokens = golden.Number("tokens"),
          .past = past,
          .past_step = past > 0 ? 1 : 0,
          .keeps_cache = golden.facts.count("cached") == 0};
}

Model SmallLlama() {
  return LlamaBuilder(
             {.layers = 2, .hidden = 64, .intermediate = 96, .heads = 4, .kv_heads = 2, .head_dim = 16, .vocab = 100},
             true, true, false, false, DType::kBF16)
      .Build();
}

// What dispatch_model does when the modules of `names` ("a,b") are on the cpu.
TorchProgram Dispatch(TorchProgram program, const Model& model, const std::string& names) {
  std::vector<bool> offloaded;
  for (const Tensor& t : model.tensors) {
    std::istringstream list(names);
    bool inside = false;
    for (std::string name; std::getline(list, name, ',');) inside = inside || t.name.starts_with(name + ".");
    offloaded.push_back(inside && !t.buffer);
  }
  return AddDispatchHooks(std::move(program), model, offloaded);
}

TorchProgram Realize(const Model& model, const Pass& pass, bool offload) {
  Result<TorchProgram> program = RealizeTorch(model, pass);
  EXPECT_TRUE(program.ok()) << program.error().message;
  return offload ? AddSequentialOffloadHooks(*std::move(program), model) : *std::move(program);
}

class RecordedTrace : public testing::TestWithParam<std::string> {};

TEST_P(RecordedTrace, IsEqualEventByEvent) {
  const TraceGolden golden = ReadTraceGolden(kGoldens, GetParam());
  const Model model = ModelOf(golden);
  TorchProgram program = Realize(model, PassOf(golden), golden.facts.at("offload") == "sequential");
  if (golden.facts.at("offload") == "dispatch") {
    program = Dispatch(std::move(program), model, golden.facts.at("offloaded"));
  }
  const TorchTrace trace = RecorderForm(program, model, 0, golden.Number("modules") != 0);
  ExpectSameEvents(EventLines(trace), golden.events());
  ExpectSameBytes(trace, golden);
  EXPECT_EQ(trace.parameters.value(), golden.Number("parameters_bytes"));
}

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedTrace, testing::ValuesIn(TraceGoldenNames(kGoldens)), TraceTestName);

TEST(TorchProgramTest, IterationKOfADecodePhaseIsOneDecodeOverACacheOfKMorePositions) {
  const Model model = SmallLlama();
  const TorchProgram phase =
      Realize(model, {.kind = Pass::Kind::kDecode, .batch = 3, .tokens = 1, .past = 20, .past_step = 1}, true);
  const TorchProgram later = Realize(model, {.kind = Pass::Kind::kDecode, .batch = 3, .tokens = 1, .past = 27}, true);
  const TorchTrace a = RecorderForm(phase, model, 7), b = RecorderForm(later, model, 0);
  EXPECT_EQ(a.events, b.events);
  EXPECT_EQ(a.peak_live, b.peak_live);
  EXPECT_NE(a.events, RecorderForm(phase, model, 6).events);
  ASSERT_EQ(phase.events.size(), later.events.size());
  for (std::size_t i = 0; i < phase.events.size(); ++i) {
    EXPECT_EQ(phase.events[i].moved.at(7), later.events[i].moved.at(0));
    EXPECT_EQ(phase.events[i].flops.at(7), later.events[i].flops.at(0));
  }
}

TEST(TorchProgramTest, TheCacheThatAPassKeepsHasTheSizesOfTheNextPasssPast) {
  const Model model = SmallLlama();
  const TorchProgram prefill = Realize(model, {.batch = 2, .tokens = 9}, false);
  const TorchProgram decode =
      Realize(model, {.kind = Pass::Kind::kDecode, .batch = 2, .tokens = 1, .past = 9, .past_step = 1}, false);
  ASSERT_EQ(prefill.cache.size(), 4u);
  ASSERT_EQ(decode.past.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(prefill.storages[prefill.cache[i]].bytes.at(0), decode.storages[decode.past[i]].bytes.at(0));
    EXPECT_EQ(decode.storages[decode.cache[i]].bytes.at(4), decode.storages[decode.past[i]].bytes.at(5));
  }
}

// The referee of the interpreter: whoever reads or writes a storage does it while the storage is alive, and nothing
// leaks.
TEST(TorchProgramTest, KernelsTouchOnlyStoragesThatAreAlive) {
  const Model model = SmallLlama();
  for (const bool offload : {false, true}) {
    for (const std::int64_t past : {0, 5}) {
      const TorchProgram program = Realize(model, {.batch = 1, .tokens = past > 0 ? 1 : 6, .past = past}, offload);
      std::set<StorageId> live(program.past.begin(), program.past.end());
      for (const TorchEvent& event : program.events) {
        if (event.kind == TorchEventKind::kAllocate) {
          EXPECT_TRUE(live.insert(event.storage).second);
        }
        if (event.kind == TorchEventKind::kRelease) {
          EXPECT_EQ(live.erase(event.storage), 1u);
        }
        if (event.kind == TorchEventKind::kUpload) {
          EXPECT_EQ(live.count(event.storage), 1u);
        }
        for (const StorageId id : event.reads) EXPECT_EQ(live.count(id), 1u) << event.op;
        for (const StorageId id : event.writes) EXPECT_EQ(live.count(id), 1u) << event.op;
      }
      EXPECT_EQ(live, std::set<StorageId>(program.kept.begin(), program.kept.end()));
    }
  }
}

TEST(TorchProgramTest, OffloadedKernelsReadTheUploadedWeights) {
  const Model model = SmallLlama();
  const TorchProgram program = Realize(model, {.batch = 1, .tokens = 6}, true);
  for (const TorchEvent& event : program.events) {
    for (const TensorId weight : event.weights) {
      const bool read = std::any_of(event.reads.begin(), event.reads.end(),
                                    [&](StorageId id) { return program.storages[id].tensor == weight; });
      EXPECT_EQ(read, !model.tensors[weight].buffer) << model.tensors[weight].name;
    }
  }
}

TEST(TorchProgramTest, EachTiedUserUploadsTheSharedWeightItself) {
  const Model model = SmallLlama();
  const TorchProgram program = Realize(model, {.batch = 1, .tokens = 6}, true);
  std::vector<std::string> tables;
  for (const TorchStorage& storage : program.storages) {
    if (storage.bytes.base == 100 * 64 * 2 && storage.role == TorchRole::kUpload) {
      tables.push_back(model.tensors[storage.tensor].name);
    }
  }
  EXPECT_EQ(tables, (std::vector<std::string>{"model.embed_tokens.weight", "lm_head.weight"}));
}

TEST(TorchProgramTest, MatrixProductsCountTwoFlopsPerWeightAndRow) {
  const Model model = SmallLlama();
  const TorchProgram program = Realize(model, {.batch = 2, .tokens = 6}, false);
  double flops = 0, weights = 0;
  for (const TorchEvent& event : program.events) {
    if (event.op == "mm.default") flops += event.flops.at(0).value();
  }
  for (const Tensor& tensor : model.tensors) {
    if (tensor.shape.size() == 2 && tensor.name != "model.embed_tokens.weight") weights += Elements(tensor.shape);
  }
  EXPECT_DOUBLE_EQ(flops, 2 * 12 * weights);
}

std::string WhyNot(const Model& model, const Pass& pass) {
  const Result<TorchProgram> program = RealizeTorch(model, pass);
  if (program.ok()) return "it is realized";
  EXPECT_EQ(program.error().code, ErrorCode::kInvalidInput);
  return program.error().message;
}

TEST(TorchProgramTest, RefusesWhatItDoesNotKnow) {
  Model model = SmallLlama();
  EXPECT_THAT(WhyNot(model, {.batch = 1, .tokens = 4, .past = 8}), HasSubstr("4 new tokens over a cache of 8"));
  EXPECT_THAT(WhyNot(model, {.batch = 1, .tokens = 0}), HasSubstr("a pass of 0 tokens"));
  EXPECT_THAT(WhyNot(model, {.batch = 0, .tokens = 4}), HasSubstr("batch is 0"));
  model.rope.type = "dynamic";
  EXPECT_THAT(WhyNot(model, {.batch = 1, .tokens = 4}), HasSubstr("rope 'dynamic'"));
  model.rope.type = "default";
  model.shape.layers = 3;
  EXPECT_THAT(WhyNot(model, {.batch = 1, .tokens = 4}), HasSubstr("no module 'model.layers.2'"));
  model.family = "mamba";
  EXPECT_THAT(WhyNot(model, {.batch = 1, .tokens = 4}), HasSubstr("family 'mamba'"));
}

TEST(LibraryWorkspaceTest, CublasTakes32MiBOnHopperAndBlackwellAndEightOnOthers) {
  for (const int capability : {90, 100, 103, 120})
    EXPECT_EQ(CublasWorkspace(capability), Bytes(32 << 20)) << capability;
  for (const int capability : {75, 80, 86, 89, 110})
    EXPECT_EQ(CublasWorkspace(capability), Bytes(8'519'680)) << capability;
  EXPECT_EQ(CublasWorkspace(0), Bytes(0));
}

}  // namespace
}  // namespace stowage
