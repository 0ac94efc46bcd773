// A strategy: a rule with parameters that proposes who lives where and lowers the proposal to a schedule. Each is one
// entry of the table AllStrategies(); nothing else in Stowage knows their names.
//
// A strategy is written on a command line as NAME[:PARAMETERS], e.g. "ring", "ring:64MiB", "ring:64MiB:rows".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/model/model.h"
#include "planner/model/request.h"
#include "planner/plan/plan.h"
#include "planner/schedule/schedule.h"

namespace stowage {

struct ClosedForm;   // closed_form.h
struct KnownLayers;  // native/layers.h
struct NativeModel;
struct TorchPrograms;

// What strategies work out from a task alone and share between calls: its candidates differ in parameters only. Calls
// may come from several threads: whoever reads or fills it holds `mutex`.
struct TaskCache {
  std::mutex mutex;
  std::shared_ptr<const NativeModel> native;
  std::shared_ptr<KnownLayers> layers;
  std::shared_ptr<const TorchPrograms> torch;
};

struct PlanningTask {
  const Model* model = nullptr;      // not owned
  const Machine* machine = nullptr;  // not owned
  Request request;
  TaskCache* cache = nullptr;  // not owned; of this model and request only. nullptr: nothing is shared
  // 0: lower everything. n > 0: a sample for ranking candidates by simulation. Its load phase only allocates and
  // frees, and of the decode passes only the last n are there: their time is that at the end of the context, the peak
  // that of the whole run. Such a schedule never reads its weights nor fills its cache, so it is simulated but neither
  // checked nor executed.
  std::int64_t last_decode_passes = 0;

  std::int64_t LoweredPasses() const {
    const std::int64_t all = request.DecodePasses();
    return last_decode_passes > 0 && last_decode_passes < all ? last_decode_passes : all;
  }
  std::int64_t FirstPass() const { return request.DecodePasses() - LoweredPasses(); }
};

// kInvalidInput: the runtime has no such cache (native: static; torch: any) or does not load so (native: stream, in the
// dtype it computes with; torch: all others).
Status CheckForRuntime(const Request& request, std::string_view runtime);

// The resource that reads of the load phase occupy: "disk0", or "host.dram" when the files are cached.
std::string_view LoadsFrom(const Loading& loading);

struct Lowered {
  Plan plan;
  Schedule schedule;
};

enum class GpuUse : std::uint8_t {
  kFirst,    // gpu0 alone, whatever the machine has
  kAny,      // one or several
  kSeveral,  // nothing to do with one
};

struct Strategy {
  std::string name;     // "ring"
  std::string runtime;  // "native" or "torch"
  std::string summary;  // one line for --help
  // kInfeasible when the budgets cannot hold it (the message says what is needed and the smallest budget that would
  // do), kInvalidInput for parameters it does not understand.
  std::function<Result<Lowered>(const PlanningTask&, std::string_view parameters)> lower;
  // Parameter strings worth simulating for this task, best guess first; {""} for a strategy without parameters.
  std::function<std::vector<std::string>(const PlanningTask&)> candidates;
  // The smallest budget of gpu0 with which lower() succeeds for some parameters, other pools as they are. kInfeasible
  // when none does. Empty: the strategy does not know.
  std::function<Result<Bytes>(const PlanningTask&)> smallest_gpu_budget = {};
  // Likewise of several GPUs, by GPU: gpu_share.h says which. Empty: it uses gpu0 alone, or does not know.
  std::function<Result<std::vector<Bytes>>(const PlanningTask&)> smallest_gpu_budgets = {};
  // Likewise of the host, gpu0 as it is.
  std::function<Result<Bytes>(const PlanningTask&)> smallest_host_budget = {};
  // Decode passes that a sample for ranking needs: the first one starts from what the prefill left, the others show the
  // steady state.
  std::int64_t sampled_passes = 3;
  // What lower() would give for these parameters, or for the best ones, without lowering anything: `plan --quick`.
  std::function<ClosedForm(const PlanningTask&, std::string_view parameters)> closed_form = {};
  // The same from sizes alone, for models whose operations are not known. Empty: there is none.
  std::function<ClosedForm(const PlanningTask&)> from_sizes = {};
  GpuUse gpus = GpuUse::kFirst;
};

}  // namespace stowage
