#include "planner/families/stored_scheme.h"

#include <fmt/format.h>

#include <cstdint>
#include <vector>

namespace stowage {
namespace {

constexpr Range<std::int64_t> kAny = {-1, 1 << 20};

Result<std::string> OfBitsandbytes(const HfConfig& q) {
  STOWAGE_TRY(const bool eight, q.BoolOr("load_in_8bit", false));
  if (eight) return std::string("int8");
  STOWAGE_TRY(const bool four, q.BoolOr("load_in_4bit", false));
  if (!four) return q.Bad("load_in_4bit", "and load_in_8bit are both false");
  STOWAGE_TRY(const std::string type, q.StringOr("bnb_4bit_quant_type", "fp4"));
  STOWAGE_TRY(const bool twice, q.BoolOr("bnb_4bit_use_double_quant", false));
  if (type == "nf4") return std::string(twice ? "nf4-double" : "nf4");
  if (type == "fp4" && !twice) return type;
  return q.Bad("bnb_4bit_quant_type", fmt::format("is \"{}\"{}, known are nf4, nf4 with double quantization and fp4",
                                                  type, twice ? " with double quantization" : ""));
}

Result<std::string> OfBlocks(const HfConfig& q) {
  STOWAGE_TRY(const std::vector<std::int64_t> block, q.IntsOr("weight_block_size"));
  if (block == std::vector<std::int64_t>{128, 128}) return std::string("fp8");
  return q.Bad("weight_block_size", "is not [128, 128], without files no other fp8 is known");
}

// gptq and awq as their tools pack four bits.
Result<std::string> OfGroups(const HfConfig& q, const std::string& method) {
  STOWAGE_TRY(const std::int64_t bits, q.IntOr("bits", 4, kAny));
  if (bits != 4) return q.Bad("bits", fmt::format("is {}, without files only 4 is known for {}", bits, method));
  STOWAGE_TRY(const std::int64_t group, q.IntOr("group_size", 128, kAny));
  if (group == 128) return method;
  return q.Bad("group_size", fmt::format("is {}, without files only 128 is known for {}", group, method));
}

}  // namespace

Result<std::string> QuantMethod(const HfConfig& config) {
  STOWAGE_TRY(const HfConfig q, config.ObjectOr("quantization_config"));
  STOWAGE_TRY(const std::string method, q.StringOr("quant_method", ""));
  const bool flags = q.Has("load_in_4bit") || q.Has("load_in_8bit");
  return method.empty() && flags ? std::string("bitsandbytes") : method;
}

Result<std::string> StoredScheme(const HfConfig& config) {
  STOWAGE_TRY(const std::string method, QuantMethod(config));
  STOWAGE_TRY(const std::string type, config.StringOr("model_type", ""));
  const bool described = (method == "fp8" && type != "llama") || (method == "mxfp4" && type == "gpt_oss");
  if (method.empty() || described) return std::string();
  STOWAGE_TRY(const HfConfig q, config.ObjectOr("quantization_config"));
  if (method == "fp8") return OfBlocks(q);
  if (method == "bitsandbytes") return OfBitsandbytes(q);
  if (method == "gptq" || method == "awq") return OfGroups(q, method);
  return q.Bad("quant_method",
               fmt::format("is \"{}\", known without files are awq, bitsandbytes, fp8, gptq and mxfp4", method));
}

}  // namespace stowage
