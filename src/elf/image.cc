#include "elf/image.h"

#include "base/file_system.h"
#include "elf/parts.h"

namespace livecare::elf {

struct Image::State {
  Parts parts;
};

Image::Image(std::unique_ptr<State> state) : state_(std::move(state)) {}
Image::Image(Image&&) noexcept = default;
Image& Image::operator=(Image&&) noexcept = default;
Image::~Image() = default;

Result<Image> Image::open(const std::filesystem::path& path) {
  TRY(Bytes bytes, read_file(path, file_bytes_max));
  return parse(std::move(bytes), path.string());
}

Result<Image> Image::parse(Bytes bytes, std::string name) {
  auto state = std::make_unique<State>();
  state->parts.bytes = std::move(bytes);
  state->parts.name = std::move(name);
  TRY_STATUS(parse_headers(state->parts));
  TRY_STATUS(parse_symbols(state->parts));
  TRY_STATUS(parse_relocations(state->parts));
  TRY_STATUS(parse_dynamic(state->parts));
  TRY_STATUS(parse_notes(state->parts));
  return Image(std::move(state));
}

const std::string& Image::name() const {
  return state_->parts.name;
}
Kind Image::kind() const {
  return state_->parts.kind;
}
Machine Image::machine() const {
  return state_->parts.machine;
}
uint64_t Image::entry() const {
  return state_->parts.entry;
}
ByteView Image::bytes() const {
  return state_->parts.bytes;
}
const std::vector<Section>& Image::sections() const {
  return state_->parts.sections;
}
const std::vector<Symbol>& Image::symbols() const {
  return state_->parts.symbols;
}
const std::vector<Symbol>& Image::dynamic_symbols() const {
  return state_->parts.dynamic_symbols;
}
const std::vector<Segment>& Image::segments() const {
  return state_->parts.segments;
}

const Section* Image::section(std::string_view name) const {
  auto found = state_->parts.section_by_name.find(name);
  return found == state_->parts.section_by_name.end() ? nullptr
                                                      : &state_->parts.sections[found->second];
}

const std::vector<Relocation>& Image::relocations(uint32_t section) const {
  static const std::vector<Relocation> none;
  return section < state_->parts.relocations.size() ? state_->parts.relocations[section] : none;
}

const std::vector<Relocation>& Image::dynamic_relocations() const {
  return state_->parts.dynamic_relocations;
}

std::string Image::build_id() const {
  return state_->parts.build_id;
}
std::string Image::soname() const {
  return state_->parts.soname;
}
std::vector<std::string> Image::needed() const {
  return state_->parts.needed;
}

std::optional<uint64_t> Image::dynamic_value(int64_t tag) const {
  return state_->parts.dynamic_value(tag);
}

std::optional<ByteView> Image::at_address(uint64_t address, uint64_t size) const {
  return state_->parts.at_address(address, size);
}

}  // namespace livecare::elf
