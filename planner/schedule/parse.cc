// One pass splits the text into lines of words and collects the steps' labels (a step may refer to a later step one
// iteration back), a second one reads the lines. Longer than most files because it mirrors each line of dump.h.
#include "planner/schedule/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "planner/model/dtype.h"
#include "planner/schedule/text_form.h"

namespace stowage {
namespace {

struct TextLine {
  int number = 0;
  std::vector<std::string_view> words;
};

// A list's names as they are declared, and how to find one again.
class Table {
 public:
  void Add(std::string name) {
    const auto [at, fresh] = index_.emplace(std::move(name), static_cast<std::int32_t>(names_.size()));
    if (!fresh) at->second = kRepeated;
    names_.push_back(&at->first);  // keys of an unordered_map stay where they are
  }
  std::int32_t size() const { return static_cast<std::int32_t>(names_.size()); }
  // The index of a name that is there once; -1 otherwise.
  std::int32_t Find(const std::string& name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? -1 : found->second;
  }
  bool Is(std::int64_t index, const std::string& name) const {
    return index >= 0 && index < size() && *names_[index] == name;
  }

 private:
  static constexpr std::int32_t kRepeated = -1;
  std::vector<const std::string*> names_;
  std::unordered_map<std::string, std::int32_t> index_;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

class Parser {
 public:
  Result<Schedule> Run(std::string_view text) {
    if (Split(text) && CollectLabels()) {
      for (const TextLine& line : lines_) {
        if (!ReadLine(line)) break;
      }
    }
    if (failed_) return Error{ErrorCode::kInvalidInput, message_};
    return std::move(s_);
  }

 private:
  // --- words ---------------------------------------------------------------------------------------------------

  bool Fail(std::string_view text, std::string_view expected) {
    if (failed_) return false;
    failed_ = true;
    const std::string shown(text.substr(0, 60));
    message_ = fmt::format("line {}: '{}': expected {}", line_, shown, expected);
    return false;
  }

  // Blanks separate words, except inside quotes.
  bool SplitLine(std::string_view line, std::vector<std::string_view>& words) {
    std::size_t begin = 0;
    bool quoted = false;
    for (std::size_t i = 0; i <= line.size(); ++i) {
      if (i < line.size() && quoted) {
        if (line[i] == '\\')
          ++i;
        else if (line[i] == '"')
          quoted = false;
        continue;
      }
      if (i < line.size() && line[i] == '"') quoted = true;
      if (i < line.size() && line[i] != ' ') continue;
      if (i > begin) words.push_back(line.substr(begin, i - begin));
      begin = i + 1;
    }
    return !quoted || Fail(line, "a closing quote");
  }

  bool Split(std::string_view text) {
    for (line_ = 1; !text.empty(); ++line_) {
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      if (line.empty() || line[0] == '#') continue;
      lines_.push_back({line_, {}});
      if (!SplitLine(line, lines_.back().words)) return false;
    }
    if (lines_.empty() || lines_[0].words[0] != "schedule") return Fail("", "'schedule 1 NAME'");
    return true;
  }

  // --- cursors: each takes what it reads off the front of `text` --------------------------------------------------

  bool Eat(std::string_view& text, char c) {
    if (text.empty() || text[0] != c) return false;
    text.remove_prefix(1);
    return true;
  }

  // A bare or quoted name; empty when there is none.
  bool EatName(std::string_view& text, std::string& name) {
    const std::string_view all = text;
    name.clear();
    if (!Eat(text, '"')) {
      std::size_t n = 0;
      while (n < text.size() && text_form::IsBare(text[n])) ++n;
      name = text.substr(0, n);
      text.remove_prefix(n);
      return true;
    }
    while (!text.empty() && text[0] != '"') {
      char c = text[0];
      text.remove_prefix(1);
      if (c == '\\' && text.size() >= 3 && text[0] == 'x' && HexDigit(text[1]) >= 0 && HexDigit(text[2]) >= 0) {
        c = static_cast<char>(HexDigit(text[1]) * 16 + HexDigit(text[2]));
        text.remove_prefix(3);
      } else if (c == '\\') {
        if (text.empty() || (text[0] != '"' && text[0] != '\\'))
          return Fail(all, "\\\", \\\\ or \\x00 after a backslash");
        c = text[0];
        text.remove_prefix(1);
      }
      name += c;
    }
    return Eat(text, '"') || Fail(all, "a closing quote");
  }

