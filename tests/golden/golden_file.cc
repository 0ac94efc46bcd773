#include "tests/golden/golden_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "planner/formats/safetensors.h"

namespace stowage {
namespace {

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{ErrorCode::kIo, path + ": cannot open"};
  return std::string(std::istreambuf_iterator<char>(in), {});
}

template <class T>
std::vector<T> ValuesIn(const std::string& file, const SafetensorsHeader& header, const std::string& name) {
  for (const StoredTensor& t : header.tensors) {
    if (t.name != name) continue;
    std::vector<T> out(static_cast<std::size_t>(t.bytes) / sizeof(T));
    std::memcpy(out.data(), file.data() + t.offset, out.size() * sizeof(T));
    return out;
  }
  return {};
}

}  // namespace

Result<GoldenFile> ReadGolden(const std::string& folder) {
  const bool here = std::filesystem::exists(folder + "/golden.json");
  const std::string home = here ? folder : std::filesystem::path(folder).parent_path().string();
  STOWAGE_TRY(const std::string text, ReadFile(home + "/golden.json"));
  STOWAGE_TRY(const std::string data, ReadFile(home + "/golden.safetensors"));
  STOWAGE_TRY(const SafetensorsHeader header, ReadSafetensorsHeader(home + "/golden.safetensors"));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return Error{ErrorCode::kInvalidInput, home + "/golden.json: not valid JSON"};
  return GoldenFile{.prompt = ValuesIn<std::int64_t>(data, header, "input_ids"),
                    .generated = ValuesIn<std::int64_t>(data, header, "generated_ids"),
                    .logits = ValuesIn<float>(data, header, "logits"),
                    .bf16_difference = json["max_difference_of_logits"]["bf16_to_f32"].get<float>()};
}

}  // namespace stowage
