// Feeds the fuzz target the goldens and deterministic mutations of them; libFuzzer feeds it anything.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace stowage {
namespace {

std::vector<std::string> Goldens() {
  std::vector<std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator("tests/goldens/schedules")) {
    if (entry.path().extension() != ".txt") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    texts.push_back(text.str());
  }
  return texts;
}

void Feed(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

TEST(ScheduleFuzz, SurvivesGoldensWithNumbersReplacedAndWordsAndLinesMoved) {
  static const char* const kNumbers[] = {
      "0", "1", "-1", "4294967296", "9223372036854775807", "-9223372036854775808", "72057594037927936", "0+1i", "1-1i"};
  std::mt19937 random(1);
  const auto below = [&](std::size_t n) { return random() % n; };
  for (const std::string& golden : Goldens()) {
    Feed(golden);
    for (int round = 0; round < 1500; ++round) {
      std::string text = golden;
      for (auto changes = 1 + below(4); changes-- > 0;) {
        const std::size_t at = below(text.size());
        const std::size_t digit = text.find_first_of("0123456789", at);
        const std::size_t space = text.find(' ', at), line = text.find('\n', at);
        if (below(3) == 0 && digit != std::string::npos) {
          const std::size_t end = text.find_first_not_of("0123456789", digit);
          text.replace(digit, end - digit, kNumbers[below(9)]);
        } else if (below(2) == 0 && space != std::string::npos) {
          const std::size_t end = text.find_first_of(" \n", space + 1);
          const std::string word = text.substr(space, end - space);
          const std::size_t to = text.find_first_of(" \n", below(text.size()));
          if (to != std::string::npos) text.insert(to, word);
        } else if (line != std::string::npos) {
          const std::size_t end = text.find('\n', line + 1);
          if (end != std::string::npos) text.erase(line, end - line);
        }
      }
      Feed(text);
    }
  }
}

TEST(ScheduleFuzz, SurvivesAWaitForItself) {
  Feed("schedule 1 a\nissuer main native\nbuffer b kv 8 pool=-\nphase p iterations=9\nbody\n  @0: wait @0[-1]\n");
  Feed("schedule 1 a\nissuer main native\nphase p iterations=9\nbody passes=1\n  @0: wait @0[-1]\n");
}

}  // namespace
}  // namespace stowage
