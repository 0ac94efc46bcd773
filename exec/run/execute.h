// Runs a native schedule: exactly its steps, in its order, on its queues, with its dependencies.
//
//   STOWAGE_TRY(DeviceSet devices, MakeHostDevices(schedule));
//   STOWAGE_TRY(const Execution run, Execute(schedule, devices, {.contents = {{"prompt", BytesOf(ids)}}}, {}));
//   run.outputs.at("tokens");     // bytes of every token buffer
//   run.measured                  // a Timeline with the step ids of the schedule
//
// One host thread per issuer walks its steps in program order; the only issuer of a schedule is the calling thread.
// Execute blocks until everything has ended.
//
// A step becomes: WaitFor on its queue for each predecessor in another queue (its own queue is in order), the command,
// and a recorded event where another queue or the issuer waits for it. No strategy is known here.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exec/device.h"
#include "planner/base/result.h"
#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

// The devices a schedule runs on. A queue "gpu0/in" belongs to the device "gpu0"; queues of what is no device ("cpu/0",
// "disk0/0") belong to "host", as do the buffers of pool "host".
struct DeviceSet {
  std::vector<std::unique_ptr<Device>> devices;

  Device* Find(std::string_view name) const;  // nullptr when absent
};

using Contents = std::map<std::string, std::vector<std::byte>>;  // by buffer name

struct ExecuteInputs {
  Contents contents;  // of the schedule's `initial` buffers that come from no file: prompt ids, rope
                      // frequencies. A token buffer may be given its first positions only
};

// A copy of a buffer's bytes as they are when the steps of a phase that write it have ended: "prefill", "logits". The
// issuer stops for it once in that phase.
struct Capture {
  std::string phase;
  std::string buffer;
};

struct ExecuteOptions {
  // What a step lasts at least, on host devices; the cost model's durations make host devices behave like the machine
  // that was planned for. Empty: as fast as it goes.
  std::function<Seconds(StepId step, std::int64_t iteration)> pace;
  std::vector<Capture> captures;
  std::vector<std::string> outputs;  // buffers to return at the end, besides the root buffers of kind kTokens
  bool spans = false;                // keep Timeline::spans
  // Every issuer on the calling thread, so that two runs issue in the same order: this one goes on whenever it can, the
  // others in the order of their numbers when it would wait. Unset: a thread for each issuer.
  std::optional<std::int32_t> first_issuer;
};

struct Execution {
  Timeline measured;
  Contents outputs;
  Contents captured;
};

// kInvalidInput: an input is missing or has the wrong size, a step kind only torch knows. kOutOfMemory, kIo, kDevice:
// as the device says, with the step's name. kInternal: a CUDA stream depends on host work nobody waited for.
Result<Execution> Execute(const Schedule& schedule, DeviceSet& devices, const ExecuteInputs& inputs,
                          const ExecuteOptions& options);

// Host devices, one for each pool of the schedule but the disk, with the schedule's budgets.
Result<DeviceSet> MakeHostDevices(const Schedule& schedule);

template <class T>
std::vector<std::byte> BytesOf(const std::vector<T>& values) {
  const auto* begin = reinterpret_cast<const std::byte*>(values.data());
  return {begin, begin + values.size() * sizeof(T)};
}
template <class T>
std::vector<T> ValuesOf(const std::vector<std::byte>& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(out.size() * sizeof(T)),
            reinterpret_cast<std::byte*>(out.data()));
  return out;
}

}  // namespace stowage
