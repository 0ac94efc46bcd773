// A module tree file as the peer tests write it, read into a Model: {"root": NODE} with NODE = {"class", "params":
// [{"name", "shape", "dtype", "id"}], "buffers": [{…, "persistent"}], "children": [[name, NODE], …],
// "same_module_object_as"}; "tied_groups" [[owner, alias, …], …] beside the root. For trees that our own scripts made: anything else is an error without a place.
#pragma once

#include <string_view>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> ReadPeerTree(std::string_view json);

}  // namespace stowage
