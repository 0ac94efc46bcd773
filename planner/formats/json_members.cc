#include "planner/formats/json_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "planner/formats/quoted.h"

namespace stowage {
namespace {

std::string Unknown(std::string_view key, std::string_view what, std::initializer_list<JsonMember> members) {
  std::vector<std::string_view> names;
  for (const JsonMember& m : members) names.push_back(m.name);
  const std::string_view nearest = Nearest(key, names);
  const std::string hint = nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest);
  return fmt::format("{} has no member {}{}", what, Quoted(key), hint);
}

}  // namespace

void ReadMembers(JsonScanner& in, std::string_view what, std::initializer_list<JsonMember> members) {
  STOWAGE_CHECK(members.size() <= 64);
  std::uint64_t seen = 0;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    const auto* const member =
        std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.name == key; });
    if (member == members.end()) return in.Fail(Unknown(key, what, members));
    const std::uint64_t bit = std::uint64_t{1} << (member - members.begin());
    if ((seen & bit) != 0) return in.Fail(fmt::format("a second '{}' in {}", member->name, what));
    seen |= bit;
    member->read();
  }
  if (!in.ok()) return;
  for (const JsonMember& m : members) {
    const bool given = (seen & 1) != 0;
    seen >>= 1;
    if (m.required && !given) return in.Fail(fmt::format("{} has no '{}'", what, m.name));
  }
}

void ReadItems(JsonScanner& in, const std::function<void()>& read) {
  in.BeginArray();
  while (in.NextItem()) read();
}

Error JsonError(std::string_view path, std::string_view text, const JsonScanner& in) {
  const std::string_view before = text.substr(0, in.problem_at());
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t start = before.rfind('\n');  // npos + 1 is 0
  const std::string_view problem = in.problem();
  return Error{ErrorCode::kInvalidInput, fmt::format("{}:{}:{}: {}", path, line, before.size() - (start + 1) + 1,
                                                     problem.substr(problem.find(": ") + 2))};
}

}  // namespace stowage
