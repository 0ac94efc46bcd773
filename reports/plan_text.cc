#include "reports/plan_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"
#include "planner/machine/spread.h"
#include "reports/heading.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Row = std::vector<std::string>;

constexpr std::size_t kWidth = 100;

// Reservations of the same name and size on several cards are one line.
std::string ReservationText(const Machine& machine) {
  std::string out;
  for (std::size_t i = 0; i < machine.reservations.size(); ++i) {
    const Reservation& r = machine.reservations[i];
    const auto same = [&](const Reservation& other) {
      return other.name == r.name && other.bytes == r.bytes && other.source == r.source;
    };
    const auto here = machine.reservations.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(machine.reservations.begin(), here, same)) continue;
    std::vector<std::string> pools;
    for (const Reservation& other : machine.reservations) {
      if (same(other)) pools.push_back(other.pool);
    }
    out += Wrap("- ",
                fmt::format("{} set aside on {} for the {} ({}: {}).", FormatBytes(r.bytes), Join(pools, ", "), r.name,
                            Name(r.origin), r.source),
                kWidth);
  }
  return out;
}

// Pools any strategy uses, in the machine's order.
std::vector<std::string> UsedPools(const PlanReport& report) {
  std::vector<std::string> used;
  for (const Pool& pool : report.machine.pools) {
    const bool shown = std::any_of(report.strategies.begin(), report.strategies.end(), [&](const StrategyLine& s) {
      return std::any_of(s.peak.begin(), s.peak.end(),
                         [&](const PoolBytes& p) { return p.pool == pool.name && p.bytes.value() > 0; });
    });
    if (shown) used.push_back(pool.name);
  }
  return used;
}

std::string PeakIn(const StrategyLine& line, const std::string& pool) {
  const auto it = std::find_if(line.peak.begin(), line.peak.end(), [&](const PoolBytes& p) { return p.pool == pool; });
  return it == line.peak.end() ? "-" : FormatBytes(it->bytes);
}

std::string TokensPerSecond(const StrategyLine& line, std::int64_t batch) {
  if (!line.per_token || line.per_token->value() <= 0) return "-";
  return fmt::format("{:.3g}", static_cast<double>(batch) / line.per_token->value());
}

// "14.20 GB"; of several GPUs "gpu0 14.20 GB", "9.41 GB each" where they are alike, else "61.3 % of each".
std::string LeastText(const Machine& machine, const StrategyLine& line) {
  const bool several = machine.gpus.size() > 1;
  if (line.least_gpus.empty()) {
    return line.least_gpu ? (several ? "gpu0 " : "") + FormatBytes(*line.least_gpu) : "-";
  }
  const auto other = [&](Bytes bytes) { return bytes != line.least_gpus[0]; };
  if (std::none_of(line.least_gpus.begin(), line.least_gpus.end(), other)) {
    return FormatBytes(line.least_gpus[0]) + " each";
  }
  const Bytes now = machine.pools[static_cast<std::size_t>(machine.FindPool("gpu0"))].budget;
  return fmt::format("{:.1f} % of each",
                     100 * static_cast<double>(line.least_gpus[0].value()) / static_cast<double>(now.value()));
}

Row HeadingOf(const PlanReport& report, const std::vector<std::string>& pools) {
  Row heading = {"strategy", "runtime", "fits"};
  heading.insert(heading.end(), pools.begin(), pools.end());
  if (report.basis == PlanBasis::kSimulated) {
    heading.emplace_back(report.machine.gpus.size() > 1 ? "needs of GPUs" : "needs gpu0");
  }
  const bool estimates = report.basis == PlanBasis::kClosedForms;
  if (report.basis != PlanBasis::kSizesOnly) {
    heading.emplace_back(estimates ? "first token ~" : "first token");
    heading.emplace_back(estimates ? "per token ~" : "per token");
    heading.emplace_back(estimates ? "tokens/s ~" : "tokens/s");
  }
  heading.emplace_back(report.basis == PlanBasis::kSizesOnly ? "why not" : "limited by");
  return heading;
}

