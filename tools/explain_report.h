// Why a block, module or tensor of a plan is where it is: what `inspect explain` prints.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/plan/plan_json.h"

namespace stowage {

struct ExplainReport {
  struct Line {
    std::string tensor;
    Bytes bytes;
    std::string where;  // Whereabouts()
  };
  struct Share {
    std::string what;  // "resident gpu0/weights"
    Bytes bytes;
  };
  std::string name;
  std::string kind;    // "block", "module", "tensor"
  std::string device;  // computes with it: "gpu0"; several with commas
  std::vector<Line> tensors;
  std::vector<Share> shares;         // by residency; in the order of the tensors
  Bytes device_free;                 // of the device's budget, nothing planned there
  Bytes streamed;                    // copied to the device in each pass that uses it
  Seconds streaming_now;             // what that holds the link for, each pass
  Bytes resident;                    // on the device
  Seconds streaming_instead;         // each pass, if it were streamed
  std::vector<std::string> reasons;  // sentences
  std::vector<std::string> refused;  // the plan's own words about these tensors; all of them when none names one
};

// `what` is a no-split block, a tensor, or a module (all below it). kInvalidInput for another name, with the nearest.
Result<ExplainReport> Explain(const PlanFile& file, std::string_view what);

std::string ExplainText(const ExplainReport& report);
// {"name","kind","device","tensors":[{"name","bytes","where"}],"shares":[{"what","bytes"}],"device_free_bytes",
//  "streamed_bytes","streaming_s_per_pass","resident_bytes","streaming_instead_s_per_pass","reasons","refused"}
std::string ExplainJson(const ExplainReport& report);

}  // namespace stowage
