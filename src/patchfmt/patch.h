// A patchset in memory: metadata and one Object per target binary (keyed by build-ID). The file
// format is docs/formats/patch.md; codec.h reads and writes it.
//
// An Object is an image laid out at build time: text, read-only data and writable data, each
// page-aligned, in one block of image_size bytes. References inside the image are resolved when it
// is built; what is left is a list of relocations against symbols outside of it, which the engine
// resolves in the live process. All offsets are bytes from the start of the image; all `address`
// values are link-time virtual addresses of the target file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace livecare::patchfmt {

inline constexpr uint64_t page_bytes = 4096;
inline constexpr uint64_t image_bytes_max = uint64_t{64} << 20;
inline constexpr uint32_t objects_max = 64;
inline constexpr uint32_t functions_max = 100'000;
inline constexpr uint32_t symbols_max = 1'000'000;
inline constexpr uint32_t relocations_max = 4'000'000;
inline constexpr uint32_t string_bytes_max = 65536;

enum class Cpu : uint8_t { x86_64 = 1, aarch64 = 2 };

inline constexpr uint32_t modules_max = 64;
inline constexpr std::string_view kernel_product = "kernel";

struct Part {
  uint64_t offset = 0;  // page-aligned
  uint64_t size = 0;    // in memory
  Bytes bytes;          // may be shorter than size: the rest is zero
};

enum class SymbolKind : uint8_t {
  image = 1,         // value: offset in this image (for absolute 64-bit words only)
  target = 2,        // value: address in the target file
  target_ifunc = 3,  // value: address of the resolver in the target file
  target_tls = 4,    // value: offset in the target's PT_TLS block
  import = 5,        // name + version, looked up as the dynamic linker does for the target
  new_tls = 6,       // value: offset in this image's new thread-local block
  target_got = 7,    // value: address of an existing GOT word of the target (unused by default)
};

struct Symbol {
  SymbolKind kind = SymbolKind::import;
  std::string name;     // always there, for messages
  std::string version;  // import: "GLIBC_2.34", or empty
  uint64_t value = 0;
  uint64_t size = 0;
  bool weak = false;  // an import that may stay unresolved (zero)
  std::string proof;  // target*: how the place was proved, for inspect
};

enum class RelocationKind : uint8_t {
  absolute64 = 1,    // S + A
  pc32 = 2,          // S + A - P, signed 32 bits
  absolute32 = 3,    // S + A, zero-extended (non-PIC executables)
  absolute32s = 4,   // S + A, sign-extended
  tls_module64 = 5,  // module ID of the symbol's TLS block (DTPMOD64)
  tls_offset64 = 6,  // offset in that block (DTPOFF64)
  tls_offset32 = 7,  // DTPOFF32 against the module of the object's own TLSLD base
  tp_offset64 = 8,   // TPOFF64
  tp_offset32 = 9,   // TPOFF32
  pc64 = 10,
};

struct Relocation {
  RelocationKind kind = RelocationKind::absolute64;
  uint64_t offset = 0;  // in the image; image_size + n: byte n of the new thread-local block's
                        // initial contents (absolute64 only)
  uint32_t symbol = 0;
  int64_t addend = 0;
};

struct Range {
  uint64_t address = 0;
  uint64_t size = 0;
};

struct FunctionPatch {
  std::string name;
  uint64_t address = 0;  // entry of the shipped function
  uint64_t size = 0;
  std::vector<Range> ranges;  // all code of the shipped function: entry part and .cold/.part
                              // pieces. A thread with a PC or return address in one is inside.
  Bytes entry_bytes;          // first bytes of the shipped function (min(size, 64)); compared with
                              // the live process before anything is written
  uint64_t new_offset = 0;    // where the new function begins in the image
  uint64_t new_size = 0;
  std::string proof;  // how address was proved
};

enum class HookWhen : uint8_t {
  before_switch = 1,
  after_switch = 2,
  before_undo = 3,
  after_undo = 4
};
struct Hook {
  HookWhen when = HookWhen::before_switch;
  std::string name;
  uint64_t offset = 0;  // int hook(void); non-zero from a before_* hook stops the step
};

// Writable data that keeps its live value from the level before: same name and size.
struct KeptData {
  std::string name;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct ImageSymbol {  // for backtraces of our own and for inspect
  std::string name;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct Object {
  std::string build_id;  // lowercase hex, of the shipped target
  std::string soname;    // or the program's file name; for people
  std::string package;   // "libcurl4 7.88.1-10+deb12u5", may be empty
  Cpu cpu = Cpu::x86_64;
  uint64_t image_size = 0;       // multiple of page_bytes
  Part text;                     // r-x
  Part rodata;                   // r-- once relocated: constants, GOT, .eh_frame
  Part data;                     // rw-
  uint64_t eh_frame_offset = 0;  // terminated by a zero length word; in rodata
  uint64_t eh_frame_size = 0;    // 0: none
  uint64_t new_tls_size = 0;     // new thread-local block, initialised from new_tls_bytes
  uint64_t new_tls_align = 1;
  Bytes new_tls_bytes;
  std::vector<FunctionPatch> functions;
  std::vector<Symbol> symbols;
  std::vector<Relocation> relocations;
  std::vector<Hook> hooks;
  std::vector<KeptData> kept_data;
  std::vector<ImageSymbol> image_symbols;
};

struct Fix {         // one block of kpatch.info
  std::string name;  // kpatch-name: file name of the fix
  std::string description;
  std::string package;  // kpatch-kernel
  std::vector<std::string> cves;
  std::string cvss;
  std::string cve_url;
  std::string patch_url;
};

// What changes one build of the kernel: a module for kcare.ko (kmod/uapi/kcare_patch.h).
struct KernelModule {
  std::string kernel_id;  // SHA-1 of /proc/version, lowercase hex
  std::string release;    // uname -r: "6.1.0-47-cloud-amd64"
  std::string effective;  // the newest release all of whose relevant fixes are in it
  std::string type;       // "default", "free" or "extra"
  std::string module;     // its name in /proc/modules
  Bytes file;             // the .ko, with its module signature
};

struct Patchset {
  std::string name;  // U20261122_01, K20261122_01
  uint32_t level = 1;
  std::string product = "user";
  std::string distribution;    // "debian12"
  std::string source_package;  // "curl 7.88.1-10+deb12u5"
  std::string time;            // UTC, "2026-11-22 04:30:00"
  std::string description;
  std::vector<Fix> fixes;
  std::vector<Object> objects;        // of the product "kernel" none
  std::vector<KernelModule> modules;  // of the product "kernel" only
};

}  // namespace livecare::patchfmt
