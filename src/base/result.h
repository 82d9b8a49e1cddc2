// What can fail returns Result<T>: a value, or an Error with a code, a sentence and the object's
// name. Exceptions do not cross a room.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace livecare {

enum class ErrorCode {
  invalid_input,  // bytes or arguments from outside that cannot be right
  not_found,
  io,           // the operating system said no; the message holds strerror
  permission,   // ptrace denied, not root, lockdown
  refused,      // we could, but it is not proved to be safe
  unsupported,  // a target that this build cannot handle (32-bit, static without ...)
  busy,         // somebody is in the way for now: a tracer, a thread in old code
  timed_out,
  process_died,  // a normal outcome for anything that touches another process
  untrusted,     // signature missing, wrong or by an unknown key
  conflict,      // state in memory or on disk contradicts the request
  internal,      // a bug of ours
};

std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string object;   // file, process, function: what it is about; may be empty
  std::string message;  // one sentence with the remedy, no trailing newline

  // "object: message", or the message alone.
  std::string text() const;
};

template <class... Args>
Error make_error(ErrorCode code, std::string_view object, fmt::format_string<Args...> format,
                 Args&&... args) {
  return Error{code, std::string(object), fmt::format(format, std::forward<Args>(args)...)};
}

// For an io error: appends strerror(saved_errno).
Error errno_error(std::string_view object, std::string_view action, int saved_errno);

// Ends the process with a message: only for broken invariants of our own.
[[noreturn]] void panic(std::string_view file, int line, std::string_view what);
#define LIVECARE_ASSERT(condition) \
  ((condition) ? void(0) : ::livecare::panic(__FILE__, __LINE__, #condition))

struct Unit {};

template <class T = Unit>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    LIVECARE_ASSERT(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    LIVECARE_ASSERT(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    LIVECARE_ASSERT(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    LIVECARE_ASSERT(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& take_error() {
    LIVECARE_ASSERT(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

using Status = Result<Unit>;
inline Status ok_status() {
  return Unit{};
}

// TRY(auto x, expression) binds the value or returns the error from the enclosing function.
#define LIVECARE_CONCAT2(a, b) a##b
#define LIVECARE_CONCAT(a, b) LIVECARE_CONCAT2(a, b)
#define TRY_IMPL(temporary, declaration, expression)  \
  auto temporary = (expression);                      \
  if (!temporary.ok()) return temporary.take_error(); \
  declaration = std::move(temporary).value()
#define TRY(declaration, expression) \
  TRY_IMPL(LIVECARE_CONCAT(result_, __LINE__), declaration, expression)
#define TRY_STATUS(expression)                                                   \
  do {                                                                           \
    if (auto status_ = (expression); !status_.ok()) return status_.take_error(); \
  } while (false)

}  // namespace livecare
