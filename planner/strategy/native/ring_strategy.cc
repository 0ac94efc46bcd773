#include "planner/strategy/native/ring_strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/machine/size.h"
#include "planner/strategy/budget_probe.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/device_map_ring.h"
#include "planner/strategy/native/disk_feed.h"
#include "planner/strategy/native/layers.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/native_form.h"
#include "planner/strategy/native/ring_proposal.h"

namespace stowage {
namespace {

// How much slower than a ring's slowest guess a bound may say layers are, and they are simulated still.
constexpr double kDoubt = 1.5;

constexpr std::string_view kLayers = "layers:", kMap = "device-map:";

// What the candidates are: a ring of its own, with or without the host's help; everything resident (a ring that nothing
// passes through); or what another native strategy would do, so that the ring is never worse.
struct Choice {
  RingParameters ring;
  std::optional<LayersParameters> layers = {};
  std::string map = {};  // of device-map-ring; "": none
};

Status ParseHost(std::string_view text, HostShare& out) {
  if (text == "cpu-kv") {
    out.caches = true;
  } else if (text == "cpu-experts") {
    out.experts = true;
  } else if (text.starts_with("cpu=") && text.ends_with('%')) {
    int percent = 0;
    const std::string_view digits = text.substr(4, text.size() - 5);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
    if (error != std::errc() || end != digits.data() + digits.size() || percent < 0 || percent > 100) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("ring: the host computes 'cpu=N%' of the matrices, N from 0 to 100, not '{}'", text)};
    }
    out.percent = percent;
  } else {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("ring streams 'tensors' or 'rows', and the host may compute 'cpu=N%', 'cpu-experts' or "
                             "'cpu-kv'; not '{}'",
                             text)};
  }
  return OkStatus();
}

Result<Choice> Parse(std::string_view text) {
  Choice out;
  if (text.starts_with(kLayers)) {
    STOWAGE_TRY(out.layers, ParseLayers(text.substr(kLayers.size())));
    return out;
  }
  if (text.starts_with(kMap)) {
    out.map = text.substr(kMap.size());
    return out;
  }
  std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view size = text.substr(0, colon);
  while (colon < text.size()) {
    const std::size_t next = std::min(text.find(':', colon + 1), text.size());
    const std::string_view word = text.substr(colon + 1, next - colon - 1);
    colon = next;
    if (word == "rows") {
      out.ring.grain = Grain::kRows;
    } else if (word != "tensors" && !word.empty()) {
      STOWAGE_RETURN_IF_ERROR(ParseHost(word, out.ring.host));
    }
  }
  STOWAGE_TRY(out.ring.ring, ParseSize(size));
  if (out.ring.ring < kSmallestRing) {
    return Error{ErrorCode::kInvalidInput, fmt::format("a ring of {} is smaller than {}, the least there can be",
                                                       FormatBytes(out.ring.ring), FormatBytes(kSmallestRing))};
  }
  out.ring.ring = Bytes(out.ring.ring.value() / kAlignment.value() * kAlignment.value());
  return out;
}

std::string Spell(const Choice& choice) {
  if (choice.layers) return fmt::format("{}{}", kLayers, Spell(*choice.layers));
  if (!choice.map.empty()) return fmt::format("{}{}", kMap, choice.map);
  const RingParameters& p = choice.ring;
  std::string out = fmt::format("{}{}", p.ring.value(), p.grain == Grain::kRows ? ":rows" : "");
  if (p.host.percent > 0) out += fmt::format(":cpu={}%", p.host.percent);
  if (p.host.experts) out += ":cpu-experts";
  if (p.host.caches) out += ":cpu-kv";
  return out;
}

std::vector<RingParameters> Least(const Ring& ring) {
  return {{ring.least(), Grain::kTensors, {}}, {ring.least(), Grain::kRows, {}}};
}

Result<NativeProposal> Propose(const Ring& ring, const PlanningTask& task, const Choice& choice) {
  NativeProposal out;
  if (choice.layers) {
    out = ProposeLayers(ring.native(), task, *choice.layers);
  } else if (!choice.map.empty()) {
    STOWAGE_TRY(out, ProposeMap(ring.native(), task, choice.map));
  } else {
    STOWAGE_TRY(out, ring.Propose(choice.ring));
  }
  out.strategy = "ring:" + Spell(choice);
  return out;
}

// Of rings without the host: those of Sizes() that fit, else those of Least() that do.
std::vector<RingParameters> DeviceRings(const Ring& ring) {
  std::vector<RingParameters> out = ring.Sizes();
  const auto impossible = [&](const RingParameters& p) { return !ring.Feasible(p).ok(); };
  std::erase_if(out, impossible);
  if (out.empty()) {
    out = Least(ring);
    std::erase_if(out, impossible);
  }
  return out;
}

