#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"

namespace stowage {
namespace {

constexpr std::string_view kSmall = R"(schedule 1 "a toy"
pool gpu0 arena budget=4096
pool host pageable budget=0
resource gpu0.sm
resource gpu0.h2d
queue gpu0/compute
queue gpu0/in
issuer main native
issuer "loader 2" torch
file model.safetensors
buffer host_w0 weights 1024 pool=host pinned initial file=model.safetensors file_offset=96
buffer arena weights 4096 pool=gpu0
buffer w0 weights 1024 in=arena at=2048
buffer kv kv 1024+8i pool=gpu0
buffer w0 weights 8 in=arena at=0
kernel mm linear bf16 rows=1 n=16 k=32 row_end=16 past=512+1i eps=1e-05 flops=1e+16+2.5i bytes=1120
phase decode iterations=3 captured
requires mm tiles=2
prologue
  @0: allocate arena
body passes=1
  fetch: copy host_w0 -> w0@2 on=gpu0/in uses=gpu0.h2d,-,gpu0.sm by="loader 2" blocking pageable after=mm0[-1] expected=512 for=2.5ms
  mm0: compute mm w0@4,kv[512+8i@8] -> kv on=gpu0/compute uses=gpu0.sm after=fetch op=mm tile=1
  @3: wait mm0[-1]
epilogue
  twice@4: free arena for=30us
  twice@5: empty_cache gpu0
)";

std::string ErrorOf(std::string_view text) {
  const auto parsed = ParseSchedule(text);
  return parsed ? "" : parsed.error().message;
}

std::string With(std::string_view from, std::string_view to) {
  std::string text(kSmall);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ScheduleText, IsReadAndWrittenBackUnchanged) {
  const auto parsed = ParseSchedule(kSmall);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(Dump(*parsed), kSmall);
  EXPECT_EQ(parsed->steps[1].after, (std::vector<StepRef>{{2, 1}}));
  EXPECT_EQ(parsed->steps[1].resources, (std::array<std::int16_t, 3>{1, -1, 0}));
  EXPECT_EQ(parsed->steps[1].fixed, Seconds(2.5e-3));
  EXPECT_EQ(parsed->steps[2].reads[1].bytes, AffineBytes(512, 8));
  EXPECT_EQ(parsed->phases[0].body, (Section{1, 4, 1}));
}

TEST(ScheduleText, SkipsCommentsAndBlankLines) {
  const auto plain = ParseSchedule(kSmall);
  const auto commented = ParseSchedule(With("phase", "\n# expect: length=2ms\n   # and more\nphase"));
  ASSERT_TRUE(plain && commented);
  EXPECT_EQ(*plain, *commented);
}

TEST(ScheduleText, ErrorsNameTheLineTheTextAndWhatWasExpected) {
  EXPECT_EQ(ErrorOf(""), "line 1: '': expected 'schedule 1 NAME'");
  EXPECT_EQ(ErrorOf(With("schedule 1", "schedule 2")),
            "line 1: '2': expected version 1, the only one this program reads");
  EXPECT_EQ(ErrorOf(With("arena budget", "areena budget")),
            "line 2: 'areena': expected arena, torch_caching or pageable");
  EXPECT_EQ(ErrorOf(With("on=gpu0/in ", "on=gpu0/inn ")),
            "line 22: 'gpu0/inn': expected a queue (known, and known once)");
  EXPECT_EQ(ErrorOf(With("-> w0@2", "-> w0")), "line 22: 'w0': expected a buffer (known, and known once)");
  EXPECT_EQ(ErrorOf(With("-> w0@2", "-> w0@3")), "line 22: 'w0@3': expected a buffer with that index");
  EXPECT_EQ(ErrorOf(With("w0@4,kv[", "w0@4,-,kv[")),
            "line 23: '-,kv[512+8i@8]': expected a buffer ('-' stands alone, for none)");
  EXPECT_EQ(ErrorOf(With("@3: wait", "@9: wait")), "line 24: '@9': expected index 3");
  EXPECT_EQ(ErrorOf(With("blocking", "blocking blocking")), "line 22: 'blocking': expected each attribute once");
  EXPECT_EQ(ErrorOf(With("for=2.5ms", "for=2.5")), "line 22: '2.5': expected a duration, as 2s, 2ms, 2us or 2ns");
  EXPECT_EQ(ErrorOf(With("budget=4096", "budget=99999999999999999999")),
            "line 2: '99999999999999999999': expected an integer of at most 64 bits");
  EXPECT_EQ(ErrorOf(With("\"a toy\"", "\"a toy")), "line 1: 'schedule 1 \"a toy': expected a closing quote");
}

TEST(ScheduleText, SurvivesEveryTruncationAndEveryChangedByte) {
  for (std::size_t i = 0; i < kSmall.size(); ++i) {
    (void)ParseSchedule(kSmall.substr(0, i));
    for (const char c : {'\0', '"', '@', '[', '-', '9', '\\', '\n', ' ', ':'}) {
      std::string text(kSmall);
      text[i] = c;
      const auto parsed = ParseSchedule(text);
      if (!parsed) continue;
      const auto again = ParseSchedule(Dump(*parsed));
      ASSERT_TRUE(again) << again.error().message << "\n" << text;
      EXPECT_EQ(*again, *parsed);
    }
  }
}

// Any schedule with indices in range and consecutive sections, sense or not.
class AnySchedule {
 public:
  explicit AnySchedule(unsigned seed) : random_(seed) {}

