// What a front end asks of libcare-server, and the lines that come back (docs/operations.md, "The
// server's protocol"). Both ends are in this room and installed together, so there is no version.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "agent/json.h"
#include "base/result.h"
#include "engine/engine.h"

namespace livecare::agent {

inline constexpr uint64_t request_bytes_max = 16 << 20;

enum class Operation { patch, unpatch, info, list };
std::string_view to_string(Operation operation);

struct Request {
  Operation operation = Operation::info;
  bool all = false;  // every process; pids is ignored
  std::vector<pid_t> pids;
  bool may_vanish = false;  // a process that is gone is no failure (always so with all)
  std::vector<std::string> patch_files;
  std::vector<std::string> build_ids;  // unpatch: only these
  std::vector<std::string> key_files;  // trusted for this request beside the ring
  std::string root;                    // where the ring lies
  bool verbose = false;                // the server logs what it does
  engine::Limits limits;
};

std::string to_text(const Request& request);
Result<Request> parse_request(std::string_view text);

Json to_json(const engine::ProcessReport& report);
Json to_json(const Error& error);
Error error_from_json(const Json& value);

}  // namespace livecare::agent
