#include "planner/strategy/torch/torch_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/cost/cost.h"
#include "planner/realize/library_workspace.h"
#include "planner/strategy/torch/torch_host.h"
#include "planner/strategy/torch/torch_pass.h"
#include "planner/strategy/torch/torch_programs.h"

namespace stowage {
namespace {

constexpr Bytes kRounding{512};
constexpr Bytes kLarge{1 << 20};  // beyond, a storage has segments that smaller ones do not share
constexpr Bytes kSmallSegment{2 << 20}, kMiddleSegment{20 << 20}, kMiddle{10 << 20};

bool IsMatrixProduct(const TorchEvent& e) {
  return e.kind == TorchEventKind::kCompute && (e.op == "mm.default" || e.op == "addmm.default");
}

// ---- memory

// Host memory in use: pageable to the byte; pinned blocks are powers of two and never given back.
class HostMemory {
 public:
  void Take(Bytes bytes, bool pinned) {
    if (pinned && bytes > Bytes(0)) {
      Blocks& blocks = pinned_[std::bit_width(static_cast<std::uint64_t>(bytes.value() - 1))];
      if (blocks.idle > 0) {
        --blocks.idle;
      } else {
        live_ += Bytes(std::int64_t{1} << std::bit_width(static_cast<std::uint64_t>(bytes.value() - 1)));
      }
    } else {
      live_ += bytes;
    }
    peak_ = std::max(peak_, live_);
  }
  void Drop(Bytes bytes, bool pinned) {
    if (pinned && bytes > Bytes(0)) {
      ++pinned_[std::bit_width(static_cast<std::uint64_t>(bytes.value() - 1))].idle;
    } else {
      live_ -= bytes;
    }
  }
  Bytes peak() const { return peak_; }

 private:
  struct Blocks {
    std::int64_t idle = 0;
  };
  std::map<int, Blocks> pinned_;  // by power
  Bytes live_, peak_;
};

void Follow(const Schedule& load, HostMemory& host) {
  const auto on_host = [&](const Buffer& b) {
    return b.parent < 0 && b.file < 0 && b.pool >= 0 && load.pools[b.pool].name == "host";
  };
  for (const Buffer& b : load.buffers) {
    if (b.initial && on_host(b)) host.Take(Bytes(b.bytes.base), b.pinned);
  }
  for (const Step& step : load.steps) {
    if (step.buffer < 0 || !on_host(load.buffers[step.buffer])) continue;
    const Buffer& b = load.buffers[step.buffer];
    if (step.kind == StepKind::kAllocate) host.Take(Bytes(b.bytes.base), b.pinned);
    if (step.kind == StepKind::kFree) host.Drop(Bytes(b.bytes.base), b.pinned);
  }
}

// What a pass does to it. Weights on the disk are read into memory that lives for one copy.
void Follow(const TorchProgram& program, const std::vector<bool>& on_disk, HostMemory& host) {
  for (const TorchEvent& e : program.events) {
    if (e.storage == kNoId) continue;
    const TorchStorage& s = program.storages[e.storage];
    if (s.place != TorchPlace::kDevice) {
      const bool pinned = s.place == TorchPlace::kPinned;
      if (e.kind == TorchEventKind::kAllocate) host.Take(Bytes(s.bytes.base), pinned);
      if (e.kind == TorchEventKind::kRelease) host.Drop(Bytes(s.bytes.base), pinned);
    } else if (e.kind == TorchEventKind::kUpload && e.reads.empty() && on_disk[s.tensor]) {
      host.Take(Bytes(s.bytes.base), false);
      host.Drop(Bytes(s.bytes.base), false);
    }
  }
}

// Rounded bytes of storages alive at once in one pass, by GPU; what stays is counted apart.
std::vector<Bytes> PeaksOf(const TorchProgram& program, std::int64_t iteration, std::size_t gpus) {
  std::vector<Bytes> live(gpus), peak(gpus);
  const auto add = [&](StorageId id, int sign) {
    const TorchStorage& s = program.storages[id];
    if (s.place != TorchPlace::kDevice || s.role == TorchRole::kMoved) return;
    live[s.gpu] += RoundUp(s.bytes.at(iteration), kRounding) * sign;
    peak[s.gpu] = std::max(peak[s.gpu], live[s.gpu]);
  };
  for (const StorageId id : program.past) add(id, 1);
  for (const TorchEvent& event : program.events) {
    if (event.kind == TorchEventKind::kAllocate) add(event.storage, 1);
    if (event.kind == TorchEventKind::kRelease) add(event.storage, -1);
  }
  return peak;
}

// ---- time

// What of a caching allocator costs time: segments that are asked for, as far as sums of bytes say.
class Segments {
 public:
  // How many are new.
  int Allocate(Bytes bytes) {
    if (bytes > kLarge) return Take(bytes, large_, bytes < kMiddle ? kMiddleSegment : RoundUp(bytes, kSmallSegment));
    return Take(RoundUp(bytes, kRounding), small_, kSmallSegment);
  }
  void Release(Bytes bytes) {
    if (bytes > kLarge) {
      large_ += bytes;
    } else {
      small_ += RoundUp(bytes, kRounding);
    }
  }
  bool Flush() { return std::exchange(large_, Bytes(0)) > Bytes(0); }  // whether there was something

