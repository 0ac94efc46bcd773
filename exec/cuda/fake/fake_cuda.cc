#include "exec/cuda/fake/fake_cuda.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "exec/cuda/cuda_device.h"

namespace stowage {
namespace {

constexpr int kPoison = 0xFF;
constexpr std::align_val_t kAlignment{256};

std::byte* NewPoisoned(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(memory, kPoison, bytes);
  return memory;
}

struct FakeEvent {
  FakeScheduler::OpId op = -1;  // of its last record; -1: never recorded, so reached
  std::shared_ptr<std::int64_t> tick = std::make_shared<std::int64_t>(0);
};

class FakeCuda final : public CudaApi {
 public:
  FakeCuda(std::shared_ptr<FakeScheduler> scheduler, kernels::KernelTable kernels)
      : scheduler_(std::move(scheduler)), kernels_(kernels) {}

  int DeviceCount(int* count) override {
    *count = 8;
    return 0;
  }
  std::string DeviceName(int) override { return "fake"; }
  int MemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) override {
    *free_bytes = *total_bytes = std::size_t{1} << 40;
    return 0;
  }
  int SetDevice(int) override { return 0; }

  int Malloc(void** memory, std::size_t bytes) override {
    *memory = NewPoisoned(bytes);
    return 0;
  }
  int Free(void* memory) override {
    ::operator delete(memory, kAlignment);
    return 0;
  }
  int HostAlloc(void** memory, std::size_t bytes) override { return Malloc(memory, bytes); }
  int HostFree(void* memory) override { return Free(memory); }

  int StreamCreate(Stream* stream) override {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a handle, never followed
    *stream = reinterpret_cast<Stream>(static_cast<std::intptr_t>(scheduler_->AddQueue()) + 1);
    return 0;
  }
  int StreamDestroy(Stream) override { return 0; }
  int StreamSynchronize(Stream stream) override { return scheduler_->RunQueue(Queue(stream)) ? failed_ : kDeadlock; }
  int StreamWaitEvent(Stream stream, EventHandle handle) override {
    // What the event stands for is fixed now; a later record is another point.
    const FakeScheduler::OpId op = Get(handle).op;
    if (op >= 0) {
      scheduler_->Post(Queue(stream), {.ready = [this, op] { return scheduler_->Done(op); }});
    }
    return failed_;
  }

  int EventCreate(EventHandle* event) override {
    *event = new FakeEvent;
    return 0;
  }
  int EventDestroy(EventHandle event) override {
    delete &Get(event);
    return 0;
  }
  int EventRecord(EventHandle handle, Stream stream) override {
    FakeEvent& event = Get(handle);
    event.tick = std::make_shared<std::int64_t>(0);
    event.op = scheduler_->Post(Queue(stream), {.end = [this, tick = event.tick] { *tick = scheduler_->Tick(); }});
    return failed_;
  }
  int EventQuery(EventHandle handle) override {
    const FakeScheduler::OpId op = Get(handle).op;
    return op < 0 || scheduler_->Done(op) ? failed_ : kNotReady;
  }
  int EventSynchronize(EventHandle handle) override {
    const FakeScheduler::OpId op = Get(handle).op;
    return op < 0 || scheduler_->RunUntil(op) ? failed_ : kDeadlock;
  }
  int EventElapsed(float* milliseconds, EventHandle start, EventHandle end) override {
    *milliseconds = static_cast<float>(*Get(end).tick - *Get(start).tick) * 1e-3f;  // a tick is a microsecond
    return 0;
  }

  int MemcpyAsync(void* to, const void* from, std::size_t bytes, Stream stream) override {
    scheduler_->Post(Queue(stream), {.kind = FakeClass::kCopy,
                                     .begin = [to, bytes] { std::memset(to, kPoison, bytes); },
                                     .end = [to, from, bytes] { std::memcpy(to, from, bytes); }});
    return failed_;
  }
  int MemsetAsync(void* to, int value, std::size_t bytes, Stream stream) override {
    scheduler_->Post(Queue(stream),
                     {.kind = FakeClass::kKernel, .end = [to, value, bytes] { std::memset(to, value, bytes); }});
    return failed_;
  }
  int Launch(const KernelArgs& args, Stream stream) override {
    scheduler_->Post(Queue(stream), {.kind = FakeClass::kKernel, .end = [this, args] {
                                       const int code = RunKernel(kernels_, args, nullptr);
                                       if (code != 0 && failed_ == 0) failed_ = code;
                                     }});
    return failed_;
  }

  std::string ErrorText(int code) override {
    return code == kDeadlock ? "the queues wait for each other" : KernelCodeText(code);
  }
  std::string Libraries() override { return "fake CUDA"; }

 private:
  static constexpr int kDeadlock = 702;  // cudaErrorLaunchTimeout: what a hang looks like
  static int Queue(Stream stream) { return static_cast<int>(reinterpret_cast<std::intptr_t>(stream)) - 1; }
  static FakeEvent& Get(EventHandle event) { return *static_cast<FakeEvent*>(event); }

