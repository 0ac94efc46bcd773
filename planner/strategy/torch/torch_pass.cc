#include "planner/strategy/torch/torch_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/check.h"

namespace stowage {
namespace {

BufferKind KindOf(TorchRole role) {
  switch (role) {
    case TorchRole::kCache:
      return BufferKind::kKv;
    case TorchRole::kUpload:
    case TorchRole::kMoved:
    case TorchRole::kMaster:
    case TorchRole::kTwin:
    case TorchRole::kLingering:
    case TorchRole::kLingers:
      return BufferKind::kWeights;
    case TorchRole::kTokenIds:
      return BufferKind::kTokens;
    case TorchRole::kTemporary:
    case TorchRole::kLogits:
    case TorchRole::kModel:
      return BufferKind::kActivations;
  }
  return BufferKind::kActivations;
}

bool IsMatrixProduct(std::string_view op) { return op == "mm.default" || op == "addmm.default"; }

}  // namespace

void TorchStreams::Move(const Lane& lane, std::int16_t from, std::int16_t to, Slice source, Slice target) {
  std::vector<StepRef> after = WaitsOf(from);
  if (last_[to] >= 0) after.push_back({last_[to]});
  const bool reaches_back = body_ >= 0 && last_[to] < body_;
  const StepId copy = b_.Copy(lane, source, target, std::move(after));
  if (reaches_back) reach_back_.emplace_back(copy, to);
  arriving_[to].copies.push_back({copy});
  arriving_[to].targets.push_back(target);
  Issued(from, copy);
}

std::vector<StepRef> TorchStreams::Arrive(std::int16_t gpu, std::vector<Slice>& reads) {
  Arriving arrived = std::exchange(arriving_[gpu], {});
  for (const Slice& target : arrived.targets) {
    if (std::find(reads.begin(), reads.end(), target) == reads.end()) reads.push_back(target);
  }
  return std::move(arrived.copies);
}

void TorchStreams::Gone(BufferId buffer) {
  for (Arriving& arriving : arriving_) {
    std::erase_if(arriving.targets, [&](const Slice& target) { return target.buffer == buffer; });
  }
}

void TorchStreams::EndBody() {
  for (const auto& [copy, to] : reach_back_) {
    if (last_[to] >= body_) b_.step(copy).after.push_back({last_[to], 1});
  }
  reach_back_.clear();
  body_ = -1;
}

TorchPassEmitter::TorchPassEmitter(ScheduleBuilder& b, const Model& model, const TorchProgram& program,
                                   const TorchLanes& lanes, TorchWeights& weights, TorchStreams& streams,
                                   std::string prefix, bool named)
    : b_(b),
      model_(model),
      program_(program),
      lanes_(lanes),
      weights_(weights),
      streams_(streams),
      prefix_(std::move(prefix)),
      named_(named),
      buffers_(program.storages.size(), -1) {
  if (!program.hooked.empty()) hook_kernel_ = b.AddKernel({.kind = KernelKind::kOpaque, .name = "accelerate hook"});
}

std::string TorchPassEmitter::NameOf(const TorchEvent& event) const {
  if (event.module == kNoId || model_.modules[event.module].name.empty()) return std::string(event.op);
  std::string name = model_.modules[event.module].name;
  return name.append(" ").append(event.op);
}

// zeros.default is the recorder's stand-in for ids.
bool TorchPassEmitter::MakesIds(const TorchEvent& event) const {
  return event.op == "zeros.default" && program_.storages[event.writes[0]].role == TorchRole::kTokenIds;
}

std::vector<RequiredOp> TorchPassEmitter::Required() const {
  std::vector<RequiredOp> required;
  for (const TorchEvent& event : program_.events) {
    if (event.kind == TorchEventKind::kCompute) required.push_back({.name = named_ ? NameOf(event) : ""});
  }
  return required;
}

AffineBytes TorchPassEmitter::At(AffineBytes bytes, const PassInput& input) const {
  return {bytes.at(input.first).value(), bytes.step * input.stride};
}

AffineFlops TorchPassEmitter::At(AffineFlops flops, const PassInput& input) const {
  return {flops.at(input.first).value(), flops.step * static_cast<double>(input.stride)};
}

BufferId TorchPassEmitter::BufferOf(StorageId id, const PassInput& input) {
  if (buffers_[id] >= 0) return buffers_[id];
  const TorchStorage& s = program_.storages[id];
  if (s.role == TorchRole::kMoved) return buffers_[id] = weights_.device[s.tensor];
  if (s.role == TorchRole::kMaster) return buffers_[id] = weights_.host[s.tensor];
  if (s.role == TorchRole::kTwin) return buffers_[id] = weights_.twin[s.tensor];
  if (s.role == TorchRole::kLingering) return weights_.lingering[s.tensor][0];  // they take turns: not by storage
  if (s.role == TorchRole::kLingers) return weights_.lingering[s.tensor][1];
  std::string name = prefix_;
  if (!s.bytes.constant()) {
    growing_.push_back(id);
    name += fmt::format("{}/", input.first);
  }
  if (s.tensor != kNoId) {
    name += model_.tensors[s.tensor].name;
  } else {
    if (s.module != kNoId) name.append(model_.modules[s.module].name).append(" ");
    name += s.op;
  }
  if (s.place == TorchPlace::kDevice) {
    // What is handed on has its buffer already: this is a sliding cache's count of positions, which stays behind.
    const BufferKind kind = s.role == TorchRole::kCache ? BufferKind::kActivations : KindOf(s.role);
    return buffers_[id] = b_.AddBuffer(GpuOf(id).pool, std::move(name), kind, At(s.bytes, input));
  }
  const bool pinned = s.place == TorchPlace::kPinned;
  buffers_[id] = b_.AddBuffer(lanes_.host, name.append(pinned ? "@pinned" : "@read"), BufferKind::kStaging, s.bytes);
  b_.buffer(buffers_[id]).pinned = pinned;
  return buffers_[id];
}

// An empty tensor has no bytes to read, and the allocator gives it none.
void TorchPassEmitter::AddSlice(StorageId id, const PassInput& input, std::vector<Slice>& slices) {
  const AffineBytes bytes = At(program_.storages[id].bytes, input);
  if (bytes == AffineBytes(0)) return;
  slices.push_back({BufferOf(id, input), AffineBytes(0), bytes});
}

bool TorchPassEmitter::Hooked(ModuleId module) const { return !program_.hooked.empty() && program_.hooked[module]; }

void TorchPassEmitter::EmitCompute(const TorchEvent& event, const PassInput& input, std::int32_t op) {
  std::vector<Slice> reads, writes;
  reads.reserve(event.reads.size() + event.weights.size() + 1);
  writes.reserve(event.writes.size());
  for (const StorageId id : event.reads) AddSlice(id, input, reads);
  for (const StorageId id : event.writes) AddSlice(id, input, writes);
  for (const TensorId id : event.weights) {
    const TensorId owner = model_.tensors[id].tied_to == kNoId ? id : model_.tensors[id].tied_to;
    if (weights_.device[owner] >= 0) reads.push_back(b_.Whole(weights_.device[owner]));
  }
  if (MakesIds(event)) {
    if (input.ids < 0) {
      const StepId copy =
          b_.Copy(lanes_.gpus[event.gpu].in, b_.Whole(input.prompt), writes[0], streams_.WaitsOf(event.gpu));
      b_.step(Entered(copy)).pageable = true;
      b_.step(copy).blocking = true;
    } else {
      reads.push_back(b_.Whole(input.ids));
    }
  }
  Kernel kernel{.kind = KernelKind::kOpaque, .name = named_ ? NameOf(event) : "", .dtype = event.dtype};
  kernel.flops = At(event.flops, input);
  kernel.bytes = At(event.moved, input);
  std::vector<StepRef> after = streams_.Arrive(event.gpu, reads);
  const StepId step = b_.Compute(lanes_.gpus[event.gpu].compute, b_.AddKernel(std::move(kernel)), std::move(reads),
                                 std::move(writes), {.op = op, .pass = input.pass}, std::move(after));
  streams_.Issued(event.gpu, Entered(step));
}

void TorchPassEmitter::EmitMove(const TorchEvent& event, const PassInput& input) {
  std::vector<Slice> from, to;
  AddSlice(event.reads[0], input, from);
  AddSlice(event.storage, input, to);
  if (from.empty()) return;
  const std::int16_t target = program_.storages[event.storage].gpu;
  // A view may show a part of its storage, or all of it several times.
  const Slice whole = to[0];
  const std::int64_t times = std::max<std::int64_t>(1, whole.bytes.base / from[0].bytes.base);
  for (std::int64_t i = 0; i < times; ++i) {
    Slice part = whole;
    part.bytes = {whole.bytes.base / times, whole.bytes.step / times};
    part.offset = {part.bytes.base * i, part.bytes.step * i};
    from[0].bytes = part.bytes;
    streams_.Move(lanes_.gpus[event.gpu].peer[target], event.gpu, target, from[0], part);
  }
}

BufferId TorchPassEmitter::StagingOf(TensorId owner) {
  const auto [known, is_new] = staging_.try_emplace(owner, -1);
  const Tensor& t = model_.tensors[owner];
  if (is_new) known->second = b_.AddBuffer(lanes_.host, prefix_ + t.name + "@read", BufferKind::kStaging, t.bytes());
  return known->second;
}

void TorchPassEmitter::EmitUpload(const TorchEvent& event, const PassInput& input) {
  if (!event.reads.empty()) {
    const TorchStorage& source = program_.storages[event.reads[0]];
    const StepId copy =
        Entered(b_.Copy(event.stream == 1 ? lanes_.side : lanes_.gpus[0].in, b_.Whole(BufferOf(event.reads[0], input)),
                        b_.Whole(BufferOf(event.storage, input))));
    b_.step(copy).blocking = !event.async;
    b_.step(copy).pageable = source.place == TorchPlace::kPageable;
    if (event.async && source.role == TorchRole::kTemporary) in_flight_.push_back(event.reads[0]);
    return;
  }
  const TensorId id = program_.storages[event.storage].tensor;
  const TensorId owner = model_.tensors[id].tied_to == kNoId ? id : model_.tensors[id].tied_to;
  const bool disk = weights_.host[owner] < 0;
  BufferId from = weights_.host[owner];
  if (disk) {  // the file is opened again and the tensor read into fresh memory
    from = StagingOf(owner);
    b_.Allocate(from);
    const Slice file = b_.Whole(weights_.file[owner]);
    const bool of_checkpoint = b_.buffer(file.buffer).file >= 0;  // else of an offload folder
    const Slice to = b_.Whole(from);
    b_.step(of_checkpoint ? b_.Read(lanes_.read, file, to) : b_.Copy(lanes_.read, file, to)).blocking = true;
  }
  const std::int16_t gpu = program_.storages[event.storage].gpu;
  const StepId copy =
      b_.Copy(lanes_.gpus[gpu].in, b_.Whole(from), b_.Whole(BufferOf(event.storage, input)), streams_.WaitsOf(gpu));
  b_.step(copy).blocking = true;
  b_.step(copy).pageable = true;
  streams_.Issued(gpu, copy);
  if (disk) b_.Free(from);
}

StepId TorchPassEmitter::Entered(StepId step) {
  last_[b_.step(step).queue] = step;
  return step;
}

// Torch's pinned allocator reuses memory when the copies that read it are done; here it returns as soon as the host
// knows.
void TorchPassEmitter::WaitFor(std::int32_t queue) {
  if (const auto last = last_.find(queue); last != last_.end()) {
    b_.Wait({last->second});
    last_.erase(last);
  }
  if (queue != lanes_.side.queue) return;
  for (const StorageId id : late_) b_.Free(buffers_[id]);
  late_.clear();
  in_flight_.clear();
}

void TorchPassEmitter::EmitRelease(StorageId storage, const PassInput& input) {
  if (std::find(in_flight_.begin(), in_flight_.end(), storage) != in_flight_.end()) {
    late_.push_back(storage);
  } else {
    streams_.Gone(BufferOf(storage, input));
    b_.Free(BufferOf(storage, input));
  }
}

void TorchPassEmitter::EmitHook(const TorchEvent& event, const PassInput& input) {
  if (event.kind == TorchEventKind::kWaitStream)
    return WaitFor((event.stream == 1 ? lanes_.side : lanes_.gpus[0].compute).queue);
  if (event.kind == TorchEventKind::kRecordStream) {
    b_.RecordStream(BufferOf(event.storage, input), lanes_.gpus[0].compute.queue);
    return;
  }
  const BufferId to = BufferOf(event.writes[0], input);
  if (event.kind == TorchEventKind::kReadFile) {
    const TensorId id = program_.storages[event.writes[0]].tensor;
    b_.step(b_.Read(lanes_.read, b_.Whole(weights_.file[id]), b_.Whole(to))).blocking = true;
    return;
  }
  const BufferId from = BufferOf(event.reads[0], input);
  if (event.kind == TorchEventKind::kDownload) {
    const StepId copy = Entered(b_.Copy(lanes_.gpus[0].out, b_.Whole(from), b_.Whole(to)));
    b_.step(copy).blocking = true;
    b_.step(copy).pageable = true;
    return;
  }
  EmitHostCopy(b_, lanes_, from, to, "pin_memory");
}

void CopyAndWait(ScheduleBuilder& b, const Lane& lane, Slice from, Slice to) {
  const StepId copy = b.Copy(lane, from, to);
  b.step(copy).blocking = true;
  b.step(copy).pageable = true;
}

void EmitHostCopy(ScheduleBuilder& b, const TorchLanes& lanes, BufferId from, BufferId to, std::string_view name) {
  Kernel kernel{.kind = KernelKind::kOpaque, .name = std::string(name)};
  kernel.bytes = AffineBytes(b.buffer(from).bytes.base * 2);
  b.step(b.Compute(lanes.cpu, b.AddKernel(std::move(kernel)), {b.Whole(from)}, {b.Whole(to)})).blocking = true;
}

BufferId TorchPassEmitter::Emit(const PassInput& input) {
  STOWAGE_CHECK(input.past.size() == program_.past.size() && input.new_cache.size() == program_.cache.size());
  for (const StorageId id : growing_) buffers_[id] = -1;  // of another size in this pass
  growing_.clear();
  for (std::size_t i = 0; i < input.past.size(); ++i) buffers_[program_.past[i]] = input.past[i];
  for (std::size_t i = 0; i < input.new_cache.size(); ++i) buffers_[program_.cache[i]] = input.new_cache[i];
  std::vector<BufferId> workspaces = input.workspaces;
  workspaces.resize(lanes_.gpus.size(), -1);
  std::int32_t op = 0;
  last_.clear();
  for (const TorchEvent& event : program_.events) {
    const bool empty = event.storage != kNoId && program_.storages[event.storage].bytes == AffineBytes(0);
    switch (event.kind) {
      case TorchEventKind::kAllocate:
        if (!empty) {
          b_.Allocate(BufferOf(event.storage, input),
                      program_.storages[event.storage].stream == 1 ? lanes_.side.queue : -1);
        }
        break;
      case TorchEventKind::kRelease:
        if (!empty) EmitRelease(event.storage, input);
        break;
      case TorchEventKind::kEmptyCache:
        for (const TorchGpu& gpu : lanes_.gpus) b_.EmptyCache(gpu.pool);
        break;
      case TorchEventKind::kMove:
        EmitMove(event, input);
        break;
      case TorchEventKind::kUpload:
        EmitUpload(event, input);
        break;
      case TorchEventKind::kCompute:
        if (workspaces[event.gpu] >= 0 && IsMatrixProduct(event.op)) {
          b_.Allocate(std::exchange(workspaces[event.gpu], -1));
        }
        EmitCompute(event, input, op++);
        if (MakesIds(event) && input.ids >= 0) b_.Free(input.ids);
        break;
      case TorchEventKind::kEnter:
        if (Hooked(event.module)) {
          const StepId hook = b_.Compute(lanes_.python, hook_kernel_, {}, {});
          b_.step(hook).blocking = true;
          b_.step(hook).fixed = lanes_.hook;
        }
        break;
      case TorchEventKind::kExit:
      case TorchEventKind::kUseStream:
        break;
      case TorchEventKind::kDownload:
      case TorchEventKind::kPin:
      case TorchEventKind::kReadFile:
      case TorchEventKind::kWaitStream:
      case TorchEventKind::kRecordStream:
        EmitHook(event, input);
        break;
    }
  }
  for (auto& [tensor, buffers] : weights_.lingering) std::swap(buffers[0], buffers[1]);
  return BufferOf(program_.kept.front(), input);
}

void TorchPassEmitter::DropResults() {
  for (const StorageId id : program_.kept) {
    if (buffers_[id] >= 0) b_.Free(buffers_[id]);
  }
}

}  // namespace stowage
