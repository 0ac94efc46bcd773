// The closed form of a chain (native_form.h).
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "planner/strategy/native/chain_describe.h"
#include "planner/strategy/native/clocks.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/native_form.h"
#include "planner/strategy/native/unit_kernels.h"

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;
constexpr std::int64_t kSampled = 3;  // decode passes, of which the first one starts from what the prefill left

struct Side {
  const NativeProgram& program;
  const ChainPass& pass;
  std::vector<Seconds> seconds = {};  // by unit
};

class Run {
 public:
  explicit Run(const ChainCase& c)
      : c_(c), durations_(*c.task.machine), given_(c.proposal.micro_batches), gpu_free_(c.gpus()) {
    for (std::size_t g = 0; g < c.gpus(); ++g) {
      rings_.emplace_back(g < c.proposal.slots.size() ? c.proposal.slots[g] : 0);
      sm_.push_back(fmt::format("gpu{}.sm", g));
      in_.push_back(fmt::format("gpu{}.h2d", g));
    }
  }

  void Price(Side& side, std::int64_t iteration) const {
    UnitKernels kernels(&c_.model(), &c_.rows, &c_.whole);
    for (const ChainRun& run : side.pass.runs) {
      for (std::int32_t u = side.pass.first_unit[run.begin]; u < side.pass.first_unit[run.end]; ++u) {
        const Unit& unit = side.pass.units.units[u];
        side.seconds.push_back(
            durations_.Compute(kernels.Of(side.program.kernels[unit.kernel], unit)->kernel, iteration, sm_[run.gpu]));
      }
    }
  }

  void Begin() {
    const std::string& link = in_[c_.layout.ids_gpu];
    for (Seconds& given : given_) {
      const Bytes prompt(kIdBytes * c_.task.request.prompt_tokens * Sequences());
      given = (issued_ += durations_.launch()) + Busy(link, durations_.Transfer(prompt, link));
    }
  }

  // In waves, as they are issued.
  void Pass(const Side& side) {
    const auto runs = static_cast<std::int64_t>(side.pass.runs.size());
    const std::int64_t m = c_.proposal.micro_batches;
    for (std::int64_t wave = 0; wave < runs + m - 1; ++wave) {
      for (std::int64_t r = std::max<std::int64_t>(0, wave - m + 1); r <= std::min(wave, runs - 1); ++r) {
        Stage(side, side.pass.runs[r], wave - r);
      }
    }
    if (c_.layout.choice_gpu == c_.layout.ids_gpu) return;
    const std::string link = Link(c_.layout.choice_gpu, c_.layout.ids_gpu);
    for (Seconds& given : given_) given += Busy(link, durations_.Transfer(Bytes(kIdBytes * Sequences()), link));
  }

  Seconds Ahead(const Side& next) const {
    Run copy = *this;
    Seconds end;
    std::vector<std::int64_t> count(c_.gpus());
    for (const StreamItem& item : next.pass.units.items) {
      const std::int16_t gpu = c_.proposal.gpu[item.tensor];
      if (++count[gpu] <= c_.proposal.slots[gpu]) end = std::max(end, copy.Bring(item, gpu));
    }
    return end;
  }

  Seconds now() const { return std::max(issued_, *std::max_element(given_.begin(), given_.end())); }
  BusyTimes TakeBusy() { return std::exchange(busy_, {}); }

 private:
  static std::string Link(std::int16_t a, std::int16_t b) {
    return fmt::format("link:gpu{}-gpu{}", std::min(a, b), std::max(a, b));
  }
  std::int64_t Sequences() const { return c_.task.request.batch / c_.proposal.micro_batches; }

  Seconds Busy(const std::string& resource, Seconds seconds) {
    busy_[resource] += seconds;
    return seconds;
  }

