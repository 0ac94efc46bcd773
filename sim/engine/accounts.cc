#include "sim/engine/accounts.h"

#include <array>
#include <bit>
#include <string_view>

namespace stowage::sim {
namespace {

// Causes: these, then "waiting for another job of" each resource.
enum Cause : std::int32_t { kCopy, kCompute, kRead, kReduce, kIssuer, kEarlier, kNothingLeft, kFixedCauses };
constexpr std::array<std::string_view, kFixedCauses> kCauseNames = {
    "waiting for a copy",     "waiting for compute",      "waiting for a read", "waiting for a reduce",
    "waiting for the issuer", "waiting for earlier work", "nothing left to do"};

constexpr std::int64_t kLongestHistory = 1 << 17;

}  // namespace

void History::Reserve(std::int64_t executions) {
  const auto size = std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(executions, 1)));
  records_.resize(size);
  mask_ = static_cast<std::int64_t>(size) - 1;
}

Accounts::Accounts(const Program* program, Keep keep)
    : program_(program),
      uses_(program->resources.size()),
      causes_(kFixedCauses + static_cast<std::int32_t>(program->resources.size())),
      idle_(program->resources.size() * static_cast<std::size_t>(causes_)),
      phase_end_(program->schedule->phases.size()),
      passes_(program->schedule->phases.size()) {
  if (keep == Keep::kPhases) return;
  history_.Reserve(keep == Keep::kAll ? program->executions : std::min(program->executions, kLongestHistory));
}

std::int32_t Accounts::CauseOf(const Record& bound, std::int32_t via) const {
  if (via >= 0) return kFixedCauses + via;
  switch (program_->ops[static_cast<std::size_t>(bound.step)].step_kind) {
    case StepKind::kCopy:
      return kCopy;
    case StepKind::kCompute:
      return kCompute;
    case StepKind::kRead:
      return kRead;
    case StepKind::kReduce:
      return kReduce;
    default:
      return kIssuer;  // host acts take no time of their own
  }
}

void Accounts::CloseGap(std::int32_t resource, const Record& next, std::int64_t now) {
  const double begin = uses_[static_cast<std::size_t>(resource)].last_end;
  double* idle = &idle_[static_cast<std::size_t>(resource) * static_cast<std::size_t>(causes_)];
  double until = next.start;
  std::int64_t bind = next.bind;
  std::int32_t via = next.via;
  while (until > begin) {
    const Record* bound = history_.Find(bind, now);
    if (bound == nullptr) {
      idle[bind < 0 ? kIssuer : kEarlier] += until - begin;
      return;
    }
    const double end = std::max(bound->end, begin);
    if (end < until) {
      idle[kIssuer] += until - end;
      until = end;
    }
    const double start = std::max(bound->start, begin);
    if (start < until) {
      idle[CauseOf(*bound, via)] += until - start;
      until = start;
    }
    via = bound->via;
    bind = bound->bind;
  }
}

std::string Accounts::CauseName(std::int32_t cause) const {
  if (cause < kFixedCauses) return std::string(kCauseNames[static_cast<std::size_t>(cause)]);
  return "waiting for another job of " + program_->schedule->resources[static_cast<std::size_t>(cause - kFixedCauses)];
}

void Accounts::FinishPhases(Timeline& timeline) const {
  double at = 0;
  for (std::size_t p = 0; p < phase_end_.size(); ++p) {
    const double end = std::max(at, phase_end_[p]);
    const std::string& name = program_->schedule->phases[p].name;
    if (timeline.phases.empty() || timeline.phases.back().phase != name) {
      timeline.phases.push_back({name, 0, Seconds(at), Seconds(0)});
    }
    timeline.phases.back().iterations += passes_[p];
    timeline.phases.back().seconds += Seconds(end - at);
    at = end;
  }
  timeline.length = Seconds(std::max(at, length_));
}

void Accounts::Finish(Timeline& timeline) const {
  FinishPhases(timeline);
  const double at = timeline.length.value();
  for (std::size_t r = 0; r < uses_.size(); ++r) {
    ResourceTimeline line{program_->schedule->resources[r], Seconds(uses_[r].busy), Seconds(at - uses_[r].busy), {}};
    for (std::int32_t c = 0; c < causes_; ++c) {
      const double idle = idle_[r * static_cast<std::size_t>(causes_) + static_cast<std::size_t>(c)];
      if (idle > 0) line.idle_causes[CauseName(c)] = Seconds(idle);
    }
    if (at > uses_[r].last_end) line.idle_causes[CauseName(kNothingLeft)] = Seconds(at - uses_[r].last_end);
    timeline.resources.push_back(std::move(line));
  }
}

}  // namespace stowage::sim
