#include "planner/schedule/check.h"

#include <gtest/gtest.h>

#include "planner/schedule/parse.h"

namespace stowage {
namespace {

// Two slots of a ring, three blocks streamed through them in each of 20 iterations; a cache that grows.
constexpr std::string_view kRing = R"(schedule 1 ring
pool gpu0 arena budget=328
pool host pageable budget=0
queue gpu0/compute
queue gpu0/in
issuer main native
buffer masters weights 192 pool=host pinned initial
buffer h0 weights 64 in=masters at=0 initial
buffer h1 weights 64 in=masters at=64 initial
buffer ring staging 128 pool=gpu0
buffer w0 weights 64 in=ring at=0
buffer w1 weights 64 in=ring at=64
buffer kv kv 200 pool=gpu0
kernel mm opaque bf16
phase load
prologue
  ring: allocate ring
  kv: allocate kv
  first: copy h0 -> w0 on=gpu0/in
phase decode iterations=20
requires a
requires b
body passes=1
  next: copy h1 -> w1 on=gpu0/in after=b[-1]
  a: compute mm w0 -> kv[10@0+10i] on=gpu0/compute op=a after=first,again[-1]
  again: copy h0 -> w0 on=gpu0/in after=a
  b: compute mm w1,kv[10+10i@0] -> - on=gpu0/compute op=b after=next
)";

Schedule Parsed(std::string_view text) {
  auto parsed = ParseSchedule(text);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? *parsed : Schedule();
}

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const std::size_t at = out.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? out : out.replace(at, from.size(), to);
}

std::string FirstProblem(std::string_view text, CheckOptions options = {}) {
  const auto problems = FindProblems(Parsed(text), options);
  return problems.empty() ? "" : problems[0].text;
}

// What the check says of kRing when `from` is replaced, both with all iterations executed and with the middle skipped.
std::string Ring(std::string_view from, std::string_view to) {
  const std::string text = Replaced(kRing, from, to);
  const std::string all = FirstProblem(text);
  CheckOptions skip;
  skip.max_executions = 10;
  EXPECT_EQ(FirstProblem(text, skip).empty(), all.empty()) << FirstProblem(text, skip) << "\n" << all;
  return all;
}

TEST(CheckSchedule, AcceptsARing) { EXPECT_EQ(Ring("1 ring", "1 ring"), ""); }

TEST(CheckSchedule, RefusesAReadBeforeTheCopyHasSurelyEnded) {
  EXPECT_EQ(
      Ring("op=b after=next", "op=b"),
      "phase 'decode': step 6 'b' of iteration 0 reads bytes [0, 64) of 'w1', but nothing orders it after the end "
      "of step 3 'next' of iteration 0, which writes them");
  EXPECT_EQ(
      Ring("after=first,again[-1]", "after=first"),
      "phase 'decode': step 4 'a' of iteration 1 reads bytes [0, 64) of 'w0', but nothing orders it after the end "
      "of step 5 'again' of iteration 0, which writes them");
}

TEST(CheckSchedule, RefusesARefillBeforeTheLastReader) {
  EXPECT_EQ(
      Ring(" after=b[-1]", ""),
      "phase 'decode': step 3 'next' of iteration 1 writes bytes [0, 64) of 'w1', but nothing orders it after the "
      "end of step 6 'b' of iteration 0, which reads 'w1' there");
}

TEST(CheckSchedule, RefusesAReadOfASlotThatHoldsAnotherTensor) {
  EXPECT_EQ(
      Ring("w1 weights 64 in=ring at=64", "w1 weights 64 in=ring at=32"),
      "phase 'decode': step 4 'a' of iteration 0 reads bytes [32, 64) of 'w0', which step 3 'next' of iteration 0 "
      "has overwritten with 'w1'");
}

TEST(CheckSchedule, RefusesAReadOfBytesThatNothingWrote) {
  EXPECT_EQ(
      Ring("kv[10@0+10i]", "kv[9@0+10i]"),
      "phase 'decode': step 6 'b' of iteration 0 reads bytes [0, 10) of 'kv', which nothing has written from byte "
      "9 on");
}

TEST(CheckSchedule, RefusesASliceThatGrowsBeyondItsBuffer) {
  EXPECT_EQ(Ring("iterations=20", "iterations=21"),
            "step 4 'a': bytes [200, 210) of 'kv' in iteration 20, but it has 200");
}

TEST(CheckSchedule, RefusesAPoolBeyondItsBudget) {
  EXPECT_EQ(Ring("budget=328", "budget=327"),
            "phase 'load': step 1 'kv' needs 200 bytes in pool 'gpu0' for 'kv', which has 199 left of 327");
}

TEST(CheckSchedule, RefusesAMissingAndARepeatedInstance) {
  EXPECT_EQ(Ring("requires b\n", "requires b tiles=2\n"),
            "phase 'decode': its body does not compute op 'b' pass 0 rank 0 micro-batch 0 tile 1");
  EXPECT_EQ(Ring("op=b", "op=a"),
            "step 6 'b': computes op 'a' pass 0 rank 0 micro-batch 0 tile 0 a second time (first: step 4)");
}

}  // namespace
}  // namespace stowage
