#include "exec/cuda/cuda_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace stowage {
namespace {

Error CudaError(CudaApi& api, std::string_view device, std::string_view what, int code) {
  const ErrorCode kind = code == CudaApi::kMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDevice;
  return {kind, fmt::format("{}: {}: {}", device, what, api.ErrorText(code))};
}

// Hands out event handles and takes them back; shared by all that hold one.
class EventPool {
 public:
  explicit EventPool(std::shared_ptr<CudaApi> api) : api_(std::move(api)) {}
  ~EventPool() {
    for (const CudaApi::EventHandle handle : free_) api_->EventDestroy(handle);
  }
  int Take(CudaApi::EventHandle* handle) {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return api_->EventCreate(handle);
    *handle = free_.back();
    free_.pop_back();
    return 0;
  }
  void Return(CudaApi::EventHandle handle) {
    const std::lock_guard lock(mutex_);
    free_.push_back(handle);
  }
  CudaApi& api() { return *api_; }

 private:
  std::shared_ptr<CudaApi> api_;
  std::mutex mutex_;
  std::vector<CudaApi::EventHandle> free_;
};

class CudaEvent final : public Event {
 public:
  CudaEvent(std::shared_ptr<EventPool> pool, CudaApi::EventHandle handle, std::string_view device)
      : pool_(std::move(pool)), handle_(handle), device_(device) {}
  ~CudaEvent() override { pool_->Return(handle_); }

  bool Done() override { return pool_->api().EventQuery(handle_) != CudaApi::kNotReady; }
  Status HostWait() override {
    const int code = pool_->api().EventSynchronize(handle_);
    return code == 0 ? OkStatus() : Status(CudaError(pool_->api(), device_, "waiting for an event", code));
  }
  CudaApi::EventHandle handle() const { return handle_; }

 private:
  std::shared_ptr<EventPool> pool_;
  CudaApi::EventHandle handle_;
  std::string device_;
};
using CudaEventPtr = std::shared_ptr<CudaEvent>;

// Steps whose times have not been read yet; beyond this many the older half is waited for and read.
constexpr std::size_t kMaxPendingSpans = 8192;

class CudaDevice final : public Device {
 public:
  CudaDevice(CudaDeviceOptions options, std::shared_ptr<CudaApi> api)
      : options_(std::move(options)),
        budget_(options_.name, options_.budget),
        api_(std::move(api)),
        events_(std::make_shared<EventPool>(api_)) {}

  ~CudaDevice() override {
    api_->SetDevice(options_.ordinal);
    for (Queue& queue : queues_) api_->StreamSynchronize(queue.stream);
    for (Queue& queue : queues_) {
      queue.pending.clear();
      queue.last.reset();
      api_->StreamDestroy(queue.stream);
    }
    for (const auto& [memory, bytes] : arenas_) api_->Free(memory);
    if (bad_ids_ != nullptr) api_->Free(bad_ids_);
  }

  // The stream of Write and Fetch, and the counter of token ids out of range: 4 bytes beside the arenas.
  Status Open() {
    STOWAGE_RETURN_IF_ERROR(Check("choosing the device", api_->SetDevice(options_.ordinal)));
    STOWAGE_TRY(own_, OpenQueue("own"));
    void* memory = nullptr;
    STOWAGE_RETURN_IF_ERROR(Check("allocating", api_->Malloc(&memory, sizeof *bad_ids_)));
    bad_ids_ = static_cast<std::int32_t*>(memory);
    STOWAGE_RETURN_IF_ERROR(Check("clearing", api_->MemsetAsync(memory, 0, sizeof *bad_ids_, queues_[own_].stream)));
    return Check("clearing", api_->StreamSynchronize(queues_[own_].stream));
  }

  std::string_view name() const override { return options_.name; }
  Bytes used() const override { return budget_.used(); }

  Result<std::byte*> AllocateArena(const ArenaRequest& request) override {
    STOWAGE_RETURN_IF_ERROR(budget_.Take(request));
    api_->SetDevice(options_.ordinal);
    void* memory = nullptr;
    const int code = api_->Malloc(&memory, static_cast<std::size_t>(request.bytes.value()));
    if (code != 0) {
      budget_.Return(request.bytes);
      return CudaError(*api_, options_.name, fmt::format("arena '{}' of {} bytes", request.name, request.bytes.value()),
                       code);
    }
    arenas_[static_cast<std::byte*>(memory)] = request.bytes;
    return static_cast<std::byte*>(memory);
  }

