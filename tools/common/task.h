// The task that plan, simulate and execute share: a model on a machine with a request, from the command line.
#pragma once

#include <string>
#include <string_view>

#include "planner/machine/build_machine.h"
#include "planner/model/model.h"
#include "planner/model/request.h"
#include "planner/strategy/strategy.h"
#include "tools/common/command_line.h"

namespace stowage {

struct TaskOptions {
  std::string model;
  MachineSpec machine;
  Request request;
};

// --model, --gpu, --cpu, --disk, --dtype, --batch, --prompt, --new
void AddTaskOptions(CommandLine& line, TaskOptions* options, bool gpu_required = true);

// --strategy, whose help names the strategies of `runtime`; "" for all.
void AddStrategyOption(CommandLine& line, std::string* strategy, std::string_view runtime = "");

// The machine of `spec`, with "--gpu auto", the memory and the disk space of this computer filled in.
Result<Machine> MachineOf(MachineSpec spec);

struct LoadedTask {
  Model model;
  Machine machine;
  Request request;

  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
};

// Reads the model's headers, applies --dtype and builds the machine; with several cards its assumptions name the
// strategies that use one. `any_weights`: also models that no strategy computes with (GGUF).
Result<LoadedTask> Load(const TaskOptions& options, bool any_weights = false);
// The same on a machine that is there already.
Result<LoadedTask> LoadOn(Machine machine, const std::string& model, const Request& request);

}  // namespace stowage
