#include "tools/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/quant/fits.h"
#include "tools/plan_paste.h"

namespace stowage {
namespace {

std::string Spelled(const Ranked& r) { return r.parameters.empty() ? r.name : r.name + ":" + r.parameters; }

StrategyLine LineOf(const Ranked& r) {
  StrategyLine line{.name = Spelled(r), .runtime = r.runtime, .fits = r.fits, .limit = r.limit, .why_not = r.why_not};
  line.least_gpu = r.smallest_gpu_budget;
  line.least_gpus = r.smallest_gpu_budgets;
  for (const PoolTimeline& p : r.timeline.pools) {
    if (p.pool != "disk") line.peak.push_back({p.pool, p.peak.bytes});
  }
  if (r.fits) {
    line.first_token = r.first_token;
    line.per_token = r.per_token;
    if (r.low && r.high) {
      line.first_token_low = r.low->first_token;
      line.first_token_high = r.high->first_token;
      line.per_token_low = r.low->per_token;
      line.per_token_high = r.high->per_token;
    }
  }
  return line;
}

// The chosen plan's arenas, reservations and free bytes of one pool.
PoolContents ContentsOf(const std::string& pool, Bytes budget, const Plan& plan, const Machine& machine) {
  PoolContents out{.pool = pool, .budget = budget};
  Bytes free = budget;
  const auto add = [&](std::string what, Bytes bytes) {
    if (bytes == Bytes(0)) return;
    free -= bytes;
    out.parts.push_back({std::move(what), bytes});
  };
  for (const ArenaPlan& a : plan.arenas) {
    if (a.pool == pool) add(a.name, a.bytes);
  }
  for (const Reservation& r : machine.reservations) {
    if (r.pool == pool) add(r.name, r.bytes);
  }
  add("free", free);
  return out;
}

// What torch holds in one pool at the peak, by kind: its allocators decide where, so there are no arenas.
PoolContents HeldAtPeak(const PoolTimeline& pool) {
  PoolContents out{.pool = pool.pool, .budget = pool.budget};
  Bytes free = pool.budget;
  for (const PeakBuffer& buffer : pool.peak.buffers) {
    const std::string what = buffer.kind == "fragmentation" ? "cached or lost by the allocator"
                             : buffer.kind == "context"     ? buffer.name
                                                            : buffer.kind;
    const auto same = [&](const PoolContents::Part& part) { return part.what == what; };
    const auto at = std::find_if(out.parts.begin(), out.parts.end(), same);
    if (at == out.parts.end()) {
      out.parts.push_back({what, buffer.bytes});
    } else {
      at->bytes += buffer.bytes;
    }
    free -= buffer.bytes;
  }
  if (free > Bytes(0)) out.parts.push_back({"free", free});
  return out;
}

Bytes BudgetOf(const Machine& machine, std::string_view pool) { return machine.pools[machine.FindPool(pool)].budget; }

std::string PoolOfGpu(std::size_t gpu) { return fmt::format("gpu{}", gpu); }

// Of the chosen one: where streamed weights pass through the GPUs; nothing when all of it stays, torch streams, or a GPU
// has no part in it.
std::optional<Bytes> RingOf(const Ranked& chosen, const Machine& machine) {
  if (!chosen.fits || chosen.runtime != "native") return std::nullopt;
  std::optional<Bytes> rings;
  std::set<std::string> used;
  for (const ArenaPlan& a : chosen.plan->arenas) {
    if (!a.pool.starts_with("gpu")) continue;
    used.insert(a.pool);
    if (a.kind == "staging") rings = rings.value_or(Bytes(0)) + a.bytes;
  }
  return used.size() == machine.gpus.size() ? rings : std::nullopt;
}

struct GpuSums {
  Bytes budget, reserved;
};
GpuSums SumsOf(const Machine& machine) {
  GpuSums sums;
  for (std::size_t g = 0; g < machine.gpus.size(); ++g) {
    sums.budget += BudgetOf(machine, PoolOfGpu(g));
    sums.reserved += machine.Reserved(PoolOfGpu(g));
  }
  return sums;
}

// What more of one pool, the others as they are, would make fit.
struct Remedy {
  std::string pool;
  Bytes bytes;  // the budget
  Bytes more;   // than now
  std::string strategy;
};

// Of all GPUs, in the ratio of their budgets.
struct GpusRemedy {
  std::string text;  // "+1.30 GB of each GPU (16.30 GB each)"
  Bytes more;        // in all
};

std::optional<GpusRemedy> RemedyOf(const Machine& machine, const Ranked& r) {
  if (r.fits || r.refused || r.smallest_gpu_budgets.empty()) return std::nullopt;
  const std::vector<Bytes>& wanted = r.smallest_gpu_budgets;
  GpusRemedy out;
  std::vector<std::string> sizes;
  bool alike = true;
  for (std::size_t g = 0; g < wanted.size(); ++g) {
    out.more += wanted[g] - BudgetOf(machine, PoolOfGpu(g));
    alike = alike && wanted[g] == wanted[0];
    sizes.push_back(FormatBytes(wanted[g]));
  }
  if (out.more <= Bytes(0)) return std::nullopt;
  const Bytes now = BudgetOf(machine, PoolOfGpu(0));
  out.text =
      alike ? fmt::format("+{} of each GPU ({} each)", FormatBytes(wanted[0] - now), sizes[0])
            : fmt::format("+{:.1f} % of each GPU ({})",
                          100.0 * static_cast<double>((wanted[0] - now).value()) / static_cast<double>(now.value()),
                          Join(sizes, ", "));
  return out;
}

std::vector<Remedy> RemediesOf(const Machine& machine, const std::vector<Ranked>& ranked) {
  std::vector<Remedy> out;
  for (const Ranked& r : ranked) {
    if (r.fits) continue;
    const auto add = [&](const char* pool, std::optional<Bytes> bytes) {
      if (!bytes || *bytes <= BudgetOf(machine, pool)) return;
      out.push_back({pool, *bytes, *bytes - BudgetOf(machine, pool), r.name});
    };
    if (!r.refused) add("gpu0", r.smallest_gpu_budget);
    add("host", r.smallest_host_budget);
  }
  return out;
}

// How many more cards like the last one hold all of it, by the sum of their budgets; nullopt when these do, or none would.
std::optional<std::int64_t> MoreGpus(const PlanningTask& task) {
  const Machine& machine = *task.machine;
  const auto [budget, reserved] = SumsOf(machine);
  const std::string last = PoolOfGpu(machine.gpus.size() - 1);
  const Bytes each = BudgetOf(machine, last) - machine.Reserved(last);
  const Bytes lacking = FormatsThatFit(*task.model, task.request, budget, reserved).front().needed - budget;
  if (lacking <= Bytes(0) || each <= Bytes(0)) return std::nullopt;
  return (lacking.value() + each.value() - 1) / each.value();
}

// Sentences, the smallest change first. A strategy of the torch runtime is what the user may have today: more memory
// for it is no advice.
std::vector<std::string> WouldHelp(const PlanningTask& task, const std::vector<Ranked>& ranked) {
  std::vector<std::string> out;
  std::vector<Ranked> native;
  std::copy_if(ranked.begin(), ranked.end(), std::back_inserter(native),
               [](const Ranked& r) { return r.runtime == "native"; });
  std::vector<Remedy> remedies = RemediesOf(*task.machine, native);
  std::stable_sort(remedies.begin(), remedies.end(), [](const Remedy& a, const Remedy& b) { return a.more < b.more; });
  for (const Remedy& r : remedies) {
    const std::string what = r.strategy == "resident" ? "all of it is resident" : fmt::format("'{}' fits", r.strategy);
    out.push_back(
        fmt::format("+{} of {} ({} in all) and {}.", FormatBytes(r.more), r.pool, FormatBytes(r.bytes), what));
  }
  for (const Ranked& r : native) {
    const std::optional<GpusRemedy> remedy = RemedyOf(*task.machine, r);
    if (!remedy) continue;
    out.push_back(fmt::format("{} and {}.", remedy->text,
                              r.name == "pipeline" ? "all of it is resident" : fmt::format("'{}' fits", r.name)));
  }
  if (const std::size_t gpus = task.machine->gpus.size(); gpus > 1) {
    if (const std::optional<std::int64_t> more = MoreGpus(task)) {
      out.push_back(fmt::format("{} more like gpu{}: their budgets added up hold all of it.", *more, gpus - 1));
    }
  }
  Bytes narrow;  // all weights at two bytes a parameter
  for (const Tensor& t : task.model->tensors) {
    if (t.buffer || t.tied_to != kNoId) continue;
    narrow += std::min(t.bytes(), SizeOf(DType::kBF16, Elements(t.shape)));
  }
  if (narrow < task.model->WeightBytes()) {
    out.push_back(fmt::format("--dtype bf16: {} of weights instead of {}, at bf16's precision.", FormatBytes(narrow),
                              FormatBytes(task.model->WeightBytes())));
  }
  return out;
}

}  // namespace

ModelLine ModelLineOf(const Model& model) {
  std::set<std::string> dtypes;
  for (const Tensor& t : model.tensors) {
    if (!t.buffer) dtypes.insert(std::string(Name(t.dtype)));
  }
  const std::vector<std::string> names(dtypes.begin(), dtypes.end());
  return {.name = model.name,
          .family = model.family,
          .parameters = model.Parameters(),
          .weights = model.WeightBytes(),
          .dtype = Join(names, ", "),
          .layers = model.shape.layers,
          .kv_per_token = CacheBytesPerPosition(model),
          .source = model.origin,
          .notes = model.notes};
}

std::vector<FormatLine> FormatsOf(const PlanningTask& task, std::optional<Bytes> ring) {
  const auto [budget, reserved] = SumsOf(*task.machine);
  std::vector<FormatLine> out;
  for (const FormatFit& fit : FormatsThatFit(*task.model, task.request, budget, reserved)) {
    FormatLine line{.name = std::string(fit.name),
                    .about = std::string(fit.about),
                    .weights = fit.weights,
                    .needed = fit.needed,
                    .fits = fit.fits};
    if (!fit.fits && ring) {
      line.resident = std::clamp(budget - *ring - (fit.needed - fit.weights), Bytes(0), fit.weights);
    }
    out.push_back(std::move(line));
  }
  return out;
}

std::vector<StrategyLine> StrategyLinesOf(const std::vector<Ranked>& ranked) {
  std::vector<StrategyLine> lines;
  for (const Ranked& r : ranked) lines.push_back(LineOf(r));
  return lines;
}

PlanReport ReportOf(const PlanningTask& task, const std::vector<Ranked>& ranked) {
  PlanReport report{.model = ModelLineOf(*task.model), .request = task.request, .machine = *task.machine};
  report.strategies = StrategyLinesOf(ranked);
  report.would_help = WouldHelp(task, ranked);
  report.formats = FormatsOf(task, ranked.empty() ? std::nullopt : RingOf(ranked[0], *task.machine));
  report.paste = PasteFor(task, std::any_of(ranked.begin(), ranked.end(),
                                            [](const Ranked& r) { return r.fits && r.name == "torch-resident"; }));
  if (ranked.empty() || !ranked[0].fits) {
    const std::vector<Remedy> remedies = RemediesOf(*task.machine, ranked);
    const auto least = std::min_element(remedies.begin(), remedies.end(),
                                        [](const Remedy& a, const Remedy& b) { return a.more < b.more; });
    if (least != remedies.end()) report.smallest_budget = SmallestBudget{least->pool, least->bytes, least->strategy};
    return report;
  }
  const Ranked& best = ranked[0];
  report.chosen = Spelled(best);
  if (best.runtime == "torch") {
    for (const PoolTimeline& pool : best.timeline.pools) report.contents.push_back(HeldAtPeak(pool));
    report.contents_at_peak = true;
    return report;
  }
  for (const auto& [pool, budget] : best.plan->budgets) {
    report.contents.push_back(ContentsOf(pool, budget, *best.plan, *task.machine));
  }
  for (const ArenaPlan& a : best.plan->arenas) {
    if (a.kind == "activations") report.packing.push_back({a.pool + " " + a.name, a.bytes, a.lower_bound});
  }
  return report;
}

}  // namespace stowage
