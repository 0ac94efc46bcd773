#include "exec/host/host_device.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "planner/base/text.h"

namespace stowage {

HostMemory PlainHostMemory() {
  return {.allocate = [](Bytes bytes, bool) -> Result<std::byte*> {
            void* p = ::mmap(nullptr, static_cast<std::size_t>(bytes.value()), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
            if (p == MAP_FAILED) return Error{ErrorCode::kOutOfMemory, std::strerror(errno)};
            return static_cast<std::byte*>(p);
          },
          .free = [](std::byte* p, Bytes bytes, bool) { ::munmap(p, static_cast<std::size_t>(bytes.value())); }};
}

Status ArenaBudget::Take(const ArenaRequest& request) {
  if (request.bytes <= Bytes(0)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("arena '{}' on {} has {} bytes", request.name, device_, request.bytes.value())};
  }
  if (request.bytes > budget_ - used_) {
    return Error{ErrorCode::kOutOfMemory,
                 fmt::format("arena '{}' needs {} bytes, {} has {} left of {}", request.name, request.bytes.value(),
                             device_, (budget_ - used_).value(), budget_.value())};
  }
  used_ += request.bytes;
  return OkStatus();
}

namespace {

class HostDevice final : public Device {
 public:
  HostDevice(HostDeviceOptions options, std::unique_ptr<Workers> workers)
      : options_(std::move(options)), budget_(options_.name, options_.budget), workers_(std::move(workers)) {}

  ~HostDevice() override {
    (void)workers_->Drain();
    workers_.reset();
    for (const auto& [p, arena] : arenas_) options_.memory.free(p, arena.bytes, arena.pinned);
  }

  std::string_view name() const override { return options_.name; }
  Bytes used() const override { return budget_.used(); }

  Result<std::byte*> AllocateArena(const ArenaRequest& request) override {
    STOWAGE_RETURN_IF_ERROR(budget_.Take(request));
    auto memory = options_.memory.allocate(request.bytes, request.pinned);
    if (!memory) {
      budget_.Return(request.bytes);
      return std::move(memory).error().In(
          fmt::format("arena '{}' of {} bytes on {}", request.name, request.bytes.value(), options_.name));
    }
    arenas_[*memory] = {request.bytes, request.pinned};
    return memory;
  }

  Status FreeArena(std::byte* arena) override {
    const auto it = arenas_.find(arena);
    if (it == arenas_.end()) {
      return Error{ErrorCode::kInternal, fmt::format("{} frees an arena it does not have", options_.name)};
    }
    options_.memory.free(arena, it->second.bytes, it->second.pinned);
    budget_.Return(it->second.bytes);
    arenas_.erase(it);
    return OkStatus();
  }

  Result<int> OpenQueue(std::string_view name) override { return workers_->OpenQueue(name); }

  Status WaitFor(int queue, const EventPtr& event) override {
    workers_->Wait(queue, event);
    return OkStatus();
  }

  Status Copy(int queue, const CopyCall& call, const StepTag& tag) override {
    const auto bytes = static_cast<std::size_t>(call.bytes.value());
    workers_->Run(queue, {.tag = tag,
                          .run = [to = call.to, from = call.from, bytes]() -> Status {
                            std::memcpy(to, from, bytes);
                            return OkStatus();
                          },
                          .undefined = {call.to, bytes}});
    return OkStatus();
  }

  Status Read(int queue, const ReadCall& call, const StepTag& tag) override {
    const std::span<std::byte> to(call.to, static_cast<std::size_t>(call.bytes.value()));
    workers_->Run(queue, {.tag = tag,
                          .run = [call, to] { return call.files->Read(call.file, call.offset, to, call.name); },
                          .undefined = to});
    return OkStatus();
  }

  Status Launch(int queue, const KernelCall& call, const StepTag& tag) override {
    STOWAGE_TRY(const KernelArgs args, BindArgs(call));
    workers_->Run(queue, {.tag = tag,
                          .run = [this, args, kernel = call.kernel]() -> Status {
                            const int code = RunKernel(options_.kernels, args, nullptr);
                            if (code == kernels::kOk) return OkStatus();
                            return Error{
                                code == kernels::kTokenOutOfRange ? ErrorCode::kInvalidInput : ErrorCode::kDevice,
                                fmt::format("{} '{}' on {}: {}", Name(kernel->kind), kernel->name, options_.name,
                                            KernelCodeText(code))};
                          },
                          .undefined = {},
                          .compute = true});
    return OkStatus();
  }

  Result<EventPtr> Record(int queue) override { return workers_->Record(queue); }

  Status Write(std::byte* to, std::span<const std::byte> from) override {
    std::memcpy(to, from.data(), from.size());
    return OkStatus();
  }
  Status Fetch(std::span<std::byte> to, const std::byte* from) override {
    std::memcpy(to.data(), from, to.size());
    return OkStatus();
  }

  void StartClock(Clock::time_point epoch) override { workers_->StartClock(epoch); }
  Status Drain() override { return workers_->Drain(); }
  std::vector<StepSpan> TakeSpans() override { return workers_->TakeSpans(); }

 private:
  struct Arena {
    Bytes bytes;
    bool pinned;
  };
  HostDeviceOptions options_;
  ArenaBudget budget_;
  std::map<std::byte*, Arena> arenas_;
  std::unique_ptr<Workers> workers_;  // last: its threads touch the arenas
};

}  // namespace

std::unique_ptr<Device> MakeHostDevice(HostDeviceOptions options, std::unique_ptr<Workers> workers) {
  return std::make_unique<HostDevice>(std::move(options), std::move(workers));
}

}  // namespace stowage