  template <class Number>
  bool EatNumber(std::string_view& text, Number& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    text.remove_prefix(end - text.data());
    return true;
  }

  template <class Number>
  bool EatAffine(std::string_view& text, Number& base, Number& step) {
    if (!EatNumber(text, base)) return false;
    if (text.empty() || (text[0] != '+' && text[0] != '-')) return true;
    if (text[0] == '+') text.remove_prefix(1);
    return EatNumber(text, step) && Eat(text, 'i');
  }

  // name, name@7, @7 or '-' for none.
  bool EatRef(std::string_view& text, const Table& table, std::string_view what, std::int32_t& index) {
    const std::string_view all = text;
    if (text == "-" || text.starts_with("-,")) {
      text.remove_prefix(1);
      index = -1;
      return true;
    }
    std::string name;
    if (!EatName(text, name)) return false;
    if (Eat(text, '@')) {
      if (!EatNumber(text, index) || !table.Is(index, name)) return Fail(all, fmt::format("{} with that index", what));
      return true;
    }
    index = table.Find(name);
    return index >= 0 || Fail(all, fmt::format("{} (known, and known once)", what));
  }

  bool EatStepRef(std::string_view& text, StepRef& ref) {
    if (!EatRef(text, labels_, "a step", ref.step)) return false;
    const std::string_view all = text;
    if (!Eat(text, '[')) return true;
    if (!EatNumber(text, ref.back) || ref.back == std::numeric_limits<std::int32_t>::min() || !Eat(text, ']')) {
      return Fail(all, "[-1]");
    }
    ref.back = -ref.back;
    return true;
  }

  bool EatSlice(std::string_view& text, Slice& slice) {
    const std::string_view whole = text;
    if (!EatRef(text, buffers_, "a buffer", slice.buffer)) return false;
    if (slice.buffer < 0) return Fail(whole, "a buffer ('-' stands alone, for none)");
    const std::string_view all = text;
    if (!Eat(text, '[')) {
      slice.bytes = s_.buffers[slice.buffer].bytes;
      return true;
    }
    return (EatAffine(text, slice.bytes.base, slice.bytes.step) && Eat(text, '@') &&
            EatAffine(text, slice.offset.base, slice.offset.step) && Eat(text, ']')) ||
           Fail(all, "[bytes@offset]");
  }

  // --- whole words -------------------------------------------------------------------------------------------------

  bool ReadName(std::string_view word, std::string& name) {
    std::string_view rest = word;
    return EatName(rest, name) && (rest.empty() || Fail(word, "a name"));
  }

  template <class Number>
  bool ReadNumber(std::string_view word, Number& value) {
    std::string_view rest = word;
    return (EatNumber(rest, value) && rest.empty()) ||
           Fail(word, fmt::format("an integer of at most {} bits", 8 * sizeof(Number)));
  }

  bool ReadAffine(std::string_view word, AffineBytes& value) {
    std::string_view rest = word;
    return (EatAffine(rest, value.base, value.step) && rest.empty()) || Fail(word, "bytes, as 1024 or 1024+8i");
  }

  bool ReadBytes(std::string_view word, Bytes& value) {
    std::int64_t bytes = 0;
    if (!ReadNumber(word, bytes)) return false;
    value = Bytes(bytes);
    return true;
  }

  bool ReadRef(std::string_view word, const Table& table, std::string_view what, std::int32_t& index) {
    std::string_view rest = word;
    return EatRef(rest, table, what, index) && (rest.empty() || Fail(word, what));
  }

  bool ReadStepRef(std::string_view word, StepRef& ref) {
    std::string_view rest = word;
    return EatStepRef(rest, ref) && (rest.empty() || Fail(word, "a step"));
  }

