#include "tools/common/completion.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace stowage {
namespace {

// What `shell` says of the script's syntax; "" when it has nothing to complain of.
std::string Complaint(const std::string& shell, const std::string& script) {
  std::string name = testing::TempDir() + "stowage_completion_XXXXXX";
  const std::string folder = mkdtemp(name.data());
  std::ofstream(folder + "/script") << script;
  const std::string command = shell + " -n " + folder + "/script 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  pclose(pipe);
  std::filesystem::remove_all(folder);
  return out;
}

TEST(CompletionScript, IsWellFormedForEveryShellThatIsHere) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const bool here = std::system(("command -v " + shell + " >/dev/null").c_str()) == 0;
    for (const bool commands : {false, true}) {
      const Result<std::string> script = CompletionScript(shell, "inspect", commands);
      ASSERT_TRUE(script) << script.error().message;
      if (!here) continue;
      EXPECT_EQ(Complaint(shell, *script), "") << *script;
    }
  }
}

// bash itself completes with a tool that offers three words.
TEST(CompletionScript, OffersTheToolsWordsInBash) {
  std::string name = testing::TempDir() + "stowage_completion_XXXXXX";
  const std::string folder = mkdtemp(name.data());
  std::ofstream(folder + "/inspect")
      << "#!/bin/bash\n[ \"$1\" = dump ] && echo --phase || printf '%s\\n' dump diff --json\n";
  std::filesystem::permissions(folder + "/inspect", std::filesystem::perms::owner_all);
  std::ofstream(folder + "/try") << *CompletionScript("bash", "inspect", true)
                                 << "PATH=" + folder +
                                        ":$PATH\n"
                                        "COMP_WORDS=(inspect d) COMP_CWORD=1; _stowage_inspect inspect d inspect\n"
                                        "echo \"${COMPREPLY[@]}\"; COMPREPLY=()\n"
                                        "COMP_WORDS=(inspect dump --) COMP_CWORD=2; _stowage_inspect inspect -- dump\n"
                                        "echo \"${COMPREPLY[@]}\"\n";
  std::FILE* pipe = popen(("bash " + folder + "/try 2>&1").c_str(), "r");
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  pclose(pipe);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(out, "dump diff\n--phase\n");
}

}  // namespace
}  // namespace stowage
