#include "planner/strategy/native/rings.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "planner/base/text.h"
#include "planner/machine/size.h"
#include "planner/solve/spread.h"
#include "planner/strategy/gpu_share.h"
#include "planner/strategy/native/chain.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/native_form.h"
#include "planner/strategy/native/ring_proposal.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "rings";

struct Gpu {
  double room = 0;  // bytes for weights and caches
  double link = 0;  // bytes a second; 0: none
};

std::vector<Gpu> GpusOf(const NativeModel& native, const PlanningTask& task, Bytes ring) {
  const FixedBytes fixed = FixedBytesOf(native, task);
  const Machine& machine = *task.machine;
  std::vector<Gpu> out;
  for (std::size_t g = 0; g < machine.gpus.size(); ++g) {
    const std::string pool = fmt::format("gpu{}", g);
    const Bytes room =
        machine.pools[machine.FindPool(pool)].budget - machine.Reserved(pool) - fixed.activations - fixed.tokens - ring;
    const std::int32_t link = machine.FindResource(pool + ".h2d");
    const bool linked = link >= 0 && machine.resources[link].transfer;
    out.push_back({static_cast<double>(room.value()), linked ? machine.resources[link].transfer->pinned.value() : 0});
  }
  return out;
}

// Weights and caches of blocks, and the matrices that are in none: those are all on one GPU, the roomiest.
struct Burden {
  double blocks = 0, beside = 0;
  std::size_t beside_on = 0;
};

Burden BurdenOf(const Ring& one, const PlanningTask& task, const std::vector<Gpu>& gpus) {
  const Movable& movable = one.movable();
  Bytes beside;
  for (const TensorId t : movable.matrices) {
    const Tensor& tensor = task.model->tensors[t];
    if (task.model->BlockOf(tensor.module) == kNoId) beside += StoredBytes(tensor);
  }
  const Bytes blocks = movable.fixed + movable.matrix_bytes + FixedBytesOf(one.native(), task).kv - beside;
  const auto roomiest =
      std::max_element(gpus.begin(), gpus.end(), [](const Gpu& a, const Gpu& b) { return a.room < b.room; });
  return {static_cast<double>(blocks.value()), static_cast<double>(beside.value()),
          static_cast<std::size_t>(roomiest - gpus.begin())};
}

// By GPU: its share of the blocks. Those without room or link have none.
std::vector<double> SharesOf(const std::vector<Gpu>& gpus, const Burden& burden) {
  double room = 0, link = 0;
  for (const Gpu& gpu : gpus) {
    if (gpu.room <= 0 || gpu.link <= 0) continue;
    room += gpu.room;
    link += gpu.link;
  }
  const double streamed = std::max(0.0, burden.blocks + burden.beside - room);
  std::vector<double> shares(gpus.size());
  double all = 0;
  for (std::size_t g = 0; g < gpus.size(); ++g) {
    if (gpus[g].room <= 0 || gpus[g].link <= 0) continue;
    const double bytes = gpus[g].room + streamed * gpus[g].link / link;
    shares[g] = std::max(0.0, bytes - (g == burden.beside_on ? burden.beside : 0));
    all += shares[g];
  }
  for (double& share : shares) share = all > 0 ? share / all : share;
  return shares;
}

// By block: in turn, each to the GPU that lags furthest behind its share.
std::vector<std::int16_t> Deal(const std::vector<double>& shares, std::size_t blocks) {
  std::vector<std::int16_t> out;
  std::vector<double> behind(shares.size());
  for (std::size_t i = 0; i < blocks; ++i) {
    for (std::size_t g = 0; g < shares.size(); ++g) behind[g] += shares[g];
    const auto most = std::max_element(behind.begin(), behind.end());
    *most -= 1;
    out.push_back(static_cast<std::int16_t>(most - behind.begin()));
  }
  return out;
}

// By TensorId.
std::vector<std::int16_t> GpuOfTensors(const Model& model, const std::vector<double>& shares, std::size_t beside_on) {
  std::vector<ModuleId> blocks;
  for (std::size_t m = 0; m < model.modules.size(); ++m) {
    if (model.BlockOf(static_cast<ModuleId>(m)) == static_cast<ModuleId>(m)) blocks.push_back(static_cast<ModuleId>(m));
  }
  const std::vector<std::int16_t> dealt = Deal(shares, blocks.size());
  std::vector<std::int16_t> out;
  for (const Tensor& t : model.tensors) {
    const ModuleId block = model.BlockOf(t.module);
    if (t.tied_to != kNoId) {
      out.push_back(out[t.tied_to]);
    } else if (block == kNoId) {
      out.push_back(static_cast<std::int16_t>(beside_on));
    } else {
      out.push_back(dealt[std::lower_bound(blocks.begin(), blocks.end(), block) - blocks.begin()]);
    }
  }
  return out;
}

// Sets the rows of some matrices of one GPU that stay in `budget`.
void Spread(const NativeModel& native, const Model& model, const std::vector<TensorId>& matrices, Bytes budget,
            std::vector<std::int64_t>& resident_rows) {
  std::vector<SpreadItem> items;
  for (const TensorId t : matrices) {
    items.push_back({RowBytes(model.tensors[t]) * native.row_step[t], RowsOf(model.tensors[t]) / native.row_step[t]});
  }
  const std::vector<std::int64_t> rows = SpreadResident(items, budget, Grain::kTensors, kAlignment);
  for (std::size_t i = 0; i < items.size(); ++i) resident_rows[matrices[i]] = rows[i] * native.row_step[matrices[i]];
}

