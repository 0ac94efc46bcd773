// What every reader of this folder must refuse alike, whatever it reads: things that are no files, files that end early,
// text that is not UTF-8, nesting without end.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"
#include "planner/formats/gguf.h"
#include "planner/formats/hf_config.h"
#include "planner/formats/module_tree_file.h"
#include "planner/formats/safetensors.h"

namespace stowage {
namespace {

template <class T>
std::string ErrorOf(const Result<T>& result) {
  return result ? "accepted" : result.error().message;
}

std::vector<std::pair<const char*, std::function<std::string(const std::string&)>>> Readers() {
  return {{"safetensors", [](const std::string& path) { return ErrorOf(ReadSafetensorsHeader(path)); }},
          {"gguf", [](const std::string& path) { return ErrorOf(ReadGgufHeader(path)); }},
          {"index", [](const std::string& path) { return ErrorOf(ReadCheckpointIndex(path)); }},
          {"config", [](const std::string& path) { return ErrorOf(HfConfig::Read(path)); }},
          {"module tree", [](const std::string& path) { return ErrorOf(ReadModuleTree(path)); }}};
}

// The JSON readers over a text.
std::vector<std::pair<const char*, std::function<std::string(const std::string&)>>> JsonReaders() {
  return {{"safetensors",
           [](const std::string& text) {
             return ErrorOf(ParseSafetensorsHeader(text, static_cast<std::int64_t>(8 + text.size()), "f"));
           }},
          {"index", [](const std::string& text) { return ErrorOf(ParseCheckpointIndex(text, "f")); }},
          {"config", [](const std::string& text) { return ErrorOf(HfConfig::Parse(text, "f")); }},
          {"module tree", [](const std::string& text) { return ErrorOf(ParseModuleTree(text, "f", "m")); }}};
}

TEST(HostileFiles, AFolderAPipeAndNothingAreNoFiles) {
  const std::string folder = testing::TempDir();
  const std::string pipe = JoinPath(folder, "hostile_pipe");
  ::unlink(pipe.c_str());
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string nothing = JoinPath(folder, "hostile_nothing");
  for (const auto& [name, read] : Readers()) {
    EXPECT_EQ(read(folder), folder + ": is not a regular file") << name;
    EXPECT_EQ(read(pipe), pipe + ": is not a regular file") << name;
    EXPECT_EQ(read(nothing), nothing + ": cannot open: No such file or directory") << name;
  }
}

TEST(HostileFiles, TextThatIsNotUtf8IsRefused) {
  for (const auto& [name, read] : JsonReaders()) {
    const std::string got = read("{\"a\xff\": 1}");
    EXPECT_TRUE(got.find("UTF-8") != std::string::npos || got == "f: is not valid JSON") << name << ": " << got;
  }
}

TEST(HostileFiles, NestingWithoutEndTakesNoStack) {
  constexpr std::size_t kDepth = 1 << 20;
  std::string objects = "{";
  for (std::size_t i = 0; i < kDepth; ++i) objects += "\"a\":{";
  for (const std::string& open : {std::string("{\"a\":") + std::string(kDepth, '['), objects}) {
    const std::string close = open.back() == '[' ? std::string(kDepth, ']') + "}" : std::string(kDepth + 1, '}');
    for (const auto& [name, read] : JsonReaders()) {
      EXPECT_NE(read(open), "accepted") << name;
      // Closed it is valid JSON; only the config's reader, which keeps unknown keys, may take it.
      EXPECT_EQ(read(open + close) == "accepted", std::string(name) == "config") << name;
    }
  }
}

TEST(HostileFiles, EveryTruncationOfAnIndexIsRefused) {
  const std::string index = R"({"metadata": {"total_size": 16}, "weight_map": {"a": "f1", "b": "f2"}})";
  ASSERT_EQ(ErrorOf(ParseCheckpointIndex(index, "f")), "accepted");
  for (std::size_t n = 0; n < index.size(); ++n) {
    EXPECT_NE(ErrorOf(ParseCheckpointIndex(index.substr(0, n), "f")), "accepted") << n;
  }
}

}  // namespace
}  // namespace stowage
