// A miniature of the engine for tests: loads a shipped library into this process, puts an image
// beside it, relocates it and redirects the functions. One thread, no undo.
#pragma once

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/result.h"
#include "patchfmt/patch.h"

extern "C" void __register_frame(void*);
extern "C" void __deregister_frame(void*);

namespace livecare::builder {

// Stands for the new thread-local block that the real engine adds to every thread. It has to be the
// only thread-local variable of the test program: code may take the program's block for it.
inline thread_local uint8_t new_tls_block[4096] __attribute__((aligned(64)));

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif

class TestEngine {
 public:
  explicit TestEngine(const std::string& library) : handle_(dlopen(library.c_str(), RTLD_NOW)) {
    if (!handle_) {
      error = dlerror();
      return;
    }
    link_map* map = nullptr;
    dlinfo(handle_, RTLD_DI_LINKMAP, &map);
    base_ = map->l_addr;
  }
  ~TestEngine() {
    if (frames_) __deregister_frame(frames_);
    if (image_) munmap(image_, size_);
    if (handle_) dlclose(handle_);
  }

  template <class Function>
  Function* get(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(handle_, name));
  }

  bool apply(const patchfmt::Object& object) {
    size_ = object.image_size;
    for (uint64_t distance = 1; !image_ && distance < 1024; ++distance) {
      const uint64_t at = (base_ - distance * (uint64_t{1} << 20) - size_) & ~uint64_t{4095};
      void* got = mmap(reinterpret_cast<void*>(at), size_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (got != MAP_FAILED) image_ = static_cast<uint8_t*>(got);
    }
    if (!image_) return fail("no room near the library");
    for (const auto* part : {&object.text, &object.rodata, &object.data})
      std::copy(part->bytes.begin(), part->bytes.end(), image_ + part->offset);
    std::fill(std::begin(new_tls_block), std::end(new_tls_block), uint8_t{0});
    std::copy(object.new_tls_bytes.begin(), object.new_tls_bytes.end(), new_tls_block);
    for (const auto& relocation : object.relocations)
      if (!relocate(object, relocation)) return false;
    mprotect(image_ + object.text.offset, round_up(object.text.size), PROT_READ | PROT_EXEC);
    if (object.rodata.size)
      mprotect(image_ + object.rodata.offset, round_up(object.rodata.size), PROT_READ);
    if (object.eh_frame_size) {
      frames_ = image_ + object.eh_frame_offset;
      __register_frame(frames_);
    }
    for (const auto& hook : object.hooks)
      if (hook.when == patchfmt::HookWhen::before_switch && call_hook(hook.offset))
        return fail("hook " + hook.name);
    for (const auto& function : object.functions)
      if (!redirect(function)) return false;
    return true;
  }

  std::string error;

 private:
  static uint64_t round_up(uint64_t size) { return (size + 4095) & ~uint64_t{4095}; }
  bool fail(std::string why) {
    error = std::move(why);
    return false;
  }
  int call_hook(uint64_t offset) const {
    return reinterpret_cast<int (*)()>(reinterpret_cast<uint64_t>(image_) + offset)();
  }
  static int64_t thread_pointer() { return reinterpret_cast<int64_t>(__builtin_thread_pointer()); }
  int64_t target_block() const {
    void* block = nullptr;
    dlinfo(handle_, RTLD_DI_TLS_DATA, &block);
    return reinterpret_cast<int64_t>(block);
  }

  bool redirect(const patchfmt::FunctionPatch& function) {
    auto* entry = reinterpret_cast<uint8_t*>(base_ + function.address);
    if (std::memcmp(entry, function.entry_bytes.data(), function.entry_bytes.size()) != 0)
      return fail(function.name + ": live bytes differ");
    constexpr uint8_t endbr[] = {0xf3, 0x0f, 0x1e, 0xfa};
    if (function.size >= 4 && std::memcmp(entry, endbr, 4) == 0) entry += 4;
    auto* page = reinterpret_cast<void*>(reinterpret_cast<uint64_t>(entry) & ~uint64_t{4095});
    mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
    const auto displacement = static_cast<int32_t>(image_ + function.new_offset - (entry + 5));
    entry[0] = 0xe9;
    std::memcpy(entry + 1, &displacement, 4);
    mprotect(page, 8192, PROT_READ | PROT_EXEC);
    return true;
  }

  bool address_of(const patchfmt::Symbol& symbol, uint64_t& value) {
    switch (symbol.kind) {
      case patchfmt::SymbolKind::image:
        value = reinterpret_cast<uint64_t>(image_) + symbol.value;
        return true;
      case patchfmt::SymbolKind::target:
        value = base_ + symbol.value;
        return true;
      case patchfmt::SymbolKind::target_ifunc:
        value = reinterpret_cast<uint64_t (*)()>(base_ + symbol.value)();
        return true;
      case patchfmt::SymbolKind::import: {
        auto look_up = [&](void* scope) {
          // A sanitizer's functions have no versions, and come first for the loader.
          return symbol.version.empty() || is_sanitized
                     ? dlsym(scope, symbol.name.c_str())
                     : dlvsym(scope, symbol.name.c_str(), symbol.version.c_str());
        };
        void* found = look_up(RTLD_DEFAULT);
        if (!found) found = look_up(handle_);
        value = reinterpret_cast<uint64_t>(found);
        return found || symbol.weak || fail("cannot import " + symbol.name + "@" + symbol.version);
      }
      default:
        return fail(symbol.name + " has no address");
    }
  }

  bool relocate(const patchfmt::Object& object, const patchfmt::Relocation& relocation) {
    using patchfmt::RelocationKind;
    const patchfmt::Symbol& symbol = object.symbols[relocation.symbol];
    const bool in_new_tls = relocation.offset >= object.image_size;
    uint8_t* place = in_new_tls ? new_tls_block + (relocation.offset - object.image_size)
                                : image_ + relocation.offset;
    auto put64 = [&](uint64_t value) { std::memcpy(place, &value, 8); };
    auto put32 = [&](int64_t value) {
      const auto narrow = static_cast<int32_t>(value);
      std::memcpy(place, &narrow, 4);
      return narrow == value || fail(symbol.name + " is out of range");
    };
    const bool is_new = symbol.kind == patchfmt::SymbolKind::new_tls;
    const auto fresh = reinterpret_cast<int64_t>(new_tls_block);
    int64_t variable = static_cast<int64_t>(symbol.value) + relocation.addend;
    if (symbol.kind == patchfmt::SymbolKind::import &&
        relocation.kind >= RelocationKind::tls_module64 &&
        relocation.kind <= RelocationKind::tp_offset32)
      variable += reinterpret_cast<int64_t>(dlsym(handle_, symbol.name.c_str())) - target_block();
    size_t module = 0;
    switch (relocation.kind) {
      case RelocationKind::tls_module64:
        if (is_new) {
          void* self = dlopen(nullptr, RTLD_NOW);
          dlinfo(self, RTLD_DI_TLS_MODID, &module);
        } else {
          dlinfo(handle_, RTLD_DI_TLS_MODID, &module);
        }
        put64(module);
        return true;
      case RelocationKind::tls_offset64: {
        void* block = nullptr;
        void* self = dlopen(nullptr, RTLD_NOW);
        dlinfo(self, RTLD_DI_TLS_DATA, &block);
        put64(static_cast<uint64_t>(is_new ? fresh - reinterpret_cast<int64_t>(block) + variable
                                           : variable));
        return true;
      }
      case RelocationKind::tls_offset32:
        return put32(is_new ? fresh - target_block() + variable : variable);
      case RelocationKind::tp_offset64:
        put64(
            static_cast<uint64_t>((is_new ? fresh : target_block()) + variable - thread_pointer()));
        return true;
      case RelocationKind::tp_offset32:
        return put32((is_new ? fresh : target_block()) + variable - thread_pointer());
      default:
        break;
    }
    uint64_t value = 0;
    if (!address_of(symbol, value)) return false;
    value += static_cast<uint64_t>(relocation.addend);
    switch (relocation.kind) {
      case RelocationKind::absolute64:
        put64(value);
        return true;
      case RelocationKind::pc32:
        return put32(static_cast<int64_t>(value - reinterpret_cast<uint64_t>(place)));
      case RelocationKind::pc64:
        put64(value - reinterpret_cast<uint64_t>(place));
        return true;
      default:
        return fail("relocation kind");
    }
  }

  void* handle_ = nullptr;
  uint64_t base_ = 0;
  uint8_t* image_ = nullptr;
  uint64_t size_ = 0;
  void* frames_ = nullptr;
};

}  // namespace livecare::builder
