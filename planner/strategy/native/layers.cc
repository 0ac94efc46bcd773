#include "planner/strategy/native/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/cost/cost.h"
#include "planner/strategy/budget_probe.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/native_form.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "layers";
// Where launches and crossings, which a sum of durations leaves out, may turn the order, all candidates are simulated:
// when the sums are this close, and in models of few kernels, which cost little to simulate.
constexpr double kClose = 1.25;
constexpr std::size_t kFewKernels = 300;
constexpr std::int64_t kAll = 1'000'000;  // more than any model has

// Experts and what is done to their rows between and after them; not the shared experts, which every row needs.
bool OfExperts(const NativeKernel& kernel) {
  switch (kernel.kernel.kind) {
    case KernelKind::kGroupedLinear:
    case KernelKind::kCombine:
    case KernelKind::kSiluMul:
    case KernelKind::kActivationMul:
      return true;
    default:
      return false;
  }
}

// By kernel: the routed experts' of its block, from the first grouped product to the combination.
std::vector<bool> ExpertKernels(const NativeProgram& program) {
  std::vector<bool> out(program.kernels.size());
  bool inside = false;
  for (std::size_t k = 0; k < program.kernels.size(); ++k) {
    const KernelKind kind = program.kernels[k].kernel.kind;
    if (kind == KernelKind::kGroupedLinear) inside = true;
    out[k] = inside && OfExperts(program.kernels[k]);
    if (kind == KernelKind::kCombine) inside = false;
  }
  return out;
}

std::vector<bool> KernelsOnHost(const NativeProgram& program, const Model& model, const LayersParameters& p) {
  const BlockOrder order = BlocksOf(program, model);
  const std::vector<bool> experts = ExpertKernels(program);
  const std::int64_t first = order.blocks - std::max<std::int64_t>(p.on_device - 1, 0);  // block on the device
  std::vector<bool> out(program.kernels.size());
  for (std::size_t k = 0; k < out.size(); ++k) {
    const std::int32_t block = order.of_kernel[k];
    if (block == order.blocks) {
      out[k] = p.on_device == 0;
    } else {
      out[k] = std::max(block, 0) < first || (experts[k] && block < p.expert_layers);
    }
  }
  return out;
}

Result<std::int64_t> ParseCount(std::string_view text, std::string_view what) {
  if (text == "all") return kAll;
  std::int64_t value = 0;
  bool number = !text.empty();
  for (const char c : text) {
    number = number && c >= '0' && c <= '9';
    value = std::min(value * 10 + (c - '0'), kAll);
  }
  if (!number) {
    return Error{
        ErrorCode::kInvalidInput,
        fmt::format("layers: {} is a number or 'all', not '{}'; e.g. layers:20, layers:all:cpu-moe", what, text)};
  }
  return value;
}

// What each kernel takes on either side, at the middle of the context. Crossings are left out.
class Pace {
 public:
  Pace(const NativeModel& native, const PlanningTask& task) : native_(native), task_(task) {
    prefill_ = Of(native.prefill, 0);
    decode_ = Of(native.decode, task.request.DecodePasses() / 2);
  }

  double Request(const LayersParameters& p) const {
    return Sum(native_.prefill, prefill_, p) +
           Sum(native_.decode, decode_, p) * static_cast<double>(task_.request.DecodePasses());
  }

 private:
  struct Sides {
    double device = 0, host = 0;
  };

  std::vector<Sides> Of(const NativeProgram& program, std::int64_t iteration) const {
    const Machine& m = *task_.machine;
    const std::int32_t sm = m.FindResource("gpu0.sm"), cores = m.FindResource("host.cores");
    std::vector<Sides> out(program.kernels.size());
    for (std::size_t k = 0; k < out.size(); ++k) {
      const Kernel& kernel = program.kernels[k].kernel;
      if (sm >= 0 && m.resources[sm].compute)
        out[k].device = Duration(kernel, iteration, *m.resources[sm].compute).value();
      if (cores >= 0 && m.resources[cores].compute)
        out[k].host = Duration(kernel, iteration, *m.resources[cores].compute).value();
    }
    return out;
  }

