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
#include "tools/common/completion.h"
#include "tools/common/read_number.h"
#include "tools/common/version.h"

namespace stowage {
namespace {

constexpr std::string_view kIntegerPlaceholder = "N";
constexpr std::string_view kTextPlaceholder = "TEXT";
constexpr std::string_view kListPlaceholder = "TEXT ...";

}  // namespace

struct CommandLine::Impl {
  struct Entry;
  // Where `by` is given, the entry is not required, or not even allowed.
  struct Replacement {
    const Entry* by;
    bool forbidden;
  };
  struct Entry {
    std::string flag;  // "--gpu", or a positional's name
    std::string help;
    std::string placeholder;  // empty: takes no value
    bool positional = false;
    bool repeated = false;
    bool list = false;  // takes all values that follow it
    bool required = false;
    bool may_be_empty = false;
    std::vector<Replacement> replacements;
    std::vector<std::string> words;
    std::function<Status(const std::string&)> read;
    std::vector<std::string> values;  // CLI11 fills these two
    bool given = false;

    bool IsGiven() const { return given || !values.empty(); }
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
  std::string completion;  // a shell, or "words"

  Outcome Complete() const;
  void Add(Entry entry);
  void AddPositional(std::string_view name, std::string_view help, std::function<Status(const std::string&)> read);
  std::string HelpText() const;
  Status Check() const;
  Status CheckExtras() const;
  Status CheckValues(const Entry& entry) const;
  Status Read();
  Entry& Find(std::string_view flag);
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
    auto* option = app.add_option(kept.flag, kept.values)->allow_extra_args(kept.list);
    if (kept.list) option->expected(-1);  // at least one; otherwise one each time it is given
  }
}

void CommandLine::Impl::AddPositional(std::string_view name, std::string_view help,
                                      std::function<Status(const std::string&)> read) {
  STOWAGE_CHECK(!name.starts_with('-'));
  Entry entry;
  entry.flag = name;
  entry.help = help;
  entry.placeholder = kTextPlaceholder;
  entry.positional = true;
  entry.read = std::move(read);
  Add(std::move(entry));
}

std::string CommandLine::Impl::HelpText() const {
  std::string usage = "usage: " + tool;
  std::vector<std::vector<std::string>> rows = {{}};
  for (const Entry& e : entries) {
    const std::string name = e.placeholder.empty() || e.positional ? e.flag : e.flag + " " + e.placeholder;
    const bool always = e.required && e.replacements.empty();
    std::vector<std::string> instead;
    for (const Replacement& r : e.replacements) instead.push_back(r.by->flag);
    const std::string required = always       ? " (required)"
                                 : e.required ? fmt::format(" (required without {})", Join(instead, " or "))
                                              : "";
    if (always) usage += " " + name;
    rows.push_back({"  " + name, e.help + (e.repeated && !e.list ? "; may be repeated" : "") + required});
  }
  rows.push_back({"  --completion SHELL", "a completion script for bash, zsh or fish"});
  rows.push_back({"  --help", "this text"});
  rows.push_back({"  --version", "the version"});
  std::string out = fmt::format("{}: {}\n\n{} [options]\n{}", tool, about, usage, AlignTable(rows));
  if (examples.empty()) return out;
  std::vector<std::vector<std::string>> lines = {{}};
  for (const ExampleLine& e : examples) lines.push_back({"  " + e.command, "# " + e.what});
  return out + "\nexamples:" + AlignTable(lines);
}

// The script of a shell; or, for the scripts, the words that may come next: commands and options, one a line.
CommandLine::Outcome CommandLine::Impl::Complete() const {
  bool commands = false;
  std::string words;
  for (const Entry& e : entries) {
    commands = commands || !e.words.empty();
    for (const std::string& word : e.words) words += word + "\n";
    if (!e.positional) words += e.flag + "\n";
  }
  if (completion == "words") return {0, words + "--help\n--version\n", ""};
  const Result<std::string> script = CompletionScript(completion, tool, commands);
  if (script) return {0, *script, ""};
  return {2, "", fmt::format("{}: --completion: {}\n", tool, script.error().message)};
}

CommandLine::Impl::Entry& CommandLine::Impl::Find(std::string_view flag) {
  const auto it = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.flag == flag; });
  STOWAGE_CHECK(it != entries.end());
  return *it;
}

bool CommandLine::Impl::IsFlag(const std::string& text) const {
  return text == "--help" || text == "--version" || text == "--completion" ||
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
  std::vector<std::string_view> flags = {"--completion", "--help", "--version"};
  for (const Entry& e : entries) {
    if (!e.positional) flags.push_back(e.flag);
  }
  const std::string_view nearest = Nearest(name, flags);
  return Error{ErrorCode::kInvalidInput, nearest.empty()
                                             ? fmt::format("unknown option '{}'; see {} --help", name, tool)
                                             : fmt::format("unknown option '{}'; did you mean '{}'?", name, nearest)};
}

Status CommandLine::Impl::CheckValues(const Entry& entry) const {
  bool replaced = false;
  for (const Replacement& r : entry.replacements) {
    replaced = replaced || r.by->IsGiven();
    if (r.forbidden && r.by->IsGiven() && entry.IsGiven()) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("{} cannot be given with {}, which says it", entry.flag, r.by->flag)};
    }
  }
  if (entry.required && !replaced && entry.values.empty()) {
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
  impl_->app.add_option("--completion", impl_->completion);
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

void CommandLine::List(std::string_view flag, std::vector<std::string>* values, std::string_view help) {
  STOWAGE_CHECK(flag.starts_with("--"));
  Impl::Entry entry;
  entry.flag = flag;
  entry.help = help;
  entry.placeholder = kListPlaceholder;
  entry.repeated = true;
  entry.list = true;
  entry.read = [values](const std::string& text) {
    values->push_back(text);
    return OkStatus();
  };
  impl_->Add(std::move(entry));
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
  impl_->AddPositional(name, help, [value](const std::string& text) {
    *value = text;
    return OkStatus();
  });
}

void CommandLine::Positional(std::string_view name, std::optional<std::string>* value, std::string_view help) {
  impl_->AddPositional(name, help, [value](const std::string& text) {
    *value = text;
    return OkStatus();
  });
}

void CommandLine::Require(std::string_view flag) { impl_->Find(flag).required = true; }

void CommandLine::MayBeEmpty(std::string_view flag) { impl_->Find(flag).may_be_empty = true; }

void CommandLine::Words(std::string_view name, std::vector<std::string> words) {
  impl_->Find(name).words = std::move(words);
}

void CommandLine::Replaces(std::string_view flag, const std::vector<std::string_view>& others,
                           const std::vector<std::string_view>& optional) {
  const Impl::Entry& by = impl_->Find(flag);
  for (const auto* flags : {&others, &optional}) {
    for (const std::string_view other : *flags) {
      impl_->Find(other).replacements.push_back({&by, flags == &others});
    }
  }
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
  if (!impl_->completion.empty()) return impl_->Complete();
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
