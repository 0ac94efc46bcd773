#include "exec/devices.h"

#include <fmt/format.h>

#include "exec/cuda/cuda_device.h"
#include "exec/host/host_device.h"

namespace stowage {
namespace {

Result<ChosenDevices> MakeCudaDevices(const Schedule& schedule) {
  STOWAGE_TRY(const std::shared_ptr<CudaApi> api, LoadCudaApi());
  int present = 0;
  api->DeviceCount(&present);
  ChosenDevices out{.set = {}, .cuda = true, .description = {}};
  Bytes host;
  int ordinal = 0;
  for (const PoolUse& pool : schedule.pools) {
    if (pool.name == "host") host = pool.budget;
    if (!pool.name.starts_with("gpu")) continue;
    if (ordinal >= present) {
      return Error{ErrorCode::kDevice,
                   fmt::format("the schedule needs '{}', this machine has {} CUDA devices", pool.name, present)};
    }
    out.description += api->DeviceName(ordinal) + ", ";
    STOWAGE_TRY(auto device, MakeCudaDevice({.name = pool.name, .ordinal = ordinal++, .budget = pool.budget}, api));
    out.set.devices.push_back(std::move(device));
  }
  out.description += api->Libraries();
  // First, so that it is destroyed first: its queues may still wait for events of the others.
  out.set.devices.insert(
      out.set.devices.begin(),
      MakeHostDevice({.name = "host", .budget = host, .memory = CudaHostMemory(api)}, MakeThreadWorkers()));
  return out;
}

}  // namespace

Result<ChosenDevices> MakeDevices(const Schedule& schedule, DeviceKind kind) {
  std::string why;
  if (kind != DeviceKind::kHost) {
    auto cuda = MakeCudaDevices(schedule);
    if (cuda || kind == DeviceKind::kCuda) return cuda;
    why = fmt::format(" ({})", cuda.error().message);
  }
  STOWAGE_TRY(DeviceSet set, MakeHostDevices(schedule));
  return ChosenDevices{std::move(set), false, "host devices" + why};
}

}  // namespace stowage