  double Sum(const NativeProgram& program, const std::vector<Sides>& pace, const LayersParameters& p) const {
    const std::vector<bool> on_host = KernelsOnHost(program, *task_.model, p);
    double sum = 0;
    for (std::size_t k = 0; k < pace.size(); ++k) sum += on_host[k] ? pace[k].host : pace[k].device;
    return sum;
  }

  const NativeModel& native_;
  const PlanningTask& task_;
  std::vector<Sides> prefill_, decode_;
};

bool Small(const NativeModel& native) { return native.prefill.kernels.size() <= kFewKernels; }

// The largest count in [0, most] that `fits`, which larger ones do not once one does not; -1: none.
template <class F>
std::int64_t Largest(std::int64_t most, F fits) {
  std::int64_t good = -1, bad = most + 1;
  while (bad - good > 1) {
    const std::int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  LayersParameters p;
  if (parameters.empty()) {
    const std::vector<LayersParameters> all = LayersCandidates(*native, task);
    if (!all.empty()) p = all.front();  // else nothing on the device fails, and says why
  } else {
    STOWAGE_TRY(p, ParseLayers(parameters));
  }
  Result<Lowered> lowered = LowerNative(*native, task, ProposeLayers(*native, task, p));
  if (lowered || lowered.error().code != ErrorCode::kInfeasible) return lowered;
  LayersNeeds needs(*native, task);
  const std::vector<LayersParameters> fitting = FittingLayers(*native, task, needs);
  Error error = std::move(lowered).error();
  if (!fitting.empty()) error.message += fmt::format("; {}:{} fits", kName, Spell(fitting.front()));
  return error;
}

std::vector<std::string> CandidateStrings(const PlanningTask& task) {
  const auto native = RealizeModel(task);
  if (!native) return {};
  std::vector<std::string> out;
  for (const LayersParameters& p : LayersCandidates(**native, task)) out.push_back(Spell(p));
  return out;
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = CandidateStrings(task);
  return BestForm(task.request, std::move(all), [&](const std::string& text) -> Result<ClosedForm> {
    STOWAGE_TRY(const auto native, RealizeModel(task));
    LayersParameters p;
    if (!text.empty()) {
      STOWAGE_TRY(p, ParseLayers(text));
    }
    return FormOf(*native, task, ProposeLayers(*native, task, p));
  });
}

// Nothing but the reservations when the host can hold it all, else what brings the host's need below its budget.
Result<Bytes> SmallestGpu(const PlanningTask& task) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  BudgetProbe probe(task);
  std::optional<Bytes> smallest;
  Status last = OkStatus();
  const std::int32_t blocks = BlocksOf(native->prefill, *task.model).blocks;
  LayersNeeds all(*native, task);
  for (std::int64_t n = 0; n <= blocks + 1; ++n) {
    STOWAGE_TRY(const Needs needs, all.Of({n}));
    if (smallest && needs.gpu >= *smallest) continue;
    probe.pool("gpu0").budget = needs.gpu;
    last = CheckNeeds(needs, probe.machine(), fmt::format("{}:{}", kName, n));
    if (last) smallest = needs.gpu;
    if (smallest == probe.machine().Reserved("gpu0")) break;  // there is no less
  }
  if (smallest) return *smallest;
  return last.error();
}

Result<Bytes> SmallestHost(const PlanningTask& task) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  BudgetProbe probe(task);
  Pool& host = probe.UnlimitedHost();
  std::optional<Bytes> smallest;
  Status last = OkStatus();
  const std::int32_t blocks = BlocksOf(native->prefill, *task.model).blocks;
  LayersNeeds all(*native, task);
  for (std::int64_t n = 0; n <= blocks + 1; ++n) {
    STOWAGE_TRY(const Needs needs, all.Of({n}));
    if (smallest && needs.host >= *smallest) continue;
    host.budget = needs.host;
    last = CheckNeeds(needs, probe.machine(), fmt::format("{}:{}", kName, n));  // gpu0 may be too small
    if (last) smallest = needs.host;
  }
  if (smallest) return *smallest;
  return last.error();
}

}  // namespace

