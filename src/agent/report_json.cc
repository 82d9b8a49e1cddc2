// Apart from request.cc so that the front ends, which only read these lines, link nothing of the
// engine.
#include "agent/request.h"

namespace livecare::agent {

namespace {

std::string_view outcome_name(engine::Outcome outcome) {
  switch (outcome) {
    case engine::Outcome::patched:
      return "patched";
    case engine::Outcome::unpatched:
      return "unpatched";
    case engine::Outcome::unchanged:
      return "unchanged";
    case engine::Outcome::failed:
      return "failed";
    case engine::Outcome::mended:
      return "mended";
  }
  return "failed";
}

}  // namespace

Json to_json(const engine::ProcessReport& report) {
  Json json;
  json["pid"] = report.pid;
  json["comm"] = report.comm;
  json["objects"] = Json::array();
  for (const engine::ObjectState& object : report.objects)
    json["objects"].push_back({{"build_id", object.build_id},
                               {"soname", object.soname},
                               {"patchset", object.patchset},
                               {"level", object.level},
                               {"functions", object.functions},
                               {"cves", object.cves},
                               {"info", object.info},
                               {"state", object.state}});
  json["threads"] = report.threads;
  json["stop_us"] = report.stop_us;
  json["total_us"] = report.total_us;
  json["attempts"] = report.attempts;
  json["outcome"] = outcome_name(report.outcome);
  if (report.outcome == engine::Outcome::failed) json["code"] = to_string(report.code);
  json["reason"] = report.reason;
  json["in_the_way"] = Json::array();
  for (const engine::ThreadInTheWay& thread : report.in_the_way)
    json["in_the_way"].push_back({{"tid", thread.tid},
                                  {"comm", thread.comm},
                                  {"function", thread.function},
                                  {"frames", thread.frames}});
  return json;
}

}  // namespace livecare::agent
