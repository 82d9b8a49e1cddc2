#include "builder/objdiff_command.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace livecare::builder {
namespace {

using nlohmann::json;

// Names come from a file: bytes that are no UTF-8 are replaced, not thrown about.
std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json names_of(const std::vector<objdiff::Function>& functions) {
  json names = json::array();
  for (const auto& function : functions) names.push_back(function.name);
  return names;
}

// Constants that the compiler made up are nobody's variables.
json names_of(const std::vector<objdiff::Variable>& variables) {
  json names = json::array();
  for (const auto& variable : variables)
    if (!variable.compiler_made) names.push_back(variable.name);
  return names;
}

struct Line {
  std::string what;
  std::string name;
  std::string detail;
};

std::string aligned(const std::vector<Line>& lines) {
  size_t what = 0, name = 0;
  for (const Line& line : lines) {
    what = std::max(what, line.what.size());
    name = std::max(name, line.name.size());
  }
  std::string out;
  for (const Line& line : lines) {
    std::string text =
        fmt::format("{:<{}}  {:<{}}  {}", line.what, what, line.name, name, line.detail);
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  return out;
}

std::string parts_note(const objdiff::Function& function) {
  size_t parts = function.patched_parts.size();
  return parts == 0 ? "" : fmt::format(" (with {} cold part{})", parts, parts == 1 ? "" : "s");
}

std::string kind_name(objdiff::DataKind kind) {
  switch (kind) {
    case objdiff::DataKind::writable:
      return "writable";
    case objdiff::DataKind::zero_initialised:
      return "zero-initialised";
    case objdiff::DataKind::read_only:
      return "read-only";
    case objdiff::DataKind::thread_local_data:
    case objdiff::DataKind::thread_local_zero:
      return "thread-local";
  }
  return "";
}

}  // namespace

int objdiff_exit_code(const objdiff::Diff& diff) {
  if (!diff.refused.empty()) return objdiff_refused;
  return diff.anything_changed() ? objdiff_changed : objdiff_nothing;
}

std::string objdiff_json(const objdiff::Diff& diff) {
  json refused = json::array();
  for (const auto& refusal : diff.refused)
    refused.push_back(
        {{"function", refusal.function}, {"section", refusal.section}, {"reason", refusal.reason}});
  return dump(
      {{"functions",
        {{"changed", names_of(diff.changed_functions)}, {"new", names_of(diff.new_functions)}}},
       {"data", {{"changed", names_of(diff.changed_data)}, {"new", names_of(diff.new_data)}}},
       {"refused", refused}});
}

std::string objdiff_text(const objdiff::Diff& diff) {
  std::vector<Line> lines;
  for (const auto& function : diff.changed_functions)
    lines.push_back({"changed function", function.name, function.why + parts_note(function)});
  for (const auto& function : diff.new_functions)
    lines.push_back({"new function", function.name, parts_note(function)});
  for (const auto& function : diff.removed_functions)
    lines.push_back({"removed function", function.name, ""});
  for (const auto& variable : diff.changed_data)
    lines.push_back(
        {variable.kept ? "kept data" : "changed data", variable.name, kind_name(variable.kind)});
  for (const auto& variable : diff.new_data)
    if (!variable.compiler_made)
      lines.push_back({"new data", variable.name, kind_name(variable.kind)});
  for (const auto& refusal : diff.refused) {
    std::string name = refusal.function.empty() ? refusal.section : refusal.function;
    std::string where = refusal.function.empty() ? "" : fmt::format(" [{}]", refusal.section);
    lines.push_back({"refused", name, refusal.reason + where});
  }
  if (lines.empty()) return "nothing changed\n";
  return aligned(lines);
}

Result<int> objdiff_command(const std::filesystem::path& original,
                            const std::filesystem::path& patched, bool json, std::ostream& out,
                            bool kernel) {
  auto compare = [&]() -> Result<objdiff::Diff> {
    TRY(elf::Image before, elf::Image::open(original));
    TRY(elf::Image after, elf::Image::open(patched));
    objdiff::Options options;
    options.kernel = kernel;
    return objdiff::diff(before, after, options);
  };
  auto guarded = [&]() -> Result<objdiff::Diff> {
    try {
      return compare();
    } catch (const std::exception& failure) {
      return make_error(ErrorCode::internal, patched.string(), "{}", failure.what());
    }
  };
  auto compared = guarded();
  objdiff::Diff diff;
  if (compared.ok())
    diff = std::move(compared).value();
  else
    diff.refused.push_back({"", "", compared.error().text()});
  out << (json ? objdiff_json(diff) : objdiff_text(diff));
  return objdiff_exit_code(diff);
}

int objdiff_usage(const std::string& problem, bool json, std::ostream& out) {
  objdiff::Diff diff;
  diff.refused.push_back({"", "", problem});
  if (json) out << objdiff_json(diff);
  return objdiff_refused;
}

}  // namespace livecare::builder
