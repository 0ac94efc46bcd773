#include "reports/simulation_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "reports/activity.h"
#include "reports/compare_report.h"
#include "reports/html_page.h"
#include "reports/simulation_json.h"
#include "reports/simulation_text.h"
#include "reports/sweep_report.h"
#include "reports/toy_simulation.h"
#include "reports/trace_json.h"

namespace stowage {
namespace {

TEST(Activity, ALaneIsTheShareOfEachBinThatAResourceWorked) {
  const SimulationReport r = ToySimulation();
  const std::vector<Occupancy> lanes = OccupancyOf(r.schedule, r.timeline, {Seconds(0), Seconds(8)}, 4);
  ASSERT_EQ(lanes.size(), 3u);
  EXPECT_EQ(lanes[0].resource, "disk0");
  EXPECT_EQ(lanes[0].busy, (std::vector<double>{1, 0, 0, 0}));
  EXPECT_EQ(lanes[1].resource, "gpu0.h2d");
  EXPECT_EQ(lanes[1].busy, (std::vector<double>{0.5, 0.5, 0.5, 0.25}));
  EXPECT_EQ(lanes[2].busy, (std::vector<double>{0, 0, 1, 0.5}));
}

TEST(Activity, OverlappingJobsOfASharedResourceCountOnce) {
  SimulationReport r = ToySimulation();
  r.timeline.spans.push_back({r.timeline.spans[0].step, 0, Seconds(0), Seconds(0.5), Seconds(3)});
  EXPECT_EQ(OccupancyOf(r.schedule, r.timeline, {Seconds(0), Seconds(4)}, 4)[0].busy,
            (std::vector<double>{1, 1, 1, 0}));
}

TEST(Activity, AStretchCutsWhatIsOutsideOfIt) {
  const SimulationReport r = ToySimulation();
  EXPECT_EQ(OccupancyOf(r.schedule, r.timeline, {Seconds(4.25), Seconds(5.25)}, 2)[1].busy,
            (std::vector<double>{0.5, 0.5}));
}

TEST(Activity, AMemoryBinIsTheHighestUseInIt) {
  const SimulationReport r = ToySimulation();
  const std::vector<Bytes> bins = MemoryBins(r.timeline.pools[0], {Seconds(0), Seconds(8)}, 4);
  EXPECT_EQ(bins, (std::vector<Bytes>{Bytes(700), Bytes(800), Bytes(800), Bytes(800)}));
}

TEST(Activity, FilesArriveOneAfterTheOther) {
  const SimulationReport r = ToySimulation();
  const std::vector<Arrival> files = ArrivalsOf(r.schedule, r.timeline, {Seconds(0), Seconds(4)}, 4);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].file, "shards/model-00001-of-00002.safetensors");
  EXPECT_EQ(files[1].bytes, Bytes(300));
  EXPECT_EQ(files[1].first, Seconds(1));
  EXPECT_EQ(files[1].last, Seconds(2));
  EXPECT_EQ(files[0].so_far, (std::vector<Bytes>{Bytes(0), Bytes(400), Bytes(400), Bytes(400)}));
}