// What the optimal map would do, where its bound leaves a doubt.
void AddMap(const Ring& ring, const PlanningTask& task, Seconds slow, std::vector<Choice>& out) {
  constexpr std::string_view kOptimal = "optimal";
  if (ring.NothingStreams() || out.empty()) return;  // alone it would blur what the smallest budgets are
  if (ring.StreamingBound(ring.BudgetForMatrices()) >= slow) return;  // whatever it keeps
  const Result<NativeProposal> proposal = ProposeMap(ring.native(), task, kOptimal);
  if (!proposal || !CheckFits(ring.native(), task, *proposal)) return;
  Bytes resident;
  for (const std::vector<TensorId>* matrices : {&ring.movable().matrices, &ring.movable().experts}) {
    for (const TensorId t : *matrices) resident += RowBytes(task.model->tensors[t]) * proposal->resident_rows[t];
  }
  if (ring.StreamingBound(resident) < slow) out.push_back({.ring = {}, .map = std::string(kOptimal)});
}

// Rings of experts that are read over the link are hopeless where the host's cores would be done before the link.
bool HostIsQuickerForExperts(const Ring& ring) {
  const Seconds shared = ring.SlowestWithExpertsOnHost();
  return !ring.movable().experts.empty() && !ring.NothingStreams() && shared > Seconds(0) &&
         ring.StreamingBound(ring.BudgetForMatrices()) > shared * kDoubt;
}

bool UsesDisk(const NativeProposal& p) {
  return std::find(p.on_disk.begin(), p.on_disk.end(), true) != p.on_disk.end();
}

std::vector<Choice> Candidates(const Ring& ring, const PlanningTask& task) {
  std::vector<Choice> out;
  for (const RingParameters& p : ring.HostShares()) {
    if (ring.Feasible(p)) out.push_back({.ring = p});
  }
  const bool shared = !out.empty() && HostIsQuickerForExperts(ring);
  std::vector<Choice> alone;
  if (!shared) {
    for (const RingParameters& p : DeviceRings(ring)) {
      alone.push_back({.ring = p});
      if (ring.NothingStreams()) break;  // whatever its size
    }
  }
  out.insert(out.begin(), alone.begin(), alone.end());
  const bool none = out.empty() || (!alone.empty() && UsesDisk(*ring.Propose(alone.front().ring)));
  const Seconds slow = none     ? Seconds(std::numeric_limits<double>::infinity())
                       : shared ? ring.SlowestWithExpertsOnHost()
                                : ring.SlowestRequest();
  for (const LayersParameters& p : LayersCandidates(ring.native(), task)) {
    if (LayersBound(ring.native(), task, p) < slow * kDoubt) out.push_back({.ring = {}, .layers = p});
  }
  AddMap(ring, task, slow * kDoubt, out);
  return out;
}

// Whatever the ring does: what cannot be on the disk is in one memory or the other.
Bytes LeastOfBoth(const NativeModel& native, const PlanningTask& task) {
  Bytes least;
  for (const TensorId t : native.used) {
    if (native.load[t].computed || MayLeaveForDisk(native, t)) continue;
    least += native.row_bytes[t] * native.rows[t];
  }
  return least + task.machine->Reserved("gpu0") + task.machine->Reserved("host");
}

Bytes BudgetsOfBoth(const Machine& m) {
  const Pool& host = m.pools[m.FindPool("host")];
  return m.pools[m.FindPool("gpu0")].budget + std::min(host.budget, host.pinned_limit.value_or(host.budget));
}

bool AnyFits(const Ring& ring, const PlanningTask& task, LayersNeeds& layers) {
  const auto feasible = [&](const RingParameters& p) { return ring.Feasible(p).ok(); };
  const Result<Needs>& none = layers.Of({});  // all on the host
  if (none && CheckNeeds(*none, *task.machine, kLayers)) return true;
  if (LeastOfBoth(ring.native(), task) > BudgetsOfBoth(*task.machine)) return false;
  for (const auto& some : {ring.Sizes(), Least(ring), ring.HostShares()}) {
    if (std::any_of(some.begin(), some.end(), feasible)) return true;
  }
  return !FittingLayers(ring.native(), task, layers).empty();
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const Ring ring, Ring::Of(task));
  Choice choice;
  if (parameters.empty()) {
    const std::vector<Choice> all = Candidates(ring, task);
    choice = all.empty() ? Choice{.ring = Least(ring).front()} : all.front();  // which fails, and says why
  } else {
    STOWAGE_TRY(choice, Parse(parameters));
  }
  STOWAGE_TRY(const NativeProposal proposal, Propose(ring, task, choice));
  return LowerNative(ring.native(), task, proposal);
}

std::vector<std::string> CandidateStrings(const Ring& ring, const PlanningTask& task) {
  std::vector<std::string> out;
  for (const Choice& choice : Candidates(ring, task)) {
    const bool whole = !choice.layers && choice.map.empty() && ring.NothingStreams();
    out.push_back(whole ? "" : Spell(choice));
  }
  return out;
}

