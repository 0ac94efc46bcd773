#include "planner/base/result.h"

namespace stowage {

int ExitCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInfeasible:
    case ErrorCode::kOutOfMemory:
      return 1;
    case ErrorCode::kInvalidInput:
      return 2;
    case ErrorCode::kIo:
    case ErrorCode::kDevice:
    case ErrorCode::kInternal:
      return 3;
  }
  return 3;
}

std::string_view Name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidInput:
      return "invalid input";
    case ErrorCode::kInfeasible:
      return "infeasible";
    case ErrorCode::kOutOfMemory:
      return "out of memory";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kDevice:
      return "device";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

}  // namespace stowage