Row RowOf(const PlanReport& report, const StrategyLine& line, const std::vector<std::string>& pools) {
  Row row = {line.name, line.runtime, line.fits ? "yes" : "no"};
  for (const std::string& pool : pools) row.push_back(PeakIn(line, pool));
  if (report.basis == PlanBasis::kSimulated) row.push_back(LeastText(report.machine, line));
  if (report.basis != PlanBasis::kSizesOnly) {
    row.push_back(line.first_token ? FormatSeconds(*line.first_token) : "-");
    row.push_back(line.per_token ? FormatSeconds(*line.per_token) : "-");
    row.push_back(TokensPerSecond(line, report.request.batch));
  }
  row.push_back(line.fits ? line.limit : line.why_not);
  return row;
}

std::string StrategyTable(const PlanReport& report, const Style& style) {
  const std::vector<std::string> pools = UsedPools(report);
  std::vector<Row> rows = {HeadingOf(report, pools)};
  for (const StrategyLine& line : report.strategies) rows.push_back(RowOf(report, line, pools));
  const std::string table = AlignTable(rows);
  std::string out;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {  // whole lines are painted, so that the columns stay aligned
    const std::size_t end = table.find('\n', begin);
    const std::string line = table.substr(begin, end - begin);
    begin = end + 1;
    const bool chosen = i > 0 && report.strategies[i - 1].name == report.chosen;
    const bool fits = i > 0 && report.strategies[i - 1].fits;
    out += (i == 0 ? style.Strong(line) : chosen ? style.Good(line) : fits ? line : style.Faint(line)) + "\n";
  }
  return out;
}

std::string ContentsTable(const std::vector<PoolContents>& contents) {
  std::vector<Row> rows;
  for (const PoolContents& pool : contents) {
    std::string name = pool.pool;
    for (const PoolContents::Part& part : pool.parts) {
      rows.push_back({"  " + name, FormatBytes(part.bytes), part.what});
      name.clear();
    }
    if (pool.budget > Bytes(0)) rows.push_back({"  " + name, FormatBytes(pool.budget), "budget"});
  }
  // AlignTable takes the first row for a heading, which decides no alignment; an empty one keeps sizes right-aligned.
  rows.insert(rows.begin(), Row{});
  return AlignTable(rows).substr(1);
}

std::string PackingText(const PackingLine& line) {
  const double bound = static_cast<double>(line.live_bound.value());
  const double gap = bound > 0 ? static_cast<double>((line.size - line.live_bound).value()) / bound : 0;
  return fmt::format("  packing of {}: {}, live-bytes bound {}, gap {}\n", line.arena, FormatBytes(line.size),
                     FormatBytes(line.live_bound), FormatPercent(gap));
}

// "365.8 ms (210.0 ms to 730.0 ms)"
std::string TimeText(Seconds expected, const std::optional<Seconds>& low, const std::optional<Seconds>& high) {
  if (!low || !high) return FormatSeconds(expected);
  return fmt::format("{} ({} to {})", FormatSeconds(expected), FormatSeconds(*low), FormatSeconds(*high));
}

// The chosen one's times with their intervals; nothing where they are exact.
std::string IntervalText(const PlanReport& report) {
  for (const StrategyLine& line : report.strategies) {
    if (line.name != report.chosen || !line.first_token || !line.first_token_low) continue;
    std::string out = "  first token " + TimeText(*line.first_token, line.first_token_low, line.first_token_high);
    if (line.per_token) out += ", per token " + TimeText(*line.per_token, line.per_token_low, line.per_token_high);
    return out + "\n";
  }
  return "";
}

