#include "reports/memory_baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "planner/formats/json_members.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
constexpr std::size_t kMostCases = 10'000;

std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void WritePool(const PeakRecord& p, std::string& out) {
  const auto put = std::back_inserter(out);
  fmt::format_to(put, "    {}: {{\n     \"peak_bytes\": {}, \"phase\": {}, \"step\": {},\n     \"buffers\": [",
                 Quoted(p.pool), p.bytes.value(), Quoted(p.phase), Quoted(p.step));
  bool first = true;
  for (const PeakBuffer& b : p.buffers) {
    fmt::format_to(put, "{}\n      {{\"kind\": {}, \"name\": {}, \"bytes\": {}}}", first ? "" : ",", Quoted(b.kind),
                   Quoted(b.name), b.bytes.value());
    first = false;
  }
  out += first ? "]\n    }" : "\n     ]\n    }";
}

Bytes ReadSize(JsonScanner& in) {
  const std::int64_t value = in.Integer();
  if (in.ok() && value > kMostBytes) in.Fail(fmt::format("{} bytes are more than {}", value, kMostBytes));
  return Bytes(value);
}

PeakBuffer ReadBuffer(JsonScanner& in) {
  PeakBuffer b;
  ReadMembers(in, "a buffer",
              {{"kind", kRequired, [&] { b.kind = in.String(); }},
               {"name", kRequired, [&] { b.name = in.String(); }},
               {"bytes", kRequired, [&] { b.bytes = ReadSize(in); }}});
  return b;
}

PeakRecord ReadPool(JsonScanner& in, std::string name) {
  PeakRecord p{.pool = std::move(name)};
  Bytes sum;
  const auto buffer = [&] {
    p.buffers.push_back(ReadBuffer(in));
    sum += p.buffers.back().bytes;
    if (sum > Bytes(kMostBytes)) in.Fail(fmt::format("buffers of more than {} bytes", kMostBytes));
  };
  ReadMembers(in, "a pool",
              {{"peak_bytes", kRequired, [&] { p.bytes = ReadSize(in); }},
               {"phase", kRequired, [&] { p.phase = in.String(); }},
               {"step", kRequired, [&] { p.step = in.String(); }},
               {"buffers", kRequired, [&] { ReadItems(in, buffer); }}});
  if (in.ok() && sum != p.bytes)
    in.Fail(fmt::format("buffers of {} B at a peak of {} B", sum.value(), p.bytes.value()));
  return p;
}

// The names of an object whose members are things of a kind, each once.
template <class Item, class Read>
void ReadNamed(JsonScanner& in, std::string Item::*name, std::vector<Item>& items, Read read) {
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    const std::string text(key);
    const bool known = std::any_of(items.begin(), items.end(), [&](const Item& i) { return i.*name == text; });
    if (known) return in.Fail(fmt::format("a second '{}'", text));
    if (items.size() >= kMostCases) return in.Fail(fmt::format("more than {} entries", kMostCases));
    items.push_back(read(text));
  }
}

CaseRecord ReadCase(JsonScanner& in, std::string name) {
  CaseRecord c{.name = std::move(name)};
  const auto pool = [&](const std::string& key) { return ReadPool(in, key); };
  ReadMembers(in, "a case",
              {{"what", kRequired, [&] { c.what = in.String(); }},
               {"pools", kRequired, [&] { ReadNamed(in, &PeakRecord::pool, c.pools, pool); }}});
  return c;
}

void ReadVersion(JsonScanner& in) {
  const std::int64_t version = in.Integer();
  if (in.ok() && version != kBaselineVersion) {
    in.Fail(fmt::format("baseline version {} is not {}, the one this program reads", version, kBaselineVersion));
  }
}

}  // namespace

std::string WriteBaseline(std::vector<CaseRecord> cases) {
  std::sort(cases.begin(), cases.end(), [](const CaseRecord& a, const CaseRecord& b) { return a.name < b.name; });
  std::string out = fmt::format("{{\n \"stowage_baseline\": {},\n \"cases\": {{", kBaselineVersion);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const CaseRecord& c = cases[i];
    out += fmt::format("{}\n  {}: {{\n   \"what\": {},\n   \"pools\": {{", i == 0 ? "" : ",", Quoted(c.name),
                       Quoted(c.what));
    for (std::size_t p = 0; p < c.pools.size(); ++p) {
      out += p == 0 ? "\n" : ",\n";
      WritePool(c.pools[p], out);
    }
    out += c.pools.empty() ? "}\n  }" : "\n   }\n  }";
  }
  return out + (cases.empty() ? "}\n}\n" : "\n }\n}\n");
}

Result<std::vector<CaseRecord>> ReadBaseline(std::string_view path, std::string_view text) {
  std::vector<CaseRecord> cases;
  JsonScanner in(text);
  const auto one = [&](const std::string& key) { return ReadCase(in, key); };
  ReadMembers(in, "a baseline",
              {{"stowage_baseline", kRequired, [&] { ReadVersion(in); }},
               {"cases", kRequired, [&] { ReadNamed(in, &CaseRecord::name, cases, one); }}});
  in.End();
  if (!in.ok()) return JsonError(path, text, in);
  return cases;
}

}  // namespace stowage