TEST(SimulationText, IsTheWholeScreen) {
  EXPECT_EQ(SimulationText(ToySimulation(), {.width = 60}),
            R"(toy (llama): 350 parameters, 2 layers, 700 B of bf16 weights, 8 B of KV cache a token
source: a test
request: batch 1, prompt 4, 4 new tokens
machine: a card of 1 kB
strategy: ring:100

pool   peak   budget    used  reached in
gpu0  800 B  1.00 kB  80.0 %  decode, allocate ring
  gpu0: weights 700 B, staging 100 B; largest: weights 700 B, ring 100 B

phase   passes    time  a pass  tokens/s     low    high
load         0  3.00 s       -            1.00 s  5.00 s
decode       3  4.00 s  1.33 s      0.75  4.00 s  4.00 s
total           7.00 s                    5.00 s  9.00 s

resource    busy            idle  because
disk0     2.00 s  28.6 %  5.00 s  nothing left to do 5.00 s
gpu0.h2d  3.50 s  50.0 %  3.50 s  waiting for compute 3.50 s
gpu0.sm   3.00 s  42.9 %  4.00 s  waiting for a copy 4.00 s

memory and occupancy over time
gpu0        800 B |     ============#######################|
                  |-----###################################|
                0 |########################################|
disk0      28.6 % |###########:                            |
gpu0.h2d   50.0 % |     .###########.    .##+  :##:  +##.  |
gpu0.sm    42.9 % |                      .#################|
                   load 3.00 s      decode 4.00 s

what would help
- gpu0.h2d twice as fast: 3 s in place of 4 s after loading (25 % less).

- loading reads files from the disk: the page cache is cold (--page-cache warm: it is not).
- low and high: all assumed rates at an end of their intervals, which `inspect machine` and the page
  of --html list.
)");
}

TEST(TimelinePlot, HasEighthsOfARowInUnicode) {
  const SimulationReport r = ToySimulation();
  EXPECT_EQ(TimelinePlot(r.schedule, r.timeline, {.width = 40, .unicode = true}),
            R"(gpu0        800 B |  ▅▅▅▅▅▅████████████|
                  |▄▄██████████████████|
                0 |████████████████████|
disk0      28.6 % |█████▆              |
gpu0.h2d   50.0 % |  ▁█████▅  ▅▇ ▆▆ ▇▅ |
gpu0.sm    42.9 % |           ▅████████|
                   load    decode
)");
}

TEST(TimelinePlot, WithoutTimeThereIsNothingToDraw) {
  SimulationReport r = ToySimulation();
  r.timeline.length = Seconds(0);
  EXPECT_EQ(TimelinePlot(r.schedule, r.timeline, {}), "");
}

TEST(SimulationJson, HasTheTimelinesMembersAndTheRange) {
  const auto json = nlohmann::ordered_json::parse(SimulationJson(ToySimulation()));
  std::vector<std::string> names;
  for (const auto& [name, value] : json.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"model", "request", "strategy", "peak_bytes", "peak", "phases",
                                             "resources", "range", "would_help"}));
  EXPECT_EQ(json["range"].dump(),
            R"({"total_s":{"low":5.0,"expected":7.0,"high":9.0},)"
            R"("phases":{"load":{"low":1.0,"expected":3.0,"high":5.0},"decode":{"low":4.0,"expected":4.0,"high":4.0}},)"
            R"("peak_bytes":{"gpu0":{"low":800,"expected":800,"high":800}}})");
}

TEST(SimulationJson, OfExactRatesHasNoRange) {
  SimulationReport r = ToySimulation();
  r.low.reset();
  r.high.reset();
  EXPECT_FALSE(nlohmann::json::parse(SimulationJson(r)).contains("range"));
  EXPECT_EQ(SimulationText(r, {}).find("low"), std::string::npos);
}

TEST(SimulationText, SaysHowTorchsAllocatorWasSetWhereThereIsOne) {
  SimulationReport r = ToySimulation();
  r.machine.torch_allocator = "expandable_segments:True";
  const std::string note = "- torch: PYTORCH_ALLOC_CONF is expandable_segments:True\n";
  EXPECT_EQ(SimulationText(r, {}).find(note), std::string::npos);
  r.timeline.torch.emplace();
  EXPECT_NE(SimulationText(r, {}).find(note), std::string::npos);
}