 private:
  static int Take(Bytes bytes, Bytes& cached, Bytes segment) {
    const bool fresh = cached < bytes;
    cached += (fresh ? segment : Bytes(0)) - bytes;
    return fresh ? 1 : 0;
  }
  Bytes small_, large_;  // free
};

class Clocks {
 public:
  Clocks(const Machine& machine, const Model& model, std::vector<bool> on_disk, std::size_t gpus)
      : machine_(machine),
        model_(model),
        on_disk_(std::move(on_disk)),
        stream_(gpus),
        segments_(gpus),
        workspace_(gpus) {
    for (std::size_t g = 0; g < gpus; ++g) sm_.push_back(fmt::format("gpu{}.sm", g));
    for (std::size_t g = 0; g < gpus; ++g) in_.push_back(fmt::format("gpu{}.h2d", g));
  }

  // One pass with the choice of its token.
  void Run(const TorchProgram& program, std::int64_t iteration, bool chooses, std::int64_t batch) {
    for (const TorchEvent& event : program.events) Do(program, event, iteration);
    if (!chooses) return;
    const std::int64_t choices = batch * model_.shape.vocab;
    Kernel argmax{.kind = KernelKind::kOpaque, .dtype = program.dtype};
    argmax.flops = {static_cast<double>(choices)};
    argmax.bytes = AffineBytes(SizeOf(program.dtype, choices));
    Launch(argmax, 0, 0);
    Python(machine_.dispatch.torch_operator);
    Block(stream_[0], Transfer(Bytes(8 * batch), "gpu0.d2h", true));
  }

  Seconds now() const { return python_; }
  const std::map<std::string, Seconds>& busy() const { return busy_; }
  void ForgetBusy() { busy_.clear(); }

 private:
  void Do(const TorchProgram& program, const TorchEvent& e, std::int64_t iteration) {
    const DispatchCost& cost = machine_.dispatch;
    switch (e.kind) {
      case TorchEventKind::kAllocate:
        return Allocate(program.storages[e.storage], iteration);
      case TorchEventKind::kRelease:
        return Release(program.storages[e.storage], iteration);
      case TorchEventKind::kCompute: {
        Kernel kernel{.kind = KernelKind::kOpaque, .dtype = e.dtype};
        if (IsMatrixProduct(e) && !workspace_[e.gpu]) {
          workspace_[e.gpu] = true;
          Python(cost.device_malloc);
        }
        if (e.op == "zeros.default" && !std::exchange(prompt_given_, true)) GivePrompt(program, e);
        kernel.flops = e.flops;
        kernel.bytes = e.moved;
        return Launch(kernel, iteration, e.gpu);
      }
      case TorchEventKind::kUpload:
        return Upload(program, e);
      case TorchEventKind::kMove:
        return Move(program, e, iteration);
      case TorchEventKind::kEmptyCache:
        Python(cost.empty_cache * static_cast<double>(stream_.size()));
        return Flush();
      case TorchEventKind::kEnter:
        if (!program.hooked.empty() && program.hooked[e.module]) Python(cost.torch_hook);
        return;
      case TorchEventKind::kDownload:
        Python(cost.torch_operator);
        return Block(stream_[0], Transfer(Bytes(program.storages[e.writes[0]].bytes.base), "gpu0.d2h", true));
      case TorchEventKind::kPin: {
        Kernel copy{.kind = KernelKind::kOpaque};
        copy.bytes = AffineBytes(program.storages[e.writes[0]].bytes.base * 2);
        return Python(cost.torch_operator + Compute(copy, 0, "host.cores"));
      }
      case TorchEventKind::kReadFile:
        return Python(cost.torch_operator + Transfer(Bytes(program.storages[e.writes[0]].bytes.base), "disk0", false));
      case TorchEventKind::kWaitStream:
        python_ = std::max(python_, e.stream == 1 ? side_ : stream_[0]);
        return;
      case TorchEventKind::kExit:
      case TorchEventKind::kUseStream:
      case TorchEventKind::kRecordStream:
        return;
    }
  }

