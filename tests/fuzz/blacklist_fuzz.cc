// Blacklists: the first line is an executable's path, the rest the list. Nothing crashes, nothing
// takes more than moments, and what parses also matches or not.
#include "agent/blacklist.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t end = text.find('\n');
  if (end == std::string_view::npos) return 0;
  auto list = livecare::agent::Blacklist::parse(text.substr(end + 1), "blacklist");
  if (list.ok()) (void)list->match(std::string(text.substr(0, end)));
  return 0;
}
