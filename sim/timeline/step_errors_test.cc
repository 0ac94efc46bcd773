#include "sim/timeline/step_errors.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

StepSpan Span(std::int32_t step, std::int64_t iteration, double start, double end) {
  return {step, iteration, Seconds(start), Seconds(start), Seconds(end)};
}

TEST(StepErrors, TheStepThatIsWrongMostComesFirstSummedOverItsIterations) {
  Timeline predicted;
  predicted.spans = {Span(0, 0, 0, 1), Span(1, 0, 1, 3), Span(2, 0, 3, 4), Span(0, 1, 4, 5), Span(1, 1, 5, 7)};
  Timeline measured;  // step 0 takes 1.25 each time, step 1 once 1 less, step 2 as predicted
  measured.spans = {Span(0, 0, 0, 1.25), Span(1, 0, 2, 3),  Span(2, 0, 5, 6),
                    Span(0, 1, 6, 7.25), Span(1, 1, 8, 10), Span(1, 2, 10, 99)};
  const std::vector<StepError> errors = FindStepErrors(predicted, measured);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0].step, 1);
  EXPECT_EQ(errors[0].executions, 2);
  EXPECT_EQ(errors[0].Difference().value(), -1);
  EXPECT_EQ(errors[1].step, 0);
  EXPECT_EQ(errors[1].predicted.value(), 2);
  EXPECT_EQ(errors[1].measured.value(), 2.5);
}

}  // namespace
}  // namespace stowage
