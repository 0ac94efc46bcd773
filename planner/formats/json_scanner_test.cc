#include "planner/formats/json_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace stowage {
namespace {

std::string ProblemOf(std::string_view text) {
  JsonScanner in(text);
  in.Skip();
  in.End();
  return in.problem();
}

std::string StringOf(std::string_view text) {
  JsonScanner in(text);
  std::string out(in.String());
  in.End();
  return in.ok() ? out : "problem: " + in.problem();
}

TEST(JsonScanner, AcceptsEveryKindOfValue) {
  for (const char* text : {"{}", "[]", "null", "true", "false", "0", "-0", "1.5e+10", "-3E5", "\"\"", " [ 1 , 2 ] ",
                           "{\"a\":[{}, {\"b\":null}],\"c\":\"d\"}", "\"\\ud83d\\ude00\""}) {
    EXPECT_EQ(ProblemOf(text), "") << text;
  }
}

TEST(JsonScanner, ReadsBooleansAndNothingElseAsOne) {
  JsonScanner in("[true, false, 1]");
  in.BeginArray();
  ASSERT_TRUE(in.NextItem());
  EXPECT_TRUE(in.Boolean());
  ASSERT_TRUE(in.NextItem());
  EXPECT_FALSE(in.Boolean());
  EXPECT_TRUE(in.ok());
  ASSERT_TRUE(in.NextItem());
  EXPECT_FALSE(in.Boolean());
  EXPECT_EQ(in.problem(), "byte 14: expected true or false");
}

TEST(JsonScanner, ReadsNumbersOfEveryForm) {
  JsonScanner in("[0, -0.5, 1.25e10, 12400000000]");
  std::vector<double> numbers;
  in.BeginArray();
  while (in.NextItem()) numbers.push_back(in.Number());
  in.End();
  EXPECT_EQ(in.problem(), "");
  EXPECT_EQ(numbers, (std::vector<double>{0, -0.5, 1.25e10, 12.4e9}));
}

TEST(JsonScanner, RefusesNumbersThatNoDoubleHolds) {
  JsonScanner in("1e999");
  EXPECT_EQ(in.Number(), 0);
  EXPECT_EQ(in.problem(), "byte 5: number beyond what a double holds");
}

TEST(JsonScanner, RefusesWhatRfc8259Refuses) {
  for (const char* text : {"",          "{",     "[",     "]",   "[1,]",     "[,1]",        "{\"a\":1,}",
                           "{\"a\" 1}", "{a:1}", "01",    "+1",  "1.",       ".5",          "1e",
                           "- 1",       "nul",   "NaN",   "tru", "\"\\x\"",  "\"a",         "\"\\",
                           "\"\\u12",   "[1 2]", "{} {}", "'a'", "{\"a\":}", "\"\\ud800\"", "\"\\udc00\\ud800\"",
                           "[}"}) {
    EXPECT_NE(ProblemOf(text), "") << text;
  }
}

TEST(JsonScanner, SaysWhereTheProblemIs) {
  EXPECT_EQ(ProblemOf("{\"a\":[1 2]}"), "byte 8: expected ',' or ']' in an array");
  EXPECT_EQ(ProblemOf("[\"abc\x01\"]"), "byte 5: control character in a string");
  EXPECT_EQ(ProblemOf("[1] x"), "byte 4: text after the end of the value");
}

TEST(JsonScanner, DecodesEscapes) {
  EXPECT_EQ(StringOf(R"("plain text beyond eight bytes")"), "plain text beyond eight bytes");
  EXPECT_EQ(StringOf(R"("a\"\\\/\b\f\n\r\tz")"), "a\"\\/\b\f\n\r\tz");
  EXPECT_EQ(StringOf(R"("\u0041\u00e9\u20ac\ud83d\ude00")"), "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}

TEST(JsonScanner, RefusesTextThatIsNotUtf8) {
  const std::string overlong = "\"abcdefgh\xC0\xAF\"", surrogate = "\"\xED\xA0\x80\"", beyond = "\"\xF4\x90\x80\x80\"";
  EXPECT_EQ(ProblemOf(overlong), "byte 9: is not valid UTF-8");
  EXPECT_EQ(ProblemOf(surrogate), "byte 1: is not valid UTF-8");
  EXPECT_EQ(ProblemOf(beyond), "byte 1: is not valid UTF-8");
  EXPECT_EQ(ProblemOf("\"\xE2\x82"), "byte 1: is not valid UTF-8");
  EXPECT_EQ(ProblemOf("\"\xF0\x9F\x98\x80\""), "");
}

TEST(JsonScanner, LimitsNestingInsteadOfTheStack) {
  EXPECT_EQ(ProblemOf(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(ProblemOf(std::string(100000, '[')), "byte 65: nested deeper than 64");
}

TEST(JsonScanner, ReadsIntegersUpTo63BitsAndNothingElse) {
  const auto integer = [](std::string_view text) {
    JsonScanner in(text);
    const std::int64_t n = in.Integer();
    in.End();
    return in.ok() ? std::to_string(n) : in.problem();
  };
  EXPECT_EQ(integer("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(integer("0"), "0");
  EXPECT_EQ(integer("9223372036854775808"), "byte 18: number beyond 2^63");
  for (const char* bad : {"-1", "1.0", "1e3", "01", "\"1\"", ""}) {
    EXPECT_NE(integer(bad).find("expected an integer that is not negative"), std::string::npos) << bad;
  }
}

TEST(JsonScanner, EveryPrefixOfADocumentIsRefused) {
  const std::string text = R"({"weight_map": {"a\u0041": "x", "b": [1.5e3, null, true, {"c": []}]}})";
  ASSERT_EQ(ProblemOf(text), "");
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_NE(ProblemOf(text.substr(0, n)), "") << n;
}

}  // namespace
}  // namespace stowage
