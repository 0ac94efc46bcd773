// Errors as values. Infeasible and out of memory are ordinary answers in a planner's search, so nothing here throws.
//
//   Result<Plan> ReadPlan(path);
//   STOWAGE_TRY(const Plan plan, ReadPlan(path));                          // pass the error up
//   return Error{ErrorCode::kInvalidInput, fmt::format("'{}' ...", name)}; // name the culprit, the value and the limit
//   return std::move(r).error().In(path);                                  // add the place, once per layer
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace stowage {

enum class ErrorCode { kInvalidInput, kInfeasible, kOutOfMemory, kIo, kDevice, kInternal };

// The exit code of a tool that ends with this error: 1 infeasible or out of memory, 2 bad input, 3 device, io or
// internal.
int ExitCode(ErrorCode code);
std::string_view Name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // one sentence: the culprit, the value, the limit

  Error In(std::string_view where) && { return {code, std::string(where) + ": " + message}; }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Undefined unless ok().
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  // Undefined if ok().
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;
inline Status OkStatus() { return Ok{}; }

}  // namespace stowage

#define STOWAGE_CAT_IMPL_(a, b) a##b
#define STOWAGE_CAT_(a, b) STOWAGE_CAT_IMPL_(a, b)
#define STOWAGE_TRY_IMPL_(tmp, decl, expr) \
  auto tmp = (expr);                       \
  if (!tmp) return std::move(tmp).error(); \
  decl = *std::move(tmp)
// STOWAGE_TRY(const auto x, F()): declares x from a Result or returns its error. Needs braces under `if`.
#define STOWAGE_TRY(decl, expr) STOWAGE_TRY_IMPL_(STOWAGE_CAT_(stowage_try_, __COUNTER__), decl, expr)
// STOWAGE_RETURN_IF_ERROR(F()): the same for a Status.
#define STOWAGE_RETURN_IF_ERROR(expr)                                       \
  do {                                                                      \
    if (auto status_ = (expr); !status_) return std::move(status_).error(); \
  } while (false)