  // "2ms" is 2e-3, correctly rounded: the unit becomes part of the exponent.
  bool ReadDuration(std::string_view word, Seconds& value) {
    static constexpr std::string_view kExpected = "a duration, as 2s, 2ms, 2us or 2ns";
    const std::size_t unit = word.find_last_of("0123456789.") + 1;
    const std::string_view suffix = word.substr(unit);
    const int power = suffix == "s" ? 0 : suffix == "ms" ? -3 : suffix == "us" ? -6 : suffix == "ns" ? -9 : 1;
    std::string_view number = word.substr(0, unit);
    const std::size_t e = number.find('e');
    int exponent = 0;
    if (e != std::string_view::npos) {
      std::string_view digits = number.substr(e + 1);
      if (!EatNumber(digits, exponent) || !digits.empty() || exponent < -1000 || exponent > 1000)
        return Fail(word, kExpected);
    }
    const std::string text = fmt::format("{}e{}", number.substr(0, e), exponent + power);
    double seconds = 0;
    std::string_view rest = text;
    if (power > 0 || !EatNumber(rest, seconds) || !rest.empty() || !std::isfinite(seconds))
      return Fail(word, kExpected);
    value = Seconds(seconds);
    return true;
  }

  template <class Enum>
  bool ReadEnum(std::string_view word, int count, std::string_view what, Enum& value) {
    for (int i = 0; i < count; ++i) {
      if (Name(static_cast<Enum>(i)) != word) continue;
      value = static_cast<Enum>(i);
      return true;
    }
    return Fail(word, what);
  }

  bool ReadDType(std::string_view word, DType& value) {
    const auto dtype = ParseDType(word);
    if (!dtype) return Fail(word, "a dtype");
    value = *dtype;
    return true;
  }

  // Calls read(key, value) for each further word, which answers whether it knows the key; a word without '=' has an
  // empty value. No key may come twice.
  template <class ReadOne>
  bool ReadAttributes(const TextLine& line, std::size_t from, ReadOne read) {
    std::vector<std::string_view> seen;
    for (std::size_t i = from; i < line.words.size(); ++i) {
      const std::string_view word = line.words[i];
      const std::size_t equals = word.find('=');
      const std::string_view key = word.substr(0, equals);
      const std::string_view value = equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) return Fail(word, "each attribute once");
      seen.push_back(key);
      if (!read(key, value)) return Fail(word, "an attribute of this line");
      if (failed_) return false;
    }
    return true;
  }

  bool SetFlag(std::string_view value, bool& flag) {
    flag = true;
    return value.empty();
  }

  bool Need(const TextLine& line, std::size_t words, std::string_view form) {
    return line.words.size() >= words || Fail(line.words.back(), form);
  }

  bool Exactly(const TextLine& line, std::size_t words, std::string_view form) {
    return line.words.size() == words || Fail(line.words.back(), form);
  }

  // --- lines -------------------------------------------------------------------------------------------------------

  // The label of a step line: its first word, which ends with a colon.
  bool CollectLabels() {
    std::int32_t position = 0;
    for (const TextLine& line : lines_) {
      line_ = line.number;
      std::string_view label = line.words[0];
      if (!label.ends_with(':')) continue;
      label.remove_suffix(1);
      std::string_view rest = label;
      std::string name;
      std::int64_t index = position;
      if (!EatName(rest, name)) return false;
      if (Eat(rest, '@') && !EatNumber(rest, index)) return Fail(label, "name, name@index or @index before the colon");
      if (!rest.empty()) return Fail(label, "name, name@index or @index before the colon");
      if (index != position) return Fail(label, fmt::format("index {}", position));
      labels_.Add(std::move(name));
      ++position;
    }
    return true;
  }

  bool ReadLine(const TextLine& line) {
    line_ = line.number;
    const std::string_view word = line.words[0];
    if (word.ends_with(':')) return ReadStep(line);
    if (word == "schedule") return ReadHeader(line);
    if (word == "phase") return ReadPhase(line);
    if (word == "requires") return ReadRequired(line);
    if (word == "prologue") return ReadSection(line, 0);
    if (word == "body") return ReadSection(line, 1);
    if (word == "epilogue") return ReadSection(line, 2);
    if (!s_.phases.empty()) return Fail(word, "a step, a section or a phase");
    if (word == "pool") return ReadPool(line);
    if (word == "resource") return ReadPlainName(line, resources_, s_.resources);
    if (word == "queue") return ReadQueue(line);
    if (word == "issuer") return ReadIssuer(line);
    if (word == "file") return ReadPlainName(line, files_, s_.files);
    if (word == "buffer") return ReadBuffer(line);
    if (word == "kernel") return ReadKernel(line);
    return Fail(word, "pool, resource, queue, issuer, file, buffer, kernel or phase");
  }

