// The only file that includes CLI11. CLI11 splits the arguments; what they mean, and every message, is ours.
#include "tools/common/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <deque>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "planner/base/text.h"
#include "tools/common/read_number.h"
#include "tools/common/version.h"

namespace stowage {
namespace {

constexpr std::string_view kIntegerPlaceholder = "N";
constexpr std::string_view kTextPlaceholder = "TEXT";

}  // namespace

struct CommandLine::Impl {
  struct Entry {
    std::string flag;  // "--gpu", or a positional's name
    std::string help;
    std::string placeholder;  // empty: takes no value
    bool positional = false;
    bool repeated = false;
    bool required = false;
    bool may_be_empty = false;
    std::function<Status(const std::string&)> read;
    std::vector<std::string> values;  // CLI11 fills these two
    bool given = false;
  };
  struct ExampleLine {
    std::string command;
    std::string what;
  };

  CLI::App app;
  std::string tool;
  std::string about;
  std::deque<Entry> entries;  // addresses stay
  std::vector<ExampleLine> examples;
  bool help = false;
  bool version = false;

  void Add(Entry entry);
  std::string HelpText() const;
  Status Check() const;
  Status CheckExtras() const;
  Status CheckValues(const Entry& entry) const;
  Status Read();
  bool IsFlag(const std::string& text) const;
};

void CommandLine::Impl::Add(Entry entry) {
  entries.push_back(std::move(entry));
  Entry& kept = entries.back();
  if (kept.placeholder.empty()) {
    app.add_flag(kept.flag, kept.given);
  } else if (kept.positional) {
    app.add_option(kept.flag, kept.values)->expected(1)->allow_extra_args(false);
  } else {
    app.add_option(kept.flag, kept.values)->allow_extra_args(false);  // one value each time it is given
  }
}

std::string CommandLine::Impl::HelpText() const {
  std::string usage = "usage: " + tool;
  std::vector<std::vector<std::string>> rows = {{}};
  for (const Entry& e : entries) {
    const std::string name = e.placeholder.empty() || e.positional ? e.flag : e.flag + " " + e.placeholder;
    if (e.required) usage += " " + name;
    rows.push_back({"  " + name, e.help + (e.repeated ? "; may be repeated" : "") + (e.required ? " (required)" : "")});
  }
  rows.push_back({"  --help", "this text"});
  rows.push_back({"  --version", "the version"});
  std::string out = fmt::format("{}: {}\n\n{} [options]\n{}", tool, about, usage, AlignTable(rows));
  if (examples.empty()) return out;
  std::vector<std::vector<std::string>> lines = {{}};
  for (const ExampleLine& e : examples) lines.push_back({"  " + e.command, "# " + e.what});
  return out + "\nexamples:" + AlignTable(lines);
}

bool CommandLine::Impl::IsFlag(const std::string& text) const {
  return text == "--help" || text == "--version" ||
         std::any_of(entries.begin(), entries.end(), [&](const Entry& e) { return !e.positional && e.flag == text; });
}

Status CommandLine::Impl::CheckExtras() const {
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) return OkStatus();
  const auto option =
      std::find_if(extras.begin(), extras.end(), [](const std::string& s) { return s.starts_with('-'); });
  if (option == extras.end()) {
    return Error{ErrorCode::kInvalidInput, fmt::format("unexpected argument '{}'; see {} --help", extras[0], tool)};
  }
  const std::string name = option->substr(0, option->find('='));
  std::vector<std::string_view> flags = {"--help", "--version"};
  for (const Entry& e : entries) {
    if (!e.positional) flags.push_back(e.flag);
  }
  const std::string_view nearest = Nearest(name, flags);
  return Error{ErrorCode::kInvalidInput, nearest.empty()
                                             ? fmt::format("unknown option '{}'; see {} --help", name, tool)
                                             : fmt::format("unknown option '{}'; did you mean '{}'?", name, nearest)};
}

Status CommandLine::Impl::CheckValues(const Entry& entry) const {
  if (entry.required && entry.values.empty()) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{} is missing; see {} --help", entry.flag, tool)};
  }
  if (!entry.repeated && entry.values.size() > 1) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{} is given {} times", entry.flag, entry.values.size())};
  }
  for (const std::string& value : entry.values) {
    if ((value.empty() && !entry.may_be_empty) || IsFlag(value)) {
      return Error{ErrorCode::kInvalidInput, fmt::format("{} needs a value", entry.flag)};
    }
  }
  return OkStatus();
}

Status CommandLine::Impl::Check() const {
  for (const Entry& entry : entries) {  // before the extras: a flag that swallowed the next one leaves a stray value
    const bool swallowed =
        std::any_of(entry.values.begin(), entry.values.end(), [&](const auto& v) { return IsFlag(v); });
    if (swallowed) return Error{ErrorCode::kInvalidInput, fmt::format("{} needs a value", entry.flag)};
  }
  STOWAGE_RETURN_IF_ERROR(CheckExtras());
  for (const Entry& entry : entries) STOWAGE_RETURN_IF_ERROR(CheckValues(entry));
  return OkStatus();
}