// On each GPU all but its ring is filled: with its dense matrices first, since a token multiplies by few experts.
void Fill(const Ring& one, const PlanningTask& task, Bytes ring, ChainProposal& out) {
  const Model& model = *task.model;
  const Movable& movable = one.movable();
  for (const Tensor& t : model.tensors) out.resident_rows.push_back(RowsOf(t));
  for (const auto* all : {&movable.matrices, &movable.experts, &movable.tables}) {
    for (const TensorId t : *all) out.resident_rows[t] = 0;
  }
  const std::vector<Bytes> left = LeftByGpu(one.native(), task, out);
  for (std::size_t g = 0; g < left.size(); ++g) {
    const auto here = [&](const std::vector<TensorId>& all) {
      std::vector<TensorId> some;
      for (const TensorId t : all) {
        if (static_cast<std::size_t>(out.gpu[t]) == g) some.push_back(t);
      }
      return some;
    };
    Bytes dense;
    const std::vector<TensorId> matrices = here(movable.matrices);
    for (const TensorId t : matrices) dense += RoundUp(StoredBytes(model.tensors[t]), kAlignment);
    Spread(one.native(), model, matrices, left[g] - ring, out.resident_rows);
    Spread(one.native(), model, here(movable.experts), left[g] - ring - dense, out.resident_rows);
  }
  GiveSlots(one.native(), task, std::vector<Bytes>(left.size(), ring), out);
}

Result<Bytes> RingSize(const PlanningTask& task, const Ring& one, std::string_view text) {
  const Bytes least = RoundUp(one.movable().widest_tile, kAlignment) * 2;
  if (text.empty()) return std::max(least, RoundUp(one.movable().largest, kAlignment) * 4);
  Result<Bytes> size = ParseSize(text);
  if (size.ok() && *size >= least) return size;
  return Error{ErrorCode::kInvalidInput, fmt::format("{}:{}: the size of each ring, at least {} for {}", kName, text,
                                                     FormatBytes(least), task.model->name)};
}

Result<ChainProposal> Propose(const PlanningTask& task, std::string_view parameters) {
  if (task.machine->gpus.size() < 2) {
    return Error{ErrorCode::kInfeasible, "rings needs several GPUs; on one it is ring"};
  }
  STOWAGE_TRY(const Ring one, Ring::Of(task));
  STOWAGE_TRY(const Bytes ring, RingSize(task, one, parameters));
  const std::vector<Gpu> gpus = GpusOf(one.native(), task, ring);
  const Burden burden = BurdenOf(one, task, gpus);
  const std::vector<double> shares = SharesOf(gpus, burden);
  const Bytes half(ring.value() / 2 / kAlignment.value() * kAlignment.value());
  ChainProposal out{.strategy = fmt::format("{}:{}", kName, ring.value()),
                    .gpu = GpuOfTensors(*task.model, shares, burden.beside_on),
                    .tile = std::min(RoundUp(one.movable().largest, kAlignment), half)};
  Fill(one, task, ring, out);
  if (std::all_of(out.slots.begin(), out.slots.end(), [](std::int32_t slots) { return slots == 0; })) {
    return Error{ErrorCode::kInfeasible, "rings: nothing has to be streamed when the GPUs share it; see pipeline"};
  }
  return out;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const ChainProposal proposal, Propose(task, parameters));
  return LowerChain(task, proposal);
}

std::vector<std::string> Candidates(const PlanningTask& task) {
  const Result<Ring> one = Ring::Of(task);
  if (!one) return {""};
  std::vector<std::string> out;
  for (const int pieces : {2, 4, 16}) {
    const Bytes ring =
        std::max(RoundUp(one->movable().largest, kAlignment), RoundUp(one->movable().widest_tile, kAlignment)) * pieces;
    out.push_back(std::to_string(ring.value()));
  }
  return out;
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = Candidates(task);
  return BestForm(task.request, std::move(all), [&](const std::string& p) -> Result<ClosedForm> {
    STOWAGE_TRY(const ChainProposal proposal, Propose(task, p));
    return FormOfChain(task, proposal);
  });
}

Result<std::vector<Bytes>> SmallestGpus(const PlanningTask& task) {
  return SmallestShare(task, [](const PlanningTask& probe) -> Status {
    Status last = OkStatus();
    for (const std::string& size : Candidates(probe)) {
      const Result<ChainProposal> proposal = Propose(probe, size);
      last = proposal ? CheckChain(probe, *proposal) : Status(proposal.error());
      if (last) return last;
    }
    return last;
  });
}

}  // namespace

Strategy RingsStrategy() {
  return {.name = std::string(kName),
          .runtime = "native",
          .summary = "blocks dealt to several GPUs, each streaming what it cannot keep through a ring of its own",
          .lower = Lower,
          .candidates = Candidates,
          .smallest_gpu_budgets = SmallestGpus,
          .closed_form = Close,
          .gpus = GpuUse::kSeveral};
}

}  // namespace stowage
