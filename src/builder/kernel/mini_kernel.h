// For tests: a kernel of two files, linked at a kernel's address, and the first file compiled again
// with function and data sections before and after a fix (#ifdef FIXED).
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "builder/kernel/module_image.h"
#include "match/test_build.h"

namespace livecare::builder {

inline constexpr uint64_t mini_kernel_text = 0xffff'ffff'8100'0000;

class MiniKernel {
 public:
  // shipped_flags: for the kernel only, to make it another one than the source says.
  explicit MiniKernel(const std::string& source, const std::string& shipped_flags = "") {
    const std::string compile =
        "gcc -O2 -fno-pie -mcmodel=kernel -mno-red-zone -fno-asynchronous-unwind-tables "
        "-fcf-protection=none -fno-stack-protector -pg -mfentry -mrecord-mcount -w -c ";
    const std::string sections = compile + "-ffunction-sections -fdata-sections case.c ";
    build.write("case.c", source);
    build.write("other.c",
                "__attribute__((no_instrument_function)) void __fentry__(void) {}\n"
                "int printk(const char *text, ...) { return text[0]; }\n"
                "int hidden(int x) { return x * 3; }\n");
    build.sh(compile + shipped_flags + " case.c -o plain.o && " + compile +
             "other.c -o other.o && ld -e 0 --build-id -Ttext=0xffffffff81000000 "
             "--defsym=_text=0xffffffff81000000 -o vmlinux plain.o other.o");
    build.sh(sections + "-o old.o && " + sections + "-DFIXED -o new.o");
    auto opened = ShippedObject::open("vmlinux", build.path("vmlinux"));
    if (!opened.ok()) throw std::runtime_error(opened.error().text());
    vmlinux = std::move(*opened);
    original = std::make_unique<elf::Image>(build.open("old.o"));
    patched = std::make_unique<elf::Image>(build.open("new.o"));
    auto parsed = ExportedSymbols::parse(
        "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n"
        "0x2\t__fentry__\tvmlinux\tEXPORT_SYMBOL\t\n",
        "Module.symvers");
    if (!parsed.ok()) throw std::runtime_error(parsed.error().text());
    exported = std::move(*parsed);
  }

  ModuleImage extracted() {
    objdiff::Options options;
    options.kernel = true;
    auto diff = objdiff::diff(*original, *patched, options);
    if (!diff.ok()) throw std::runtime_error(diff.error().text());
    auto refused = diff->refused;
    ExtractInput input;
    KernelUnit unit{"case.c", vmlinux.get(), original.get(), patched.get(), std::move(*diff), {}};
    auto map = vmlinux->matcher().match_object(*original, "case.c");
    if (!map.ok()) throw std::runtime_error(map.error().text());
    unit.map = std::move(*map);
    input.units.push_back(std::move(unit));
    input.exported = &exported;
    input.vmlinux = vmlinux.get();
    input.open_module = [](const std::string& name) -> Result<const ShippedObject*> {
      return make_error(ErrorCode::not_found, name, "no modules here");
    };
    auto image = extract(input);
    if (!image.ok()) throw std::runtime_error(image.error().text());
    image->refused.insert(image->refused.begin(), refused.begin(), refused.end());
    return std::move(*image);
  }

  match::TestBuild build;
  std::unique_ptr<ShippedObject> vmlinux;
  std::unique_ptr<elf::Image> original, patched;
  ExportedSymbols exported;
};

inline std::string refusals(const ModuleImage& image) {
  std::string text;
  for (const auto& refusal : image.refused)
    text += refusal.function + " " + refusal.section + ": " + refusal.reason + "\n";
  return text;
}

}  // namespace livecare::builder
