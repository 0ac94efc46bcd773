#include "planner/schedule/dump.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <unordered_map>

#include "planner/schedule/text_form.h"

namespace stowage {
namespace {

std::string Quoted(std::string_view name) {
  if (text_form::IsBareName(name)) return std::string(name);
  std::string out = "\"";
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// How often each name of a list occurs: a reference needs the index unless the name is there once.
class Names {
 public:
  template <class List, class GetName>
  Names(const List& list, GetName name) {
    for (const auto& item : list) names_.push_back(name(item));
    for (const std::string_view n : names_) ++count_[n];
  }
  std::string Ref(std::int64_t index) const {
    if (index == -1) return "-";
    if (index < 0 || index >= static_cast<std::int64_t>(names_.size())) return fmt::format("?{}", index);
    const std::string_view name = names_[index];
    if (name.empty()) return fmt::format("@{}", index);
    return count_.at(name) == 1 ? Quoted(name) : fmt::format("{}@{}", Quoted(name), index);
  }

 private:
  std::vector<std::string_view> names_;
  std::unordered_map<std::string_view, int> count_;
};

std::string Affine(AffineBytes a) {
  return a.constant() ? fmt::format("{}", a.base) : fmt::format("{}{:+}i", a.base, a.step);
}
std::string Affine(AffineFlops a) {
  return a.constant() ? fmt::format("{}", a.base) : fmt::format("{}{:+}i", a.base, a.step);
}

// Exactly: the shortest decimal digits that give the same double, with the unit that keeps them in 1..999.
std::string Duration(Seconds t) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, t.value(), std::chars_format::scientific).ptr;
  const std::string_view all(text, end - text);
  const std::size_t e = all.find('e');
  if (e == std::string_view::npos) return fmt::format("{}s", all);  // inf, nan
  std::string digits(all.substr(0, e));
  int exponent = 0;
  const char* first = all.data() + e + (all[e + 1] == '+' ? 2 : 1);
  std::from_chars(first, end, exponent);
  const int thousandths = t.value() == 0 || exponent >= 0 ? 0 : exponent >= -3 ? 1 : exponent >= -6 ? 2 : 3;
  static constexpr const char* kUnits[] = {"s", "ms", "us", "ns"};
  exponent += 3 * thousandths;
  if (exponent < 0 || exponent > 17) return fmt::format("{}e{}{}", digits, exponent, kUnits[thousandths]);
  const std::size_t sign = digits[0] == '-' ? 1 : 0;
  std::erase(digits, '.');
  const std::size_t point = sign + 1 + exponent;
  if (digits.size() < point) digits.append(point - digits.size(), '0');
  if (digits.size() > point) digits.insert(point, 1, '.');
  return digits + kUnits[thousandths];
}

class Dumper {
 public:
  explicit Dumper(const Schedule& s)
      : s_(s),
        pools_(s.pools, [](const PoolUse& p) -> std::string_view { return p.name; }),
        resources_(s.resources, [](const std::string& r) -> std::string_view { return r; }),
        queues_(s.queues, [](const Queue& q) -> std::string_view { return q.name; }),
        issuers_(s.issuers, [](const Issuer& i) -> std::string_view { return i.name; }),
        files_(s.files, [](const std::string& f) -> std::string_view { return f; }),
        buffers_(s.buffers, [](const Buffer& b) -> std::string_view { return b.name; }),
        kernels_(s.kernels, [](const Kernel& k) -> std::string_view { return k.name; }),
        steps_(s.steps, [](const Step& t) -> std::string_view { return t.name; }) {}

  std::string Run() {
    Line("schedule {} {}", text_form::kVersion, Quoted(s_.name));
    for (const PoolUse& p : s_.pools) {
      Line("pool {} {} budget={}", Quoted(p.name), Name(p.allocator), p.budget.value());
    }
    for (const std::string& r : s_.resources) Line("resource {}", Quoted(r));
    for (const Queue& q : s_.queues) Line("queue {}", Quoted(q.name));
    for (const Issuer& i : s_.issuers) Line("issuer {} {}", Quoted(i.name), Name(i.kind));
    for (const std::string& f : s_.files) Line("file {}", Quoted(f));
    for (const Buffer& b : s_.buffers) DumpBuffer(b);
    for (const Kernel& k : s_.kernels) DumpKernel(k);
    for (const Phase& p : s_.phases) DumpPhase(p);
    return std::move(out_);
  }

