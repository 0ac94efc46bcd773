#include "exec/run/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "exec/host/host_device.h"
#include "exec/run/issuer.h"
#include "exec/run/memory.h"

namespace stowage {

Device* DeviceSet::Find(std::string_view name) const {
  for (const auto& device : devices) {
    if (device->name() == name) return device.get();
  }
  return nullptr;
}

Result<DeviceSet> MakeHostDevices(const Schedule& schedule) {
  DeviceSet out;
  for (const PoolUse& pool : schedule.pools) {
    if (pool.name.starts_with("disk")) continue;
    if (pool.allocator == Allocator::kTorchCaching) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("{} is for the torch runtime, which is simulated, not executed", schedule.name)};
    }
    out.devices.push_back(MakeHostDevice({.name = pool.name, .budget = pool.budget}, MakeThreadWorkers()));
  }
  // Serves disk and cpu queues even where the schedule keeps nothing in host memory.
  if (out.Find("host") == nullptr) {
    out.devices.push_back(MakeHostDevice({.name = "host"}, MakeThreadWorkers()));
  }
  return out;
}

namespace {

Status WalkAll(const Schedule& schedule, std::optional<std::int32_t> first_issuer, StepIssuer& issuer) {
  if (first_issuer) return issuer.WalkInTurn(*first_issuer);
  if (schedule.issuers.size() == 1) return issuer.Walk(0);
  std::vector<Status> results(schedule.issuers.size(), OkStatus());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = issuer.Walk(static_cast<std::int32_t>(i)); });
  }
  for (std::thread& thread : threads) thread.join();
  Status first = OkStatus();
  for (Status& result : results) {
    // "another issuer failed" is not the cause.
    if (!result && (first || first.error().code == ErrorCode::kInternal)) first = std::move(result);
  }
  return first;
}

Status DrainAll(DeviceSet& devices) {
  Status first = OkStatus();
  for (const auto& device : devices.devices) {
    Status status = device->Drain();
    if (!status && first) first = std::move(status);
  }
  return first;
}

Result<Contents> FetchOutputs(const Schedule& schedule, const RunMemory& memory,
                              const std::vector<std::string>& asked) {
  Contents out;
  for (std::size_t i = 0; i < schedule.buffers.size(); ++i) {
    const Buffer& buffer = schedule.buffers[i];
    const bool tokens = buffer.kind == BufferKind::kTokens && buffer.parent < 0;
    if (!tokens && std::find(asked.begin(), asked.end(), buffer.name) == asked.end()) continue;
    STOWAGE_TRY(out[buffer.name], memory.Fetch(static_cast<BufferId>(i)));
  }
  for (const std::string& name : asked) {
    if (!out.contains(name)) {
      return Error{ErrorCode::kInvalidInput, fmt::format("there is no buffer '{}' to return", name)};
    }
  }
  return out;
}

Result<Execution> RunWith(const Schedule& schedule, DeviceSet& devices, const ExecuteOptions& options,
                          RunMemory& memory) {
  STOWAGE_TRY(const WeightFiles files, WeightFiles::Open(schedule.files));
  STOWAGE_TRY(const auto issuer, StepIssuer::Create(&schedule, &devices, &memory, &files, &options));
  STOWAGE_RETURN_IF_ERROR(memory.AllocateInitial());
  const Device::Clock::time_point epoch = Device::Clock::now();
  for (const auto& device : devices.devices) device->StartClock(epoch);
  issuer->StartClock(epoch);
  Status walked = WalkAll(schedule, options.first_issuer, *issuer);
  // Also after an error: what was queued borrows from this frame.
  Status drained = DrainAll(devices);
  if (!walked) return std::move(walked).error();
  if (!drained) return std::move(drained).error();

  Execution out;
  out.captured = issuer->captured();
  STOWAGE_TRY(out.outputs, FetchOutputs(schedule, memory, options.outputs));
  std::vector<StepSpan> spans = issuer->TakeSpans();
  for (const auto& device : devices.devices) {
    const std::vector<StepSpan> more = device->TakeSpans();
    spans.insert(spans.end(), more.begin(), more.end());
  }
  out.measured = MeasuredTimeline(schedule, std::move(spans), memory.events(), options.spans);
  return out;
}

}  // namespace

Result<Execution> Execute(const Schedule& schedule, DeviceSet& devices, const ExecuteInputs& inputs,
                          const ExecuteOptions& options) {
  RunMemory memory(&schedule, &devices, &inputs.contents);
  auto result = RunWith(schedule, devices, options, memory);
  memory.FreeAll();
  return result;
}

}  // namespace stowage