  Status FreeArena(std::byte* arena) override {
    const auto it = arenas_.find(arena);
    if (it == arenas_.end()) {
      return Error{ErrorCode::kInternal, fmt::format("{} frees an arena it does not have", options_.name)};
    }
    budget_.Return(it->second);
    arenas_.erase(it);
    return Check("freeing an arena", api_->Free(arena));
  }

  Result<int> OpenQueue(std::string_view) override {
    api_->SetDevice(options_.ordinal);
    CudaApi::Stream stream = nullptr;
    STOWAGE_RETURN_IF_ERROR(Check("creating a stream", api_->StreamCreate(&stream)));
    queues_.emplace_back().stream = stream;
    return static_cast<int>(queues_.size()) - 1;
  }

  Status WaitFor(int queue, const EventPtr& event) override {
    const auto cuda = std::dynamic_pointer_cast<CudaEvent>(event);
    if (cuda == nullptr) {
      return Error{ErrorCode::kInternal,
                   "a CUDA stream cannot wait for work of a host queue: the issuer must wait for it first"};
    }
    queues_[queue].last.reset();
    return Check("waiting for an event", api_->StreamWaitEvent(queues_[queue].stream, cuda->handle()));
  }

  Status Copy(int queue, const CopyCall& call, const StepTag& tag) override {
    return Timed(queue, tag, [&](CudaApi::Stream stream) {
      return Check(call.name,
                   api_->MemcpyAsync(call.to, call.from, static_cast<std::size_t>(call.bytes.value()), stream));
    });
  }

  Status Read(int, const ReadCall& call, const StepTag&) override {
    return Error{ErrorCode::kInternal, fmt::format("{} cannot read '{}' from a file", options_.name, call.name)};
  }

  Status Launch(int queue, const KernelCall& call, const StepTag& tag) override {
    STOWAGE_TRY(KernelArgs args, BindArgs(call));
    if (auto* embedding = std::get_if<kernels::EmbeddingArgs>(&args)) embedding->bad_ids = bad_ids_;
    return Timed(queue, tag,
                 [&](CudaApi::Stream stream) { return Check(call.kernel->name, api_->Launch(args, stream)); });
  }

  Result<EventPtr> Record(int index) override {
    Queue& queue = queues_[index];
    if (queue.last == nullptr) {
      STOWAGE_TRY(queue.last, RecordNow(queue.stream));
    }
    return EventPtr(queue.last);
  }

  Status Write(std::byte* to, std::span<const std::byte> from) override {
    return Transfer(to, from.data(), from.size());
  }
  Status Fetch(std::span<std::byte> to, const std::byte* from) override { return Transfer(to.data(), from, to.size()); }

  void StartClock(Clock::time_point epoch) override {
    api_->SetDevice(options_.ordinal);
    auto base = RecordNow(queues_[own_].stream);
    if (!base || !(*base)->HostWait()) return;  // the error comes back with the next call
    base_ = *std::move(base);
    base_at_ = Seconds(std::chrono::duration<double>(Clock::now() - epoch).count());
  }

  Status Drain() override {
    api_->SetDevice(options_.ordinal);
    Status first = OkStatus();
    for (Queue& queue : queues_) {
      Status status = Check("waiting for a stream", api_->StreamSynchronize(queue.stream));
      if (!status && first) first = std::move(status);
    }
    std::int32_t bad = 0;
    if (first) first = Fetch(std::as_writable_bytes(std::span(&bad, 1)), reinterpret_cast<std::byte*>(bad_ids_));
    if (first && bad > 0) {
      first = Error{ErrorCode::kInvalidInput, fmt::format("{}: a token id outside the vocabulary", options_.name)};
    }
    return first;
  }

  std::vector<StepSpan> TakeSpans() override {
    for (Queue& queue : queues_) ReadSpans(queue, queue.pending.size());
    std::vector<StepSpan> out;
    for (Queue& queue : queues_) {
      out.insert(out.end(), queue.spans.begin(), queue.spans.end());
      queue.spans.clear();
    }
    return out;
  }

 private:
  struct Pending {
    StepTag tag;
    CudaEventPtr start;
    CudaEventPtr end;
  };
  struct Queue {
    CudaApi::Stream stream = nullptr;
    CudaEventPtr last;  // recorded after the last command; null: something came behind it
    std::deque<Pending> pending;
    std::vector<StepSpan> spans;
  };

