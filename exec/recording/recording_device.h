// A device that does nothing and writes down what it is told, one line a command, for golden tests of the executor:
//
//   arena gpu0 weights 4096 B
//   gpu0/in: copy 1024 B copy w0
//   gpu0/in: record 1
//   gpu0/compute: wait 1
//   gpu0/compute: launch rms_norm model.norm 0
//
// All devices of a run share one log. Every event is reached at once; memory is real but never written, so that the
// operands of kernels resolve.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "exec/device.h"
#include "exec/run/execute.h"
#include "planner/schedule/schedule.h"

namespace stowage {

using RecordedLines = std::vector<std::string>;

// Appends to *log, which must outlive the device.
std::unique_ptr<Device> MakeRecordingDevice(std::string name, RecordedLines* log);

// One for each pool of the schedule but the disk.
DeviceSet MakeRecordingDevices(const Schedule& schedule, RecordedLines* log);

}  // namespace stowage