 private:
  template <class... Args>
  void Put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    Put(format, std::forward<Args>(args)...);
    out_ += '\n';
  }
  void Flag(bool on, const char* word) {
    if (on) Put(" {}", word);
  }
  void Number(std::int64_t value, const char* key, std::int64_t otherwise = 0) {
    if (value != otherwise) Put(" {}={}", key, value);
  }

  void DumpBuffer(const Buffer& b) {
    Put("buffer {} {} {}", Quoted(b.name), Name(b.kind), Affine(b.bytes));
    const bool part = b.parent >= 0 && b.parent < static_cast<BufferId>(s_.buffers.size());
    if (!part || s_.buffers[b.parent].pool != b.pool) Put(" pool={}", pools_.Ref(b.pool));
    if (b.parent != -1) Put(" in={}", buffers_.Ref(b.parent));
    if (b.parent != -1 || b.offset != Bytes(0)) Put(" at={}", b.offset.value());
    Flag(b.pinned, "pinned");
    Flag(b.initial, "initial");
    if (b.file != -1) Put(" file={}", files_.Ref(b.file));
    Number(b.file_offset, "file_offset");
    out_ += '\n';
  }

  void DumpKernel(const Kernel& k) {
    Put("kernel {} {} {}", Quoted(k.name), Name(k.kind), Name(k.dtype));
    if (k.from_dtype != Kernel().from_dtype) Put(" from={}", Name(k.from_dtype));
    if (k.function != Function::kNone) Put(" function={}", Name(k.function));
    Number(k.rows, "rows");
    Number(k.n, "n");
    Number(k.k, "k");
    Number(k.row_begin, "row_begin");
    Number(k.row_end, "row_end");
    Flag(k.accumulate, "accumulate");
    Flag(k.has_bias, "bias");
    Number(k.batch, "batch", 1);
    Number(k.tokens, "tokens");
    if (k.past != 0 || k.past_step != 0) Put(" past={}", Affine(AffineBytes(k.past, k.past_step)));
    Number(k.heads, "heads");
    Number(k.kv_heads, "kv_heads");
    Number(k.head_dim, "head_dim");
    Number(k.window, "window");
    if (k.eps != 0) Put(" eps={}", k.eps);
    if (k.flops != AffineFlops()) Put(" flops={}", Affine(k.flops));
    if (k.bytes != AffineBytes()) Put(" bytes={}", Affine(k.bytes));
    if (k.host_bytes != AffineBytes()) Put(" host_bytes={}", Affine(k.host_bytes));
    out_ += '\n';
  }

  void DumpPhase(const Phase& p) {
    Put("phase {}", Quoted(p.name));
    Number(p.iterations, "iterations");
    Flag(p.captured, "captured");
    out_ += '\n';
    for (const RequiredOp& op : p.required) {
      Put("requires {}", Quoted(op.name));
      Number(op.ranks, "ranks", 1);
      Number(op.micro_batches, "micro_batches", 1);
      Number(op.tiles, "tiles", 1);
      out_ += '\n';
    }
    const Names ops(p.required, [](const RequiredOp& op) -> std::string_view { return op.name; });
    DumpSection("prologue", p.prologue, ops);
    DumpSection("body", p.body, ops);
    DumpSection("epilogue", p.epilogue, ops);
  }

  void DumpSection(const char* heading, const Section& section, const Names& ops) {
    if (section.begin == section.end && section.passes == 0) return;
    Put("{}", heading);
    Number(section.passes, "passes");
    out_ += '\n';
    const auto size = static_cast<StepId>(s_.steps.size());
    for (StepId id = std::max(section.begin, 0); id < std::min(section.end, size); ++id) DumpStep(id, ops);
  }