BlockOrder BlocksOf(const NativeProgram& program, const Model& model) {
  BlockOrder out;
  std::map<ModuleId, std::int32_t> index;
  for (const NativeKernel& k : program.kernels) {
    const ModuleId block = model.BlockOf(k.module);
    if (block != kNoId) index.try_emplace(block, static_cast<std::int32_t>(index.size()));
  }
  out.blocks = static_cast<std::int32_t>(index.size());
  bool seen = false;
  for (const NativeKernel& k : program.kernels) {
    const ModuleId block = model.BlockOf(k.module);
    seen = seen || block != kNoId;
    out.of_kernel.push_back(block != kNoId ? index[block] : seen ? out.blocks : -1);
  }
  return out;
}

void FollowKernels(const NativeModel& native, const Model& model, NativeProposal& proposal) {
  const Readers readers = ReadersOf(native, proposal, model.tensors.size());
  proposal.resident_rows.clear();
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    const bool stays = readers.device[t] && (native.multiplied[t] || !native.gathered[t]);
    proposal.resident_rows.push_back(stays ? native.rows[t] : 0);
  }
  proposal.cache_on_host.assign(native.prefill.caches.size(), false);
  const auto follow = [&](const NativeProgram& program, const std::vector<bool>& on_host) {
    for (std::size_t k = 0; k < program.kernels.size(); ++k) {
      if (!OnHost(on_host, k)) continue;
      for (const std::vector<Operand>* operands : {&program.kernels[k].reads, &program.kernels[k].writes}) {
        for (const Operand& o : *operands) {
          if (o.source == Operand::Source::kKeys || o.source == Operand::Source::kValues)
            proposal.cache_on_host[o.id] = true;
        }
      }
    }
  };
  follow(native.prefill, proposal.prefill_on_host);
  follow(native.decode, proposal.decode_on_host);
}

NativeProposal ProposeLayers(const NativeModel& native, const PlanningTask& task, const LayersParameters& p) {
  NativeProposal out{.strategy = fmt::format("{}:{}", kName, Spell(p))};
  out.prefill_on_host = KernelsOnHost(native.prefill, *task.model, p);
  out.decode_on_host = KernelsOnHost(native.decode, *task.model, p);
  FollowKernels(native, *task.model, out);
  return out;
}

const Result<Needs>& LayersNeeds::Of(const LayersParameters& p) {
  const Machine& machine = *task_.machine;
  const KnownLayers::Key key{p.on_device, p.expert_layers, machine.Reserved("gpu0"), machine.Reserved("host")};
  const auto known = own_.needs.find(key);
  if (known != own_.needs.end()) return known->second;
  TaskCache* const shared = task_.cache;
  if (shared != nullptr) {
    const std::scoped_lock lock(shared->mutex);
    if (shared->layers == nullptr) shared->layers = std::make_shared<KnownLayers>();
    const auto there = shared->layers->needs.find(key);
    if (there != shared->layers->needs.end()) return own_.needs.emplace(key, there->second).first->second;
  }
  const Result<Needs>& fresh =
      own_.needs.emplace(key, NeedsOf(native_, task_, ProposeLayers(native_, task_, p))).first->second;
  if (shared != nullptr) {
    const std::scoped_lock lock(shared->mutex);
    shared->layers->needs.emplace(key, fresh);
  }
  return fresh;
}

