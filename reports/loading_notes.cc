#include "reports/loading_notes.h"

#include <algorithm>

namespace stowage {

std::vector<std::string> LoadingNotes(const SimulationReport& report) {
  std::vector<std::string> out;
  const Schedule& s = report.schedule;
  const auto load = std::find_if(s.phases.begin(), s.phases.end(), [](const Phase& p) { return p.name == "load"; });
  if (load == s.phases.end()) return out;
  const auto begin = s.steps.begin() + load->prologue.begin, end = s.steps.begin() + load->epilogue.end;
  if (std::none_of(begin, end, [](const Step& step) { return step.kind == StepKind::kRead; })) return out;
  out.emplace_back(report.request.loading.warm
                       ? "loading reads files from host memory: the page cache is warm."
                       : "loading reads files from the disk: the page cache is cold (--page-cache warm: it is not).");
  const auto cached = [](const PoolUse& pool) { return pool.name == "page cache"; };
  if (std::any_of(s.pools.begin(), s.pools.end(), cached)) {
    out.emplace_back(
        "page cache: pages of the files that the process has mapped, as it touched them. Not counted against the "
        "host's budget: the system takes them back when it needs memory, and reads them again.");
  }
  const auto folder = [](const PoolUse& pool) { return pool.name == "offload folder"; };
  if (std::any_of(s.pools.begin(), s.pools.end(), folder)) {
    out.emplace_back("offload folder: files that accelerate writes while loading, here as fast as the disk reads.");
  }
  return out;
}

}  // namespace stowage
