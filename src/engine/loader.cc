#include "engine/loader.h"

#include <dlfcn.h>

#include "engine/layout.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;

constexpr uint64_t dlopen_mode_flag = 0x8000'0000;  // __RTLD_DLOPEN, for __libc_dlopen_mode

struct Loader {
  RemoteAddress function;
  uint64_t mode = 0;
};

std::optional<Loader> find_loader(const Target& target) {
  struct {
    std::string_view library, function;
    uint64_t mode;
  } places[] = {{"libc.so.6", "dlopen", RTLD_NOW},
                {"libdl.so.2", "dlopen", RTLD_NOW},
                {"libc.so.6", "__libc_dlopen_mode", RTLD_NOW | dlopen_mode_flag}};
  for (const auto& [library, function, mode] : places) {
    const remote::LoadedObject* object = target.loaded().by_name(library);
    if (object == nullptr) continue;
    if (auto found = target.loaded().find_in(*object, function))
      return Loader{found->address, mode};
  }
  return std::nullopt;
}

}  // namespace

Result<uint64_t> load_library(remote::BorrowedThread& thread, const Target& target,
                              const Control& control, const std::string& path) {
  auto loader = find_loader(target);
  if (!loader)
    return make_error(ErrorCode::unsupported, control.soname,
                      "the process has no dlopen of a C library (static executable?)");
  Bytes text(path.begin(), path.end());
  text.push_back(0);
  LIVECARE_ASSERT(text.size() <= scratch_bytes);
  RemoteAddress scratch(scratch_of(control));
  TRY_STATUS(thread.write(scratch, text));
  return thread.call(loader->function, RemoteAddress(stubs_of(control)),
                     {scratch.address(), loader->mode});
}

}  // namespace livecare::engine
