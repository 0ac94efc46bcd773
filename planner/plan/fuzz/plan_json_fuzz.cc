// A plan file as input. What is accepted can be checked without an overflow, is written to a text that reads back
// equal, and has a machine that can be divided by.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/check.h"
#include "planner/machine/machine_json.h"
#include "planner/plan/diff.h"
#include "planner/plan/plan_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto file = ReadPlanJson("input", std::string_view(reinterpret_cast<const char*>(data), size));
  if (!file) {
    STOWAGE_CHECK(file.error().code == ErrorCode::kInvalidInput && file.error().message.starts_with("input"));
    return 0;
  }
  (void)CheckPlan(file->plan);
  STOWAGE_CHECK(static_cast<bool>(CheckMachine(file->machine)));
  const std::string text = WritePlanJson(*file);
  const auto back = ReadPlanJson("back", text);
  STOWAGE_CHECK(back && back->model == file->model && Dump(back->plan) == Dump(file->plan));
  STOWAGE_CHECK(WritePlanJson(*back) == text);
  STOWAGE_CHECK(DiffPlans(file->plan, back->plan).Same());
  return 0;
}
