// A Hugging Face config.json as checked values. Every read names the key and the range it must lie in, so that an
// absurd file ends in one sentence and never in an overflow: "config.json: hidden_size is -3, must be in [1, 1048576]".
// A key that is present but null counts as absent, as in transformers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"

namespace stowage {

template <class T>
struct Range {  // both ends belong to it
  T least;
  T most;
};

class HfConfig {
 public:
  // `where` starts every message: the path of the file.
  static Result<HfConfig> Parse(std::string_view text, std::string where);
  static Result<HfConfig> Read(const std::string& path);

  const std::string& where() const { return where_; }
  bool Has(std::string_view key) const;
  // Present and null. Where a class default is a number, transformers takes null for "none", not for the default.
  bool IsNull(std::string_view key) const;
  // Entries of the object or list under `key`; absent: `absent`.
  Result<std::int64_t> SizeOr(std::string_view key, std::int64_t absent) const;

  Result<std::int64_t> Int(std::string_view key, Range<std::int64_t> range) const;
  Result<std::int64_t> IntOr(std::string_view key, std::int64_t absent, Range<std::int64_t> range) const;
  Result<double> Number(std::string_view key, Range<double> range) const;
  Result<double> NumberOr(std::string_view key, double absent, Range<double> range) const;
  Result<bool> BoolOr(std::string_view key, bool absent) const;
  Result<std::string> String(std::string_view key) const;
  Result<std::string> StringOr(std::string_view key, std::string absent) const;
  Result<std::vector<std::string>> StringsOr(std::string_view key) const;  // absent: none
  Result<std::vector<std::int64_t>> IntsOr(std::string_view key) const;    // absent: none
  // The object under `key`; an object without keys when absent. Its messages read "config.json: rope_scaling.factor
  // ...".
  Result<HfConfig> ObjectOr(std::string_view key) const;

  Error Bad(std::string_view key, std::string_view problem) const;  // "config.json: key problem", kInvalidInput

 private:
  struct Json;
  HfConfig(std::shared_ptr<const Json> json, std::string where, std::string prefix);

  std::shared_ptr<const Json> json_;
  std::string where_;
  std::string prefix_;  // "rope_scaling." inside that object
};

}  // namespace stowage
