// What the commands of livecare-build that make patches say, and how they end.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "objdiff/diff.h"

namespace livecare::builder {

// Says the error; the exit code.
int fail(const Error& error);
std::string refusal_text(const objdiff::Refusal& refusal);
void say_seconds(const std::map<std::string, double>& stages, double total);

}  // namespace livecare::builder
