// The schedule of a chain: arenas, load, prefill, decode; and whether it fits.
#include "planner/strategy/native/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/text.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/native/chain_describe.h"
#include "planner/strategy/native/chain_layout.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"

namespace stowage {
namespace {

class ChainLowering {
 public:
  explicit ChainLowering(const ChainCase& c)
      : c_(c), m_(c.proposal.micro_batches), b_(fmt::format("{} {}", c.proposal.strategy, c.model().name)) {}

  Schedule Run() {
    AddMachine();
    AddBuffers();
    EmitLoadPhase();
    b_.BeginPhase("prefill", Required(c_.native.prefill));
    b_.BeginPrologue(1);
    CopyPrompts();
    EmitPass(false, {0, 0});
    if (const std::int64_t passes = c_.task.LoweredPasses(); passes > 0) {
      b_.BeginPhase("decode", Required(c_.native.decode));
      b_.BeginBody(passes, 1);
      EmitPass(true, {c_.task.FirstPass(), 1});
      // What the first iteration takes from the prefill, the others take from the one before.
      for (std::int64_t m = 0; m < m_; ++m) {
        if (readers_[m] >= 0 && given_[m].step >= 0) b_.step(readers_[m]).after.push_back({given_[m].step, 1});
      }
      b_.BeginEpilogue(0);
    }
    FetchTokens();
    return std::move(b_).Take();
  }

 private:
  struct Passes {
    std::int64_t first = 0, stride = 0;
  };
  struct Gpu {
    std::int32_t pool = -1;
    Lane compute, in, out;
    std::vector<Lane> peer;                              // by GPU, in the queue gpu0/out
    std::vector<BufferId> weights;                       // by TensorId
    std::vector<BufferId> tokens;                        // by micro-batch
    std::vector<std::vector<BufferId>> prefill, decode;  // [micro-batch][activation]
  };

  void AddMachine() {
    const Machine& machine = *c_.task.machine;
    const auto budget = [&](std::string_view pool) {
      return machine.pools[machine.FindPool(pool)].budget - machine.Reserved(pool);
    };
    gpus_.resize(c_.gpus());
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      const std::string pool = fmt::format("gpu{}", g);
      gpus_[g].pool = b_.AddPool(pool, Allocator::kArena, budget(pool));
    }
    host_ = b_.AddPool("host", Allocator::kPageable, budget("host"));
    disk_ = b_.AddPool("disk", Allocator::kPageable, Bytes(0));
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      const auto lane = [&](const char* queue, const std::string& resource) {
        return Lane{b_.AddQueue(fmt::format("gpu{}/{}", g, queue)), {b_.AddResource(resource)}};
      };
      gpus_[g].compute = lane("compute", fmt::format("gpu{}.sm", g));
      gpus_[g].in = lane("in", fmt::format("gpu{}.h2d", g));
      gpus_[g].out = lane("out", fmt::format("gpu{}.d2h", g));
      for (std::size_t other = 0; other < gpus_.size(); ++other) {
        gpus_[g].peer.push_back({gpus_[g].out.queue, {}});
        if (other == g) continue;
        gpus_[g].peer.back() = lane("out", fmt::format("link:gpu{}-gpu{}", std::min(g, other), std::max(g, other)));
      }
    }
    read_ = {b_.AddQueue("disk0/0"), {b_.AddResource("disk0")}};
    convert_ = {b_.AddQueue("cpu/0"), {b_.AddResource("host.cores")}};
    b_.AddIssuer("main", IssuerKind::kNative);
    for (const std::string& file : c_.model().files) b_.AddFile(file);
    if (c_.model().files.empty()) b_.AddFile(c_.model().name + " (no checkpoint)");
  }

  BufferId Arena(std::int32_t pool, std::string name, BufferKind kind, Bytes bytes) {
    if (bytes == Bytes(0)) return -1;
    const BufferId id = b_.AddBuffer(pool, std::move(name), kind, bytes);
    b_.buffer(id).pinned = pool == host_;
    arenas_.push_back(id);
    return id;
  }

