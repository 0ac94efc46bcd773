// docs/accuracy.md: published figures beside predictions of ours.
#pragma once

#include <string>

#include "planner/base/result.h"

namespace stowage {

// The whole page, the same bytes each time: facts of reports/published, predicted by tools/accuracy/predict.h.
Result<std::string> AccuracyPage();

}  // namespace stowage
