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

// One step on another queue than the weight was first used on.
constexpr std::string_view kTorch = R"(schedule 1 torch
pool gpu0 torch_caching budget=8
queue gpu0/main
queue gpu0/side
issuer python torch
buffer x activations 64 pool=gpu0
buffer y activations 64 pool=gpu0
kernel op opaque bf16
phase p
prologue
  @0: allocate x
  @1: allocate y
  fill: compute op - -> x on=gpu0/side
  use: compute op x -> y on=gpu0/main after=fill
  @4: record_stream x on=gpu0/main
  @5: free x
  @6: free y
)";

TEST(CheckSchedule, AcceptsTorchMemoryBeyondTheBudgetAndFreedWhileRecordedStreamsStillUseIt) {
  EXPECT_EQ(FirstProblem(kTorch), "");
}

TEST(CheckSchedule, RefusesTorchMemoryFreedUnderAnotherStream) {
  EXPECT_EQ(FirstProblem(Replaced(kTorch, "record_stream x on=gpu0/main", "record_stream x on=gpu0/side")),
            "phase 'p': step 5 'free x' frees 'x', whose user step 3 'use' is on queue 'gpu0/main': not the one it was "
            "first used on, not recorded, and nothing orders its end before");
}

TEST(CheckSchedule, RefusesUseAfterFreeAndDoubleAllocation) {
  EXPECT_EQ(FirstProblem(Replaced(kTorch, "@6: free y", "late: compute op x -> - on=gpu0/main")),
            "phase 'p': step 6 'late' reads 'x', which step 5 'free x' has freed");
  EXPECT_EQ(FirstProblem(Replaced(kTorch, "@6: free y", "@6: allocate y")),
            "phase 'p': step 6 'allocate y' allocates 'y' again; step 1 'allocate y' did and nothing freed it since");
}

TEST(CheckSchedule, RefusesArenaMemoryFreedUnderItsUser) {
  const std::string text = Replaced(Replaced(kTorch, "torch_caching", "pageable"), "budget=8", "budget=128");
  EXPECT_EQ(FirstProblem(Replaced(text, "record_stream x on=gpu0/main", "wait fill")),
            "phase 'p': step 5 'free x' frees 'x', but nothing orders it after the end of step 3 'use'");
  EXPECT_EQ(FirstProblem(Replaced(text, "record_stream x on=gpu0/main", "wait use")), "");
}

TEST(CheckSchedule, RefusesTwoIssuersThatRaceIntoAQueue) {
  const std::string text = Replaced(kTorch, "issuer python torch\n", "issuer python torch\nissuer loader native\n");
  EXPECT_EQ(
      FirstProblem(Replaced(text, "@6: free y", "late: compute op - -> - on=gpu0/main by=loader")),
      "phase 'p': step 6 'late' enters queue 'gpu0/main' after step 3 'use', which issuer 'python' issues: nothing "
      "orders the two");
}

TEST(CheckSchedule, NamesWhatIsWrongWithTheStructure) {
  EXPECT_EQ(Ring("again: copy h0 -> w0", "again: copy h0 -> w0[32@0]"),
            "step 5 'again': moves 64 bytes of 'h0' to 32 bytes of 'w0'");
  EXPECT_EQ(Ring("w1 weights 64 in=ring at=64", "w1 weights 64 in=ring at=65"),
            "buffer 5 'w1': [65, 129) is not inside its parent 'ring' of 128 bytes");
  EXPECT_EQ(Ring("after=first,again[-1]", "after=first,again"),
            "step 4 'a': refers to step 5 'again', which does not come before it");
  EXPECT_EQ(Ring("after=first,again[-1]", "after=first[-1],again[-1]"),
            "step 4 'a': refers to step 2 'first' one iteration back, but the two are not in one body");
  EXPECT_EQ(Ring("mm opaque", "mm rms_norm"),
            "step 4 'a': kernel 'mm' (rms_norm) reads 2 slices and writes 1, not 1 and 1");
}

TEST(CheckSchedule, SaysHowManyMoreProblemsThereAre) {
  const auto status = CheckSchedule(Parsed(Replaced(Replaced(kRing, "op=b", "op=a"), "budget=328", "budget=327")));
  ASSERT_FALSE(status);
  EXPECT_EQ(
      status.error().message,
      "step 6 'b': computes op 'a' pass 0 rank 0 micro-batch 0 tile 0 a second time (first: step 4) (and 2 more)");
}

}  // namespace
}  // namespace stowage
