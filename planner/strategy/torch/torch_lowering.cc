#include "planner/strategy/torch/torch_lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "planner/realize/library_workspace.h"
#include "planner/realize/torch_model.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/torch/torch_attach.h"
#include "planner/strategy/torch/torch_host.h"
#include "planner/strategy/torch/torch_load.h"
#include "planner/strategy/torch/torch_pass.h"
#include "planner/strategy/torch/torch_plan.h"
#include "planner/strategy/torch/torch_programs.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostRecomputed = 1024;  // passes of some 3,000 steps each

using Programs = TorchPrograms;

class Lowering {
 public:
  Lowering(const PlanningTask& task, const TorchPlacement& placement, const Programs& programs,
           std::string_view strategy)
      : task_(task),
        model_(programs.held),
        machine_(*task.machine),
        placement_(placement),
        programs_(programs),
        b_(fmt::format("{} {}", strategy, task.model->name)),
        streams_(b_, machine_.gpus.size()) {}

  Result<Schedule> RunLoad() {
    STOWAGE_RETURN_IF_ERROR(EmitLoad());
    return std::move(b_).Take();
  }

  Result<Schedule> Run() {
    STOWAGE_RETURN_IF_ERROR(EmitLoad());
    if (sample() && LoadsTooMuch()) return std::move(b_).Take();
    Reserve();
    EmitPrefill();
    if (task_.LoweredPasses() > 0 && Recomputes(task_)) {
      STOWAGE_RETURN_IF_ERROR(EmitRecomputation());
    } else if (task_.LoweredPasses() > 0) {
      EmitDecode();
    }
    if (placement_.hooks == TorchPlacement::Hooks::kModelOffload && !sample()) {
      DetachModelOffload(b_, model_, lanes_, weights_);
    }
    return std::move(b_).Take();
  }

 private:
  Status EmitLoad() {
    AddMachine();
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    STOWAGE_TRY(weights_, LoadTorch(b_, task_, model_, placement_, lanes_));
    AddTokens();
    return OkStatus();
  }

  void AddMachine() {
    const auto budget = [&](std::string_view pool) {
      return machine_.pools[machine_.FindPool(pool)].budget - machine_.Reserved(pool);
    };
    for (std::size_t g = 0; g < Gpus(); ++g) {
      const std::string pool = fmt::format("gpu{}", g);
      lanes_.gpus.push_back({.pool = b_.AddPool(pool, Allocator::kTorchCaching, budget(pool))});
    }
    lanes_.host = b_.AddPool("host", Allocator::kPageable, budget("host"));
    lanes_.disk = b_.AddPool("disk", Allocator::kPageable, Bytes(0));
    for (std::size_t g = 0; g < Gpus(); ++g) AddStream(g);
    lanes_.python = {b_.AddQueue("python"), {}};
    lanes_.read = {b_.AddQueue("disk0/0"), {b_.AddResource("disk0")}};
    lanes_.load = {lanes_.read.queue, {b_.AddResource(LoadsFrom(task_.request.loading))}};
    lanes_.cpu = {b_.AddQueue("cpu/0"), {b_.AddResource("host.cores")}};
    if (placement_.group.stream) lanes_.side = {b_.AddQueue("gpu0/copy"), {b_.AddResource("gpu0.h2d")}};
    // A hook is host work of its issuer; issuing a step already costs it one operator's dispatch.
    lanes_.hook = std::max(Seconds(0), machine_.dispatch.torch_hook - machine_.dispatch.torch_operator);
    b_.AddIssuer("python", IssuerKind::kTorch);
    for (const std::string& file : model_.files) b_.AddFile(file);
    if (model_.files.empty()) b_.AddFile("model.safetensors");  // not there: it would be read if it were
  }

  // Those of the placement, and all with a smaller index.
  std::size_t Gpus() const {
    const std::vector<std::int16_t>& used = placement_.devices.tensors;
    return used.empty() ? 1 : static_cast<std::size_t>(*std::max_element(used.begin(), used.end())) + 1;
  }

