#include "tools/accuracy/markdown.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

#include "planner/base/text.h"
#include "reports/published/published.h"
#include "tools/accuracy/predict.h"

namespace stowage {
namespace {

using published::Figure;
using published::Quantity;

// Beyond this a figure is called a miss.
constexpr double kTolerance = 0.06;

std::string What(const Figure& figure) {
  switch (figure.what) {
    case Quantity::kGpuBytes:
      return fmt::format("weights on GPU {}", figure.gpu);
    case Quantity::kHostBytes:
      return "weights on the host";
    case Quantity::kSecondsPerToken:
      return "time per token";
    case Quantity::kTokensPerSecond:
      return "throughput";
    case Quantity::kDecodeRate:
      return "decoding";
    case Quantity::kProcessGpuBytes:
      return "GPU memory in use";
    case Quantity::kKvTokens:
      return "positions in the cache";
    case Quantity::kLoadSeconds:
      return "time to load";
  }
  return "";
}

// In the unit in which it was printed.
std::string InItsUnit(const Figure& figure, double value) {
  const std::string_view printed = figure.printed;
  if (printed.find(" ms") != printed.npos) {
    const std::size_t times = printed.find(" x ");
    if (times == printed.npos) return fmt::format("{:.2f} ms", value * 1e3);
    const double batch = std::stod(std::string(printed.substr(times + 3)));
    return fmt::format("{:.2f} ms x {:.0f}", value * 1e3 / batch, batch);
  }
  if (printed.ends_with(" GB")) return fmt::format("{:.1f} GB", value / (1000.0 * 1048576));
  if (printed.ends_with(" MB")) return fmt::format("{} MB", FormatCount(std::llround(value / 1048576)));
  if (printed.ends_with(" tok/s"))
    return value < 0.1 ? fmt::format("{:.4f} tok/s", value) : fmt::format("{:.2f} tok/s", value);
  return value < 1 ? fmt::format("{:.3f} s", value) : fmt::format("{:.2f} s", value);
}

struct Verdict {
  std::string error, word;
};

Verdict Judge(const Figure& figure, double predicted) {
  const double off = predicted - figure.value;
  const bool within_digits = -figure.below <= off && off <= figure.above;
  Verdict out;
  if (figure.value != 0) out.error = fmt::format("{:+.1f} %", 100 * off / figure.value);
  if (figure.value == 0) out.error = within_digits ? "0" : "published 0";
  const bool near = within_digits || (figure.value != 0 && std::abs(off / figure.value) <= kTolerance);
  out.word = !figure.calibrates.empty() ? fmt::format("given: {}", figure.calibrates)
             : within_digits            ? "within the printed digits"
             : near                     ? fmt::format("within {:.0f} %", 100 * kTolerance)
                                        : "**miss**";
  return out;
}

struct Tally {
  int given = 0, near = 0, missed = 0, absent = 0;
};

void AddRow(const PredictedRow& predicted, std::string* out, Tally* tally) {
  const published::Row& row = *predicted.row;
  for (std::size_t i = 0; i < row.figures.size(); ++i) {
    const Figure& figure = row.figures[i];
    const std::optional<double> value = i < predicted.values.size() ? predicted.values[i] : std::nullopt;
    std::string ours = "-", error = "-", word = "not predicted";
    if (value) {
      const Verdict verdict = Judge(figure, *value);
      ours = InItsUnit(figure, *value);
      error = verdict.error;
      word = verdict.word;
    }
    ++(!value                      ? tally->absent
       : word.starts_with("given") ? tally->given
       : word == "**miss**"        ? tally->missed
                                   : tally->near);
    *out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", i == 0 ? row.label : "", What(figure), figure.printed,
                        ours, error, word);
  }
}

void AddRemarks(const std::vector<PredictedRow>& rows, std::string* out) {
  std::string remarks;
  for (const PredictedRow& predicted : rows) {
    if (!predicted.why_not.empty()) {
      remarks += fmt::format("- {}: {}.\n", predicted.row->label, predicted.why_not);
    } else if (!predicted.row->remark.empty()) {
      remarks += fmt::format("- {}: {}.\n", predicted.row->label, predicted.row->remark);
    }
  }
  if (!remarks.empty()) *out += "\n" + remarks;
}

std::string TableText(const published::Table& table, Tally* tally) {
  std::string out = fmt::format("\n## {}\n\n{}. {}.\n\n", table.title, table.source, table.method);
  out += "| constant | value | origin | from |\n|---|---|---|---|\n";
  for (const published::Constant& c : table.machine->constants) {
    out += fmt::format("| {} | {} | {} | {} |\n", c.name, c.value, c.origin, c.source);
  }
  out += "\n| run | figure | published | predicted | error | |\n|---|---|---|---|---|---|\n";
  const std::vector<PredictedRow> rows = Predict(table);
  for (const PredictedRow& row : rows) AddRow(row, &out, tally);
  AddRemarks(rows, &out);
  return out;
}

Result<std::string> VllmText(const published::VllmRun& run, Tally* tally) {
  STOWAGE_TRY(const PredictedVllm p, Predict(run));
  const double error = static_cast<double>(p.tokens) / static_cast<double>(run.kv_tokens) - 1;
  const bool near = std::abs(error) <= kTolerance;
  ++(near ? tally->near : tally->missed);
  std::string out = fmt::format("\n## vLLM {}: positions in the cache, {} on {}\n\n{}.\n\n", run.version, run.model,
                                run.card, run.source);
  out += "| | bytes | origin |\n|---|---|---|\n";
  const auto line = [&](std::string_view what, Bytes bytes, std::string_view origin) {
    out += fmt::format("| {} | {} | {} |\n", what, FormatCount(bytes.value()), origin);
  };
  line(fmt::format("{} of the card", run.utilization), p.budget, "published: its setting, times the bytes it found");
  line("weights", p.weights, "computed");
  line("context and cuBLAS workspace", p.context, "assumed: the largest context seen; published: torch's workspace");
  line("activations of 2,048 rows", p.activations, "computed: the widest moment of a fused pass");
  line("sampling 256 rows, after them", p.sampling, "computed: logits in bf16 and fp32, probabilities, random numbers");
  line("one position", p.per_token, "computed");
  out += fmt::format(
      "\n| figure | published | predicted | error | |\n|---|---|---|---|---|\n| positions | {} | {} | {:+.1f} % | {} "
      "|\n",
      FormatCount(run.kv_tokens), FormatCount(p.tokens), 100 * error, near ? "within 6 %" : "**miss**");
  const Bytes missing = (p.tokens - run.kv_tokens) * p.per_token;
  out += fmt::format(
      "\n- It set {} aside beyond what is named here; its report does not say for what. Its sampler's kernel for top-k "
      "and\n"
      "  top-p has a buffer of its own, and its compiled kernels and libraries have state.\n",
      FormatBytes(missing));
  return out;
}

}  // namespace

Result<std::string> AccuracyPage() {
  Tally tally;
  std::string tables;
  for (const published::Table* table : published::Tables()) tables += TableText(*table, &tally);
  for (const published::VllmRun& run : published::VllmRuns()) {
    STOWAGE_TRY(const std::string text, VllmText(run, &tally));
    tables += text;
  }
  std::string out = fmt::format(
      "# Accuracy: predictions beside published figures\n\n"
      "Generated: `bazel run //tools/accuracy -- --out docs/accuracy.md`; a test compares. Facts and sources:\n"
      "`reports/published`. Each run is the strategy that did what was measured, lowered and simulated.\n\n"
      "One machine has one set of constants for all its rows. *given* marks a figure from which a constant was taken: "
      "it\n"
      "proves nothing. A figure is a **miss** beyond {:.0f} % and beyond its printed digits.\n\n"
      "**{} figures predicted within {:.0f} % or their digits, {} missed, {} given, {} not predicted.**\n",
      100 * kTolerance, tally.near, 100 * kTolerance, tally.missed, tally.given, tally.absent);
  return out + tables;
}

}  // namespace stowage