// With less on the device more is in host memory, so a small host raises the smallest budget of the device.
Result<Bytes> SmallestGpu(const PlanningTask& task) {
  BudgetProbe probe(task);
  STOWAGE_TRY(const Ring ring, Ring::Of(probe.task()));
  LayersNeeds layers(ring.native(), probe.task());
  const auto fits = [&](Bytes budget) {
    probe.pool("gpu0").budget = budget;
    return AnyFits(ring, probe.task(), layers);
  };
  Bytes too_small = task.machine->Reserved("gpu0"), enough = std::max(ring.SmallestBudget(), ring.ResidentBudget());
  if (fits(too_small)) return too_small;  // the host computes everything
  (fits(ring.SmallestBudget()) ? enough : too_small) = ring.SmallestBudget();
  if (!fits(enough)) return ring.Feasible(Least(ring).front()).error();
  while (enough - too_small > kAlignment) {
    const Bytes middle = too_small + RoundUp((enough - too_small) / 2, kAlignment);
    (fits(middle) ? enough : too_small) = middle;
  }
  return enough;
}

// With no host memory to speak of, all that can be on the disk is.
Result<Bytes> SmallestHost(const PlanningTask& task) {
  BudgetProbe probe(task);
  Pool& host = probe.UnlimitedHost();
  STOWAGE_TRY(const Ring ring, Ring::Of(probe.task()));
  std::optional<Bytes> smallest;
  std::vector<RingParameters> all = ring.Sizes();
  for (const auto& more : {Least(ring), ring.HostShares()}) all.insert(all.end(), more.begin(), more.end());
  for (const RingParameters& p : all) {
    host.budget = Bytes(0);
    const Result<NativeProposal> proposal = ring.Propose(p);
    if (!proposal) continue;
    const Result<Needs> needs = NeedsOf(ring.native(), probe.task(), *proposal);
    if (!needs || (smallest && needs->host >= *smallest)) continue;
    host.budget = needs->host;
    if (CheckNeeds(*needs, probe.machine(), proposal->strategy)) smallest = host.budget;  // gpu0 may be too small
  }
  const Result<Bytes> layers = LayersStrategy().smallest_host_budget(task);
  if (layers) smallest = std::min(smallest.value_or(*layers), *layers);
  if (smallest) return *smallest;
  return ring.Propose(Least(ring).front()).error();
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  const Result<Ring> ring = Ring::Of(task);
  if (!ring) return {.why_not = ring.error().message};
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = CandidateStrings(*ring, task);
  return BestForm(task.request, std::move(all), [&](const std::string& text) -> Result<ClosedForm> {
    Choice choice{.ring = Least(*ring).front()};
    if (!text.empty()) {
      STOWAGE_TRY(choice, Parse(text));
    }
    STOWAGE_TRY(const NativeProposal proposal, Propose(*ring, task, choice));
    return FormOf(ring->native(), task, proposal);
  });
}

// What exceeds the device leaves it, tables first; the ring's own bytes are left out. Link and host share what has left,
// both busy all the time.
ClosedForm FromSizes(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  const Machine& machine = *task.machine;
  const Bytes room = machine.pools[machine.FindPool("gpu0")].budget - machine.Reserved("gpu0");
  const Bytes fixed = sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.native_activations.value_or(Bytes(0));
  const Bytes over = std::clamp(fixed + sizes.weights - room, Bytes(0), fixed + sizes.weights);
  double share = 1;  // of the link
  const std::int32_t link = machine.FindResource("gpu0.h2d"), cores = machine.FindResource("host.cores");
  if (link >= 0 && machine.resources[link].transfer && cores >= 0 && machine.resources[cores].compute) {
    const double copied = machine.resources[link].transfer->pinned.value();
    const double computed = machine.resources[cores].compute->memory.value();
    if (copied > 0 && computed > 0) share = copied / (copied + computed);
  }
  const Bytes streamed = std::max(Bytes(0), std::min(over, sizes.weights) - sizes.tables);
  return CloseForm(
      task, sizes,
      {.gpu = fixed + sizes.weights - over,
       .host = (over > Bytes(0) ? std::max(over, sizes.tables) : Bytes(0)) + std::min(sizes.weights, kStagingRing),
       .streamed = Bytes(static_cast<std::int64_t>(static_cast<double>(streamed.value()) * share))});
}

}  // namespace

Strategy RingStrategy() {
  return {.name = "ring",
          .runtime = "native",
          .summary = "what fits stays on the GPU, the rest is prefetched through a ring from host memory",
          .lower = Lower,
          .candidates =
              [](const PlanningTask& task) {
                const Result<Ring> ring = Ring::Of(task);
                return ring ? CandidateStrings(*ring, task) : std::vector<std::string>{};
              },
          .smallest_gpu_budget = SmallestGpu,
          .smallest_host_budget = SmallestHost,
          .closed_form = Close,
          .from_sizes = FromSizes};
}

}  // namespace stowage