  std::shared_ptr<FakeScheduler> scheduler_;
  kernels::KernelTable kernels_;
  int failed_ = 0;  // as the runtime's: an error of a kernel comes back from every later call
};

// What a queue's failure does to those who wait for it, shared by its events.
struct FakeQueueStatus {
  Status status = OkStatus();
};

class FakeHostEvent final : public Event {
 public:
  FakeHostEvent(std::shared_ptr<FakeScheduler> scheduler, FakeScheduler::OpId op,
                std::shared_ptr<FakeQueueStatus> queue)
      : scheduler_(std::move(scheduler)), op_(op), queue_(std::move(queue)) {}
  bool Done() override { return scheduler_->Done(op_); }
  Status HostWait() override {
    if (!scheduler_->RunUntil(op_)) return Error{ErrorCode::kInternal, "the queues wait for each other"};
    return queue_->status;
  }

 private:
  std::shared_ptr<FakeScheduler> scheduler_;
  FakeScheduler::OpId op_;
  std::shared_ptr<FakeQueueStatus> queue_;
};

class FakeWorkers final : public Workers {
 public:
  explicit FakeWorkers(std::shared_ptr<FakeScheduler> scheduler) : scheduler_(std::move(scheduler)) {}

  int OpenQueue(std::string_view) override {
    queues_.push_back({scheduler_->AddQueue(), std::make_shared<FakeQueueStatus>()});
    return static_cast<int>(queues_.size()) - 1;
  }

  void Wait(int queue, EventPtr event) override {
    const auto status = queues_[queue].status;
    scheduler_->Post(queues_[queue].id, {.ready = [event] { return event->Done(); },
                                         .end =
                                             [event, status] {
                                               Status other = event->HostWait();  // reached: does not block
                                               if (!other && status->status) status->status = std::move(other);
                                             }});
  }

  void Run(int queue, Work work) override {
    const auto status = queues_[queue].status;
    const auto start = std::make_shared<std::int64_t>(0);
    scheduler_->Post(queues_[queue].id, {.kind = work.compute ? FakeClass::kKernel : FakeClass::kHost,
                                         .begin =
                                             [this, start, to = work.undefined] {
                                               *start = scheduler_->Tick();
                                               if (!to.empty()) std::memset(to.data(), kPoison, to.size());
                                             },
                                         .end =
                                             [this, start, status, work] {
                                               if (status->status) status->status = work.run();
                                               const auto at = [](std::int64_t tick) {
                                                 return Seconds(static_cast<double>(tick) * 1e-6);
                                               };
                                               spans_.push_back({work.tag.step, work.tag.iteration, work.tag.issued,
                                                                 at(*start), at(scheduler_->Tick())});
                                             }});
  }

  EventPtr Record(int queue) override {
    const FakeScheduler::OpId op = scheduler_->Post(queues_[queue].id, {});
    return std::make_shared<FakeHostEvent>(scheduler_, op, queues_[queue].status);
  }

  void StartClock(Device::Clock::time_point) override {}
  Status Drain() override {
    Status first = OkStatus();
    for (const Queue& queue : queues_) {
      if (!scheduler_->RunQueue(queue.id)) return Error{ErrorCode::kInternal, "the queues wait for each other"};
      if (!queue.status->status && first) first = queue.status->status;
    }
    return first;
  }
  std::vector<StepSpan> TakeSpans() override { return std::exchange(spans_, {}); }

 private:
  struct Queue {
    int id;
    std::shared_ptr<FakeQueueStatus> status;
  };
  std::shared_ptr<FakeScheduler> scheduler_;
  std::vector<Queue> queues_;
  std::vector<StepSpan> spans_;
};

}  // namespace

std::shared_ptr<CudaApi> MakeFakeCuda(std::shared_ptr<FakeScheduler> scheduler, kernels::KernelTable kernels) {
  return std::make_shared<FakeCuda>(std::move(scheduler), kernels);
}

std::unique_ptr<Workers> MakeFakeWorkers(std::shared_ptr<FakeScheduler> scheduler) {
  return std::make_unique<FakeWorkers>(std::move(scheduler));
}

HostMemory PoisonedHostMemory() {
  return {.allocate = [](Bytes bytes, bool) -> Result<std::byte*> {
            return NewPoisoned(static_cast<std::size_t>(bytes.value()));
          },
          .free = [](std::byte* memory, Bytes, bool) { ::operator delete(memory, kAlignment); }};
}

Result<DeviceSet> MakeFakeDevices(const Schedule& schedule, FakePolicy policy, kernels::KernelTable kernels) {
  const auto scheduler = std::make_shared<FakeScheduler>(policy);
  const auto api = MakeFakeCuda(scheduler, kernels);
  DeviceSet out;
  Bytes host;
  for (const PoolUse& pool : schedule.pools) {
    if (pool.name == "host") host = pool.budget;
    if (!pool.name.starts_with("gpu")) continue;
    const int ordinal = static_cast<int>(out.devices.size());
    STOWAGE_TRY(auto device, MakeCudaDevice({.name = pool.name, .ordinal = ordinal, .budget = pool.budget}, api));
    out.devices.push_back(std::move(device));
  }
  // Destroyed first: its queues may still wait for events of the others.
  out.devices.insert(
      out.devices.begin(),
      MakeHostDevice({.name = "host", .budget = host, .memory = PoisonedHostMemory(), .kernels = kernels},
                     MakeFakeWorkers(scheduler)));
  return out;
}

}  // namespace stowage