  bool ReadHeader(const TextLine& line) {
    if (&line != &lines_[0]) return Fail(line.words[0], "one schedule only");
    int version = 0;
    if (!Exactly(line, 3, "'schedule 1 NAME'") || !ReadNumber(line.words[1], version)) return false;
    if (version != text_form::kVersion) {
      return Fail(line.words[1], fmt::format("version {}, the only one this program reads", text_form::kVersion));
    }
    return ReadName(line.words[2], s_.name);
  }

  bool ReadPool(const TextLine& line) {
    PoolUse pool;
    if (!Need(line, 3, "'pool NAME ALLOCATOR budget=BYTES'") || !ReadName(line.words[1], pool.name) ||
        !ReadEnum(line.words[2], 3, "arena, torch_caching or pageable", pool.allocator) ||
        !ReadAttributes(line, 3, [&](std::string_view key, std::string_view value) {
          return key == "budget" && (ReadBytes(value, pool.budget), true);
        })) {
      return false;
    }
    pools_.Add(pool.name);
    s_.pools.push_back(std::move(pool));
    return true;
  }

  bool ReadPlainName(const TextLine& line, Table& table, std::vector<std::string>& list) {
    std::string name;
    if (!Exactly(line, 2, "one name") || !ReadName(line.words[1], name)) return false;
    table.Add(name);
    list.push_back(std::move(name));
    return true;
  }

  bool ReadQueue(const TextLine& line) {
    std::string name;
    if (!Exactly(line, 2, "one name") || !ReadName(line.words[1], name)) return false;
    queues_.Add(name);
    s_.queues.push_back({std::move(name)});
    return true;
  }

  bool ReadIssuer(const TextLine& line) {
    Issuer issuer;
    if (!Exactly(line, 3, "'issuer NAME native' or 'issuer NAME torch'") || !ReadName(line.words[1], issuer.name) ||
        !ReadEnum(line.words[2], 2, "native or torch", issuer.kind)) {
      return false;
    }
    issuers_.Add(issuer.name);
    s_.issuers.push_back(std::move(issuer));
    return true;
  }

  bool ReadBuffer(const TextLine& line) {
    Buffer b;
    if (!Need(line, 4, "'buffer NAME KIND BYTES …'") || !ReadName(line.words[1], b.name) ||
        !ReadEnum(line.words[2], 7, "weights, kv, activations, workspace, staging, context or tokens", b.kind) ||
        !ReadAffine(line.words[3], b.bytes)) {
      return false;
    }
    bool pool_given = false;
    const bool read = ReadAttributes(line, 4, [&](std::string_view key, std::string_view value) {
      if (key == "pool") return pool_given = true, ReadRef(value, pools_, "a pool", b.pool), true;
      if (key == "in") return ReadRef(value, buffers_, "a buffer above this line", b.parent), true;
      if (key == "at") return ReadBytes(value, b.offset), true;
      if (key == "pinned") return SetFlag(value, b.pinned);
      if (key == "initial") return SetFlag(value, b.initial);
      if (key == "file") return ReadRef(value, files_, "a file", b.file), true;
      if (key == "file_offset") return ReadNumber(value, b.file_offset), true;
      return false;
    });
    if (!read) return false;
    if (!pool_given && b.parent < 0) return Fail(line.words[1], "pool= or in=");
    if (!pool_given) b.pool = s_.buffers[b.parent].pool;
    buffers_.Add(b.name);
    s_.buffers.push_back(std::move(b));
    return true;
  }

