#include "tools/check_cases.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace stowage {
namespace {

const std::string kCase =
    R"({"name": "a", "model": "llama-3.2-1b", "gpu": "4GB", "cpu": "8GB", "strategy": "resident", "new": 4)";

std::string File(const std::string& more, const std::string& top = "") {
  return "{\"stowage_cases\": 1,\n" + top + " \"cases\": [\n" + kCase + more + "}\n]}";
}

std::string Complaint(const std::string& text) {
  const auto cases = ReadCases("dir/c.json", text);
  return cases ? "" : cases.error().message;
}

TEST(ReadCases, ReadsWhatTheCommandLineWouldSay) {
  const auto cases = ReadCases("dir/c.json", File(R"(, "dtype": "fp16", "batch": 2, "prompt": 16,
      "load": "by-shard", "load_dtype": "fp32", "page_cache": "warm",
      "budget": {"gpu0": "3GB", "host": 1000000}, "tolerance": "2%")"));
  ASSERT_TRUE(cases) << cases.error().message;
  const CheckCase& c = cases->at(0);
  EXPECT_EQ(c.place, "dir/c.json:3: case 'a'");
  EXPECT_EQ(c.what,
            "llama-3.2-1b, resident, gpu 4GB, cpu 8GB, disk 1TB, batch 2, prompt 16, new 4, fp16, "
            "load by-shard:5 in fp32, warm page cache");
  EXPECT_EQ(c.limits.tolerance.fraction, 0.02);
  EXPECT_EQ(c.limits.budgets[0].second, Bytes(3'000'000'000));
  EXPECT_EQ(c.limits.budgets[1].second, Bytes(1'000'000));
}

TEST(ReadCases, AToleranceOfTheFileHoldsForCasesWithoutOne) {
  EXPECT_EQ(ReadCases("c.json", File("", "\"tolerance\": \"1MiB\","))->at(0).limits.tolerance.bytes, Bytes(1 << 20));
  EXPECT_EQ(ReadCases("c.json", File(", \"tolerance\": 7", "\"tolerance\": \"1MiB\","))->at(0).limits.tolerance.bytes,
            Bytes(7));
  EXPECT_EQ(ReadCases("c.json", File(""))->at(0).limits.tolerance.bytes, Bytes(0));
}

TEST(ReadCases, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(Complaint("{"), "dir/c.json:1:2: expected a string");
  EXPECT_EQ(Complaint("{\"stowage_cases\": 1, \"cases\": []}"), "dir/c.json: no cases");
  EXPECT_EQ(Complaint("{\"stowage_cases\": 3}"),
            "dir/c.json:1:20: cases version 3 is not 1, the one this program reads");
  EXPECT_EQ(Complaint("{\"stowage_cases\": 1, \"cases\": [{\"name\": \"a\"}]}"),
            "dir/c.json:1:45: a case has no 'model'");
  const auto with = [](const char* more) {
    const std::string all = Complaint(File(more));
    EXPECT_EQ(all.substr(0, 13), "dir/c.json:3:") << all;
    return all.substr(all.find(": ") + 2);
  };
  EXPECT_EQ(with(", \"stratgy\": 1"), "a case has no member 'stratgy'; did you mean 'strategy'?");
  EXPECT_EQ(with(", \"batch\": 0"), "0 is not in [1, 65536]");
  EXPECT_EQ(with(", \"dtype\": \"bf17\"").substr(0, 6), "'bf17'");
  EXPECT_EQ(with(", \"alloc_conf\": \"max_split_size_mb:20\""),
            "max_split_size_mb: '20' is not a whole number of MiB above 20");
  EXPECT_EQ(with(", \"kv\": \"some\""), "'some' is not a cache; dynamic, static and none are");
  EXPECT_EQ(with(", \"tolerance\": \"-1%\""), "tolerance '-1%' is not 0% to 1000%");
  EXPECT_EQ(with(", \"tolerance\": \"nan%\""), "tolerance 'nan%' is not 0% to 1000%");
}

TEST(ReadCases, RefusesTwoCasesOfOneNameAndMachinesThatAreNotNamed) {
  const std::string two = "{\"stowage_cases\": 1, \"cases\": [" + kCase + "}, " + kCase + "}]}";
  EXPECT_NE(Complaint(two).find("a second case 'a'"), std::string::npos);
  std::string any = File("");
  any.replace(any.find("4GB"), 3, "auto");
  EXPECT_EQ(Complaint("{\"stowage_cases\": 1, \"cases\": [{\"name\": \"a\", \"model\": \"m\", \"strategy\": \"s\", "
                      "\"cpu\": \"1GB\"}]}"),
            "dir/c.json:1:90: a case has neither 'machine' nor 'gpu' and 'cpu'");
  EXPECT_NE(Complaint(any).find("gpu 'auto' is another machine on every computer; name it"), std::string::npos);
}

TEST(ReadCases, APathCountsFromTheFolderOfTheFile) {
  std::string name = testing::TempDir() + "stowage_check_XXXXXX";
  const std::string folder = mkdtemp(name.data());
  std::filesystem::create_directory(folder + "/llama-3.2-1b");
  EXPECT_EQ(ReadCases(folder + "/c.json", File(""))->at(0).task.model, folder + "/llama-3.2-1b");
  EXPECT_EQ(ReadCases("/no/such/c.json", File(""))->at(0).task.model, "llama-3.2-1b");
  std::filesystem::remove_all(folder);
}

TEST(RunCase, GivesThePeaksOfAFullRun) {
  const auto cases = ReadCases("c.json", File(""));
  ASSERT_TRUE(cases);
  const Result<CaseRecord> record = RunCase(cases->at(0));
  ASSERT_TRUE(record) << record.error().message;
  ASSERT_EQ(record->pools.size(), 2u);
  for (const PeakRecord& p : record->pools) {
    Bytes sum;
    for (const PeakBuffer& b : p.buffers) sum += b.bytes;
    EXPECT_EQ(sum, p.bytes) << p.pool;
  }
  EXPECT_TRUE(CompareCase(*record, &*record, {}).ok());
}

TEST(RunCase, TellsWhatDoesNotFitFromWhatIsWrong) {
  const auto error = [](const std::string& from, const std::string& to) {
    std::string text = File("");
    text.replace(text.find(from), from.size(), to);
    const Result<CaseRecord> record = RunCase(ReadCases("c.json", text)->at(0));
    EXPECT_FALSE(record);
    return record.error();
  };
  EXPECT_EQ(ExitCode(error("4GB", "2GB").code), 1);
  EXPECT_EQ(ExitCode(error("llama-3.2-1b", "llama-9").code), 2);
  EXPECT_EQ(error("llama-3.2-1b", "llama-9").message.substr(0, 19), "c.json:3: case 'a':");
  EXPECT_EQ(error("resident", "resitent").message.substr(0, 56),
            "c.json:3: case 'a': unknown strategy 'resitent'; there a");
}

}  // namespace
}  // namespace stowage
