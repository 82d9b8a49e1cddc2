#include "agent/exit.h"

#include <cstdio>

namespace livecare::agent {

namespace {

KcarectlExit exit_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_input:
      return KcarectlExit::usage;
    case ErrorCode::untrusted:
      return KcarectlExit::untrusted;
    case ErrorCode::unsupported:
      return KcarectlExit::not_in_this_build;
    case ErrorCode::busy:
      return KcarectlExit::busy;
    default:
      return KcarectlExit::failed;
  }
}

}  // namespace

KcarectlExit complain(const Error& error) {
  fmt::print(stderr, "kcarectl: {}\n", error.text());
  return exit_of(error);
}

KcarectlExit complain(const std::vector<std::string>& failures) {
  for (const std::string& failure : failures) fmt::print(stderr, "kcarectl: {}\n", failure);
  return failures.empty() ? KcarectlExit::done : KcarectlExit::failed;
}

KcarectlExit complain_of_server(const Error& error) {
  KcarectlExit code = complain(error);
  bool is_server = error.code == ErrorCode::io || error.code == ErrorCode::not_found;
  return is_server ? KcarectlExit::unreachable : code;
}

Error bad_usage(std::string_view object, std::string_view problem) {
  return make_error(ErrorCode::invalid_input, object, "{}; see kcarectl --help", problem);
}

}  // namespace livecare::agent
