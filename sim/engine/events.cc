#include "sim/engine/run.h"

namespace stowage::sim {

Status RunEvents(const Program&, Books&) {
  return Error{ErrorCode::kInternal, "schedules whose queues compete for a resource are not simulated yet"};
}

}  // namespace stowage::sim
