#include "planner/formats/json_members.h"

#include <gtest/gtest.h>

#include <string>

namespace stowage {
namespace {

std::string Complaint(std::string_view text) {
  JsonScanner in(text);
  std::string name;
  ReadMembers(in, "a pool",
              {{"name", kRequired, [&] { name = in.String(); }}, {"budget", kOptional, [&] { in.Integer(); }}});
  in.End();
  return in.ok() ? "read " + name : JsonError("m.json", text, in).message;
}

TEST(ReadMembers, ReadsMembersInAnyOrder) {
  EXPECT_EQ(Complaint("{\"budget\": 7, \"name\": \"gpu0\"}"), "read gpu0");
  EXPECT_EQ(Complaint("{\"name\": \"gpu0\"}"), "read gpu0");
}

TEST(ReadMembers, NamesLineColumnAndMemberOfWhatIsWrong) {
  EXPECT_EQ(Complaint("{}"), "m.json:1:3: a pool has no 'name'");
  EXPECT_EQ(Complaint("{\n \"name\": \"a\",\n \"budgte\": 7\n}"),
            "m.json:3:11: a pool has no member 'budgte'; did you mean 'budget'?");
  EXPECT_EQ(Complaint("{\"name\": \"a\", \"name\": \"b\"}"), "m.json:1:22: a second 'name' in a pool");
  EXPECT_EQ(Complaint("{\n\"name\": 3}"), "m.json:2:9: expected a string");
  EXPECT_EQ(Complaint("{\"name\": \"a\"} x"), "m.json:1:15: text after the end of the value");
}

TEST(ReadItems, CallsItsReaderForEachItem) {
  JsonScanner in("[1, 2, 3]");
  std::int64_t sum = 0;
  ReadItems(in, [&] { sum += in.Integer(); });
  in.End();
  EXPECT_TRUE(in.ok()) << in.problem();
  EXPECT_EQ(sum, 6);
}

}  // namespace
}  // namespace stowage
