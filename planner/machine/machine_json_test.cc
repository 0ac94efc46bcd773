#include "planner/machine/machine_json.h"

#include <gtest/gtest.h>

#include "planner/machine/build_machine.h"
#include "planner/machine/hardware_table.h"

namespace stowage {
namespace {

// A field that is added must be written and read: then count it here.
static_assert(sizeof(DispatchCost) == 10 * sizeof(double));
static_assert(sizeof(ComputeRate) == 9 * sizeof(double));
static_assert(sizeof(TransferRate) == 4 * sizeof(double));

Machine Build(std::vector<std::string> gpus) {
  Result<Machine> machine = BuildMachine({.gpus = std::move(gpus), .cpu = "30GB", .disk = "1TB"}, HostFacts());
  EXPECT_TRUE(machine) << machine.error().message;
  return *std::move(machine);
}

std::string Complaint(std::string_view text, const Machine& base = Build({"t4"})) {
  const Result<Machine> machine = ReadMachineFile("m.json", text, base);
  return machine ? "" : machine.error().message;
}

TEST(MachineJson, ReadsBackWhatItWrote) {
  Machine m = Build({"2x24GiB", "t4"});
  m.pools[1].pinned_limit = Bytes(123);
  m.dispatch.torch_hook = Seconds(1.0 / 3);
  m.dispatch.populate_host = 1e-10;
  m.resources[0].compute->smoothness = 2.1;
  m.torch_allocator = "expandable_segments:True";
  const Result<Machine> back = ReadMachineFile("m.json", WriteMachineJson(m), Machine());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(WriteMachineJson(*back), WriteMachineJson(m));
  EXPECT_EQ(Describe(*back), Describe(m));
  EXPECT_EQ(back->dispatch.torch_hook, m.dispatch.torch_hook);
  EXPECT_EQ(back->dispatch.populate_host, m.dispatch.populate_host);
  EXPECT_EQ(back->pools[1].pinned_limit, Bytes(123));
  EXPECT_EQ(back->torch_allocator, "expandable_segments:True");
}

TEST(MachineJson, EveryKnownCardMakesAMachineThatPassesTheCheck) {
  for (const CardRow& card : KnownCards()) {
    const std::string id(card.id);
    const Status status = CheckMachine(Build({card.total_bytes_low > 0 ? id : id + ":15GB"}));
    EXPECT_TRUE(status) << id << ": " << status.error().message;
  }
}

TEST(MachineJson, KeepsWhatAFileDoesNotName) {
  const Machine base = Build({"t4"});
  const Result<Machine> m = ReadMachineFile(
      "m.json", R"({"stowage_machine": 1, "pools": {"gpu0": {"budget": "14GB"}}, "resources": {"gpu0.h2d":
      {"origin": "measured", "transfer": {"pinned_bytes_per_s": 13e9}}}})",
      base);
  ASSERT_TRUE(m) << m.error().message;
  Machine expected = base;
  expected.pools[0].budget = Bytes(14'000'000'000);
  Resource& link = expected.resources[expected.FindResource("gpu0.h2d")];
  link.origin = Origin::kMeasured;
  link.transfer->pinned = BytesPerSecond(13e9);
  EXPECT_EQ(WriteMachineJson(*m), WriteMachineJson(expected));
}

TEST(MachineJson, RatesOfAFileAreExactUnlessItSaysAnInterval) {
  const Machine base = Build({"rtx3080"});
  const auto link = [&](const std::string& more) {
    const Result<Machine> m = ReadMachineFile(
        "m.json", R"({"stowage_machine": 1, "resources": {"gpu0.h2d": {"origin": "measured")" + more + "}}}", base);
    EXPECT_TRUE(m) << m.error().message;
    return m->resources[m->FindResource("gpu0.h2d")].rate_spread;
  };
  EXPECT_FALSE(base.resources[base.FindResource("gpu0.h2d")].rate_spread == Spread());
  EXPECT_EQ(link(""), Spread());
  EXPECT_EQ(link(R"(, "rate_interval": [0.9, 1.2])"), (Spread{0.9, 1.2}));
  EXPECT_EQ(Complaint(R"({"stowage_machine": 1, "resources": {"gpu0.h2d": {"origin": "measured",
      "rate_interval": [1.1, 1.2]}}})"),
            "m.json:2:34: an interval is two factors, one in (0, 1] and one of at least 1");
}

