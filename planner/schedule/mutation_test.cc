// Breaks valid schedules in every small way and compares the checker's verdict with the referee's. A mutation that the
// checker lets pass must be one that the referee finds harmless (another path implies the order), and the other way
// round.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"
#include "planner/schedule/random_rings.h"
#include "planner/schedule/referee.h"

namespace stowage {
namespace {

struct Count {
  int tried = 0, objected = 0, implied = 0;
};

using Counts = std::map<std::string, Count>;
using Mutate = std::function<void(const std::string& kind, const Schedule& mutant)>;

void ForAllRefs(Schedule& s, const std::function<void(StepRef&)>& visit) {
  for (Step& t : s.steps) {
    for (StepRef& ref : t.after) visit(ref);
    if (t.kind == StepKind::kWait) visit(t.target);
  }
}

// Without step `gone`; references to it are dropped. Waits for it go too.
Schedule WithoutStep(Schedule s, StepId gone) {
  for (Step& t : s.steps) std::erase_if(t.after, [&](const StepRef& ref) { return ref.step == gone; });
  s.steps.erase(s.steps.begin() + gone);
  for (Phase& p : s.phases) {
    for (Section* section : {&p.prologue, &p.body, &p.epilogue}) {
      if (section->begin > gone) --section->begin;
      if (section->end > gone) --section->end;
    }
  }
  StepId orphan = -1;
  for (StepId id = 0; id < static_cast<StepId>(s.steps.size()); ++id) {
    if (s.steps[id].kind == StepKind::kWait && s.steps[id].target.step == gone) orphan = id;
  }
  ForAllRefs(s, [&](StepRef& ref) { ref.step -= ref.step > gone ? 1 : 0; });
  return orphan < 0 ? s : WithoutStep(std::move(s), orphan);
}

Schedule Swapped(Schedule s, StepId a, StepId b) {
  std::swap(s.steps[a], s.steps[b]);
  ForAllRefs(s, [&](StepRef& ref) { ref.step = ref.step == a ? b : ref.step == b ? a : ref.step; });
  return s;
}

int SectionOf(const Schedule& s, StepId id) {
  int n = 0;
  for (const Phase& p : s.phases) {
    for (const Section* section : {&p.prologue, &p.body, &p.epilogue}) {
      ++n;
      if (id >= section->begin && id < section->end) return n;
    }
  }
  return -1;
}

void MutateOrders(const Schedule& s, const Mutate& mutate) {
  for (StepId id = 0; id < static_cast<StepId>(s.steps.size()); ++id) {
    for (std::size_t k = 0; k < s.steps[id].after.size(); ++k) {
      Schedule m = s;
      m.steps[id].after.erase(m.steps[id].after.begin() + static_cast<std::ptrdiff_t>(k));
      mutate("remove an after", m);
      if (s.steps[id].after[k].back == 0 && SectionOf(s, id) == SectionOf(s, s.steps[id].after[k].step)) {
        m = s;
        m.steps[id].after[k].back = 1;  // harmless only where the two are in no body, which is an error by itself
        if (SectionOf(s, id) % 3 == 2) mutate("one iteration too early", m);
      }
    }
    if (s.steps[id].kind == StepKind::kWait) mutate("remove a wait", WithoutStep(s, id));
    if (s.steps[id].kind == StepKind::kRecordStream) mutate("remove a record_stream", WithoutStep(s, id));
    if (s.steps[id].kind == StepKind::kAllocate) mutate("remove an allocate", WithoutStep(s, id));
    if (s.steps[id].blocking) {
      Schedule m = s;
      m.steps[id].blocking = false;
      mutate("remove a blocking", m);
    }
  }
}

void MutatePlaces(const Schedule& s, const Mutate& mutate) {
  for (StepId a = 0; a < static_cast<StepId>(s.steps.size()); ++a) {
    for (StepId b = a + 1; b < static_cast<StepId>(s.steps.size()) && s.steps[a].queue >= 0; ++b) {
      if (s.steps[b].queue != s.steps[a].queue) continue;
      if (SectionOf(s, a) == SectionOf(s, b)) mutate("swap neighbours of a queue", Swapped(s, a, b));
      break;
    }
    if (a > 0 && s.steps[a].kind == StepKind::kFree && SectionOf(s, a) == SectionOf(s, a - 1)) {
      mutate("free one step earlier", Swapped(s, a - 1, a));
    }
    if (s.steps[a].instance.op >= 0) mutate("drop an instance", WithoutStep(s, a));
    for (const std::int64_t shift : {-1, 1}) {
      for (std::size_t k = 0; k < s.steps[a].reads.size() + s.steps[a].writes.size(); ++k) {
        Schedule m = s;
        auto& reads = m.steps[a].reads;
        (k < reads.size() ? reads[k] : m.steps[a].writes[k - reads.size()]).offset.base += shift;
        mutate("shift a slice", m);
      }
    }
  }
}

// Runs all mutations of `s`; adds to `counts`.
void TryAll(const std::string& what, const Schedule& s, Counts& counts) {
  ASSERT_EQ(RefereeVerdict(s), "") << what << "\n" << Dump(s);
  for (const ScheduleProblem& problem : FindProblems(s)) FAIL() << what << ": " << problem.text << "\n" << Dump(s);
  const Mutate mutate = [&](const std::string& kind, const Schedule& mutant) {
    Count& count = counts[kind];
    ++count.tried;
    const std::vector<ScheduleProblem> problems = FindProblems(mutant);
    CheckOptions ends_only;
    ends_only.max_executions = 0;
    EXPECT_EQ(FindProblems(mutant, ends_only).empty(), problems.empty())
        << what << ": " << kind << ": all iterations and the ends of the loop disagree\n"
        << Dump(mutant);
    const std::string verdict = RefereeVerdict(mutant);
    ++(problems.empty() ? count.implied : count.objected);
    EXPECT_EQ(problems.empty(), verdict.empty())
        << what << ": " << kind << "\nchecker: " << (problems.empty() ? "fine" : problems[0].text)
        << "\nreferee: " << (verdict.empty() ? "fine" : verdict) << "\n"
        << Dump(mutant);
  };
  MutateOrders(s, mutate);
  MutatePlaces(s, mutate);
}

void Print(const Counts& counts) {
  Count all;
  for (const auto& [kind, c] : counts) {
    fmt::print("{:28} tried {:6}  objected {:6}  implied {:6}\n", kind, c.tried, c.objected, c.implied);
    all = {all.tried + c.tried, all.objected + c.objected, all.implied + c.implied};
  }
  fmt::print("{:28} tried {:6}  objected {:6}  implied {:6}\n", "all", all.tried, all.objected, all.implied);
}

TEST(Mutations, OfTheGoldensAreJudgedAsTheRefereeJudgesThem) {
  Counts counts;
  int goldens = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/goldens/schedules")) {
    if (entry.path().extension() != ".txt") continue;
    ++goldens;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const auto schedule = ParseSchedule(text.str());
    ASSERT_TRUE(schedule) << schedule.error().message;
    TryAll(entry.path().filename(), *schedule, counts);
    if (HasFailure()) return;
  }
  Print(counts);
  EXPECT_GE(goldens, 12);
  for (const auto& [kind, count] : counts) {
    // The blocking copies of leaf_hooks share a stream with their readers, which orders them as well.
    if (kind == "remove a blocking") continue;
    EXPECT_GT(count.objected, 0) << kind;
  }
}

TEST(Mutations, OfRandomRingsAreJudgedAsTheRefereeJudgesThem) {
  Counts counts;
  for (unsigned seed = 0; seed < 60; ++seed) {
    TryAll(fmt::format("seed {}", seed), RandomRing(seed), counts);
    if (HasFailure()) return;
  }
  Print(counts);
  for (const auto& [kind, count] : counts) EXPECT_GT(count.objected, 0) << kind;
}

}  // namespace
}  // namespace stowage