  // A run of kernels on one GPU, of micro-batch m.
  void Stage(const Side& side, const ChainRun& run, std::int64_t m) {
    Seconds chain = given_[m];
    for (const ChainTransfer& t : run.arrives) {
      const std::string link = Link(t.from, run.gpu);
      const Seconds copy = durations_.Transfer(side.program.activations[t.activation].bytes, link);
      chain = std::max(chain, issued_ += durations_.launch()) + Busy(link, copy);
    }
    chain = std::max(chain, gpu_free_[run.gpu]);
    for (std::int32_t u = side.pass.first_unit[run.begin]; u < side.pass.first_unit[run.end]; ++u) {
      const Unit& unit = side.pass.units.units[u];
      Seconds start = std::max(chain, issued_ += durations_.launch());
      if (unit.item >= 0) start = std::max(start, Bring(side.pass.units.items[unit.item], run.gpu));
      chain = start + Busy(sm_[run.gpu], side.seconds[u]);
      if (unit.item >= 0) rings_[run.gpu].Consumed(1, chain);
    }
    gpu_free_[run.gpu] = given_[m] = chain;
  }

  Seconds Bring(const StreamItem& item, std::int16_t gpu) {
    issued_ += durations_.launch();
    return rings_[gpu].Bring(1, Seconds(0), Busy(in_[gpu], durations_.Transfer(item.bytes, in_[gpu])));
  }

  const ChainCase& c_;
  const Durations durations_;
  std::vector<Seconds> given_;     // by micro-batch: when its next run may start
  std::vector<Seconds> gpu_free_;  // by GPU
  std::vector<PieceClock> rings_;  // by GPU, in slots
  std::vector<std::string> sm_, in_;
  Seconds issued_;
  BusyTimes busy_;
};

std::vector<std::pair<std::string, Bytes>> PeaksOf(const ChainCase& c) {
  const Machine& machine = *c.task.machine;
  const ChainLayout& l = c.layout;
  std::vector<std::pair<std::string, Bytes>> out;
  for (std::size_t g = 0; g < c.gpus(); ++g) {
    const std::string pool = fmt::format("gpu{}", g);
    const Bytes arenas = l.weights[g] + l.kv[g] + l.activations[g] + l.tokens[g] + l.rings[g];
    out.emplace_back(pool, arenas + machine.Reserved(pool));
  }
  const Bytes stays = c.whole.masters + l.host_buffers + machine.Reserved("host");
  const Bytes left = machine.pools[machine.FindPool("host")].budget - stays;
  out.emplace_back("host", stays + StagingFor(c.model(), LoadItemsOf(c.native, c.rows, c.whole), left).total());
  return out;
}

}  // namespace

Result<ClosedForm> FormOfChain(const PlanningTask& task, const ChainProposal& proposal) {
  STOWAGE_TRY(const PreparedChain prepared, PrepareChain(task, proposal));
  const ChainCase c = prepared.Of(task, proposal);
  ClosedForm out{.peak = PeaksOf(c)};
  if (Status fits = CheckBudgets(c); !fits) {
    out.why_not = fits.error().message;
    return out;
  }
  const std::int64_t passes = task.request.DecodePasses();
  Side prefill{c.native.prefill, c.layout.prefill}, decode{c.native.decode, c.layout.decode};
  Run run(c);
  run.Price(prefill, 0);
  run.Begin();
  run.Pass(prefill);
  out.first_token = std::max(run.now(), run.Ahead(decode));
  out.limit = LimitOf(run.TakeBusy(), out.first_token);
  if (passes == 0) return out;
  run.Price(decode, passes - 1);
  run.Pass(decode);
  const std::int64_t sampled = std::min(passes, kSampled);
  const Seconds begin = sampled > 1 ? run.now() : out.first_token;
  if (sampled > 1) run.TakeBusy();
  for (std::int64_t i = 1; i < sampled; ++i) run.Pass(decode);
  const Seconds length = run.now() - begin;
  out.per_token = length / static_cast<double>(std::max<std::int64_t>(1, sampled - 1));
  out.limit = LimitOf(run.TakeBusy(), length);
  return out;
}

}  // namespace stowage
