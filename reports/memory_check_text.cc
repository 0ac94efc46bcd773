#include "reports/memory_check_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "planner/base/text.h"
#include "reports/json.h"
#include "reports/style.h"

namespace stowage {
namespace {

constexpr std::size_t kShownChanges = 20;  // of a pool, in texts for people; JSON has all

std::string Size(const std::optional<PeakRecord>& peak) { return peak ? FormatBytes(peak->bytes) : "-"; }

Bytes BytesOf(const std::optional<PeakRecord>& peak) { return peak ? peak->bytes : Bytes(); }

std::string Signed(Bytes change) {
  return (change > Bytes(0) ? "+" : "") + (change == Bytes(0) ? std::string("0") : FormatBytes(change));
}

std::string Verdict(const CaseCheck& c, const PoolCheck& p) {
  if (p.over_budget) return "over budget";
  if (!c.problem.empty()) return "no baseline";
  if (p.grew) return "grew";
  return BytesOf(p.after) < BytesOf(p.before) ? "ok, shrank" : "ok";
}

std::string Limit(const PoolCheck& p) { return FormatBytes(p.budget && *p.budget < p.allowed ? *p.budget : p.allowed); }

std::string Place(const std::optional<PeakRecord>& peak) {
  return peak ? fmt::format("{}, '{}'", peak->phase, peak->step) : "nowhere";
}

// "gpu0 grew from 15.00 GB to 15.10 GB (+100,000,000 B), 90 B more than allowed; the peak is in decode, 'x' (before: …)"
std::string Sentence(const PoolCheck& p) {
  std::string out;
  if (p.over_budget) {
    out = fmt::format("{} takes {}, {} more than its budget of {}, in {}", p.pool, FormatBytes(BytesOf(p.after)),
                      FormatBytes(BytesOf(p.after) - *p.budget), FormatBytes(*p.budget), Place(p.after));
    if (!p.grew) return out;
    out += "; it ";
  } else {
    out = p.pool + " ";
  }
  const std::string then = Place(p.before) == Place(p.after) ? "" : fmt::format(" (before: {})", Place(p.before));
  return out + fmt::format("grew from {} to {} (+{} B), {} B more than allowed; the peak is in {}{}", Size(p.before),
                           Size(p.after), FormatCount((BytesOf(p.after) - BytesOf(p.before)).value()),
                           FormatCount((BytesOf(p.after) - p.allowed).value()), Place(p.after), then);
}

std::string Moved(const BufferChange& c) {
  if (c.moved.empty()) return "";
  return c.after > c.before ? ", from " + c.moved : ", to " + c.moved;
}

std::vector<std::vector<std::string>> ChangeRows(const PoolCheck& p) {
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < std::min(p.changes.size(), kShownChanges); ++i) {
    const BufferChange& c = p.changes[i];
    rows.push_back({std::string(Name(c.kind)) + Moved(c), c.name, c.buffer_kind,
                    c.before == Bytes(0) ? "-" : FormatBytes(c.before),
                    c.after == Bytes(0) ? "-" : FormatBytes(c.after), Signed(c.after - c.before)});
  }
  return rows;
}

std::string Rest(const PoolCheck& p) {
  return p.changes.size() <= kShownChanges ? "" : fmt::format("{} more", p.changes.size() - kShownChanges);
}

std::string Details(const CaseCheck& c, const PoolCheck& p) {
  std::string out = fmt::format("{}: {}\n", c.name, Sentence(p));
  std::vector<std::vector<std::string>> rows = {{"", "tensor or buffer", "kind", "before", "after", "change"}};
  for (std::vector<std::string>& row : ChangeRows(p)) rows.push_back(std::move(row));
  if (rows.size() == 1) return out;
  for (std::vector<std::string>& row : rows) row[0] = "  " + row[0];
  out += AlignTable(rows);
  const std::string rest = Rest(p);
  return out + (rest.empty() ? "" : "  " + rest + "\n");
}

std::string Summary(const MemoryCheck& check) {
  const auto failed = std::count_if(check.cases.begin(), check.cases.end(), [](const CaseCheck& c) { return !c.ok(); });
  const std::string all = fmt::format("{} case{}", check.cases.size(), check.cases.size() == 1 ? "" : "s");
  return failed == 0 ? all + ", no peak passes its limit" : fmt::format("{} of {} failed", failed, all);
}

std::string Cell(std::string_view text) {  // of a Markdown table
  std::string out;
  for (const char c : EscapeMarkup(text)) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string MarkdownDetails(const CaseCheck& c, const PoolCheck& p) {
  std::string out = fmt::format("\n**{}**: {}\n", Cell(c.name), Cell(Sentence(p)));
  if (p.changes.empty()) return out;
  out +=
      "\n<details><summary>what changed at the peak</summary>\n\n| | tensor or buffer | kind | before | after | change "
      "|\n|---|---|---|--:|--:|--:|\n";
  for (const std::vector<std::string>& row : ChangeRows(p)) {
    out += "|";
    for (const std::string& cell : row) out += " " + Cell(cell) + " |";
    out += "\n";
  }
  const std::string rest = Rest(p);
  return out + (rest.empty() ? "" : "\n" + rest + "\n") + "\n</details>\n";
}

std::string Failure(std::string_view message, std::string_view text) {
  return fmt::format("   <failure message=\"{}\">{}</failure>\n", EscapeMarkup(message), EscapeMarkup(text));
}

std::string TestCase(const std::string& classname, std::string_view name, std::string_view failure) {
  const std::string open =
      fmt::format("  <testcase classname=\"{}\" name=\"{}\"", EscapeMarkup(classname), EscapeMarkup(name));
  return failure.empty() ? open + "/>\n" : fmt::format("{}>\n{}  </testcase>\n", open, failure);
}

using Json = nlohmann::ordered_json;

Json PlaceJson(const std::optional<PeakRecord>& peak) {
  return peak ? Json({{"phase", peak->phase}, {"step", peak->step}}) : Json(nullptr);
}
Json BytesJson(const std::optional<PeakRecord>& peak) { return peak ? Json(peak->bytes.value()) : Json(nullptr); }

Json PoolJson(const PoolCheck& p) {
  Json out = {{"pool", p.pool},
              {"ok", p.ok()},
              {"grew", p.grew},
              {"over_budget", p.over_budget},
              {"before_bytes", BytesJson(p.before)},
              {"after_bytes", BytesJson(p.after)},
              {"allowed_bytes", p.allowed.value()},
              {"budget_bytes", p.budget ? Json(p.budget->value()) : Json(nullptr)},
              {"before", PlaceJson(p.before)},
              {"after", PlaceJson(p.after)},
              {"changes", Json::array()}};
  for (const BufferChange& c : p.changes) {
    out["changes"].push_back({{"name", c.name},
                              {"kind", c.buffer_kind},
                              {"change", Name(c.kind)},
                              {"before_bytes", c.before.value()},
                              {"after_bytes", c.after.value()},
                              {"moved", c.moved.empty() ? Json(nullptr) : Json(c.moved)}});
  }
  return out;
}

}  // namespace

std::string CheckText(const MemoryCheck& check, bool colour) {
  const Style style(colour);
  std::vector<std::vector<std::string>> rows = {{"case", "pool", "before", "now", "change", "limit", ""}};
  std::string details;
  for (const CaseCheck& c : check.cases) {
    if (!c.problem.empty()) details += fmt::format("{}: {}\n", c.name, c.problem);
    for (const std::string& note : c.notes) details += fmt::format("{}: {}\n", c.name, note);
    for (const PoolCheck& p : c.pools) {
      rows.push_back({c.name, p.pool, Size(p.before), Size(p.after),
                      p.before ? Signed(BytesOf(p.after) - BytesOf(p.before)) : "-", p.before ? Limit(p) : "-",
                      Verdict(c, p)});
      if (!p.ok()) details += Details(c, p);
    }
    if (c.pools.empty()) rows.push_back({c.name, "-", "-", "-", "-", "-", "failed"});
  }
  std::string out = style.Heading(AlignTable(rows));
  if (!details.empty()) out += "\n" + details;
  for (const std::string& name : check.unused) out += fmt::format("the baseline has '{}', which no case is\n", name);
  const std::string summary = Summary(check);
  return out + "\n" + (check.ok() ? style.Good(summary) : style.Bad(summary)) + "\n";
}

std::string CheckMarkdown(const MemoryCheck& check) {
  std::string out = fmt::format(
      "### Memory: {}\n\n| case | pool | before | now | change | limit | |\n"
      "|---|---|--:|--:|--:|--:|---|\n",
      Summary(check));
  std::string details;
  for (const CaseCheck& c : check.cases) {
    if (!c.problem.empty()) details += fmt::format("\n**{}**: {}\n", Cell(c.name), Cell(c.problem));
    for (const std::string& note : c.notes) details += fmt::format("\n**{}**: {}\n", Cell(c.name), Cell(note));
    for (const PoolCheck& p : c.pools) {
      out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", Cell(c.name), Cell(p.pool), Size(p.before),
                         Size(p.after), p.before ? Signed(BytesOf(p.after) - BytesOf(p.before)) : "-",
                         p.before ? Limit(p) : "-",
                         p.ok() && c.problem.empty() ? Verdict(c, p) : "**" + Verdict(c, p) + "**");
      if (!p.ok()) details += MarkdownDetails(c, p);
    }
    if (c.pools.empty()) out += fmt::format("| {} | - | - | - | - | - | **failed** |\n", Cell(c.name));
  }
  return out + details;
}