  std::string Ref(StepRef ref) const {
    std::string out = steps_.Ref(ref.step);
    if (ref.back != 0) out += fmt::format("[{}]", -static_cast<std::int64_t>(ref.back));
    return out;
  }

  std::string Slices(const std::vector<Slice>& slices) const {
    std::string out;
    for (const Slice& slice : slices) {
      if (!out.empty()) out += ',';
      out += buffers_.Ref(slice.buffer);
      const bool known = slice.buffer >= 0 && slice.buffer < static_cast<BufferId>(s_.buffers.size());
      if (known && slice.offset == AffineBytes() && slice.bytes == s_.buffers[slice.buffer].bytes) continue;
      out += fmt::format("[{}@{}]", Affine(slice.bytes), Affine(slice.offset));
    }
    return out.empty() ? "-" : out;
  }

  // What the kind is about stands after it; anything else that is set follows as key=value.
  void DumpSubject(const Step& t) {
    const bool buffer = t.kind == StepKind::kAllocate || t.kind == StepKind::kFree || t.kind == StepKind::kRecordStream;
    const bool pool = t.kind == StepKind::kEmptyCache;
    const bool target = t.kind == StepKind::kWait;
    const bool kernel = t.kind == StepKind::kCompute;
    if (buffer) Put(" {}", buffers_.Ref(t.buffer));
    if (pool) Put(" {}", pools_.Ref(t.pool));
    if (target) Put(" {}", Ref(t.target));
    if (kernel) Put(" {}", kernels_.Ref(t.kernel));
    if (!t.reads.empty() || !t.writes.empty()) Put(" {} -> {}", Slices(t.reads), Slices(t.writes));
    if (!buffer && t.buffer != -1) Put(" buffer={}", buffers_.Ref(t.buffer));
    if (!pool && t.pool != -1) Put(" pool={}", pools_.Ref(t.pool));
    if (!target && t.target != StepRef()) Put(" target={}", Ref(t.target));
    if (!kernel && t.kernel != -1) Put(" kernel={}", kernels_.Ref(t.kernel));
  }

  void DumpStep(StepId id, const Names& ops) {
    const Step& t = s_.steps[id];
    Put("  {}: {}", steps_.Ref(id), Name(t.kind));
    DumpSubject(t);
    if (t.queue != -1) Put(" on={}", queues_.Ref(t.queue));
    std::string uses;
    int holes = 0;
    for (const std::int16_t r : t.resources) {
      if (r == -1) {
        ++holes;
        continue;
      }
      for (; holes > 0; --holes) uses += uses.empty() ? "-" : ",-";
      uses += (uses.empty() ? "" : ",") + resources_.Ref(r);
    }
    if (!uses.empty()) Put(" uses={}", uses);
    if (t.issuer != 0) Put(" by={}", issuers_.Ref(t.issuer));
    Flag(t.blocking, "blocking");
    Flag(t.pageable, "pageable");
    for (std::size_t i = 0; i < t.after.size(); ++i) Put("{}{}", i == 0 ? " after=" : ",", Ref(t.after[i]));
    if (t.instance.op != -1) Put(" op={}", ops.Ref(t.instance.op));
    Number(t.instance.pass, "pass");
    Number(t.instance.rank, "rank");
    Number(t.instance.micro_batch, "micro_batch");
    Number(t.instance.tile, "tile");
    Number(t.group, "group", -1);
    if (t.expected_bytes) Put(" expected={}", Affine(*t.expected_bytes));
    if (t.fixed) Put(" for={}", Duration(*t.fixed));
    out_ += '\n';
  }

  const Schedule& s_;
  Names pools_, resources_, queues_, issuers_, files_, buffers_, kernels_, steps_;
  std::string out_;
};

}  // namespace

std::string Dump(const Schedule& schedule) { return Dumper(schedule).Run(); }

}  // namespace stowage
