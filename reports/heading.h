// For the .cc files of this folder only: the lines that say what a report is about.
#pragma once

#include <string>

#include "reports/plan_report.h"
#include "reports/style.h"

namespace stowage {

// Model, source, notes, request and machine, a line each; lines are wrapped at 100 columns.
std::string HeadingText(const ModelLine& model, const Request& request, const std::string& machine, const Style& style);

std::string RequestText(const Request& request);  // "batch 1, prompt 512, 128 new tokens, nf4, cache none"

}  // namespace stowage