  void AddBuffers() {
    device_.assign(c_.model().tensors.size(), -1);
    const ChainLayout& l = c_.layout;
    keys_.assign(m_, std::vector<BufferId>(l.layer_gpu.size(), -1));
    values_ = keys_;
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      Gpu& gpu = gpus_[g];
      const BufferId weights = Arena(gpu.pool, OnGpu("weights", g), BufferKind::kWeights, l.weights[g]);
      const BufferId kv = Arena(gpu.pool, OnGpu("kv", g), BufferKind::kKv, l.kv[g]);
      const BufferId activations = Arena(gpu.pool, OnGpu("activations", g), BufferKind::kActivations, l.activations[g]);
      const BufferId tokens = Arena(gpu.pool, OnGpu("tokens", g), BufferKind::kTokens, l.tokens[g]);
      AddWeights(g, weights);
      for (std::int64_t m = 0; m < m_; ++m) {
        AddCaches(g, m, kv);
        const std::string name = OnGpu(OfMicroBatch("token_ids", m, m_), g);
        const Bytes at = l.tokens_each * m;
        gpu.tokens.push_back(tokens < 0 ? -1 : b_.AddPart(tokens, name, BufferKind::kTokens, at, TokenBytes()));
        gpu.prefill.push_back(Activations(g, m, activations, false));
        gpu.decode.push_back(Activations(g, m, activations, true));
      }
    }
    AddHostBuffers();
  }

  Bytes TokenBytes() const {
    const Request& r = c_.task.request;
    return Bytes((r.prompt_tokens + std::max<std::int64_t>(r.new_tokens, 1)) * (r.batch / m_) * 4);
  }

  void AddWeights(std::size_t g, BufferId arena) {
    gpus_[g].weights.assign(c_.model().tensors.size(), -1);
    for (const TensorId t : c_.native.used) {
      const Bytes at = c_.layout.weight_at[g][t];
      if (at == kNowhere) continue;
      const Tensor& tensor = c_.model().tensors[t];
      const std::string name = tensor.buffer ? OnGpu(tensor.name, g) : tensor.name;
      gpus_[g].weights[t] = b_.AddPart(arena, name, BufferKind::kWeights, at, StoredBytes(tensor));
      if (!tensor.buffer) device_[t] = gpus_[g].weights[t];
    }
  }

  void AddCaches(std::size_t g, std::int64_t m, BufferId arena) {
    const std::vector<LayerCache>& caches = c_.native.prefill.caches;
    const Bytes begin = c_.layout.kv_each[g] * m;
    for (std::size_t l = 0; l < caches.size(); ++l) {
      if (static_cast<std::size_t>(c_.layout.layer_gpu[l]) != g) continue;
      const auto add = [&](const char* what, Bytes at, Bytes bytes) {
        const std::string name = OfMicroBatch(fmt::format("layers.{}.{}", l, what), m, m_);
        return bytes == Bytes(0) ? BufferId{-1} : b_.AddPart(arena, name, BufferKind::kKv, begin + at, bytes);
      };
      keys_[m][l] = add("keys", c_.layout.keys_at[l], caches[l].keys);
      values_[m][l] = add("values", c_.layout.values_at[l], caches[l].values);
    }
  }

  std::vector<BufferId> Activations(std::size_t g, std::int64_t m, BufferId arena, bool decode) {
    const NativeProgram& program = decode ? c_.native.decode : c_.native.prefill;
    std::vector<BufferId> parts(program.activations.size(), -1);
    for (std::size_t a = 0; a < parts.size(); ++a) {
      const Bytes at =
          c_.layout.ActivationAt(decode, static_cast<std::int16_t>(g), static_cast<std::int32_t>(a), m, m_);
      if (at == kNowhere) continue;
      const std::string name = fmt::format("{}/{}", decode ? "decode" : "prefill", program.activations[a].name);
      parts[a] = b_.AddPart(arena, OnGpu(OfMicroBatch(name, m, m_), g), BufferKind::kActivations, at,
                            program.activations[a].bytes);
    }
    return parts;
  }

  void AddHostBuffers() {
    const Request& r = c_.task.request;
    const auto initial = [&](std::string name, BufferKind kind, Bytes bytes) {
      const BufferId id = b_.AddInitial(host_, std::move(name), kind, bytes);
      b_.buffer(id).pinned = true;
      return id;
    };
    for (std::int64_t m = 0; m < m_; ++m) {
      const Bytes bytes(r.prompt_tokens * (r.batch / m_) * 4);
      prompts_.push_back(initial(OfMicroBatch("prompt", m, m_), BufferKind::kTokens, bytes));
      answers_.push_back(Arena(host_, OfMicroBatch("tokens_out", m, m_), BufferKind::kTokens, TokenBytes()));
    }
    for (const TensorId t : c_.native.used) {
      const Tensor& tensor = c_.model().tensors[t];
      if (tensor.buffer)
        computed_.emplace_back(t, initial(tensor.name + "@host", BufferKind::kWeights, tensor.bytes()));
    }
  }

  void EmitLoadPhase() {
    const NativeLayout whole = LayOut(c_.native, c_.task, c_.resident);
    const std::vector<LoadItem> items = LoadItemsOf(c_.native, c_.model(), c_.resident, whole);
    const Bytes budget = b_.so_far().pools[host_].budget;
    const StagingSize size = StagingFor(c_.model(), items, budget - c_.layout.host_buffers);
    BufferId staging = -1;
    if (size.slots > 0) {
      staging = b_.AddBuffer(host_, "staging", BufferKind::kStaging, size.total());
      b_.buffer(staging).pinned = true;
    }
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    for (const BufferId arena : arenas_) b_.Allocate(arena);
    if (staging >= 0) b_.Allocate(staging);
    if (c_.task.last_decode_passes == 0) {
      std::vector<StepId> tables;
      for (const auto& [tensor, from] : computed_) {
        for (const Gpu& gpu : gpus_) {
          if (gpu.weights[tensor] < 0) continue;
          tables.push_back(b_.Copy(gpu.in, b_.Whole(from), b_.Whole(gpu.weights[tensor])));
        }
      }
      const std::vector<BufferId> no_masters(c_.model().tensors.size(), -1);
      std::vector<Lane> in;
      for (const Gpu& gpu : gpus_) in.push_back(gpu.in);
      EmitLoad(b_, c_.model(), items, {device_, no_masters, &c_.proposal.gpu}, {read_, convert_, in}, disk_, staging,
               size);
      for (const StepId copied : tables) b_.Wait({copied});
    }
    if (staging >= 0) b_.Free(staging);
  }

  std::vector<RequiredOp> Required(const NativeProgram& program) const {
    std::vector<RequiredOp> out;
    for (const NativeKernel& k : program.kernels) {
      out.push_back({.name = k.kernel.name, .micro_batches = static_cast<std::int16_t>(m_)});
    }
    return out;
  }

  void CopyPrompts() {
    const Gpu& gpu = gpus_[c_.layout.ids_gpu];
    for (std::int64_t m = 0; m < m_; ++m) {
      const AffineBytes bytes = b_.so_far().buffers[prompts_[m]].bytes;
      given_.push_back({b_.Copy(gpu.in, b_.Whole(prompts_[m]), {gpu.tokens[m], AffineBytes(0), bytes})});
    }
  }

  // Run r of micro-batch m is written in wave r + m: the order in which they can start.
  void EmitPass(bool decode, Passes at) {
    const ChainPass& pass = decode ? c_.layout.decode : c_.layout.prefill;
    const NativeProgram& program = decode ? c_.native.decode : c_.native.prefill;
    const auto runs = static_cast<std::int64_t>(pass.runs.size());
    step_of_.assign(m_, std::vector<StepId>(program.kernels.size(), -1));
    kernel_of_.assign(program.kernels.size(), -1);
    readers_.assign(m_, -1);
    for (std::int64_t wave = 0; wave < runs + m_ - 1; ++wave) {
      for (std::int64_t r = std::max<std::int64_t>(0, wave - m_ + 1); r <= std::min(wave, runs - 1); ++r) {
        EmitRun(pass.runs[r], program, decode, wave - r, at);
      }
    }
  }

  void EmitRun(const ChainRun& run, const NativeProgram& program, bool decode, std::int64_t m, Passes at) {
    std::vector<StepRef> after;
    for (const ChainTransfer& t : run.arrives) {
      const Slice from = b_.Whole(Parts(t.from, decode, m)[t.activation]);
      const Slice to = b_.Whole(Parts(run.gpu, decode, m)[t.activation]);
      after.push_back({b_.Copy(gpus_[t.from].peer[run.gpu], from, to, {{step_of_[m][t.writer]}})});
    }
    for (std::int32_t k = run.begin; k < run.end; ++k) {
      const NativeKernel& kernel = program.kernels[k];
      if (ReadsTokens(kernel)) after.push_back(given_[m]);
      const StepId step = Launch(kernel, k, run.gpu, decode, m, at, std::exchange(after, {}));
      if (ReadsTokens(kernel)) readers_[m] = step;
      step_of_[m][k] = step;
      if (Operand slice = TokensWritten(kernel); slice.id != kNoId) given_[m] = {HandOn(slice, run.gpu, m, at, step)};
    }
  }

  const std::vector<BufferId>& Parts(std::int16_t gpu, bool decode, std::int64_t m) const {
    return (decode ? gpus_[gpu].decode : gpus_[gpu].prefill)[m];
  }

  static bool ReadsTokens(const NativeKernel& kernel) {
    return std::any_of(kernel.reads.begin(), kernel.reads.end(),
                       [](const Operand& o) { return o.source == Operand::Source::kTokens; });
  }
  static Operand TokensWritten(const NativeKernel& kernel) {
    for (Operand o : kernel.writes) {
      if (o.source != Operand::Source::kTokens) continue;
      o.id = 0;
      return o;
    }
    return {};
  }

  // The step after which the tokens are where they are embedded.
  StepId HandOn(const Operand& tokens, std::int16_t gpu, std::int64_t m, Passes at, StepId chosen) {
    const std::int16_t home = c_.layout.ids_gpu;
    if (gpu == home) return chosen;
    const Operand slice = AtPasses(tokens, at.first, at.stride);
    return b_.Copy(gpus_[gpu].peer[home], {gpus_[gpu].tokens[m], slice.offset, slice.bytes},
                   {gpus_[home].tokens[m], slice.offset, slice.bytes}, {{chosen}});
  }

  StepId Launch(const NativeKernel& kernel, std::int32_t index, std::int16_t gpu, bool decode, std::int64_t m,
                Passes at, std::vector<StepRef> after) {
    std::vector<Slice> reads, writes;
    for (const Operand& o : kernel.reads) reads.push_back(SliceOf(AtPasses(o, at.first, at.stride), gpu, decode, m));
    for (const Operand& o : kernel.writes) writes.push_back(SliceOf(AtPasses(o, at.first, at.stride), gpu, decode, m));
    std::int32_t id = kernel_of_[index];
    if (id < 0) id = kernel_of_[index] = b_.AddKernel(AtPasses(kernel.kernel, at.first, at.stride));
    const Instance instance{.op = index, .micro_batch = static_cast<std::int16_t>(m)};
    return b_.Compute(gpus_[gpu].compute, id, std::move(reads), std::move(writes), instance, std::move(after));
  }

  Slice SliceOf(const Operand& o, std::int16_t gpu, bool decode, std::int64_t m) const {
    switch (o.source) {
      case Operand::Source::kActivation:
        return {Parts(gpu, decode, m)[o.id], o.offset, o.bytes};
      case Operand::Source::kWeight:
        return {gpus_[gpu].weights[o.id], o.offset, o.bytes};
      case Operand::Source::kKeys:
        return {keys_[m][o.id], o.offset, o.bytes};
      case Operand::Source::kValues:
        return {values_[m][o.id], o.offset, o.bytes};
      case Operand::Source::kTokens:
        return {gpus_[gpu].tokens[m], o.offset, o.bytes};
    }
    return {};
  }

  void FetchTokens() {
    const Gpu& gpu = gpus_[c_.layout.ids_gpu];
    StepId copied = -1;
    for (std::int64_t m = 0; m < m_; ++m) {
      copied = b_.Copy(gpu.out, b_.Whole(gpu.tokens[m]), b_.Whole(answers_[m]), {given_[m]});
    }
    b_.Wait({copied});
  }

  const ChainCase& c_;
  const std::int64_t m_;
  ScheduleBuilder b_;
  std::vector<Gpu> gpus_;
  std::int32_t host_ = -1, disk_ = -1;
  Lane read_, convert_;
  std::vector<BufferId> arenas_, device_;  // device_: by TensorId, where a file's tensor goes
  std::vector<std::pair<TensorId, BufferId>> computed_;
  std::vector<std::vector<BufferId>> keys_, values_;  // [micro-batch][layer]
  std::vector<BufferId> prompts_, answers_;           // by micro-batch
  std::vector<StepRef> given_;                        // by micro-batch: after which its next tokens may be embedded
  std::vector<StepId> readers_;                       // by micro-batch: that embeds them
  std::vector<std::vector<StepId>> step_of_;          // [micro-batch][kernel], of the pass being written
  std::vector<std::int32_t> kernel_of_;               // by kernel of the program
};