  void AddStream(std::size_t g) {
    TorchGpu& gpu = lanes_.gpus[g];
    const std::int32_t stream = b_.AddQueue(fmt::format("gpu{}/default", g));
    gpu.compute = {stream, {b_.AddResource(fmt::format("gpu{}.sm", g))}};
    gpu.in = {stream, {b_.AddResource(fmt::format("gpu{}.h2d", g))}};
    gpu.out = {stream, {b_.AddResource(fmt::format("gpu{}.d2h", g))}};
    for (std::size_t other = 0; other < Gpus(); ++other) {
      gpu.peer.push_back({stream, {}});
      if (other == g) continue;
      gpu.peer.back().resources.push_back(
          b_.AddResource(fmt::format("link:gpu{}-gpu{}", std::min(g, other), std::max(g, other))));
    }
  }

  bool sample() const { return task_.last_decode_passes > 0; }

  // A sample that certainly runs out of memory while loading says so whatever comes after.
  bool LoadsTooMuch() const {
    if (placement_.hooks == TorchPlacement::Hooks::kModelOffload) return false;  // loads into host memory
    std::vector<Bytes> left;
    for (const TorchGpu& gpu : lanes_.gpus) left.push_back(b_.so_far().pools[gpu.pool].budget);
    for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
      const auto id = static_cast<TensorId>(i);
      if (weights_.device[i] >= 0) left[placement_.GpuOf(id)] -= model_.tensors[i].bytes();
    }
    return std::any_of(left.begin(), left.end(), [](Bytes b) { return b < Bytes(0); });
  }

  void Reserve() {
    const std::size_t prefill = programs_.prefill.events.size(), decode = programs_.decode.events.size();
    const auto passes = static_cast<std::size_t>(std::min<std::int64_t>(task_.LoweredPasses(), 4));
    b_.Reserve(prefill + decode * passes, programs_.prefill.storages.size() + programs_.decode.storages.size() * 2,
               (prefill + decode * passes) / 3);
  }

  void AddTokens() {
    prompt_ = b_.AddInitial(lanes_.host, "prompt", BufferKind::kTokens, IdsBytes(task_.request.prompt_tokens));
    tokens_out_ = b_.AddBuffer(lanes_.host, "tokens_out", BufferKind::kTokens, IdsBytes(1));
    b_.Allocate(tokens_out_);
    next_ids_ = b_.AddBuffer(lanes_.gpus[placement_.devices.main].pool, "next_ids", BufferKind::kTokens, IdsBytes(1));
  }

  Bytes IdsBytes(std::int64_t tokens) const { return SizeOf(DType::kI64, tokens * task_.request.batch); }

  // ---- passes ----

  // torch.argmax(logits[:, -1]), and the ids to the host: generate() asks there whether to stop.
  void ChooseNext(BufferId logits, bool last) {
    b_.Allocate(next_ids_);
    const std::int64_t choices = task_.request.batch * model_.shape.vocab;
    Kernel kernel{.kind = KernelKind::kOpaque, .name = "argmax.default", .dtype = programs_.prefill.dtype};
    kernel.flops = {static_cast<double>(choices)};
    kernel.bytes = AffineBytes(SizeOf(programs_.prefill.dtype, choices));
    const std::int16_t main = placement_.devices.main;
    const TorchGpu& gpu = lanes_.gpus[main];
    std::vector<Slice> reads = {b_.Whole(logits)};
    std::vector<StepRef> after = streams_.Arrive(main, reads);
    streams_.Issued(main, b_.Compute(gpu.compute, b_.AddKernel(std::move(kernel)), std::move(reads),
                                     {b_.Whole(next_ids_)}, {}, std::move(after)));
    b_.Free(logits);
    CopyAndWait(b_, gpu.out, b_.Whole(next_ids_), b_.Whole(tokens_out_));
    if (last) b_.Free(next_ids_);
  }

  // Of TorchProgram::cache.
  std::string CacheName(const TorchProgram& program, std::size_t i) const {
    static constexpr std::array<std::string_view, 3> kParts = {"keys", "values", "positions"};
    const std::size_t parts = task_.request.kv == KvCache::kStatic ? 3 : 2;
    if (!program.crossed) return fmt::format("layers.{}.{}", i / parts, kParts[i % parts]);
    if (i == 0) return "encoded";
    const std::size_t part = (i - 1) % 4;
    return fmt::format("layers.{}.{}{}", (i - 1) / 4, part < 2 ? "" : "cross_", part % 2 ? "values" : "keys");
  }

  static bool IsHandedOn(const TorchProgram& program, std::size_t i) {
    return i < program.past.size() && program.past[i] == program.cache[i];
  }

  // Buffers for what a pass makes of the cache; a growing one gets its sizes of a body whose iteration i runs pass
  // first + i * stride. What it hands on keeps its buffer of cache_.
  std::vector<BufferId> CacheBuffers(const TorchProgram& program, std::int64_t first, std::int64_t stride,
                                     std::string_view prefix) {
    std::vector<BufferId> buffers;
    for (std::size_t i = 0; i < program.cache.size(); ++i) {
      if (IsHandedOn(program, i)) {
        buffers.push_back(cache_[i]);
        continue;
      }
      const TorchStorage& storage = program.storages[program.cache[i]];
      const AffineBytes bytes = storage.bytes;
      buffers.push_back(b_.AddBuffer(lanes_.gpus[storage.gpu].pool, fmt::format("{}{}", prefix, CacheName(program, i)),
                                     BufferKind::kKv, {bytes.at(first).value(), bytes.step * stride}));
    }
    return buffers;
  }

  void EmitPrefill() {
    const TorchProgram& program = programs_.prefill;
    TorchPassEmitter pass(b_, model_, program, lanes_, weights_, streams_, "prefill/", !sample());
    b_.BeginPhase("prefill", pass.Required());
    b_.BeginPrologue(1);
    std::vector<BufferId> workspaces;
    for (std::size_t g = 0; g < Gpus(); ++g) {
      const Bytes bytes = CublasWorkspace(g < machine_.gpus.size() ? machine_.gpus[g].compute_capability : 0);
      const std::string name = g == 0 ? "cublas workspace" : fmt::format("cublas workspace of gpu{}", g);
      const bool some = bytes > Bytes(0);
      workspaces.push_back(some ? b_.AddBuffer(lanes_.gpus[g].pool, name, BufferKind::kWorkspace, bytes) : -1);
    }
    cache_ = CacheBuffers(program, 0, 0, "cache/prefill/");
    const BufferId logits = pass.Emit({.prompt = prompt_, .new_cache = cache_, .workspaces = std::move(workspaces)});
    if (task_.request.new_tokens > 0) {
      ChooseNext(logits, task_.request.DecodePasses() == 0);
    } else {
      pass.DropResults();
    }
  }

  void EmitDecode() {
    EmitDecode(programs_.decode, 0, std::min(programs_.turn, task_.LoweredPasses()), "");
    if (!programs_.late.events.empty()) {
      EmitDecode(programs_.late, programs_.turn, task_.LoweredPasses() - programs_.turn, "late/");
    }
  }

  // `passes` passes, the first of them pass `begin` of those that are lowered and iteration 0 of the program.
  void EmitDecode(const TorchProgram& program, std::int64_t begin, std::int64_t passes, std::string_view prefix) {
    const std::int64_t alone = passes <= 4 ? passes : 2 - passes % 2;  // in the prologue
    const std::int64_t iterations = (passes - alone) / 2;
    TorchPassEmitter pass(b_, model_, program, lanes_, weights_, streams_, fmt::format("{}decode/", prefix), !sample());
    b_.BeginPhase("decode", pass.Required());
    b_.BeginPrologue(static_cast<std::int32_t>(alone));
    const bool in_place = program.past == program.cache;  // a static cache
    if (begin == 0 && task_.FirstPass() > 0 && !in_place) SkipTo(program);
    const auto buffers = [&](std::int64_t first, std::int64_t stride, std::string name) {
      return CacheBuffers(program, first, stride, fmt::format("{}cache/{}/", prefix, name));
    };
    std::vector<BufferId> even;
    if (iterations > 0) even = buffers(alone + 1, 2, "even");
    for (std::int64_t p = 0; p < alone; ++p) {
      const bool to_body = iterations > 0 && p == alone - 1;
      std::vector<BufferId> next = to_body ? even : buffers(p, 0, fmt::format("decode{}", p));
      EmitPass(pass, cache_, next, p, 0, static_cast<std::int32_t>(p), begin + p + 1 == task_.LoweredPasses());
      cache_ = std::move(next);
    }
    if (iterations == 0) return;
    b_.BeginBody(iterations, 2);
    streams_.BeginBody();
    const std::vector<BufferId> odd = buffers(alone, 2, "odd");
    EmitPass(pass, even, odd, alone, 2, 0, false);
    EmitPass(pass, odd, even, alone + 1, 2, 1, false);
    streams_.EndBody();
  }

  // Passes over ever longer contexts, each with a program of its own.
  Status EmitRecomputation() {
    for (std::int64_t p = 0; p < task_.LoweredPasses(); ++p) {
      STOWAGE_TRY(TorchProgram program, RealizeTorch(model_, RecomputeOf(task_.request, task_.FirstPass() + p)));
      STOWAGE_TRY(program, Hooked(std::move(program), model_, placement_, &programs_.prefill));
      TorchPassEmitter pass(b_, model_, program, lanes_, weights_, streams_, fmt::format("decode{}/", p), !sample());
      if (p == 0) {
        b_.BeginPhase("decode", pass.Required());
        b_.BeginPrologue(static_cast<std::int32_t>(task_.LoweredPasses()));
      }
      EmitPass(pass, {}, {}, 0, 0, static_cast<std::int32_t>(p), p + 1 == task_.LoweredPasses());
    }
    return OkStatus();
  }

  void EmitPass(TorchPassEmitter& pass, const std::vector<BufferId>& past, const std::vector<BufferId>& next,
                std::int64_t first, std::int64_t stride, std::int32_t number, bool last) {
    const BufferId logits = pass.Emit(
        {.ids = next_ids_, .past = past, .new_cache = next, .first = first, .stride = stride, .pass = number});
    ChooseNext(logits, last);
  }

  // A schedule for ranking: the cache as the skipped passes would have left it, in place of the prefill's.
  void SkipTo(const TorchProgram& program) {
    const std::vector<BufferId> grown = CacheBuffers(program, -1, 0, "cache/skipped/");
    for (std::size_t i = 0; i < grown.size(); ++i) {
      if (IsHandedOn(program, i)) continue;
      b_.Allocate(grown[i]);
      b_.Free(cache_[i]);
    }
    cache_ = grown;
  }

  const PlanningTask& task_;
  const Model& model_;
  const Machine& machine_;
  const TorchPlacement& placement_;
  const Programs& programs_;
  ScheduleBuilder b_;
  TorchStreams streams_;
  TorchLanes lanes_;
  TorchWeights weights_;
  BufferId prompt_ = -1, tokens_out_ = -1, next_ids_ = -1;
  std::vector<BufferId> cache_;
};

}  // namespace

