// For the .cc files of this folder only: the one way JSON is written here, and what several reports have.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "reports/plan_report.h"
#include "sim/timeline/timeline.h"

namespace stowage {

nlohmann::ordered_json TimelineMembers(const Timeline& timeline);  // as timeline_json.h describes them
nlohmann::ordered_json ModelMembers(const ModelLine& model);       // as plan_json.h describes "model"
nlohmann::ordered_json RequestMembers(const Request& request);     // "request", less "basis"

// Members in insertion order, two spaces, a newline at the end. Bytes that are no UTF-8 become U+FFFD instead of an
// exception: names come from files.
std::string DumpJson(const nlohmann::ordered_json& json);

}  // namespace stowage