  void Python(Seconds seconds) { python_ += seconds; }
  void Block(Seconds& stream, Seconds seconds) { python_ = stream = std::max(stream, python_) + seconds; }

  Seconds Compute(const Kernel& kernel, std::int64_t iteration, const std::string& resource) {
    const std::int32_t at = machine_.FindResource(resource);
    if (at < 0 || !machine_.resources[at].compute) return Seconds(0);
    const Seconds seconds = Duration(kernel, iteration, *machine_.resources[at].compute);
    busy_[resource] += seconds;
    return seconds;
  }
  Seconds Transfer(Bytes bytes, const std::string& resource, bool pageable) {
    const std::int32_t at = machine_.FindResource(resource);
    if (at < 0 || !machine_.resources[at].transfer) return Seconds(0);
    const Seconds seconds = Duration(bytes, *machine_.resources[at].transfer, pageable);
    busy_[resource] += seconds;
    return seconds;
  }

  void Launch(const Kernel& kernel, std::int64_t iteration, std::int16_t gpu) {
    Python(machine_.dispatch.torch_operator);
    stream_[gpu] = std::max(stream_[gpu], python_) + Compute(kernel, iteration, sm_[gpu]);
  }

  void Upload(const TorchProgram& program, const TorchEvent& e) {
    const TorchStorage& to = program.storages[e.storage];
    const bool pageable = e.reads.empty() || program.storages[e.reads[0]].place == TorchPlace::kPageable;
    const Bytes bytes(to.bytes.base);
    if (e.reads.empty() && on_disk_[to.tensor]) {
      Python(machine_.dispatch.torch_operator + Transfer(bytes, "disk0", false));
    }
    Python(machine_.dispatch.torch_operator);
    const Seconds copy = Transfer(bytes, in_[to.gpu], pageable);
    Seconds& stream = e.stream == 1 ? side_ : stream_[to.gpu];
    if (!e.async) return Block(stream, copy);
    stream = std::max(stream, python_) + copy;
  }

  void Move(const TorchProgram& program, const TorchEvent& e, std::int64_t iteration) {
    const TorchStorage& to = program.storages[e.storage];
    const std::string link = fmt::format("link:gpu{}-gpu{}", std::min(e.gpu, to.gpu), std::max(e.gpu, to.gpu));
    Python(machine_.dispatch.torch_operator);
    const Seconds start = std::max({python_, stream_[e.gpu], stream_[to.gpu]});
    stream_[e.gpu] = stream_[to.gpu] = start + Transfer(to.bytes.at(iteration), link, false);
  }

  void GivePrompt(const TorchProgram& program, const TorchEvent& e) {
    Python(machine_.dispatch.torch_operator);
    Block(stream_[e.gpu], Transfer(Bytes(program.storages[e.writes[0]].bytes.base), in_[e.gpu], true));
  }

  void Allocate(const TorchStorage& s, std::int64_t iteration) {
    const Bytes bytes = s.bytes.at(iteration);
    if (s.place != TorchPlace::kDevice || bytes == Bytes(0)) return;
    const Seconds each = machine_.dispatch.device_malloc + (flushed_ ? machine_.dispatch.device_free : Seconds(0));
    Python(each * segments_[s.gpu].Allocate(bytes));
  }
  void Release(const TorchStorage& s, std::int64_t iteration) {
    if (s.place == TorchPlace::kDevice) segments_[s.gpu].Release(s.bytes.at(iteration));
  }
  // Giving segments back waits for the device.
  void Flush() {
    for (std::size_t g = 0; g < segments_.size(); ++g) {
      if (segments_[g].Flush()) python_ = std::max(python_, stream_[g]);
    }
    flushed_ = true;
  }

