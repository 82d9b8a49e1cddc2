#include "agent/request.h"

#include <limits>

namespace livecare::agent {

namespace {

constexpr Operation operations[] = {Operation::patch, Operation::unpatch, Operation::info,
                                    Operation::list};
constexpr uint64_t limit_us_max = 3'600'000'000;

template <class... Args>
Error bad_request(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::invalid_input, "request", format, std::forward<Args>(args)...);
}

Status read_processes(const Json& json, Request& request) {
  const Json* pids = member(json, "pids");
  if (pids != nullptr && pids->is_string() && *pids == "all") {
    request.all = true;
    return ok_status();
  }
  if (pids == nullptr || !pids->is_array())
    return bad_request("pids is neither \"all\" nor a list of process IDs");
  for (const Json& pid : *pids) {
    if (!pid.is_number_unsigned() || pid.get<uint64_t>() == 0 ||
        pid.get<uint64_t>() > std::numeric_limits<pid_t>::max())
      return bad_request("{} is not a process ID", to_line(pid));
    request.pids.push_back(pid.get<pid_t>());
  }
  return ok_status();
}

Status read_limits(const Json& json, engine::Limits& limits) {
  const Json* given = member(json, "limits");
  if (given == nullptr) return ok_status();
  limits.leave_wait_us_max = number_at(*given, "leave_wait_us_max", limits.leave_wait_us_max);
  limits.stop_window_us_max = number_at(*given, "stop_window_us_max", limits.stop_window_us_max);
  limits.remote_call_us_max = number_at(*given, "remote_call_us_max", limits.remote_call_us_max);
  for (uint64_t limit :
       {limits.leave_wait_us_max, limits.stop_window_us_max, limits.remote_call_us_max})
    if (limit > limit_us_max) return bad_request("a limit is over {} us", limit_us_max);
  return ok_status();
}

}  // namespace

std::string_view to_string(Operation operation) {
  switch (operation) {
    case Operation::patch:
      return "patch";
    case Operation::unpatch:
      return "unpatch";
    case Operation::info:
      return "info";
    case Operation::list:
      return "list";
  }
  return "info";
}

std::string to_text(const Request& request) {
  Json json;
  json["op"] = to_string(request.operation);
  if (request.all)
    json["pids"] = "all";
  else
    json["pids"] = request.pids;
  json["may_vanish"] = request.may_vanish;
  json["patch_files"] = request.patch_files;
  json["build_ids"] = request.build_ids;
  json["key_files"] = request.key_files;
  json["root"] = request.root;
  json["verbose"] = request.verbose;
  json["limits"] = {{"leave_wait_us_max", request.limits.leave_wait_us_max},
                    {"stop_window_us_max", request.limits.stop_window_us_max},
                    {"remote_call_us_max", request.limits.remote_call_us_max}};
  return to_line(json);
}

Result<Request> parse_request(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return bad_request("is not a JSON object");
  Request request;
  std::string operation = text_at(json, "op");
  bool known = false;
  for (Operation candidate : operations)
    if (operation == to_string(candidate)) {
      request.operation = candidate;
      known = true;
    }
  if (!known) return bad_request("op \"{}\" is none of patch, unpatch, info, list", operation);
  TRY_STATUS(read_processes(json, request));
  TRY_STATUS(read_limits(json, request.limits));
  const Json* may_vanish = member(json, "may_vanish");
  request.may_vanish = request.all || (may_vanish != nullptr && *may_vanish == true);
  request.patch_files = texts_at(json, "patch_files");
  request.build_ids = texts_at(json, "build_ids");
  request.key_files = texts_at(json, "key_files");
  request.root = text_at(json, "root");
  const Json* verbose = member(json, "verbose");
  request.verbose = verbose != nullptr && *verbose == true;
  return request;
}

Json to_json(const Error& error) {
  return {{"code", to_string(error.code)}, {"object", error.object}, {"message", error.message}};
}

Error error_from_json(const Json& value) {
  Error error{ErrorCode::internal, text_at(value, "object"), text_at(value, "message")};
  std::string code = text_at(value, "code");
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i)
    if (code == to_string(static_cast<ErrorCode>(i))) error.code = static_cast<ErrorCode>(i);
  return error;
}

}  // namespace livecare::agent
