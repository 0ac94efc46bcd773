#include "reports/plan_report.h"

#include <algorithm>
#include <limits>

namespace stowage {
namespace {

double RequestSeconds(const StrategyLine& line, std::int64_t decode_passes) {
  if (!line.first_token) return std::numeric_limits<double>::infinity();
  const double later = line.per_token ? line.per_token->value() : 0;
  return line.first_token->value() + later * static_cast<double>(decode_passes);
}

}  // namespace

void SortBestFirst(std::vector<StrategyLine>& strategies, std::int64_t decode_passes) {
  std::stable_sort(strategies.begin(), strategies.end(), [&](const StrategyLine& a, const StrategyLine& b) {
    if (a.fits != b.fits) return a.fits;
    return a.fits && RequestSeconds(a, decode_passes) < RequestSeconds(b, decode_passes);
  });
}

}  // namespace stowage
