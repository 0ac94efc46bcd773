// Private to CheckSchedule: its parts and what they share.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planner/schedule/check.h"

namespace stowage {

// Collects problems up to a limit.
class Problems {
 public:
  explicit Problems(int limit) : limit_(limit) {}
  void Add(ScheduleProblem problem) {
    if (!full()) list_.push_back(std::move(problem));
  }
  void Add(StepId step, std::string text) { Add({ErrorCode::kInvalidInput, step, -1, std::move(text)}); }
  bool full() const { return static_cast<int>(list_.size()) >= limit_; }
  bool empty() const { return list_.empty(); }
  std::vector<ScheduleProblem> Take() && { return std::move(list_); }

 private:
  int limit_;
  std::vector<ScheduleProblem> list_;
};

// Which phase and section each step is in, filled once the sections are known to be consecutive.
struct Place {
  std::int32_t phase = -1;
  bool in_body = false;
};
std::vector<Place> PlacesOf(const Schedule& schedule);

// No byte count, offset or sum of them may pass this, at any iteration: keeps the arithmetic exact.
inline constexpr std::int64_t kMostBytes = std::int64_t{1} << 56;
inline constexpr std::int64_t kMostIterations = std::int64_t{1} << 40;
inline constexpr std::size_t kMostClocks = 256;  // queues and issuers together

void CheckStructure(const Schedule& schedule, Problems& problems);
void CheckInstances(const Schedule& schedule, Problems& problems);                           // needs a sound structure
void CheckOrder(const Schedule& schedule, const CheckOptions& options, Problems& problems);  // likewise

}  // namespace stowage