  Schedule Make() {
    Schedule s;
    s.name = Text();
    for (auto n = Below(3); n-- > 0;) s.pools.push_back({Text(), Allocator(Below(3)), Bytes(Number())});
    for (auto n = Below(4); n-- > 0;) s.resources.push_back(Text());
    for (auto n = Below(4); n-- > 0;) s.queues.push_back({Text()});
    for (auto n = Below(3); n-- > 0;) s.issuers.push_back({Text(), IssuerKind(Below(2))});
    for (auto n = Below(3); n-- > 0;) s.files.push_back(Text());
    for (auto n = Below(8); n-- > 0;) s.buffers.push_back(MakeBuffer(s));
    for (auto n = Below(4); n-- > 0;) s.kernels.push_back(MakeKernel());
    const auto phases = Below(4);
    // Sizes first: a step may refer to later steps.
    std::vector<std::array<StepId, 3>> sizes(phases);
    StepId total = 0;
    for (auto& three : sizes) {
      for (StepId& n : three) total += n = Below(4);
    }
    for (const auto& three : sizes) {
      Phase p;
      p.name = Text();
      p.iterations = Number();
      p.captured = Below(2) == 0;
      for (auto n = Below(4); n-- > 0;) p.required.push_back({Text(), Short(), Short(), Short()});
      Section* sections[] = {&p.prologue, &p.body, &p.epilogue};
      for (int k = 0; k < 3; ++k) {
        sections[k]->begin = static_cast<StepId>(s.steps.size());
        for (StepId n = three[k]; n-- > 0;) s.steps.push_back(MakeStep(s, p, total));
        sections[k]->end = static_cast<StepId>(s.steps.size());
        if (Below(2) == 0) sections[k]->passes = static_cast<std::int32_t>(Number() % 1000);
      }
      s.phases.push_back(std::move(p));
    }
    return s;
  }