  bool ReadKernel(const TextLine& line) {
    Kernel k;
    if (!Need(line, 4, "'kernel NAME KIND DTYPE …'") || !ReadName(line.words[1], k.name) ||
        !ReadEnum(line.words[2], kKernelKinds, "a kernel kind", k.kind) || !ReadDType(line.words[3], k.dtype)) {
      return false;
    }
    const bool read = ReadAttributes(line, 4, [&](std::string_view key, std::string_view value) {
      if (key == "from") return ReadDType(value, k.from_dtype), true;
      if (key == "function") return ReadEnum(value, kFunctions, "a function", k.function);
      if (key == "accumulate") return SetFlag(value, k.accumulate);
      if (key == "bias") return SetFlag(value, k.has_bias);
      const std::pair<std::string_view, std::int64_t*> numbers[] = {{"rows", &k.rows},
                                                                    {"n", &k.n},
                                                                    {"k", &k.k},
                                                                    {"row_begin", &k.row_begin},
                                                                    {"row_end", &k.row_end},
                                                                    {"batch", &k.batch},
                                                                    {"tokens", &k.tokens},
                                                                    {"heads", &k.heads},
                                                                    {"kv_heads", &k.kv_heads},
                                                                    {"head_dim", &k.head_dim},
                                                                    {"window", &k.window}};
      for (const auto& [name, field] : numbers) {
        if (key == name) return ReadNumber(value, *field), true;
      }
      AffineBytes past;
      if (key == "past") return ReadAffine(value, past), k.past = past.base, k.past_step = past.step, true;
      if (key == "bytes") return ReadAffine(value, k.bytes), true;
      if (key == "host_bytes") return ReadAffine(value, k.host_bytes), true;
      std::string_view rest = value;
      if (key == "eps") return EatNumber(rest, k.eps) && rest.empty() && std::isfinite(k.eps);
      if (key == "flops") {
        return EatAffine(rest, k.flops.base, k.flops.step) && rest.empty() && std::isfinite(k.flops.base) &&
               std::isfinite(k.flops.step);
      }
      return false;
    });
    if (!read) return false;
    kernels_.Add(k.name);
    s_.kernels.push_back(std::move(k));
    return true;
  }

  bool ReadPhase(const TextLine& line) {
    Phase p;
    if (!Need(line, 2, "'phase NAME'") || !ReadName(line.words[1], p.name)) return false;
    const bool read = ReadAttributes(line, 2, [&](std::string_view key, std::string_view value) {
      if (key == "iterations") return ReadNumber(value, p.iterations), true;
      if (key == "captured") return SetFlag(value, p.captured);
      return false;
    });
    const auto here = static_cast<StepId>(s_.steps.size());
    p.prologue = p.body = p.epilogue = {here, here, 0};
    s_.phases.push_back(std::move(p));
    ops_ = Table();
    section_ = -1;
    return read;
  }

  bool ReadRequired(const TextLine& line) {
    if (s_.phases.empty() || section_ >= 0) return Fail(line.words[0], "requires right after its phase");
    RequiredOp op;
    if (!Need(line, 2, "'requires OP'") || !ReadName(line.words[1], op.name)) return false;
    const bool read = ReadAttributes(line, 2, [&](std::string_view key, std::string_view value) {
      if (key == "ranks") return ReadNumber(value, op.ranks), true;
      if (key == "micro_batches") return ReadNumber(value, op.micro_batches), true;
      if (key == "tiles") return ReadNumber(value, op.tiles), true;
      return false;
    });
    ops_.Add(op.name);
    s_.phases.back().required.push_back(std::move(op));
    return read;
  }

  bool ReadSection(const TextLine& line, int which) {
    if (s_.phases.empty() || section_ >= which)
      return Fail(line.words[0], "a phase's prologue, body, epilogue, in order");
    section_ = which;
    Phase& p = s_.phases.back();
    Section& section = which == 0 ? p.prologue : which == 1 ? p.body : p.epilogue;
    return ReadAttributes(line, 1, [&](std::string_view key, std::string_view value) {
      return key == "passes" && (ReadNumber(value, section.passes), true);
    });
  }

  template <class Item, class Eater>
  bool ReadList(std::string_view word, std::vector<Item>& list, Eater eat) {
    std::string_view rest = word;
    do {
      list.emplace_back();
      if (!eat(rest, list.back())) return false;
    } while (Eat(rest, ','));
    return rest.empty() ||
           Fail(word, "a comma or a blank after " + std::string(word.substr(0, word.size() - rest.size())));
  }

  bool ReadSlices(std::string_view word, std::vector<Slice>& slices) {
    if (word == "-") return true;
    return ReadList(word, slices, [&](std::string_view& rest, Slice& slice) { return EatSlice(rest, slice); });
  }