std::string Verdict(const PlanReport& report, const Style& style) {
  std::string out;
  if (!report.chosen.empty()) {
    out = style.Strong("chosen: " + report.chosen) + (report.contents_at_peak ? ", which holds at its peak" : "") +
          "\n" + IntervalText(report) + ContentsTable(report.contents);
    for (const PackingLine& line : report.packing) out += PackingText(line);
    return out;
  }
  const bool fits =
      std::any_of(report.strategies.begin(), report.strategies.end(), [](const StrategyLine& s) { return s.fits; });
  if (fits) return "";
  out = style.Bad("nothing fits");
  if (report.smallest_budget) {
    const SmallestBudget& least = *report.smallest_budget;
    out += fmt::format("; the smallest budget that would do is {} ({} bytes) of {}, with {}", FormatBytes(least.bytes),
                       FormatCount(least.bytes.value()), least.pool, least.strategy);
  }
  return out + "\n";
}

std::string ResidentText(const FormatLine& line) {
  if (line.fits) return "all";
  if (!line.resident) return "no";
  const double share = static_cast<double>(line.resident->value()) / static_cast<double>(line.weights.value());
  return fmt::format("{} ({:.0f} %)", FormatBytes(*line.resident), share * 100);
}

// One format alone is what the strategies are about already; where all fit, none need be looked at.
std::string FormatTable(const PlanReport& report, const Style& style) {
  const std::vector<FormatLine>& formats = report.formats;
  if (formats.size() < 2) return "";
  const bool several = report.machine.gpus.size() > 1;
  const char* where = several ? "the GPUs, whose budgets are added up" : "gpu0";
  if (std::all_of(formats.begin(), formats.end(), [](const FormatLine& f) { return f.fits; })) {
    return Wrap("",
                fmt::format("All {} number formats fit with everything on {}, from {} (needs {}) to {} ({}).",
                            formats.size(), where, formats.front().name, FormatBytes(formats.front().needed),
                            formats.back().name, FormatBytes(formats.back().needed)),
                kWidth);
  }
  std::vector<Row> rows = {{"--dtype", "weights", several ? "needs" : "needs gpu0", "resident", "what it is"}};
  for (const FormatLine& f : formats) {
    rows.push_back({f.name, FormatBytes(f.weights), FormatBytes(f.needed), ResidentText(f), f.about});
  }
  return style.Strong(fmt::format("which formats fit with everything on {}", where)) + "\n" +
         style.Heading(AlignTable(rows));
}

std::string PasteText(const PasteBlock& block, const Style& style) {
  std::string out = "\n" + style.Strong("to paste: " + block.title) + "\n";
  for (const std::string& line : block.lines) out += "  " + line + "\n";
  for (const std::string& note : block.notes) out += Wrap("- ", note, kWidth);
  return out;
}

bool Timed(const PlanReport& report) {
  return std::any_of(report.strategies.begin(), report.strategies.end(),
                     [](const StrategyLine& s) { return s.first_token_low.has_value(); });
}

// Lines of `text` and a blank one before them; nothing for nothing.
std::string Paragraph(const std::string& text) { return text.empty() ? "" : "\n" + text; }

}  // namespace

std::string PlanText(const PlanReport& report, bool colour) {
  const Style style(colour);
  std::string out = HeadingText(report.model, report.request, report.machine.name, style);
  out += ReservationText(report.machine);
  for (const std::string& assumption : report.machine.assumptions) out += Wrap("- ", assumption, kWidth);
  if (const std::string intervals = IntervalSentence(report.machine); !intervals.empty() && Timed(report)) {
    out += Wrap("- ", intervals, kWidth);
  }
  if (!report.basis_note.empty()) out += Wrap("- ", report.basis_note, kWidth);
  out += Paragraph(StrategyTable(report, style)) + Paragraph(Verdict(report, style));
  std::string facts;
  for (const std::string& sentence : report.facts) facts += Wrap("- ", sentence, kWidth);
  out += Paragraph(facts) + Paragraph(FormatTable(report, style));
  if (!report.would_help.empty()) out += "\n" + style.Strong("what would help") + "\n";
  for (const std::string& sentence : report.would_help) out += Wrap("- ", sentence, kWidth);
  for (const PasteBlock& block : report.paste) out += PasteText(block, style);
  return out;
}

}  // namespace stowage
