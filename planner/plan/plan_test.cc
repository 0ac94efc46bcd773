#include "planner/plan/plan.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

// Two layers of one matrix each on a device of 64 B: the second is half resident, half streamed.
Plan Small() {
  Plan p{.model = "toy", .strategy = "ring:16", .runtime = "native"};
  p.budgets = {{"gpu0", Bytes(64)}, {"host", Bytes(100)}};
  p.reservations = {{"gpu0", Bytes(4)}};
  p.arenas = {{"weights", "gpu0", "weights", Bytes(24), Bytes(24)},
              {"ring", "gpu0", "staging", Bytes(16), Bytes(16)},
              {"activations", "gpu0", "activations", Bytes(20), Bytes(20)},
              {"host_weights", "host", "weights", Bytes(8), Bytes(8)}};
  p.tensors = {{.name = "a", .dtype = DType::kF32, .shape = {4, 1}, .device = "gpu0", .block = "l0"},
               {.name = "b", .dtype = DType::kF32, .shape = {4, 1}, .device = "gpu0", .block = "l1"},
               {.name = "b2", .dtype = DType::kF32, .shape = {4, 1}, .device = "gpu0", .tied_to = "b"}};
  p.tensors[0].parts = {{.pool = "gpu0", .arena = "weights", .row_end = 4}};
  p.tensors[1].parts = {{.pool = "gpu0", .arena = "weights", .offset = Bytes(16), .row_end = 2},
                        {Where::kStreamed, "*", "host", "host_weights", Bytes(0), 2, 4}};
  p.placements = {{"x", "activations", Bytes(0), Bytes(12), "prefill", 0, 2},
                  {"y", "activations", Bytes(12), Bytes(8), "prefill", 1, 3},
                  {"z", "activations", Bytes(0), Bytes(12), "prefill", 3, 4}};
  return p;
}

std::string Complaint(const Plan& plan) {
  const Status status = CheckPlan(plan);
  return status ? "" : status.error().message;
}

TEST(CheckPlan, AcceptsAPlanInWhichEverythingHasItsPlace) { EXPECT_EQ(Complaint(Small()), ""); }

TEST(CheckPlan, RefusesAnUnknownVersionAndNamesBoth) {
  Plan p = Small();
  p.version = 7;
  EXPECT_EQ(Complaint(p), "plan: version 7 is not 2, the one this program reads");
}

TEST(CheckPlan, RefusesATensorWithoutAHome) {
  Plan p = Small();
  p.tensors[0].parts.clear();
  EXPECT_EQ(Complaint(p), "plan: tensor 'a' is nowhere");
}

TEST(CheckPlan, RefusesRowsThatAreNowhere) {
  Plan p = Small();
  p.tensors[1].parts[1].row_begin = 3;
  EXPECT_EQ(Complaint(p), "plan: tensor 'b': rows [2, 3) are nowhere in phase prefill");
}

TEST(CheckPlan, RefusesRowsPlacedTwice) {
  Plan p = Small();
  p.tensors[1].parts[0].row_end = 3;
  EXPECT_EQ(Complaint(p), "plan: tensor 'b': rows [2, 3) are placed twice in phase prefill");
}

TEST(CheckPlan, RefusesABlockComputedOnTwoDevices) {
  Plan p = Small();
  p.tensors[1].block = "l0";
  p.tensors[1].device = "gpu1";
  EXPECT_EQ(Complaint(p), "plan: block 'l0' must not be split, but 'a' is computed on gpu0 and 'b' on gpu1");
}

TEST(CheckPlan, RefusesATieAcrossDevices) {
  Plan p = Small();
  p.tensors[2].device = "gpu1";
  EXPECT_EQ(Complaint(p), "plan: 'b2' on gpu1 is tied to 'b' on gpu0");
}

TEST(CheckPlan, RefusesATensorBeyondItsArena) {
  Plan p = Small();
  p.tensors[1].parts[0].offset = Bytes(20);
  EXPECT_EQ(Complaint(p), "plan: 'b' needs [20 B, 28 B) but arena 'weights' of gpu0 has 24 B");
}

TEST(CheckPlan, RefusesOverlappingTensors) {
  Plan p = Small();
  p.tensors[1].parts[0].offset = Bytes(12);
  EXPECT_EQ(Complaint(p), "plan: 'a' and 'b' both use [12 B, 16 B) of arena 'weights' of gpu0");
}

TEST(CheckPlan, RefusesActivationsThatLiveTogetherInOnePlace) {
  Plan p = Small();
  p.placements[2].first = 2;
  EXPECT_EQ(Complaint(p), "plan: 'x' and 'z' both use [0 B, 12 B) of arena 'activations' of gpu0");
}

TEST(CheckPlan, RefusesABudgetThatReservationsAndArenasPass) {
  Plan p = Small();
  p.reservations[0].second = Bytes(5);
  EXPECT_EQ(Complaint(p), "plan: gpu0 needs 65 B but its budget is 64 B");
}

}  // namespace
}  // namespace stowage
