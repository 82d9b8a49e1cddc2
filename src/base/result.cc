#include "base/result.h"

#include <cstdio>
#include <cstring>

namespace livecare {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
      return "invalid-input";
    case ErrorCode::not_found:
      return "not-found";
    case ErrorCode::io:
      return "io";
    case ErrorCode::permission:
      return "permission";
    case ErrorCode::refused:
      return "refused";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::timed_out:
      return "timed-out";
    case ErrorCode::process_died:
      return "process-died";
    case ErrorCode::untrusted:
      return "untrusted";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

std::string Error::text() const {
  return object.empty() ? message : object + ": " + message;
}

Error errno_error(std::string_view object, std::string_view action, int saved_errno) {
  ErrorCode code = ErrorCode::io;
  if (saved_errno == ENOENT) code = ErrorCode::not_found;
  if (saved_errno == EPERM || saved_errno == EACCES) code = ErrorCode::permission;
  if (saved_errno == ESRCH) code = ErrorCode::process_died;
  return make_error(code, object, "{}: {}", action, std::strerror(saved_errno));
}

void panic(std::string_view file, int line, std::string_view what) {
  fmt::print(stderr, "livecare: internal error at {}:{}: {}\n", file, line, what);
  std::abort();
}

}  // namespace livecare
