#include <fmt/format.h>

#include "planner/base/text.h"
#include "planner/machine/build_machine.h"
#include "planner/machine/spread.h"

namespace stowage {
namespace {

std::string Tera(FlopsPerSecond rate) {
  return rate.value() > 0 ? fmt::format("{:.4g} TFLOPS", rate.value() / 1e12) : std::string("-");
}

std::vector<std::string> PoolRow(const Machine& machine, const Pool& pool) {
  const Bytes reserved = machine.Reserved(pool.name);
  std::string what(pool.kind == PoolKind::kHost ? "host memory" : "disk");
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) {
    if (pool.name == fmt::format("gpu{}", i)) what = machine.gpus[i].name;
  }
  return {pool.name, FormatBytes(pool.budget), FormatBytes(reserved), what};
}

std::vector<std::string> ResourceRow(const Resource& resource) {
  std::string rate;
  if (resource.compute) {
    const ComputeRate& c = *resource.compute;
    rate = fmt::format("fp32 {}, fp16 {}, bf16 {}, memory {}; {:.3f} and {:.3f} of them, p {:g}, +{}", Tera(c.fp32),
                       Tera(c.fp16), Tera(c.bf16), FormatRate(c.memory), c.flops_efficiency, c.memory_efficiency,
                       c.smoothness, FormatSeconds(c.launch));
  } else if (resource.transfer) {
    const TransferRate& t = *resource.transfer;
    rate = fmt::format("{}, pageable {}, +{}", FormatRate(t.pinned), FormatRate(t.pageable), FormatSeconds(t.latency));
  }
  return {resource.name, resource.shared ? "shared" : "one at a time", std::string(Name(resource.origin)), rate};
}

}  // namespace

std::string Describe(const Machine& machine) {
  std::vector<std::vector<std::string>> pools = {{"pool", "budget", "reserved", "what"}};
  for (const Pool& pool : machine.pools) pools.push_back(PoolRow(machine, pool));
  std::vector<std::vector<std::string>> resources = {{"resource", "serves", "origin", "rate"}};
  for (const Resource& resource : machine.resources) resources.push_back(ResourceRow(resource));
  std::string out = machine.name + "\n" + AlignTable(pools) + AlignTable(resources);
  for (const Reservation& r : machine.reservations) {
    out +=
        fmt::format("reserved on {}: {} {} ({}: {})\n", r.pool, r.name, FormatBytes(r.bytes), Name(r.origin), r.source);
  }
  for (const std::string& assumption : machine.assumptions) out += "- " + assumption + "\n";
  if (const std::string intervals = IntervalSentence(machine); !intervals.empty()) out += "- " + intervals + "\n";
  return out;
}

}  // namespace stowage