// ---- whether it fits

Status CheckRequest(const PlanningTask& task, const ChainProposal& proposal) {
  const auto bad = [&](std::string why) {
    return Error{ErrorCode::kInvalidInput, proposal.strategy + ": " + std::move(why)};
  };
  const std::int64_t m = proposal.micro_batches, batch = task.request.batch;
  if (m < 1 || m > batch || batch % m != 0) {
    return bad(fmt::format("a batch of {} cannot be cut into {} equal micro-batches", batch, m));
  }
  if (task.request.all_logits) return bad("the logits of all positions are not kept over several GPUs yet");
  return OkStatus();
}

Status CheckBudgets(const ChainCase& c) {
  const Machine& machine = *c.task.machine;
  const auto check = [&](const std::string& pool, Bytes need) -> Status {
    const Bytes all = need + machine.Reserved(pool);
    const Bytes budget = machine.pools[machine.FindPool(pool)].budget;
    if (all <= budget) return OkStatus();
    return Error{ErrorCode::kInfeasible, fmt::format("{} needs {} of {}, whose budget is {}", c.proposal.strategy,
                                                     FormatBytes(all), pool, FormatBytes(budget))};
  };
  for (std::size_t g = 0; g < c.gpus(); ++g) {
    const ChainLayout& l = c.layout;
    STOWAGE_RETURN_IF_ERROR(check(fmt::format("gpu{}", g), l.weights[g] + l.kv[g] + l.activations[g] + l.tokens[g]));
  }
  const std::vector<LoadItem> items =
      LoadItemsOf(c.native, c.model(), c.resident, LayOut(c.native, c.task, c.resident));
  return check("host", c.layout.host_buffers + StagingFor(c.model(), items, Bytes(0)).total());
}

}  // namespace

Result<Lowered> LowerChain(const PlanningTask& task, const ChainProposal& proposal) {
  STOWAGE_RETURN_IF_ERROR(CheckRequest(task, proposal));
  PlanningTask part = task;
  part.request.batch = task.request.batch / proposal.micro_batches;
  TaskCache own;
  if (proposal.micro_batches > 1) part.cache = &own;
  STOWAGE_TRY(const auto native, RealizeModel(part));
  if (native->prefill.logits == kNoId) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: {} makes no tokens", proposal.strategy, task.model->class_name)};
  }
  NativeProposal resident{.strategy = proposal.strategy};
  for (const Tensor& t : task.model->tensors) resident.resident_rows.push_back(RowsOf(t));
  const ChainLayout layout = LayOutChain(*native, task, proposal);
  const ChainCase c{*native, task, proposal, layout, resident};
  STOWAGE_RETURN_IF_ERROR(CheckBudgets(c));
  Schedule schedule = ChainLowering(c).Run();
  Plan plan = DescribeChain(c, schedule);
  return Lowered{std::move(plan), std::move(schedule)};
}

}  // namespace stowage
