#include "reports/memory_check.h"

#include <gtest/gtest.h>

#include <string>

#include "reports/memory_baseline.h"
#include "reports/memory_check_text.h"

namespace stowage {
namespace {

// A card with two layers, a cache and what the driver takes; a host with the rest of layer b.
CaseRecord Then() {
  PeakRecord gpu{.pool = "gpu0", .bytes = Bytes(1000), .step = "allocate ring", .phase = "load"};
  gpu.buffers = {{"CUDA context", "context", Bytes(100)},
                 {"kv", "kv", Bytes(200)},
                 {"a.weight", "weights", Bytes(400)},
                 {"b.weight[0:6]", "weights", Bytes(300)}};
  PeakRecord host{.pool = "host", .bytes = Bytes(100), .step = "allocate host_weights", .phase = "load"};
  host.buffers = {{"b.weight@host", "weights", Bytes(100)}};
  return {.name = "toy <on> a \"card\" | 1 kB", .what = "toy, ring, gpu 1kB", .pools = {gpu, host}};
}

// The cache doubled, all of b is on the card, a scratch buffer is new.
CaseRecord Now() {
  CaseRecord c = Then();
  PeakRecord& gpu = c.pools[0];
  gpu.bytes = Bytes(1350);
  gpu.step = "compute mm";
  gpu.phase = "decode";
  gpu.buffers = {{"CUDA context", "context", Bytes(100)},
                 {"kv", "kv", Bytes(400)},
                 {"a.weight", "weights", Bytes(400)},
                 {"b.weight", "weights", Bytes(400)},
                 {"scratch", "workspace", Bytes(50)}};
  c.pools.pop_back();
  return c;
}

MemoryCheck Check(const CaseRecord& now, const CaseRecord* before, const CaseLimits& limits) {
  return {.cases = {CompareCase(now, before, limits)}, .unused = {}};
}

TEST(CompareCase, EqualPeaksPassWithoutAnyTolerance) {
  const CaseRecord then = Then();
  const MemoryCheck check = Check(then, &then, {});
  EXPECT_TRUE(check.ok());
  EXPECT_EQ(CheckText(check, false),
            "case                      pool   before      now  change    limit\n"
            "toy <on> a \"card\" | 1 kB  gpu0  1.00 kB  1.00 kB       0  1.00 kB  ok\n"
            "toy <on> a \"card\" | 1 kB  host    100 B    100 B       0    100 B  ok\n"
            "\n"
            "1 case, no peak passes its limit\n");
}

TEST(CompareCase, NamesTheStepAndEveryTensorThatGrewAppearedOrMoved) {
  const CaseRecord then = Then();
  const MemoryCheck check = Check(Now(), &then, {.tolerance = {.fraction = 0.01}});
  EXPECT_FALSE(check.ok());
  EXPECT_EQ(
      CheckText(check, false),
      "case                      pool   before      now  change    limit\n"
      "toy <on> a \"card\" | 1 kB  gpu0  1.00 kB  1.35 kB  +350 B  1.01 kB  grew\n"
      "toy <on> a \"card\" | 1 kB  host    100 B        -  -100 B    101 B  ok, shrank\n"
      "\n"
      "toy <on> a \"card\" | 1 kB: gpu0 grew from 1.00 kB to 1.35 kB (+350 B), 340 B more than allowed; the peak is "
      "in decode, 'compute mm' (before: load, 'allocate ring')\n"
      "                   tensor or buffer  kind       before  after  change\n"
      "  grew             kv                kv          200 B  400 B  +200 B\n"
      "  grew, from host  b.weight          weights     300 B  400 B  +100 B\n"
      "  appeared         scratch           workspace       -   50 B   +50 B\n"
      "\n"
      "1 of 1 case failed\n");
}

TEST(CompareCase, GrowthWithinTheTolerancePasses) {
  const CaseRecord then = Then();
  EXPECT_TRUE(CompareCase(Now(), &then, {.tolerance = {.fraction = 0.35}}).ok());
  EXPECT_TRUE(CompareCase(Now(), &then, {.tolerance = {.bytes = Bytes(350)}}).ok());
  EXPECT_FALSE(CompareCase(Now(), &then, {.tolerance = {.bytes = Bytes(349)}}).ok());
}

TEST(CompareCase, ABudgetIsALimitWhateverTheBaselineSays) {
  const CaseRecord now = Now();
  const CaseCheck check = CompareCase(now, &now, {.budgets = {{"gpu0", Bytes(1349)}}});
  EXPECT_FALSE(check.ok());
  EXPECT_TRUE(check.pools[0].over_budget);
  EXPECT_FALSE(check.pools[0].grew);
  EXPECT_TRUE(CompareCase(now, &now, {.budgets = {{"gpu0", Bytes(1350)}}}).ok());
}

TEST(CompareCase, ACaseThatTheBaselineDoesNotHaveFailsWithTheHint) {
  const CaseCheck check = CompareCase(Now(), nullptr, {});
  EXPECT_FALSE(check.ok());
  EXPECT_EQ(check.problem, "the baseline does not have this case; --update adds it");
  EXPECT_FALSE(check.pools[0].grew);
}

TEST(CompareCase, SaysWhenTheBaselineIsOfAnotherCase) {
  CaseRecord then = Then();
  then.what = "toy, resident, gpu 2kB";
  EXPECT_EQ(CompareCase(Then(), &then, {}).notes,
            (std::vector<std::string>{"the case is not what it was: the baseline is of toy, resident, gpu 2kB"}));
}

TEST(CheckJunit, EscapesNamesAndCountsFailures) {
  const CaseRecord then = Then();
  const std::string xml = CheckJunit(Check(Now(), &then, {}));
  EXPECT_EQ(xml.substr(0, xml.find("<failure")),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuites>\n"
            " <testsuite name=\"memory\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n"
            "  <testcase classname=\"toy &lt;on&gt; a &quot;card&quot; | 1 kB\" name=\"gpu0\">\n   ");
  EXPECT_EQ(xml.substr(xml.find("</failure>")),
            "</failure>\n"
            "  </testcase>\n"
            "  <testcase classname=\"toy &lt;on&gt; a &quot;card&quot; | 1 kB\" name=\"host\"/>\n"
            " </testsuite>\n"
            "</testsuites>\n");
}

TEST(CheckMarkdown, IsATableAndWhatFailedFolded) {
  const CaseRecord then = Then();
  EXPECT_EQ(
      CheckMarkdown(Check(Now(), &then, {})),
      "### Memory: 1 of 1 case failed\n"
      "\n"
      "| case | pool | before | now | change | limit | |\n"
      "|---|---|--:|--:|--:|--:|---|\n"
      "| toy &lt;on&gt; a &quot;card&quot; \\| 1 kB | gpu0 | 1.00 kB | 1.35 kB | +350 B | 1.00 kB | **grew** |\n"
      "| toy &lt;on&gt; a &quot;card&quot; \\| 1 kB | host | 100 B | - | -100 B | 100 B | ok, shrank |\n"
      "\n"
      "**toy &lt;on&gt; a &quot;card&quot; \\| 1 kB**: gpu0 grew from 1.00 kB to 1.35 kB (+350 B), 350 B more than "
      "allowed; the peak is in decode, 'compute mm' (before: load, 'allocate ring')\n"
      "\n"
      "<details><summary>what changed at the peak</summary>\n"
      "\n"
      "| | tensor or buffer | kind | before | after | change |\n"
      "|---|---|---|--:|--:|--:|\n"
      "| grew | kv | kv | 200 B | 400 B | +200 B |\n"
      "| grew, from host | b.weight | weights | 300 B | 400 B | +100 B |\n"
      "| appeared | scratch | workspace | - | 50 B | +50 B |\n"
      "\n"
      "</details>\n");
}

TEST(CheckJson, HoldsEveryChange) {
  const CaseRecord then = Then();
  const std::string json = CheckJson(Check(Now(), &then, {}));
  EXPECT_NE(json.find("\"moved\": \"host\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"budget_bytes\": null"), std::string::npos) << json;
}

TEST(Baseline, ReadsBackWhatItWroteAndSortsCases) {
  CaseRecord other = Now();
  other.name = "another";
  const std::string text = WriteBaseline({Then(), other});
  const auto back = ReadBaseline("b.json", text);
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->size(), 2u);
  EXPECT_EQ((*back)[0].name, "another");
  EXPECT_EQ(WriteBaseline(*back), text);
  EXPECT_TRUE(CompareCase(Then(), &(*back)[1], {}).ok());
  EXPECT_EQ(WriteBaseline({}), "{\n \"stowage_baseline\": 1,\n \"cases\": {}\n}\n");
}

TEST(Baseline, HasOneBufferALine) {
  CaseRecord c = Then();
  c.pools.erase(c.pools.begin());
  EXPECT_EQ(WriteBaseline({c}),
            "{\n"
            " \"stowage_baseline\": 1,\n"
            " \"cases\": {\n"
            "  \"toy <on> a \\\"card\\\" | 1 kB\": {\n"
            "   \"what\": \"toy, ring, gpu 1kB\",\n"
            "   \"pools\": {\n"
            "    \"host\": {\n"
            "     \"peak_bytes\": 100, \"phase\": \"load\", \"step\": \"allocate host_weights\",\n"
            "     \"buffers\": [\n"
            "      {\"kind\": \"weights\", \"name\": \"b.weight@host\", \"bytes\": 100}\n"
            "     ]\n"
            "    }\n"
            "   }\n"
            "  }\n"
            " }\n"
            "}\n");
}

TEST(Baseline, NamesThePlaceOfWhatIsWrong) {
  const auto complaint = [](const char* text) { return ReadBaseline("b.json", text).error().message; };
  EXPECT_EQ(complaint("{"), "b.json:1:2: expected a string");
  EXPECT_EQ(complaint("{\"stowage_baseline\": 2}"),
            "b.json:1:23: baseline version 2 is not 1, the one this program reads");
  EXPECT_EQ(complaint("{\"stowage_baseline\": 1}"), "b.json:1:24: a baseline has no 'cases'");
  EXPECT_EQ(complaint("{\"stowage_baseline\": 1, \"cases\": {\"a\": {\"what\": \"\", \"pools\": {}}, \"a\": 1}}"),
            "b.json:1:71: a second 'a'");
  std::string wrong = WriteBaseline({Then()});
  wrong.replace(wrong.find("200"), 3, "201");
  EXPECT_EQ(complaint(wrong.c_str()).substr(complaint(wrong.c_str()).find(' ')),
            " buffers of 1001 B at a peak of 1000 B");
}

}  // namespace
}  // namespace stowage
