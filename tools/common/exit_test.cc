#include "tools/common/exit.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

namespace stowage {
namespace {

TEST(RunTool, TurnsErrorsIntoOneLineAndTheirExitCode) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunTool("plan", []() -> Result<int> { return Error{ErrorCode::kInfeasible, "gpu0 is too small"}; }), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "plan: gpu0 is too small\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunTool("plan", []() -> Result<int> { return Error{ErrorCode::kInvalidInput, "no such model"}; }), 2);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "plan: no such model\n");
  EXPECT_EQ(RunTool("plan", []() -> Result<int> { return 1; }), 1);
}

TEST(RunTool, EndsExceptionsOfLibraries) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunTool("plan", []() -> Result<int> { throw std::bad_alloc(); }), 3);
  EXPECT_EQ(RunTool("plan", []() -> Result<int> { throw std::runtime_error("surprise"); }), 3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "plan: this computer ran out of memory\nplan: internal error: surprise\n");
}

TEST(Print, WritesToStdout) {
  testing::internal::CaptureStdout();
  EXPECT_TRUE(Print("a\nb"));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a\nb");
}

}  // namespace
}  // namespace stowage