  const Machine& machine_;
  const Model& model_;
  const std::vector<bool> on_disk_;  // by TensorId
  std::vector<std::string> sm_, in_;
  Seconds python_, side_;
  std::vector<Seconds> stream_;
  std::vector<Segments> segments_;  // by GPU
  std::vector<bool> workspace_;     // by GPU: it is there
  bool prompt_given_ = false;
  bool flushed_ = false;
  std::map<std::string, Seconds> busy_;
};

// ---- both

struct Case {
  const PlanningTask& task;
  const TorchPlacement& held;
  const TorchPrograms& programs;
  std::size_t gpus;
};

// The last pass: of which program, and which iteration.
std::int64_t LastIteration(const Case& c) {
  const std::int64_t before = c.programs.late.events.empty() ? 0 : c.programs.turn;
  return Recomputes(c.task) ? 0 : c.task.LoweredPasses() - 1 - before;
}

std::vector<Bytes> GpuPeaks(const Case& c) {
  std::vector<Bytes> peaks = PeaksOf(c.programs.prefill, 0, c.gpus);
  const auto raise = [&](const std::vector<Bytes>& other) {
    for (std::size_t g = 0; g < c.gpus; ++g) peaks[g] = std::max(peaks[g], other[g]);
  };
  if (c.task.LoweredPasses() > 0) {
    raise(PeaksOf(c.programs.last(), LastIteration(c), c.gpus));
    if (!c.programs.late.events.empty()) raise(PeaksOf(c.programs.decode, c.programs.turn - 1, c.gpus));
  }
  const Model& model = c.programs.held;
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    const auto id = static_cast<TensorId>(t);
    if (!HasOwnStorage(model.tensors[t]) || !c.held.Stays(model, id)) continue;
    peaks[c.held.GpuOf(id)] += RoundUp(model.tensors[t].bytes(), kRounding);
  }
  const Machine& machine = *c.task.machine;
  std::vector<bool> multiplies(c.gpus);
  for (const TorchEvent& e : c.programs.prefill.events) {
    if (IsMatrixProduct(e)) multiplies[e.gpu] = true;
  }
  for (std::size_t g = 0; g < c.gpus; ++g) {
    const int capability = g < machine.gpus.size() ? machine.gpus[g].compute_capability : 0;
    peaks[g] += machine.Reserved(fmt::format("gpu{}", g));
    if (multiplies[g]) peaks[g] += CublasWorkspace(capability);
  }
  return peaks;
}

std::vector<bool> OnDisk(const Case& c) {
  std::vector<bool> out;
  const std::vector<Tensor>& tensors = c.programs.held.tensors;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const std::size_t owner = tensors[t].tied_to == kNoId ? t : static_cast<std::size_t>(tensors[t].tied_to);
    out.push_back(c.held.homes[owner] == WeightHome::kDisk);
  }
  return out;
}

void FillTimes(const Case& c, ClosedForm& out) {
  const Request& request = c.task.request;
  Clocks clocks(*c.task.machine, c.programs.held, OnDisk(c), c.gpus);
  clocks.Run(c.programs.prefill, 0, request.new_tokens > 0, request.batch);
  out.first_token = clocks.now();
  out.limit = LimitOf(clocks.busy(), out.first_token);
  if (c.task.LoweredPasses() == 0) return;
  clocks.Run(c.programs.last(), LastIteration(c), true, request.batch);  // copies may run ahead of it
  const Seconds before = clocks.now();
  clocks.ForgetBusy();
  clocks.Run(c.programs.last(), LastIteration(c), true, request.batch);
  out.per_token = clocks.now() - before;
  out.limit = LimitOf(clocks.busy(), out.per_token);
}

}  // namespace

Result<ClosedForm> FormOfTorch(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy) {
  STOWAGE_RETURN_IF_ERROR(CheckPlacement(task, placement, strategy));
  STOWAGE_TRY(const auto programs, RealizePasses(task, placement));
  STOWAGE_RETURN_IF_ERROR(CheckPasses(task));
  STOWAGE_TRY(const TorchPlacement held, PlacementOn(programs->held, *task.model, placement));
  const std::vector<std::int16_t>& used = held.devices.tensors;
  const std::size_t gpus = used.empty() ? 1 : static_cast<std::size_t>(*std::max_element(used.begin(), used.end())) + 1;
  const Case c{task, held, *programs, gpus};
  STOWAGE_TRY(const Schedule load, LowerTorchLoad(task, held, *programs, strategy));
  ClosedForm out;
  HostMemory host;
  Follow(load, host);
  Follow(programs->prefill, OnDisk(c), host);
  if (task.LoweredPasses() > 0) Follow(programs->decode, OnDisk(c), host);
  const std::vector<Bytes> peaks = GpuPeaks(c);
  for (std::size_t g = 0; g < gpus; ++g) out.peak.emplace_back(fmt::format("gpu{}", g), peaks[g]);
  out.peak.emplace_back("host", host.peak() + task.machine->Reserved("host"));
  if (Status fits = CheckHostBudget(load); !fits) out.why_not = fits.error().message;
  for (const auto& [pool, bytes] : out.peak) {
    const Bytes budget = task.machine->pools[task.machine->FindPool(pool)].budget;
    if (!out.fits() || bytes <= budget) continue;
    out.why_not =
        fmt::format("{} needs {} of {}, whose budget is {}", strategy, FormatBytes(bytes), pool, FormatBytes(budget));
  }
  if (out.fits()) FillTimes(c, out);
  return out;
}

}  // namespace stowage