  bool ReadResources(std::string_view word, std::array<std::int16_t, 3>& resources) {
    std::vector<std::int32_t> list;
    if (!ReadList(word, list,
                  [&](std::string_view& rest, std::int32_t& r) { return EatRef(rest, resources_, "a resource", r); })) {
      return false;
    }
    if (list.size() > resources.size()) return Fail(word, "at most three resources");
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i] > std::numeric_limits<std::int16_t>::max()) return Fail(word, "one of the first 32768 resources");
      resources[i] = static_cast<std::int16_t>(list[i]);
    }
    return true;
  }

  bool ReadSubject(std::string_view word, Step& t) {
    switch (t.kind) {
      case StepKind::kAllocate:
      case StepKind::kFree:
      case StepKind::kRecordStream:
        return ReadRef(word, buffers_, "a buffer", t.buffer);
      case StepKind::kEmptyCache:
        return ReadRef(word, pools_, "a pool", t.pool);
      case StepKind::kWait:
        return ReadStepRef(word, t.target);
      default:
        return ReadRef(word, kernels_, "a kernel", t.kernel);
    }
  }

  bool ReadStepAttribute(std::string_view key, std::string_view value, Step& t) {
    if (key == "on") return ReadRef(value, queues_, "a queue", t.queue), true;
    if (key == "uses") return ReadResources(value, t.resources), true;
    if (key == "by") return ReadRef(value, issuers_, "an issuer", t.issuer), true;
    if (key == "blocking") return SetFlag(value, t.blocking);
    if (key == "pageable") return SetFlag(value, t.pageable);
    if (key == "after") {
      return ReadList(value, t.after, [&](std::string_view& rest, StepRef& r) { return EatStepRef(rest, r); }), true;
    }
    if (key == "op") return ReadRef(value, ops_, "an op of the phase", t.instance.op), true;
    if (key == "pass") return ReadNumber(value, t.instance.pass), true;
    if (key == "rank") return ReadNumber(value, t.instance.rank), true;
    if (key == "micro_batch") return ReadNumber(value, t.instance.micro_batch), true;
    if (key == "tile") return ReadNumber(value, t.instance.tile), true;
    if (key == "group") return ReadNumber(value, t.group), true;
    if (key == "expected") return ReadAffine(value, t.expected_bytes.emplace()), true;
    if (key == "for") return ReadDuration(value, t.fixed.emplace()), true;
    if (key == "buffer") return ReadRef(value, buffers_, "a buffer", t.buffer), true;
    if (key == "pool") return ReadRef(value, pools_, "a pool", t.pool), true;
    if (key == "target") return ReadStepRef(value, t.target), true;
    if (key == "kernel") return ReadRef(value, kernels_, "a kernel", t.kernel), true;
    return false;
  }

  bool ReadStep(const TextLine& line) {
    if (section_ < 0) return Fail(line.words[0], "a section before the first step");
    Step t;
    std::string_view label = line.words[0];
    if (!EatName(label, t.name)) return false;
    if (label.empty()) t.name.pop_back();  // a bare name took the colon with it
    if (!Need(line, 2, "a step kind") || !ReadEnum(line.words[1], 9, "a step kind", t.kind)) return false;
    std::size_t next = 2;
    const bool has_subject = t.kind != StepKind::kRead && t.kind != StepKind::kCopy && t.kind != StepKind::kReduce;
    if (has_subject && (!Need(line, 3, "what the step is about") || !ReadSubject(line.words[next++], t))) return false;
    if (line.words.size() > next + 2 && line.words[next + 1] == "->") {
      if (!ReadSlices(line.words[next], t.reads) || !ReadSlices(line.words[next + 2], t.writes)) return false;
      next += 3;
    }
    if (!ReadAttributes(line, next, [&](std::string_view key, std::string_view value) {
          return ReadStepAttribute(key, value, t);
        })) {
      return false;
    }
    s_.steps.push_back(std::move(t));
    Phase& phase = s_.phases.back();
    const auto end = static_cast<StepId>(s_.steps.size());
    phase.epilogue.end = end;
    if (section_ <= 1) phase.body.end = phase.epilogue.begin = end;
    if (section_ == 0) phase.prologue.end = phase.body.begin = end;
    return true;
  }

  Schedule s_;
  std::vector<TextLine> lines_;
  Table pools_, resources_, queues_, issuers_, files_, buffers_, kernels_, ops_, labels_;
  int section_ = -1;  // of the last phase: 0 prologue, 1 body, 2 epilogue
  int line_ = 0;
  bool failed_ = false;
  std::string message_;
};

}  // namespace

Result<Schedule> ParseSchedule(std::string_view text) { return Parser().Run(text); }

}  // namespace stowage
