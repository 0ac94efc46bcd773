#include "sim/timeline/timeline.h"

namespace stowage {

const PhaseTimeline* FindPhase(const Timeline& timeline, std::string_view phase) {
  for (const PhaseTimeline& p : timeline.phases) {
    if (p.phase == phase) return &p;
  }
  return nullptr;
}

}  // namespace stowage
