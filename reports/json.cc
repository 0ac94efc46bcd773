#include "reports/json.h"

#include <nlohmann/json.hpp>

namespace stowage {

std::string DumpJson(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage
