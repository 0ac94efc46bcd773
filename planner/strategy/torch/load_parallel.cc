// by-shard:5: from_pretrained of transformers 5. All files are mapped at once and stay mapped to the end; the keys,
// sorted, are shared out among four threads, each of which reads a tensor, casts it on the host where the dtype is
// another, and moves it. So reading and copying overlap; beside the weights there are four tensors cast, and all mapped
// pages that were touched. With weights on the disk the main thread does it alone.
//
// Experts that memory holds stacked (AsTransformersHolds) are read one by one to where the stack goes; the main thread
// stacks them, one stack at a time: so much is there twice.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_set>

#include "planner/strategy/torch/torch_load.h"

namespace stowage {
namespace {

constexpr std::size_t kThreads = 4;  // GLOBAL_WORKERS

// dot_natural_key: parts between dots, numbers before words and by their value.
std::vector<std::pair<std::int64_t, std::string>> NaturalKey(std::string_view name) {
  std::vector<std::pair<std::int64_t, std::string>> key;
  while (true) {
    const std::size_t dot = name.find('.');
    const std::string_view part = name.substr(0, dot);
    const bool number =
        !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string_view::npos;
    key.emplace_back(number ? std::stoll(std::string(part)) : std::int64_t{1} << 62, number ? "" : std::string(part));
    if (dot == std::string_view::npos) return key;
    name.remove_prefix(dot + 1);
  }
}

class ParallelLoad {
 public:
  ParallelLoad(TorchLoader& loader, const Model& checkpoint) : loader_(loader), b_(loader.b()), lanes_(loader.lanes()) {
    for (const Tensor& t : checkpoint.tensors) names_.insert(t.name);
  }

  void Run() {
    loader_.WarmUp();
    std::vector<TensorId> order = loader_.parameters();
    std::stable_sort(order.begin(), order.end(), [&](TensorId a, TensorId b) {
      return NaturalKey(loader_.tensor(a).name) < NaturalKey(loader_.tensor(b).name);
    });
    const bool alone =
        std::any_of(order.begin(), order.end(), [&](TensorId id) { return loader_.HomeOf(id) == WeightHome::kDisk; });
    if (!alone) StartThreads();
    for (const TensorId id : order) {
      if (loader_.HomeOf(id) == WeightHome::kDisk) {
        loader_.weights().file[id] = loader_.FileOf(id);
      } else if (names_.contains(loader_.tensor(id).name)) {
        OnThread(loader_.BytesIn(id, Stored(id)), [&] { LoadOne(id); });
      } else {
        LoadStack(id);
      }
    }
    for (const Thread& thread : threads_) {
      if (thread.last >= 0) b_.Wait({thread.last});
    }
    for (const BufferId buffer : mapped_) b_.Free(buffer);
  }

 private:
  struct Thread {
    std::int32_t issuer = -1;
    TorchLanes lanes;  // queues of its own: nothing orders what two threads enter
    Bytes given;
    StepId last = -1;
  };

  DType Stored(TensorId id) const { return FileDType(loader_.tensor(id)); }
  bool OnDevice(TensorId id) const { return loader_.HomeOf(id) == WeightHome::kDevice; }

  void StartThreads() {
    Kernel open{.kind = KernelKind::kOpaque, .name = "open the files"};
    const StepId opened = b_.Compute(lanes_.python, b_.AddKernel(std::move(open)), {}, {});
    threads_.resize(kThreads);
    for (std::size_t i = 0; i < kThreads; ++i) {
      Thread& thread = threads_[i];
      thread.issuer = b_.AddIssuer(fmt::format("loader {}", i), IssuerKind::kTorch);
      thread.lanes = lanes_;
      thread.lanes.load.queue = b_.AddQueue(fmt::format("disk0/loader {}", i));
      thread.lanes.cpu.queue = b_.AddQueue(fmt::format("cpu/loader {}", i));
      for (std::size_t g = 0; g < lanes_.gpus.size(); ++g) {
        thread.lanes.gpus[g].in.queue = b_.AddQueue(fmt::format("gpu{}/loader {}", g, i));
      }
      b_.Wait({opened});
    }
    b_.UseIssuer(0);
  }

  // On the thread that has least to do: a pool gives each that is done the next tensor.
  template <class Work>
  void OnThread(Bytes bytes, Work work) {
    if (threads_.empty()) return work();
    Thread& thread = *std::min_element(threads_.begin(), threads_.end(),
                                       [](const Thread& a, const Thread& b) { return a.given < b.given; });
    thread.given += bytes;
    b_.UseIssuer(thread.issuer);
    loader_.UseLanes(thread.lanes);
    work();
    loader_.UseLanes(lanes_);
    b_.UseIssuer(0);
    thread.last = last_;
  }

  void LoadOne(TensorId id) {
    const DType stored = Stored(id), wanted = loader_.LoadDType(id);
    const BufferId file = loader_.FileOf(id);
    const BufferId mapped = loader_.NewBuffer(id, loader_.PageCache(), "@mapped", BufferKind::kWeights, stored);
    loader_.Read(file, mapped);
    BufferId at = mapped;
    if (stored != wanted) at = loader_.Cast(id, mapped, stored, wanted, "@host", /*on_device=*/false);
    if (at != mapped || OnDevice(id)) mapped_.push_back(mapped);
    last_ = b_.next() - 1;
    if (!OnDevice(id)) {
      loader_.weights().host[id] = at;
      return;
    }
    loader_.weights().device[id] = loader_.CopyToDevice(id, at, wanted);
    last_ = b_.next() - 1;
    if (at != mapped) b_.Free(at);
  }

  // One part an expert: what a checkpoint has of it.
  void LoadStack(TensorId id) {
    const Tensor& t = loader_.tensor(id);
    const DType stored = Stored(id), wanted = loader_.LoadDType(id);
    const std::int64_t parts = t.shape.empty() ? 1 : t.shape[0];
    const std::int32_t pool = OnDevice(id) ? loader_.GpuOf(id).pool : loader_.lanes().host;
    std::vector<BufferId> all;
    std::vector<StepId> ends;
    for (std::int64_t e = 0; e < parts; ++e) {
      OnThread(SizeOf(stored, Elements(t.shape) / parts), [&] {
        all.push_back(LoadPart(id, fmt::format("{} of expert {}", t.name, e), Elements(t.shape) / parts, pool));
        ends.push_back(last_);
      });
    }
    for (const StepId end : ends) b_.Wait({end});
    const BufferId stack = loader_.NewBuffer(id, pool, OnDevice(id) ? "" : "@host", BufferKind::kWeights, wanted);
    Kernel kernel{.kind = KernelKind::kOpaque, .name = "stack " + t.name, .dtype = wanted};
    kernel.bytes = AffineBytes(loader_.BytesIn(id, wanted) * 2);
    std::vector<Slice> reads;
    for (const BufferId part : all) reads.push_back(b_.Whole(part));
    const Lane& lane = OnDevice(id) ? loader_.GpuOf(id).compute : loader_.lanes().cpu;
    const StepId step = b_.Compute(lane, b_.AddKernel(std::move(kernel)), std::move(reads), {b_.Whole(stack)});
    b_.step(step).blocking = true;
    for (const BufferId part : all) b_.Free(part);
    (OnDevice(id) ? loader_.weights().device : loader_.weights().host)[id] = stack;
  }

  // An expert's elements of a stack, in the dtype of the stack, where the stack goes.
  BufferId LoadPart(TensorId id, const std::string& name, std::int64_t elements, std::int32_t pool) {
    const DType stored = Stored(id), wanted = loader_.LoadDType(id);
    const Bytes raw = SizeOf(stored, elements), cast = SizeOf(wanted, elements);
    const BufferId file = b_.AddFileBuffer(loader_.lanes().disk, name + "@disk", 0, 0, raw);
    const BufferId mapped = b_.AddBuffer(loader_.PageCache(), name + "@mapped", BufferKind::kWeights, raw);
    b_.Allocate(mapped);
    mapped_.push_back(mapped);
    loader_.Read(file, mapped);
    BufferId at = mapped;
    if (stored != wanted || !OnDevice(id)) {
      at = b_.AddBuffer(loader_.lanes().host, name + "@host", BufferKind::kStaging, cast);
      b_.Allocate(at);
      loader_.HostKernel("convert " + name, raw + cast, {b_.Whole(mapped)}, at);
    }
    last_ = b_.next() - 1;
    if (!OnDevice(id)) return at;
    const BufferId part = b_.AddBuffer(pool, name, BufferKind::kStaging, cast);
    b_.Allocate(part);
    CopyAndWait(b_, loader_.GpuOf(id).in, b_.Whole(at), b_.Whole(part));
    last_ = b_.next() - 1;
    if (at != mapped) b_.Free(at);
    return part;
  }

  TorchLoader& loader_;
  ScheduleBuilder& b_;
  const TorchLanes& lanes_;                // of the main thread
  std::unordered_set<std::string> names_;  // of the checkpoint's tensors
  std::vector<Thread> threads_;            // none: the main thread does it
  std::vector<BufferId> mapped_;           // not views
  StepId last_ = -1;                       // that ends, of what was issued last
};

}  // namespace

void LoadParallel(TorchLoader& loader, const Model& checkpoint) { ParallelLoad(loader, checkpoint).Run(); }

}  // namespace stowage
