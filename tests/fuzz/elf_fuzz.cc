// Any bytes must give an Image or an error; whatever an Image hands out must be readable.
#include "elf/image.h"

namespace {

volatile uint64_t sink;

void touch(livecare::ByteView bytes) {
  if (!bytes.empty()) sink = sink + *bytes.begin() + *(bytes.end() - 1);
}

void touch(std::string_view text) {
  touch(livecare::ByteView(text));
}

void touch(const std::vector<livecare::elf::Symbol>& symbols, const livecare::elf::Image& image) {
  for (const auto& symbol : symbols) {
    touch(symbol.name);
    touch(symbol.version);
    touch(symbol.source_file);
    if (symbol.section < image.sections().size()) touch(image.sections()[symbol.section].bytes);
    if (auto bytes = image.at_address(symbol.value, symbol.size)) touch(*bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto image = livecare::elf::Image::parse(livecare::Bytes(data, data + size), "input");
  if (!image.ok()) {
    if (image.error().message.empty()) __builtin_trap();
    return 0;
  }
  for (const auto& section : image->sections()) {
    touch(section.name);
    touch(section.bytes);
    if (section.group >= image->sections().size()) __builtin_trap();
    for (const auto& relocation : image->relocations(section.index)) {
      if (relocation.symbol != 0) touch(image->symbols()[relocation.symbol].name);
    }
  }
  touch(image->symbols(), *image);
  touch(image->dynamic_symbols(), *image);
  for (const auto& relocation : image->dynamic_relocations()) {
    if (relocation.symbol != 0) touch(image->dynamic_symbols()[relocation.symbol].name);
  }
  touch(image->build_id());
  touch(image->soname());
  return 0;
}