std::vector<LayersParameters> FittingLayers(const NativeModel& native, const PlanningTask& task, LayersNeeds& needs) {
  const std::int64_t most = BlocksOf(native.prefill, *task.model).blocks + 1;
  const bool sparse = std::find(native.expert.begin(), native.expert.end(), true) != native.expert.end();
  const Bytes budget = task.machine->pools[task.machine->FindPool("gpu0")].budget;
  const auto on_device = [&](std::int64_t n, std::int64_t experts) {
    const Result<Needs>& need = needs.Of({n, experts});
    return need && need->gpu <= budget;
  };
  std::vector<LayersParameters> out;
  const auto add = [&](const LayersParameters& p) {
    if (std::find(out.begin(), out.end(), p) != out.end()) return;
    const Result<Needs>& need = needs.Of(p);
    if (need && CheckNeeds(*need, *task.machine, kName)) out.push_back(p);
  };
  const std::int64_t n = Largest(most, [&](std::int64_t count) { return on_device(count, 0); });
  if (sparse && n < most) {
    // Experts leave first: as few layers' as the budget wants, or all and then whole layers.
    const std::int64_t kept = Largest(most - 1, [&](std::int64_t count) { return on_device(most, most - 1 - count); });
    if (kept >= 0) {
      add({kAll, most - 1 - kept});
    } else {
      add({Largest(most, [&](std::int64_t count) { return on_device(count, kAll); }), kAll});
    }
  }
  if (n >= 0) add({n});
  // The time is linear in N, so the best one is the first or the last, but for the output layer.
  add({0});
  add({1});
  for (std::int64_t count = 2; Small(native) && count <= n; ++count) add({count});  // launches may bend the line
  return out;
}

std::vector<LayersParameters> LayersCandidates(const NativeModel& native, const PlanningTask& task) {
  LayersNeeds needs(native, task);
  const Pace pace(native, task);
  std::vector<std::pair<double, LayersParameters>> paced;
  for (const LayersParameters& p : FittingLayers(native, task, needs)) paced.emplace_back(pace.Request(p), p);
  std::stable_sort(paced.begin(), paced.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<LayersParameters> out;
  for (const auto& [seconds, p] : paced) {
    if (seconds <= paced.front().first * kClose || Small(native)) out.push_back(p);
  }
  return out;
}

Seconds LayersBound(const NativeModel& native, const PlanningTask& task, const LayersParameters& p) {
  return Seconds(Pace(native, task).Request(p));
}

Result<LayersParameters> ParseLayers(std::string_view text) {
  const std::size_t colon = text.find(':');
  LayersParameters out;
  STOWAGE_TRY(out.on_device, ParseCount(text.substr(0, colon), "how many layers the device computes"));
  if (colon == std::string_view::npos) return out;
  constexpr std::string_view kSome = "n-cpu-moe:";
  const std::string_view experts = text.substr(colon + 1);
  if (experts == "cpu-moe") {
    out.expert_layers = kAll;
  } else if (experts.starts_with(kSome)) {
    STOWAGE_TRY(out.expert_layers, ParseCount(experts.substr(kSome.size()), "how many layers' experts the host has"));
  } else {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("layers: experts are 'cpu-moe' or 'n-cpu-moe:M', not '{}'", experts)};
  }
  return out;
}

std::string Spell(const LayersParameters& p) {
  const auto count = [](std::int64_t n) { return n >= kAll ? std::string("all") : fmt::format("{}", n); };
  std::string out = count(p.on_device);
  if (p.expert_layers >= kAll) return out + ":cpu-moe";
  if (p.expert_layers > 0) out += ":n-cpu-moe:" + count(p.expert_layers);
  return out;
}

Strategy LayersStrategy() {
  return {.name = std::string(kName),
          .runtime = "native",
          .summary = "llama.cpp's -ngl: the last N layers on the GPU, the others computed by the CPU",
          .lower = Lower,
          .candidates = CandidateStrings,
          .smallest_gpu_budget = SmallestGpu,
          .smallest_host_budget = SmallestHost,
          .closed_form = Close};
}

}  // namespace stowage
