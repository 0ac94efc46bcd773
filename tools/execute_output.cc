#include "tools/execute_output.h"

#include <fmt/format.h>

#include <cstring>

#include "exec/weights/writer/safetensors_writer.h"

namespace stowage {

Status WriteLogits(const std::string& path, const std::vector<float>& logits, const Request& request,
                   std::int64_t vocab) {
  TensorToWrite tensor{.name = "logits", .dtype = DType::kF32, .shape = {request.batch, request.prompt_tokens, vocab}};
  tensor.fill = [&](std::int64_t offset, std::span<std::byte> to) {
    std::memcpy(to.data(), reinterpret_cast<const std::byte*>(logits.data()) + offset, to.size());
  };
  return WriteSafetensors(path, {tensor}, {});
}

std::vector<std::int64_t> FlatTokens(const std::vector<std::vector<std::int64_t>>& tokens) {
  std::vector<std::int64_t> out;
  for (const auto& sequence : tokens) out.insert(out.end(), sequence.begin(), sequence.end());
  return out;
}

std::string TokensText(const std::vector<std::vector<std::int64_t>>& tokens) {
  std::string out;
  for (const auto& sequence : tokens) {
    out += "tokens:";
    for (const std::int64_t id : sequence) out += fmt::format(" {}", id);
    out += "\n";
  }
  return out;
}

}  // namespace stowage