std::string CheckJunit(const MemoryCheck& check) {
  std::string cases;
  int tests = 0, failures = 0;
  for (const CaseCheck& c : check.cases) {
    if (!c.problem.empty()) {
      ++tests;
      ++failures;
      cases += TestCase(c.name, "case", Failure(c.problem, c.what));
    }
    for (const PoolCheck& p : c.pools) {
      ++tests;
      failures += p.ok() ? 0 : 1;
      cases += TestCase(c.name, p.pool, p.ok() ? "" : Failure(Sentence(p), Details(c, p)));
    }
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n <testsuite name=\"memory\" tests=\"{}\" "
      "failures=\"{}\" errors=\"0\" skipped=\"0\">\n{} </testsuite>\n</testsuites>\n",
      tests, failures, cases);
}

std::string CheckJson(const MemoryCheck& check) {
  Json out = {{"ok", check.ok()}, {"failed", Json::array()}, {"cases", Json::array()}, {"unused", check.unused}};
  for (const CaseCheck& c : check.cases) {
    if (!c.ok()) out["failed"].push_back(c.name);
    Json pools = Json::array();
    for (const PoolCheck& p : c.pools) pools.push_back(PoolJson(p));
    out["cases"].push_back({{"name", c.name},
                            {"what", c.what},
                            {"ok", c.ok()},
                            {"problem", c.problem.empty() ? Json(nullptr) : Json(c.problem)},
                            {"notes", c.notes},
                            {"pools", std::move(pools)}});
  }
  return DumpJson(out);
}

}  // namespace stowage
