#include "reports/published/published.h"

#include <array>

#include "reports/published/tables.h"

namespace stowage::published {

std::span<const Table* const> Tables() {
  static const std::array<const Table*, 5> kTables = {&BigModelInference(), &ModelLoading(), &FlexLlmGen(),
                                                      &Bloom176B(), &NglSweep()};
  return kTables;
}

}  // namespace stowage::published
