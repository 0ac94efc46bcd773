#include "reports/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "planner/base/check.h"
#include "planner/base/text.h"
#include "reports/activity.h"
#include "reports/heading.h"
#include "reports/loading_notes.h"
#include "reports/page/page_assets.h"
#include "reports/style.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostBuffers = 12;  // named per pool
constexpr std::size_t kMostFiles = 400;

// Inside a script element nothing but "<" could end it.
std::string ScriptSafe(const Json& json) {
  std::string out;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

// Six digits say more than a screen shows.
double Rounded(double value) {
  if (value == 0) return 0;
  const double scale = std::pow(10.0, 5 - std::floor(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}
double Rounded(Seconds time) { return Rounded(time.value()); }

Json PoolJson(const PoolTimeline& pool) {
  std::vector<std::pair<std::string, Bytes>> kinds;
  Json buffers = Json::array();
  for (const PeakBuffer& b : pool.peak.buffers) {
    const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == b.kind; });
    if (at == kinds.end()) {
      kinds.emplace_back(b.kind, b.bytes);
    } else {
      at->second += b.bytes;
    }
    if (buffers.size() < kMostBuffers) buffers.push_back({b.name, b.kind, b.bytes.value()});
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  Json json = {{"name", pool.pool},
               {"budget", pool.budget.value()},
               {"peak", pool.peak.bytes.value()},
               {"peak_at", Rounded(pool.peak.at)},
               {"peak_phase", pool.peak.phase},
               {"peak_step", pool.peak.step},
               {"kinds", Json::array()},
               {"buffers", std::move(buffers)}};
  for (const auto& [kind, bytes] : kinds) json["kinds"].push_back({kind, bytes.value()});
  return json;
}

struct View {
  std::string name;
  Stretch stretch;
};

// The last iteration of the longest body: its computations, around which its copies are.
std::optional<View> OnePass(const SimulationReport& report) {
  const Phase* longest = nullptr;
  for (const Phase& phase : report.schedule.phases) {
    if (phase.iterations > 1 && (longest == nullptr || phase.iterations > longest->iterations)) longest = &phase;
  }
  if (longest == nullptr) return std::nullopt;
  Stretch stretch{Seconds(INFINITY), Seconds(0)};
  for (const StepSpan& span : report.timeline.spans) {
    if (span.iteration != longest->iterations - 1 || span.step < longest->body.begin ||
        span.step >= longest->body.end) {
      continue;
    }
    if (report.schedule.steps[static_cast<std::size_t>(span.step)].kind != StepKind::kCompute) continue;
    stretch.begin = std::min(stretch.begin, span.start);
    stretch.end = std::max(stretch.end, span.end);
  }
  if (stretch.end <= stretch.begin) return std::nullopt;
  return View{longest->body.passes > 1 ? fmt::format("last {} passes", longest->body.passes) : "last pass", stretch};
}

std::vector<View> ViewsOf(const SimulationReport& report) {
  std::vector<View> views = {{"whole run", {Seconds(0), report.timeline.length}}};
  for (const PhaseTimeline& phase : report.timeline.phases) {
    if (phase.seconds > Seconds(0) && phase.seconds < report.timeline.length) {
      views.push_back({phase.phase, {phase.start, phase.start + phase.seconds}});
    }
  }
  if (auto pass = OnePass(report)) views.push_back(*std::move(pass));
  return views;
}

// Step names, each once.
class Names {
 public:
  std::size_t Index(std::string name) {
    const auto [it, added] = index_.try_emplace(std::move(name), names_.size());
    if (added) names_.push_back(it->first);
    return it->second;
  }
  Json Take() && { return std::move(names_); }

 private:
  std::map<std::string, std::size_t> index_;
  Json names_ = Json::array();
};

// [start, seconds, name] by resource; nothing if the stretch has too many.
std::vector<Json> JobsOf(const SimulationReport& report, const Stretch& stretch, Names& names) {
  const auto within = [&](const StepSpan& s) {
    return s.end > s.start && s.end > stretch.begin && s.start < stretch.end;
  };
  const auto count = std::count_if(report.timeline.spans.begin(), report.timeline.spans.end(), within);
  if (static_cast<std::size_t>(count) > kPageJobs) return {};
  std::vector<Json> jobs(report.schedule.resources.size(), Json::array());
  for (const StepSpan& span : report.timeline.spans) {
    if (!within(span)) continue;
    const Seconds from = std::max(span.start, stretch.begin), to = std::min(span.end, stretch.end);
    for (const std::int16_t r : report.schedule.steps[static_cast<std::size_t>(span.step)].resources) {
      if (r < 0) continue;
      jobs[static_cast<std::size_t>(r)].push_back(
          {Rounded(from - stretch.begin), Rounded(to - from), names.Index(report.schedule.StepName(span.step))});
    }
  }
  return jobs;
}

Json ViewJson(const SimulationReport& report, const View& view, Names& names) {
  Json memory = Json::array();
  for (const PoolTimeline& pool : report.timeline.pools) {
    Json curve = Json::array();
    for (const Bytes bytes : MemoryBins(pool, view.stretch, kPageBins)) curve.push_back(bytes.value());
    memory.push_back(std::move(curve));
  }
  Json lanes = Json::array();
  std::vector<Json> jobs = JobsOf(report, view.stretch, names);
  std::vector<Occupancy> bins = OccupancyOf(report.schedule, report.timeline, view.stretch, kPageBins);
  for (std::size_t r = 0; r < bins.size(); ++r) {
    double busy = 0;
    for (double& share : bins[r].busy) {
      busy += share;
      share = std::round(share * 100) / 100;
    }
    Json lane = {{"name", bins[r].resource}, {"share", Rounded(busy / kPageBins)}};
    if (jobs.empty()) {
      lane["busy"] = std::move(bins[r].busy);
    } else {
      lane["jobs"] = std::move(jobs[r]);
    }
    lanes.push_back(std::move(lane));
  }
  return {{"name", view.name},
          {"begin", Rounded(view.stretch.begin)},
          {"end", Rounded(view.stretch.end)},
          {"memory", std::move(memory)},
          {"lanes", std::move(lanes)}};
}

Json ResourceJson(const ResourceTimeline& resource) {
  std::vector<std::pair<std::string, Seconds>> causes(resource.idle_causes.begin(), resource.idle_causes.end());
  std::stable_sort(causes.begin(), causes.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  Json json = {{"name", resource.resource}, {"idle", Rounded(resource.idle)}, {"causes", Json::array()}};
  for (const auto& [cause, time] : causes) {
    if (time > Seconds(0)) json["causes"].push_back({cause, Rounded(time)});
  }
  return json;
}

double SecondsIn(const std::optional<Timeline>& timeline, const std::string& phase) {
  const PhaseTimeline* found = timeline ? FindPhase(*timeline, phase) : nullptr;
  return found == nullptr ? 0 : Rounded(found->seconds);
}

Json PhasesJson(const SimulationReport& report) {
  Json json = Json::array();
  for (const PhaseTimeline& p : report.timeline.phases) {
    json.push_back({{"name", p.phase},
                    {"passes", p.iterations},
                    {"start", Rounded(p.start)},
                    {"end", Rounded(p.start + p.seconds)},
                    {"low", SecondsIn(report.low, p.phase)},
                    {"high", SecondsIn(report.high, p.phase)}});
  }
  return json;
}

// Shown by the file's own name; many are a folder's.
Json ArrivalsJson(const SimulationReport& report) {
  const PhaseTimeline* load = FindPhase(report.timeline, "load");
  Json json = {
      {"begin", 0}, {"end", load == nullptr ? 0 : Rounded(load->start + load->seconds)}, {"files", Json::array()}};
  if (load == nullptr || load->seconds <= Seconds(0)) return json;
  for (const Arrival& a : ArrivalsOf(report.schedule, report.timeline, {Seconds(0), load->start + load->seconds}, 1)) {
    if (json["files"].size() >= kMostFiles) break;
    json["files"].push_back({{"file", a.file.substr(a.file.find_last_of('/') + 1)},
                             {"bytes", a.bytes.value()},
                             {"first", Rounded(a.first)},
                             {"last", Rounded(a.last)}});
  }
  return json;
}

Json OrNull(const std::optional<Seconds>& time) { return time ? Json(Rounded(*time)) : Json(); }

Json StrategiesJson(const SimulationReport& report) {
  std::vector<std::string> pools;
  for (const Pool& pool : report.machine.pools) {
    if (pool.kind != PoolKind::kDisk) pools.push_back(pool.name);
  }
  Json rows = Json::array();
  for (const StrategyLine& line : report.strategies) {
    Json peaks = Json::array();
    for (const std::string& pool : pools) {
      const auto at =
          std::find_if(line.peak.begin(), line.peak.end(), [&](const PoolBytes& p) { return p.pool == pool; });
      peaks.push_back(at == line.peak.end() ? Json() : Json(at->bytes.value()));
    }
    rows.push_back({{"name", line.name},
                    {"runtime", line.runtime},
                    {"fits", line.fits},
                    {"peaks", std::move(peaks)},
                    {"first", OrNull(line.first_token)},
                    {"token", OrNull(line.per_token)},
                    {"why", line.fits ? line.limit : line.why_not}});
  }
  return {{"pools", pools}, {"rows", std::move(rows)}};
}

std::string Factors(const Spread& s) { return s == Spread() ? "" : fmt::format("{:.3g} to {:.3g}", s.low, s.high); }

Json ResourceRow(const Resource& r) {
  std::string rate, interval;
  if (r.compute) {
    const ComputeRate& c = *r.compute;
    const double peak = std::max({c.bf16.value(), c.fp16.value(), c.fp32.value()});
    rate = fmt::format("{:.4g} TFLOPS at best, {:.0f} % of it; memory {}, {:.0f} % of it", peak / 1e12,
                       c.flops_efficiency * 100, FormatRate(c.memory), c.memory_efficiency * 100);
    interval = Factors(r.flops_spread);
    if (!(r.rate_spread == Spread()))
      interval += (interval.empty() ? "" : "; ") + Factors(r.rate_spread) + " of memory";
  } else if (r.transfer) {
    rate = fmt::format("{}, pageable {}", FormatRate(r.transfer->pinned), FormatRate(r.transfer->pageable));
    interval = Factors(r.rate_spread);
  }
  return {r.name, Name(r.origin), rate, interval.empty() ? "exact" : interval};
}

Json MachineJson(const SimulationReport& report) {
  const Machine& machine = report.machine;
  Json resources = Json::array(), sentences = Json::array();
  for (const Resource& r : machine.resources) resources.push_back(ResourceRow(r));
  for (const Reservation& r : machine.reservations) {
    sentences.push_back(fmt::format("{} set aside on {} for the {} ({}: {}).", FormatBytes(r.bytes), r.pool, r.name,
                                    Name(r.origin), r.source));
  }
  for (const std::string& sentence : machine.assumptions) sentences.push_back(sentence);
  for (const std::string& sentence : LoadingNotes(report)) sentences.push_back(sentence);
  return {{"resources", std::move(resources)}, {"sentences", std::move(sentences)}};
}

Json DataOf(const SimulationReport& report) {
  Names names;
  Json views = Json::array();
  if (report.timeline.length > Seconds(0)) {
    for (const View& view : ViewsOf(report)) views.push_back(ViewJson(report, view, names));
  }
  Json pools = Json::array(), resources = Json::array();
  for (const PoolTimeline& pool : report.timeline.pools) pools.push_back(PoolJson(pool));
  for (const ResourceTimeline& r : report.timeline.resources) resources.push_back(ResourceJson(r));
  return {{"strategy", report.strategy},
          {"batch", report.request.batch},
          {"interval", report.low && report.high},
          {"phases", PhasesJson(report)},
          {"pools", std::move(pools)},
          {"resources", std::move(resources)},
          {"views", std::move(views)},
          {"names", std::move(names).Take()},
          {"arrivals", ArrivalsJson(report)},
          {"help", report.would_help},
          {"strategies", StrategiesJson(report)},
          {"machine", MachineJson(report)}};
}

std::string Fact(const std::string& value, const std::string& what) {
  return fmt::format("<div class=\"fact\"><b>{}</b><span>{}</span></div>", EscapeMarkup(value), EscapeMarkup(what));
}

std::string FactsOf(const SimulationReport& report) {
  std::string out;
  for (const PoolTimeline& pool : report.timeline.pools) {
    out += Fact(FormatBytes(pool.peak.bytes), "peak of " + pool.pool);
  }
  for (const PhaseTimeline& p : report.timeline.phases) {
    out += Fact(FormatSeconds(p.seconds), p.phase);
    if (p.phase != "decode" || p.iterations == 0 || p.seconds <= Seconds(0)) continue;
    const Seconds pass = p.seconds / static_cast<double>(p.iterations);
    out += Fact(FormatSeconds(pass), "a token");
    out += Fact(fmt::format("{:.3g}", static_cast<double>(report.request.batch) / pass.value()), "tokens a second");
  }
  if (report.low && report.high) {
    out += Fact(FormatSeconds(report.low->length) + " to " + FormatSeconds(report.high->length), "in all, low to high");
  }
  return out;
}

std::string WarningOf(const Timeline& timeline) {
  if (!timeline.out_of_memory) return "";
  const OutOfMemory& oom = *timeline.out_of_memory;
  return fmt::format(
      "<p class=\"warning\">Out of memory: {} in {} asks {} for {}, {} are left. The run ends there.</p>",
      EscapeMarkup(oom.step), EscapeMarkup(oom.phase), EscapeMarkup(oom.pool), FormatBytes(oom.requested),
      FormatBytes(oom.available));
}

// One pass over the template, so that nothing that is put in is looked at again.
std::string Filled(std::string_view text, const std::map<std::string_view, std::string>& values) {
  std::string out;
  while (true) {
    const std::size_t at = text.find('@');
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    const std::size_t end = text.find('@', at + 1);
    const auto value = values.find(text.substr(at + 1, end - at - 1));
    STOWAGE_CHECK(end != std::string_view::npos && value != values.end());
    out += value->second;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string HtmlPage(const SimulationReport& report) {
  const std::string title = report.model.name + ", " + report.strategy.substr(0, 80);
  std::vector<std::string> parts = {
      fmt::format("{} of {} weights", FormatBytes(report.model.weights), report.model.dtype),
      RequestText(report.request), report.machine.name};
  if (!report.model.source.empty()) parts.push_back(report.model.source);
  const std::string subtitle = Join(parts, " · ");
  return Filled(kPageHtml, {{"TITLE", EscapeMarkup(title)},
                            {"SUBTITLE", EscapeMarkup(subtitle)},
                            {"WARNING", WarningOf(report.timeline)},
                            {"FACTS", FactsOf(report)},
                            {"CSS", std::string(kPageCss)},
                            {"JS", std::string(kPageJs)},
                            {"DATA", ScriptSafe(DataOf(report))}});
}

}  // namespace stowage