Status CheckPlacement(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy) {
  for (std::size_t i = 0; i < task.model->tensors.size(); ++i) {
    const Tensor& t = task.model->tensors[i];
    const bool reads_checkpoint =
        placement.hooks == TorchPlacement::Hooks::kDispatch && task.request.loading.mode != LoadMode::kNaive;
    if (!reads_checkpoint || t.buffer || placement.homes[i] != WeightHome::kDisk || FileDType(t) == t.dtype) continue;
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: '{}' is {} in its file and would be read from the disk as {} at each use, which is "
                             "not simulated",
                             strategy, t.name, Name(FileDType(t)), Name(t.dtype))};
  }
  return OkStatus();
}

Status CheckPasses(const PlanningTask& task) {
  if (!Recomputes(task) || task.LoweredPasses() <= kMostRecomputed) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("--kv none: {} passes over the whole context are more than the {} that are simulated",
                           task.LoweredPasses(), kMostRecomputed)};
}

Result<Schedule> LowerTorchLoad(const PlanningTask& task, const TorchPlacement& held, const TorchPrograms& programs,
                                std::string_view strategy) {
  return Lowering(task, held, programs, strategy).RunLoad();
}

Result<Lowered> LowerTorch(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy) {
  STOWAGE_RETURN_IF_ERROR(CheckPlacement(task, placement, strategy));
  STOWAGE_TRY(const auto programs, RealizePasses(task, placement));
  STOWAGE_RETURN_IF_ERROR(CheckPasses(task));
  Lowered lowered;
  STOWAGE_TRY(const TorchPlacement held, PlacementOn(programs->held, *task.model, placement));
  STOWAGE_TRY(lowered.schedule, Lowering(task, held, *programs, strategy).Run());
  STOWAGE_RETURN_IF_ERROR(CheckHostBudget(lowered.schedule));
  lowered.plan = DescribeTorchPlan(task, programs->held, held, strategy);
  return lowered;
}

}  // namespace stowage
