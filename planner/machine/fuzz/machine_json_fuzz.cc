// A machine file as input. What is accepted is written to a text that reads back equal over an empty machine.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "planner/machine/machine_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Machine> machine = ReadMachineFile("input", text, Machine());
  if (!machine) {
    STOWAGE_CHECK(machine.error().code == ErrorCode::kInvalidInput && machine.error().message.starts_with("input"));
    return 0;
  }
  const std::string written = WriteMachineJson(*machine);
  const Result<Machine> back = ReadMachineFile("back", written, Machine());
  STOWAGE_CHECK(back && WriteMachineJson(*back) == written);
  return 0;
}
