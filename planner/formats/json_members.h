// Objects whose members are known: files of ours and files that people write (plans, machines, cases).
//
//   JsonScanner in(text);
//   ReadMembers(in, "a pool", {{"name", kRequired, [&] { pool.name = in.String(); }},
//                              {"budget", kOptional, [&] { pool.budget = Bytes(in.Integer()); }}});
//   in.End();
//   if (!in.ok()) return JsonError(path, text, in);     "machine.json:12:7: a pool has no 'name'"
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/formats/json_scanner.h"

namespace stowage {

inline constexpr bool kRequired = true;
inline constexpr bool kOptional = false;

struct JsonMember {
  std::string_view name;
  bool required = false;
  std::function<void()> read;  // consumes the value
};

// One object, its members in any order. A member that is unknown (the nearest known one is named), given twice or
// missing is a problem. At most 64 members.
void ReadMembers(JsonScanner& in, std::string_view what, std::initializer_list<JsonMember> members);

// Calls `read` for each item of an array.
void ReadItems(JsonScanner& in, const std::function<void()>& read);

// The scanner's problem as kInvalidInput "PATH:LINE:COLUMN: what". `text` is what it scanned.
Error JsonError(std::string_view path, std::string_view text, const JsonScanner& in);

}  // namespace stowage