Status CommandLine::Impl::Read() {
  for (const Entry& entry : entries) {
    if (entry.given) STOWAGE_RETURN_IF_ERROR(entry.read(""));
    for (const std::string& value : entry.values) {
      Status status = entry.read(value);
      if (!status) return std::move(status).error().In(entry.flag);
    }
  }
  return OkStatus();
}

CommandLine::CommandLine(std::string_view tool, std::string_view about) : impl_(std::make_unique<Impl>()) {
  impl_->tool = tool;
  impl_->about = about;
  impl_->app.set_help_flag();  // ours is shorter
  impl_->app.allow_extras();
  impl_->app.add_flag("--help,-h", impl_->help);
  impl_->app.add_flag("--version", impl_->version);
}

CommandLine::~CommandLine() = default;

void CommandLine::Option(std::string_view flag, std::string* value, std::string_view help) {
  Option(
      flag,
      [value](const std::string& text) {
        *value = text;
        return OkStatus();
      },
      help);
}

void CommandLine::Option(std::string_view flag, std::optional<std::string>* value, std::string_view help) {
  Option(
      flag,
      [value](const std::string& text) {
        *value = text;
        return OkStatus();
      },
      help);
}

void CommandLine::Option(std::string_view flag, std::vector<std::string>* values, std::string_view help) {
  Option(
      flag,
      [values](const std::string& text) {
        values->push_back(text);
        return OkStatus();
      },
      help);
  impl_->entries.back().repeated = true;
}

void CommandLine::Option(std::string_view flag, std::int64_t* value, std::int64_t least, std::int64_t most,
                         std::string_view help) {
  Option(
      flag,
      [=](const std::string& text) -> Status {
        STOWAGE_TRY(*value, ReadNumber(text, least, most));
        return OkStatus();
      },
      help);
  impl_->entries.back().placeholder = kIntegerPlaceholder;
}

void CommandLine::Option(std::string_view flag, std::function<Status(const std::string&)> read, std::string_view help) {
  STOWAGE_CHECK(flag.starts_with("--"));
  Impl::Entry entry;
  entry.flag = flag;
  entry.help = help;
  entry.placeholder = kTextPlaceholder;
  entry.read = std::move(read);
  impl_->Add(std::move(entry));
}

void CommandLine::Flag(std::string_view flag, bool* value, std::string_view help) {
  STOWAGE_CHECK(flag.starts_with("--"));
  Impl::Entry entry;
  entry.flag = flag;
  entry.help = help;
  entry.read = [value](const std::string&) {
    *value = true;
    return OkStatus();
  };
  impl_->Add(std::move(entry));
}

void CommandLine::Positional(std::string_view name, std::string* value, std::string_view help) {
  STOWAGE_CHECK(!name.starts_with('-'));
  Impl::Entry entry;
  entry.flag = name;
  entry.help = help;
  entry.placeholder = kTextPlaceholder;
  entry.positional = true;
  entry.read = [value](const std::string& text) {
    *value = text;
    return OkStatus();
  };
  impl_->Add(std::move(entry));
}

void CommandLine::Require(std::string_view flag) {
  const auto it = std::find_if(impl_->entries.begin(), impl_->entries.end(),
                               [&](const Impl::Entry& entry) { return entry.flag == flag; });
  STOWAGE_CHECK(it != impl_->entries.end());
  it->required = true;
}

void CommandLine::MayBeEmpty(std::string_view flag) {
  const auto it = std::find_if(impl_->entries.begin(), impl_->entries.end(),
                               [&](const Impl::Entry& entry) { return entry.flag == flag; });
  STOWAGE_CHECK(it != impl_->entries.end());
  it->may_be_empty = true;
}

void CommandLine::Example(std::string_view command, std::string_view what) {
  impl_->examples.push_back({std::string(command), std::string(what)});
}

CommandLine::Outcome CommandLine::ParseQuietly(int argc, const char* const* argv) {
  const auto refuse = [&](const std::string& message) { return Outcome{2, "", impl_->tool + ": " + message + "\n"}; };
  for (const Impl::Entry& entry : impl_->entries) {
    const auto given_a_value = [&](const char* text) { return std::string_view(text).starts_with(entry.flag + "="); };
    if (entry.placeholder.empty() && std::any_of(argv + 1, argv + argc, given_a_value)) {
      return refuse(entry.flag + " takes no value");
    }
  }
  try {
    impl_->app.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch&) {
    return refuse(fmt::format("{} needs a value", argv[argc - 1]));  // thrown only for a value missing at the end
  } catch (const CLI::Error& error) {
    return refuse(fmt::format("{}; see {} --help", error.what(), impl_->tool));
  }
  if (impl_->help) return {0, impl_->HelpText(), ""};
  if (impl_->version) return {0, fmt::format("{} ({}) {}\n", impl_->tool, kProject, kVersion), ""};
  Status status = impl_->Check();
  if (status) status = impl_->Read();
  if (!status) return refuse(status.error().message);
  return {};
}

std::optional<int> CommandLine::Parse(int argc, const char* const* argv) {
  const Outcome outcome = ParseQuietly(argc, argv);
  std::fputs(outcome.out.c_str(), stdout);
  std::fputs(outcome.error.c_str(), stderr);
  return outcome.exit_code;
}

}  // namespace stowage