TEST(MachineJson, ReplacesAReservationOfTheSamePoolAndName) {
  const Result<Machine> m = ReadMachineFile(
      "m.json", R"({"stowage_machine": 1, "reservations": [{"pool": "gpu0", "name": "CUDA context", "bytes": "256MiB",
      "origin": "measured", "source": "nvidia-smi"}]})",
      Build({"t4"}));
  ASSERT_TRUE(m) << m.error().message;
  ASSERT_EQ(m->reservations.size(), 1u);
  EXPECT_EQ(m->Reserved("gpu0"), Bytes(256 << 20));
}

TEST(MachineJson, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(Complaint("{"), "m.json:1:2: expected a string");
  EXPECT_EQ(Complaint("{}"), "m.json:1:3: a machine has no 'stowage_machine'");
  EXPECT_EQ(Complaint("{\"stowage_machine\": 2}"),
            "m.json:1:22: machine version 2 is not 1, the one this program reads");
  const auto with = [](const std::string& member) { return Complaint("{\"stowage_machine\": 1,\n" + member + "}"); };
  EXPECT_EQ(with("\"pool\": {}"), "m.json:2:8: a machine has no member 'pool'; did you mean 'pools'?");
  EXPECT_EQ(with("\"pools\": {\"gpu0\": {\"budget\": \"15 G\"}}").substr(0, 14), "m.json:2:36: '");
  EXPECT_EQ(with("\"pools\": {\"gpu0\": {\"budget\": -1}}"), "m.json:2:30: expected an integer that is not negative");
  EXPECT_EQ(with("\"resources\": {\"gpu0.sm\": {\"compute\": {\"launch_s\": 1e9}}}"),
            "m.json:2:54: 1000000000 is not in [0, 3600]");
  EXPECT_EQ(with("\"resources\": {\"gpu0.sm\": {\"compute\": {}}}"), "m.json:2:41: a resource has no 'origin'");
  EXPECT_EQ(with("\"resources\": {\"disk0\": {\"origin\": \"guessed\"}}"),
            "m.json:2:44: origin 'guessed' is not measured, published, computed or assumed");
}

TEST(MachineJson, NamesTheNumberThatCannotBe) {
  const auto with = [](const std::string& member) { return Complaint("{\"stowage_machine\": 1, " + member + "}"); };
  EXPECT_EQ(with("\"pools\": {\"gpu1\": {\"kind\": \"gpu\"}}"), "m.json: machine: 1 gpus and 2 pools for them");
  EXPECT_EQ(with("\"pools\": {\"vram\": {\"kind\": \"host\"}}"),
            "m.json: machine: pool 'vram' of kind host: pools are gpu0, gpu1, …, host and disk");
  EXPECT_EQ(with("\"resources\": {\"disk0\": {\"origin\": \"measured\", \"transfer\": {\"pinned_bytes_per_s\": 0}}}"),
            "m.json: machine: 'disk0' moves 0 bytes a second pinned and 2900000000 pageable");
  EXPECT_EQ(with("\"resources\": {\"gpu0.sm\": {\"origin\": \"measured\", \"compute\": {\"flops_efficiency\": 1.5}}}"),
            "m.json: machine: 'gpu0.sm' has an efficiency of 1.5, not in (0, 1]");
  EXPECT_EQ(Complaint("{\"stowage_machine\": 1}", Machine()), "m.json: machine: there is no pool 'gpu0'");
}

}  // namespace
}  // namespace stowage
