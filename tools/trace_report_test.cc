#include "tools/trace_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace stowage {
namespace {

using testing::HasSubstr;

std::string WhyNot(const TraceOptions& options) {
  const Result<std::string> text = ReportTrace(options);
  return text.ok() ? "it is fine" : text.error().message;
}

// Figures of ../shared/data/traces/language.json and of the goldens in tests/goldens/torch_traces.
TEST(TraceReportTest, PrintsTheRecordersForm) {
  const Result<std::string> text = ReportTrace({.model = "llama-8b", .json = true});
  ASSERT_TRUE(text.ok()) << text.error().message;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["peak_live_bytes"], 202641408);
  EXPECT_EQ(json["peak_rounded_bytes"], 202641408);
  EXPECT_EQ(json["kept_bytes"], 198443008);
  EXPECT_EQ(json["parameters_bytes"], 16060523008);
  EXPECT_EQ(json["request"]["tokens"], 512);
  ASSERT_EQ(json["events"].size(), 2796u);
  EXPECT_EQ(json["events"][0], nlohmann::json::parse(R"(["zeros.default", 4096])"));
}

// The figures of tests/goldens/torch_traces/static/llama-3.1-8b.decode.txt.
TEST(TraceReportTest, StaticMeansACacheOfThatLengthFromTheStart) {
  const Result<std::string> text =
      ReportTrace({.model = "llama-8b", .pass = "decode:600", .kv = "static:639", .json = true});
  ASSERT_TRUE(text.ok()) << text.error().message;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  EXPECT_EQ(json["request"]["kv"], "static:639");
  EXPECT_EQ(json["kept_bytes"], 84011776);
  EXPECT_EQ(json["peak_live_bytes"], 84019976);
  EXPECT_EQ(WhyNot({.model = "llama-8b", .pass = "decode:600", .kv = "static"}),
            "--kv 'static' is neither dynamic nor static:POSITIONS");
  EXPECT_THAT(WhyNot({.model = "llama-8b", .pass = "decode:600", .kv = "static:600"}),
              HasSubstr("601 positions in a static cache of 600"));
}

TEST(TraceReportTest, DecodeMeansOneStepOverThatManyPositions) {
  const Result<std::string> text =
      ReportTrace({.model = "llama-8b", .pass = "decode:512", .offload = "sequential", .json = true});
  ASSERT_TRUE(text.ok()) << text.error().message;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  EXPECT_EQ(json["events"].size(), 3898u);
  EXPECT_EQ(json["request"]["past"], 512);
}

TEST(TraceReportTest, TheTextStartsWithASummary) {
  const Result<std::string> text = ReportTrace({.model = "llama-8b"});
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(
      text->substr(0, text->find('\n', text->find('\n') + 1)),
      "peak 202,641,408 (202,641,408 rounded to 512 B), kept 198,443,008, parameters 16,060,523,008, 2,796 events\n"
      "zeros.default 4096");
}

TEST(TraceReportTest, NamesTheOptionThatIsWrong) {
  for (const char* pass : {"", "prefill", "prefill:", "encode:3", "decode:3x", "decode:9999999999999999999"}) {
    EXPECT_THAT(WhyNot({.model = "llama-8b", .pass = pass}), HasSubstr("is neither prefill:TOKENS nor decode:PAST"));
  }
  EXPECT_EQ(WhyNot({.model = "llama-8b", .pass = "decode:0"}), "--pass 'decode:0': 0 is not between 1 and 16777216");
  EXPECT_EQ(WhyNot({.model = "llama-8b", .pass = "prefill:-1"}),
            "--pass 'prefill:-1': -1 is not between 1 and 16777216");
  EXPECT_EQ(WhyNot({.model = "llama-8b", .dtype = "b16"}), "--dtype 'b16' is not a floating-point type");
  EXPECT_EQ(WhyNot({.model = "llama-8b", .offload = "disk"}), "--offload 'disk' is neither none nor sequential");
  EXPECT_EQ(WhyNot({.model = "llama-8b", .runtime = "native"}), "--runtime 'native' has no traces; torch does");
}

}  // namespace
}  // namespace stowage