CompareReport Comparison() {
  const SimulationReport r = ToySimulation();
  CompareReport c{.model = r.model, .request = r.request, .machine = r.machine.name, .strategies = {}};
  c.strategies.push_back({"ring:100", "native", "", r.timeline, r.low, r.high});
  c.strategies.push_back({"slow", "torch", "", r.timeline, std::nullopt, std::nullopt});
  c.strategies[1].timeline->pools[0].peak.bytes = Bytes(300);
  c.strategies[1].timeline->phases[1].seconds = Seconds(40);
  c.strategies[1].timeline->length = Seconds(43);
  c.strategies.push_back({"resident", "native", "it needs 2 kB of gpu0", std::nullopt, std::nullopt, std::nullopt});
  return c;
}

TEST(CompareText, MarksTheBestOfEachColumn) {
  EXPECT_EQ(CompareText(Comparison(), false),
            R"(toy (llama): 350 parameters, 2 layers, 700 B of bf16 weights, 8 B of KV cache a token
source: a test
request: batch 1, prompt 4, 4 new tokens
machine: a card of 1 kB

strategy   gpu0     load    decode   per token     total   total, low to high
ring:100  800 B   3.00 s*   4.00 s*     1.33 s*   7.00 s*    5.00 s to 9.00 s
slow      300 B*  3.00 s*  40.00 s     13.33 s   43.00 s
resident      -        -         -           -         -
* the best of its column
- resident: it needs 2 kB of gpu0.
)");
}

TEST(CompareJson, NamesTheColumnsInWhichAStrategyIsBest) {
  const auto json = nlohmann::json::parse(CompareJson(Comparison()));
  EXPECT_EQ(json["strategies"][0]["best"].dump(), R"(["load","decode","per token","total"])");
  EXPECT_EQ(json["strategies"][0]["range_s"].dump(), R"({"high":9.0,"low":5.0})");
  EXPECT_EQ(json["strategies"][1]["best"].dump(), R"(["gpu0","load"])");
  EXPECT_EQ(json["strategies"][1]["phases"][1]["seconds"], 40.0);
  EXPECT_EQ(json["strategies"][2]["why_not"], "it needs 2 kB of gpu0");
  EXPECT_FALSE(json["strategies"][2].contains("phases"));
}

SweepReport Budgets() {
  const SimulationReport r = ToySimulation();
  SweepReport s{.model = r.model, .request = r.request, .machine = r.machine.name, .pool = "gpu0"};
  s.budgets = {Bytes(500), Bytes(1000)};
  s.points = {{Bytes(500), "ring:50", Bytes(500), Bytes(300), Seconds(10)},
              {Bytes(500), "slow", Bytes(400), Bytes(700), Seconds(100)},
              {Bytes(1000), "resident", Bytes(900), Bytes(0), Seconds(1)},
              {Bytes(1000), "slow", Bytes(450), Bytes(700), Seconds(100)}};
  s.front = {0, 1, 2};
  return s;
}

TEST(SweepText, IsTheFrontAndItsPlot) {
  EXPECT_EQ(SweepText(Budgets(), {.width = 60}),
            R"(toy (llama): 350 parameters, 2 layers, 700 B of bf16 weights, 8 B of KV cache a token
source: a test
request: batch 1, prompt 4, 4 new tokens
machine: a card of 1 kB
gpu0 from 500 B to 1.00 kB, 2 budgets

no other of 4 results is as good in GPU memory, time and host memory
gpu0 budget   gpu0   host     time  strategy
      500 B  400 B  700 B  100.0 s  slow
      500 B  500 B  300 B  10.00 s  ring:50
    1.00 kB  900 B    0 B   1.00 s  resident

100.0 s |B    .
        |
        |
        |
        |
        |          A
        |
        |
        |
        |
        |
 1.00 s |                                                  C
         400 B                                         900 B
time, logarithmic, over peak of gpu0: A ring, B slow, C resident; . beaten by another
)");
}

TEST(SweepText, SaysWhenNothingFits) {
  SweepReport s = Budgets();
  s.points.clear();
  s.front.clear();
  EXPECT_NE(SweepText(s, {}).find("gpu0 from 500 B to 1.00 kB, 2 budgets\n\nnothing fits\n"), std::string::npos);
}