  Status Check(std::string_view what, int code) {
    return code == 0 ? OkStatus() : Status(CudaError(*api_, options_.name, what, code));
  }

  Result<CudaEventPtr> RecordNow(CudaApi::Stream stream) {
    CudaApi::EventHandle handle = nullptr;
    STOWAGE_RETURN_IF_ERROR(Check("creating an event", events_->Take(&handle)));
    auto event = std::make_shared<CudaEvent>(events_, handle, options_.name);
    STOWAGE_RETURN_IF_ERROR(Check("recording an event", api_->EventRecord(handle, stream)));
    return event;
  }

  template <class Issue>
  Status Timed(int index, const StepTag& tag, Issue issue) {
    api_->SetDevice(options_.ordinal);
    Queue& queue = queues_[index];
    Pending span{.tag = tag, .start = queue.last, .end = nullptr};
    if (span.start == nullptr || base_ == nullptr) {
      STOWAGE_TRY(span.start, RecordNow(queue.stream));
    }
    STOWAGE_RETURN_IF_ERROR(issue(queue.stream));
    STOWAGE_TRY(span.end, RecordNow(queue.stream));
    queue.last = span.end;
    if (base_ == nullptr) return OkStatus();
    queue.pending.push_back(std::move(span));
    if (queue.pending.size() > kMaxPendingSpans) ReadSpans(queue, kMaxPendingSpans / 2);
    return OkStatus();
  }

  // A step that starts right behind its predecessor has the predecessor's end as its start: an idle gap before it
  // belongs to the issuer, and shows as its `issued` lying after that.
  void ReadSpans(Queue& queue, std::size_t count) {
    for (; count > 0; --count) {
      const Pending span = std::move(queue.pending.front());
      queue.pending.pop_front();
      float start = 0, end = 0;
      if (!span.end->HostWait()) continue;
      if (api_->EventElapsed(&start, base_->handle(), span.start->handle()) != 0) continue;
      if (api_->EventElapsed(&end, base_->handle(), span.end->handle()) != 0) continue;
      const auto at = [&](float ms) { return base_at_ + Seconds(static_cast<double>(ms) * 1e-3); };
      const Seconds ended = at(end);
      const Seconds started = std::min(ended, std::max(at(start), span.tag.issued));
      queue.spans.push_back({span.tag.step, span.tag.iteration, span.tag.issued, started, ended});
    }
  }

  Status Transfer(void* to, const void* from, std::size_t bytes) {
    api_->SetDevice(options_.ordinal);
    STOWAGE_RETURN_IF_ERROR(Check("copying", api_->MemcpyAsync(to, from, bytes, queues_[own_].stream)));
    return Check("copying", api_->StreamSynchronize(queues_[own_].stream));
  }

  CudaDeviceOptions options_;
  ArenaBudget budget_;
  std::shared_ptr<CudaApi> api_;
  std::shared_ptr<EventPool> events_;
  std::map<std::byte*, Bytes> arenas_;
  std::deque<Queue> queues_;
  int own_ = -1;
  std::int32_t* bad_ids_ = nullptr;
  CudaEventPtr base_;
  Seconds base_at_;
};

}  // namespace

Result<std::unique_ptr<Device>> MakeCudaDevice(CudaDeviceOptions options, std::shared_ptr<CudaApi> api) {
  auto device = std::make_unique<CudaDevice>(std::move(options), std::move(api));
  STOWAGE_RETURN_IF_ERROR(device->Open());
  return std::unique_ptr<Device>(std::move(device));
}

HostMemory CudaHostMemory(std::shared_ptr<CudaApi> api) {
  const HostMemory plain = PlainHostMemory();
  return {.allocate = [api, plain](Bytes bytes, bool pinned) -> Result<std::byte*> {
            if (!pinned) return plain.allocate(bytes, false);
            void* memory = nullptr;
            const int code = api->HostAlloc(&memory, static_cast<std::size_t>(bytes.value()));
            if (code != 0) return CudaError(*api, "host", "page-locking", code);
            return static_cast<std::byte*>(memory);
          },
          .free =
              [api, plain](std::byte* memory, Bytes bytes, bool pinned) {
                if (pinned) {
                  api->HostFree(memory);
                } else {
                  plain.free(memory, bytes, false);
                }
              }};
}

}  // namespace stowage
