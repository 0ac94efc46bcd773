// check: whether the peaks of a file of cases are still what a baseline says. For CI.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/formats/file.h"
#include "reports/memory_baseline.h"
#include "reports/memory_check.h"
#include "reports/memory_check_text.h"
#include "tools/check_cases.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/host.h"
#include "tools/common/options.h"
#include "tools/common/write_file.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostCasesBytes = 64 << 20;
constexpr std::int64_t kMostBaselineBytes = std::int64_t{1} << 30;

struct CheckOptionsOfUser {
  std::string cases, baseline;
  std::optional<std::string> junit, markdown;
  bool update = false;
  bool json = false;
};

void AddOptions(CommandLine& line, CheckOptionsOfUser* o) {
  line.Option("--cases", &o->cases,
              "the cases: models, machines, requests, strategies (tools/check_cases.h, docs/ci.md)");
  line.Require("--cases");
  line.Option("--baseline", &o->baseline, "the peaks they had, as --update writes them");
  line.Require("--baseline");
  line.Flag("--update", &o->update, "write the baseline anew instead of comparing with it");
  line.Option("--junit", &o->junit, "write JUnit XML to this file");
  line.Option("--markdown", &o->markdown, "write a summary for a pull request to this file");
  AddJsonOption(line, &o->json);
  line.Example("check --cases stowage.json --baseline memory-baseline.json",
               "exit code 1 and the reason when a peak grew");
  line.Example("check --cases stowage.json --baseline memory-baseline.json --update", "after a change that is meant");
}

// A baseline that is not there yet is empty.
Result<std::vector<CaseRecord>> BaselineOf(const std::string& path) {
  if (!IsFile(path) && !IsFolder(path)) return std::vector<CaseRecord>();
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kMostBaselineBytes));
  return ReadBaseline(path, text);
}

const CaseRecord* Find(const std::vector<CaseRecord>& records, const std::string& name) {
  const auto it = std::find_if(records.begin(), records.end(), [&](const CaseRecord& r) { return r.name == name; });
  return it == records.end() ? nullptr : &*it;
}

struct Outcome {
  MemoryCheck check;
  std::vector<CaseRecord> now;  // of the cases that fit
};

// With `update`, each case is its own baseline: only budgets and what does not fit can fail.
Result<Outcome> RunAll(const std::vector<CheckCase>& cases, const std::vector<CaseRecord>& baseline, bool update) {
  Outcome out;
  for (const CheckCase& c : cases) {
    Result<CaseRecord> now = RunCase(c);
    if (now) {
      const CaseRecord* before = update ? &*now : Find(baseline, c.name);
      out.check.cases.push_back(CompareCase(*now, before, c.limits));
      out.now.push_back(*std::move(now));
    } else if (ExitCode(now.error().code) == 1) {
      out.check.cases.push_back({.name = c.name, .what = c.what, .problem = now.error().message});
    } else {
      return std::move(now).error();
    }
  }
  for (const CaseRecord& r : baseline) {
    const bool used = std::any_of(cases.begin(), cases.end(), [&](const CheckCase& c) { return c.name == r.name; });
    if (!used && !update) out.check.unused.push_back(r.name);
  }
  return out;
}

Result<int> CheckTool(int argc, char** argv) {
  CommandLine line("check", "says whether peak memory is still what it was, and which tensors changed when it is not");
  CheckOptionsOfUser o;
  AddOptions(line, &o);
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;
  STOWAGE_TRY(const std::string text, ReadTextFile(o.cases, kMostCasesBytes));
  STOWAGE_TRY(const std::vector<CheckCase> cases, ReadCases(o.cases, text));
  std::vector<CaseRecord> baseline;
  if (!o.update) {  // one that cannot be read is written anew
    STOWAGE_TRY(baseline, BaselineOf(o.baseline));
  }
  STOWAGE_TRY(const Outcome outcome, RunAll(cases, baseline, o.update));
  if (o.update) STOWAGE_RETURN_IF_ERROR(WriteFile(o.baseline, WriteBaseline(outcome.now)));
  if (o.junit) STOWAGE_RETURN_IF_ERROR(WriteFile(*o.junit, CheckJunit(outcome.check)));
  if (o.markdown) STOWAGE_RETURN_IF_ERROR(WriteFile(*o.markdown, CheckMarkdown(outcome.check)));
  STOWAGE_RETURN_IF_ERROR(Print(o.json ? CheckJson(outcome.check) : CheckText(outcome.check, StdoutShowsColours())));
  if (o.update && !o.json) {
    STOWAGE_RETURN_IF_ERROR(Print(fmt::format("wrote {} cases to {}\n", outcome.now.size(), o.baseline)));
  }
  return outcome.check.ok() ? 0 : 1;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("check", [&] { return stowage::CheckTool(argc, argv); });
}