TEST(SweepJson, MarksThePointsOfTheFront) {
  const auto json = nlohmann::ordered_json::parse(SweepJson(Budgets()));
  EXPECT_EQ(json["budgets"].dump(), "[500,1000]");
  EXPECT_EQ(
      json["points"][0].dump(),
      R"({"budget_bytes":500,"strategy":"ring:50","gpu_bytes":500,"host_bytes":300,"seconds":10.0,"pareto":true})");
  EXPECT_EQ(json["points"][3]["pareto"], false);
}

TEST(TraceJson, HasATrackPerQueueAndResourceAndACounterPerPool) {
  EXPECT_EQ(TraceJson(ToySimulation().schedule, ToySimulation().timeline), R"({"traceEvents":[
{"ph":"M","pid":1,"name":"process_name","args":{"name":"phases"}},
{"ph":"M","pid":1,"name":"process_sort_index","args":{"sort_index":1}},
{"ph":"M","pid":2,"name":"process_name","args":{"name":"queues"}},
{"ph":"M","pid":2,"name":"process_sort_index","args":{"sort_index":2}},
{"ph":"M","pid":3,"name":"process_name","args":{"name":"resources"}},
{"ph":"M","pid":3,"name":"process_sort_index","args":{"sort_index":3}},
{"ph":"M","pid":4,"name":"process_name","args":{"name":"memory"}},
{"ph":"M","pid":4,"name":"process_sort_index","args":{"sort_index":4}},
{"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"phases"}},
{"ph":"M","pid":2,"tid":0,"name":"thread_name","args":{"name":"disk0/0"}},
{"ph":"M","pid":2,"tid":1,"name":"thread_name","args":{"name":"gpu0/in"}},
{"ph":"M","pid":2,"tid":2,"name":"thread_name","args":{"name":"gpu0/compute"}},
{"ph":"M","pid":3,"tid":0,"name":"thread_name","args":{"name":"disk0"}},
{"ph":"M","pid":3,"tid":1,"name":"thread_name","args":{"name":"gpu0.h2d"}},
{"ph":"M","pid":3,"tid":2,"name":"thread_name","args":{"name":"gpu0.sm"}},
{"ph":"X","pid":1,"tid":0,"ts":0.000,"dur":3000000.000,"cat":"phase","name":"load","args":{"passes":0}},
{"ph":"X","pid":1,"tid":0,"ts":3000000.000,"dur":4000000.000,"cat":"phase","name":"decode","args":{"passes":3}},
{"ph":"C","pid":4,"tid":0,"ts":0.000,"name":"gpu0","args":{"bytes":400}},
{"ph":"C","pid":4,"tid":0,"ts":1000000.000,"name":"gpu0","args":{"bytes":700}},
{"ph":"C","pid":4,"tid":0,"ts":3000000.000,"name":"gpu0","args":{"bytes":800}},
{"ph":"X","pid":2,"tid":0,"ts":0.000,"dur":1000000.000,"cat":"read","name":"read weights","args":{}},
{"ph":"X","pid":3,"tid":0,"ts":0.000,"dur":1000000.000,"cat":"read","name":"read weights","args":{}},
{"ph":"X","pid":2,"tid":0,"ts":1000000.000,"dur":1000000.000,"cat":"read","name":"read weights","args":{}},
{"ph":"X","pid":3,"tid":0,"ts":1000000.000,"dur":1000000.000,"cat":"read","name":"read weights","args":{}},
{"ph":"X","pid":2,"tid":1,"ts":1000000.000,"dur":1000000.000,"cat":"copy","name":"copy weights","args":{}},
{"ph":"X","pid":3,"tid":1,"ts":1000000.000,"dur":1000000.000,"cat":"copy","name":"copy weights","args":{}},
{"ph":"X","pid":2,"tid":1,"ts":2000000.000,"dur":1000000.000,"cat":"copy","name":"copy weights","args":{}},
{"ph":"X","pid":3,"tid":1,"ts":2000000.000,"dur":1000000.000,"cat":"copy","name":"copy weights","args":{}},
{"ph":"X","pid":2,"tid":1,"ts":4000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":0}},
{"ph":"X","pid":3,"tid":1,"ts":4000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":0}},
{"ph":"X","pid":2,"tid":2,"ts":4000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":0}},
{"ph":"X","pid":3,"tid":2,"ts":4000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":0}},
{"ph":"X","pid":2,"tid":1,"ts":5000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":1}},
{"ph":"X","pid":3,"tid":1,"ts":5000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":1}},
{"ph":"X","pid":2,"tid":2,"ts":5000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":1}},
{"ph":"X","pid":3,"tid":2,"ts":5000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":1}},
{"ph":"X","pid":2,"tid":1,"ts":6000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":2}},
{"ph":"X","pid":3,"tid":1,"ts":6000000.000,"dur":500000.000,"cat":"copy","name":"copy <b>","args":{"iteration":2}},
{"ph":"X","pid":2,"tid":2,"ts":6000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":2}},
{"ph":"X","pid":3,"tid":2,"ts":6000000.000,"dur":1000000.000,"cat":"compute","name":"compute mm","args":{"iteration":2}}
],
"displayTimeUnit":"ms",
"otherData":{"schedule":"toy","note":"every step is a slice"}}
)");
}

TEST(TraceJson, OfALongRunShowsTheMiddleOfABodyAnIterationAtATime) {
  SimulationReport r = ToySimulation();
  r.schedule.phases[1].iterations = 9;
  const StepSpan copy = r.timeline.spans[4], multiply = r.timeline.spans[5];
  for (int i = 3; i < 9; ++i) {
    r.timeline.spans.push_back({copy.step, i, Seconds(4 + i), Seconds(4 + i), Seconds(4.5 + i)});
    r.timeline.spans.push_back({multiply.step, i, Seconds(4 + i), Seconds(4 + i), Seconds(5 + i)});
  }
  const auto json = nlohmann::json::parse(TraceJson(r.schedule, r.timeline, {.most_slices = 10}));
  int whole = 0, steps = 0;
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] != "X" || event["cat"] == "phase") continue;
    (event["cat"] == "iteration" ? whole : steps) += 1;
  }
  EXPECT_EQ(whole, 3 * 4);          // iterations 3, 4, 5 on two queues and two resources
  EXPECT_EQ(steps, 4 * 2 + 6 * 4);  // the load phase, and the other six
  EXPECT_EQ(json["otherData"]["note"],
            "iterations between the first and last three of a phase are one slice per track");
}

TEST(HtmlPage, HoldsItsDataAndNothingOfTheNetwork) {
  const std::string page = HtmlPage(ToySimulation());
  for (const char* outside : {"http://", "https://", "src=", "@import", "url("}) {
    std::size_t at = page.find(outside);
    if (std::string(outside) == "http://" && at != std::string::npos) {  // the name of SVG's namespace
      EXPECT_EQ(page.substr(at, 26), "http://www.w3.org/2000/svg");
      at = page.find(outside, at + 1);
    }
    EXPECT_EQ(at, std::string::npos) << outside;
  }
  EXPECT_NE(page.find("<title>toy, ring:100</title>"), std::string::npos);
  EXPECT_LT(page.size(), 200'000u);
}

TEST(HtmlPage, NamesCannotBecomeMarkup) {
  SimulationReport r = ToySimulation();
  r.model.name = "</title><script>alert(1)</script>";
  r.schedule.files[0] = "<script>alert(2)";
  const std::string page = HtmlPage(r);
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)"), std::string::npos);
  EXPECT_NE(page.find("\\u003cscript>alert(2)"), std::string::npos);
}

}  // namespace
}  // namespace stowage
