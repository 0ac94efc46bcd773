#include "exec/recording/recording_device.h"

#include <fmt/format.h>

#include <map>

namespace stowage {
namespace {

class RecordedEvent final : public Event {
 public:
  RecordedEvent(std::size_t number, RecordedLines* log) : number_(number), log_(log) {}
  bool Done() override { return true; }
  Status HostWait() override {
    log_->push_back(fmt::format("wait {}", number_));
    return OkStatus();
  }
  std::size_t number() const { return number_; }

 private:
  std::size_t number_;
  RecordedLines* log_;
};

class RecordingDevice final : public Device {
 public:
  RecordingDevice(std::string name, RecordedLines* log) : name_(std::move(name)), log_(log) {}

  std::string_view name() const override { return name_; }
  Bytes used() const override { return used_; }

  Result<std::byte*> AllocateArena(const ArenaRequest& request) override {
    log_->push_back(
        fmt::format("arena {} {} {} B{}", name_, request.name, request.bytes.value(), request.pinned ? " pinned" : ""));
    used_ += request.bytes;
    auto memory = std::make_unique<std::byte[]>(static_cast<std::size_t>(request.bytes.value()));
    std::byte* arena = memory.get();
    arenas_[arena] = {request.name, std::move(memory)};
    return arena;
  }
  Status FreeArena(std::byte* arena) override {
    log_->push_back(fmt::format("free {} {}", name_, arenas_.at(arena).name));
    arenas_.erase(arena);
    return OkStatus();
  }

  Result<int> OpenQueue(std::string_view name) override {
    queues_.emplace_back(name);
    return static_cast<int>(queues_.size()) - 1;
  }
  Status WaitFor(int queue, const EventPtr& event) override {
    return Log(queue, fmt::format("wait {}", static_cast<const RecordedEvent&>(*event).number()));
  }
  Status Copy(int queue, const CopyCall& call, const StepTag&) override {
    return Log(queue, fmt::format("copy {} B {}", call.bytes.value(), call.name));
  }
  Status Read(int queue, const ReadCall& call, const StepTag&) override {
    return Log(queue,
               fmt::format("read {} B {} at {} of file {}", call.bytes.value(), call.name, call.offset, call.file));
  }
  Status Launch(int queue, const KernelCall& call, const StepTag&) override {
    return Log(queue, fmt::format("launch {} {} {}", Name(call.kernel->kind), call.kernel->name, call.iteration));
  }
  Result<EventPtr> Record(int queue) override {
    std::size_t number = 1;
    for (const std::string& line : *log_) number += line.find(": record ") != std::string::npos;
    STOWAGE_RETURN_IF_ERROR(Log(queue, fmt::format("record {}", number)));
    return EventPtr(std::make_shared<RecordedEvent>(number, log_));
  }

  Status Write(std::byte*, std::span<const std::byte> from) override {
    log_->push_back(fmt::format("write {} {} B", name_, from.size()));
    return OkStatus();
  }
  Status Fetch(std::span<std::byte> to, const std::byte*) override {
    log_->push_back(fmt::format("fetch {} {} B", name_, to.size()));
    return OkStatus();
  }

  void StartClock(Clock::time_point) override {}
  Status Drain() override {
    log_->push_back(fmt::format("drain {}", name_));
    return OkStatus();
  }
  std::vector<StepSpan> TakeSpans() override { return {}; }

 private:
  struct Arena {
    std::string name;
    std::unique_ptr<std::byte[]> memory;
  };
  Status Log(int queue, std::string_view what) {
    log_->push_back(fmt::format("{}: {}", queues_[static_cast<std::size_t>(queue)], what));
    return OkStatus();
  }

  std::string name_;
  RecordedLines* log_;
  Bytes used_;
  std::map<std::byte*, Arena> arenas_;
  std::vector<std::string> queues_;
};

}  // namespace

std::unique_ptr<Device> MakeRecordingDevice(std::string name, RecordedLines* log) {
  return std::make_unique<RecordingDevice>(std::move(name), log);
}

DeviceSet MakeRecordingDevices(const Schedule& schedule, RecordedLines* log) {
  DeviceSet out;
  for (const PoolUse& pool : schedule.pools) {
    if (!pool.name.starts_with("disk")) out.devices.push_back(MakeRecordingDevice(pool.name, log));
  }
  return out;
}

}  // namespace stowage