 private:
  std::int32_t Below(std::int32_t n) { return static_cast<std::int32_t>(random_() % static_cast<unsigned>(n)); }
  std::int32_t Index(std::size_t size) { return Below(static_cast<std::int32_t>(size) + 1) - 1; }  // -1: none
  std::int64_t Number() {
    const auto bits = static_cast<std::int64_t>((static_cast<std::uint64_t>(random_()) << 32) | random_());
    return Below(3) == 0 ? 0 : bits >> Below(64);
  }
  std::int16_t Short() { return static_cast<std::int16_t>(Number()); }
  AffineBytes Affine() { return {Number(), Below(2) == 0 ? 0 : Number()}; }
  double Real() {
    const double x = std::ldexp(static_cast<double>(Number()), Below(200) - 150);
    return Below(4) == 0 ? 0.001 * Below(100) : x;
  }
  std::string Text() {
    static const char* const kSome[] = {"",      "a", "b",    "w.0", "two words", "-", "->", "x[-1]",    "@3",
                                        "q\"\\", "#", "\n\t", "a=b", "a,b",       "é", "w:", "schedule", "wait"};
    return kSome[Below(18)];
  }
  Buffer MakeBuffer(const Schedule& s) {
    Buffer b;
    b.name = Text();
    b.parent = Index(s.buffers.size());
    b.pool = Below(2) == 0 && b.parent >= 0 ? s.buffers[b.parent].pool : Index(s.pools.size());
    b.kind = BufferKind(Below(7));
    b.bytes = Affine();
    b.offset = Bytes(Number());
    b.pinned = Below(2) == 0;
    b.initial = Below(2) == 0;
    b.file = Index(s.files.size());
    b.file_offset = Number();
    return b;
  }
  Kernel MakeKernel() {
    Kernel k;
    k.kind = KernelKind(Below(kKernelKinds));
    k.function = Function(Below(kFunctions));
    k.name = Text();
    k.dtype = DType(Below(12));
    k.from_dtype = DType(Below(12));
    for (std::int64_t* field : {&k.rows, &k.n, &k.k, &k.row_begin, &k.row_end, &k.batch, &k.tokens, &k.past,
                                &k.past_step, &k.heads, &k.kv_heads, &k.head_dim, &k.window}) {
      *field = Number();
    }
    k.accumulate = Below(2) == 0;
    k.has_bias = Below(2) == 0;
    k.eps = Real();
    k.flops = {Real(), Below(2) == 0 ? 0 : Real()};
    k.bytes = Affine();
    k.host_bytes = Affine();
    return k;
  }
  std::vector<Slice> Slices(const Schedule& s) {
    std::vector<Slice> slices;
    if (s.buffers.empty()) return slices;
    for (auto n = Below(4); n-- > 0;) {
      const BufferId b = Below(static_cast<std::int32_t>(s.buffers.size()));
      slices.push_back({b, Affine(), Below(2) == 0 ? s.buffers[b].bytes : Affine()});
    }
    return slices;
  }
  StepRef Ref(StepId total) { return {Below(total), Below(3) - 1}; }
  Step MakeStep(const Schedule& s, const Phase& p, StepId total) {
    Step t;
    t.kind = StepKind(Below(9));
    t.issuer = Index(s.issuers.size());
    t.blocking = Below(2) == 0;
    t.queue = Index(s.queues.size());
    for (std::int16_t& r : t.resources) r = static_cast<std::int16_t>(Index(s.resources.size()));
    t.pageable = Below(2) == 0;
    for (auto n = Below(3); n-- > 0;) t.after.push_back(Ref(total));
    t.reads = Slices(s);
    t.writes = Slices(s);
    t.kernel = Index(s.kernels.size());
    t.buffer = Index(s.buffers.size());
    t.pool = Index(s.pools.size());
    if (Below(2) == 0) t.target = Ref(total);
    t.group = Below(3) - 1;
    t.instance = {Index(p.required.size()), static_cast<std::int32_t>(Number()), Short(), Short(), Short()};
    if (Below(2) == 0) t.expected_bytes = Affine();
    if (Below(2) == 0) t.fixed = Seconds(Real());
    t.name = Text();
    return t;
  }

  std::mt19937 random_;
};

TEST(ScheduleText, GivesBackAnySchedule) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    const Schedule s = AnySchedule(seed).Make();
    const std::string text = Dump(s);
    const auto parsed = ParseSchedule(text);
    ASSERT_TRUE(parsed) << parsed.error().message << "\n" << text;
    ASSERT_EQ(*parsed, s) << text << "\nread back as\n" << Dump(*parsed);
  }
}

TEST(ScheduleText, GivesBackAnyDurationToTheLastBit) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const double bits = std::ldexp(static_cast<double>(random() >> 11), static_cast<int>(random() % 1000) - 700);
    const double decimal = static_cast<double>(random() % 1000) * std::pow(10.0, static_cast<int>(random() % 20) - 15);
    for (const double t : {bits, decimal}) {
      Schedule s;
      s.phases.resize(1);
      s.phases[0].body = s.phases[0].epilogue = {1, 1, 0};
      s.phases[0].prologue.end = 1;
      s.steps.resize(1);
      s.steps[0].fixed = Seconds(t);
      const auto parsed = ParseSchedule(Dump(s));
      ASSERT_TRUE(parsed) << parsed.error().message;
      ASSERT_EQ(parsed->steps[0].fixed->value(), t) << Dump(s);
    }
  }
}

}  // namespace
}  // namespace stowage
