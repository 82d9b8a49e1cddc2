#include "engine/control.h"

#include <algorithm>

#include "base/byte_cursor.h"

namespace livecare::engine {
namespace {

enum class Tag : uint32_t {
  identity = 1,
  layout = 2,
  function = 3,
  kept_data = 4,
  hook = 5,
  info = 6,
  cve = 7,
  code = 8,
};

// Lengths of the fixed records of version 1; a later version may only append to them.
constexpr uint64_t checksum_offset = 24;

uint64_t checksum(ByteView bytes) {  // FNV-1a
  uint64_t hash = 0xcbf2'9ce4'8422'2325;
  for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100'0000'01b3;
  return hash;
}

class RecordWriter {
 public:
  RecordWriter(Bytes& out, Tag tag) : out_(out) {
    append_le(out_, static_cast<uint32_t>(tag));
    append_le(out_, uint32_t{0});
    start_ = out_.size();
  }
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;
  ~RecordWriter() { store_le(out_, start_ - 4, static_cast<uint32_t>(out_.size() - start_)); }

  void number(uint64_t value) { append_le(out_, value); }
  void bytes(ByteView value) {
    append_le(out_, static_cast<uint32_t>(value.size()));
    out_.insert(out_.end(), value.begin(), value.end());
  }
  void text(std::string_view value) { bytes(ByteView(value)); }
  void part(const ControlPart& part) {
    number(part.address);
    number(part.size);
  }

 private:
  Bytes& out_;
  uint64_t start_ = 0;
};

// The fields of one record; ok() is checked once per record.
class RecordReader {
 public:
  explicit RecordReader(ByteView bytes) : cursor_(bytes) {}

  uint64_t number() { return cursor_.number<uint64_t>(); }
  ByteView bytes() {
    auto size = cursor_.number<uint32_t>();
    return cursor_.bytes(size);
  }
  std::string text() { return std::string(bytes().as_text()); }
  ControlPart part() {
    ControlPart part;
    part.address = number();
    part.size = number();
    return part;
  }
  bool ok() const { return cursor_.ok(); }

 private:
  ByteCursor cursor_;
};

void write_identity(Bytes& out, const Control& control) {
  RecordWriter record(out, Tag::identity);
  record.number(control.target_bias);
  record.number(control.level);
  record.text(control.build_id);
  record.text(control.soname);
  record.text(control.patchset);
  record.text(control.tls_carrier);
}

void write_layout(Bytes& out, const Control& control) {
  RecordWriter record(out, Tag::layout);
  record.part(control.region);
  record.number(control.image);
  record.part(control.text);
  record.part(control.rodata);
  record.part(control.data);
  record.number(control.eh_frame);
  record.number(control.eh_frame_size);
}

void write_function(Bytes& out, const ControlFunction& function) {
  RecordWriter record(out, Tag::function);
  record.text(function.name);
  record.number(function.jump_address);
  record.bytes(function.original);
  record.number(function.new_address);
  record.number(function.new_size);
  record.number(function.ranges.size());
  for (const patchfmt::Range& range : function.ranges) {
    record.number(range.address);
    record.number(range.size);
  }
}

void write_body(Bytes& out, const Control& control) {
  write_identity(out, control);
  write_layout(out, control);
  for (const ControlFunction& function : control.functions) write_function(out, function);
  for (const patchfmt::ImageSymbol& symbol : control.code) {
    RecordWriter record(out, Tag::code);
    record.text(symbol.name);
    record.number(symbol.offset);
    record.number(symbol.size);
  }
  for (const patchfmt::KeptData& kept : control.kept_data) {
    RecordWriter record(out, Tag::kept_data);
    record.text(kept.name);
    record.number(kept.offset);
    record.number(kept.size);
  }
  for (const patchfmt::Hook& hook : control.hooks) {
    RecordWriter record(out, Tag::hook);
    record.number(static_cast<uint64_t>(hook.when));
    record.text(hook.name);
    record.number(hook.offset);
  }
  for (const std::string& cve : control.cves) RecordWriter(out, Tag::cve).text(cve);
  RecordWriter(out, Tag::info).text(control.info);
}

void read_identity(RecordReader& record, Control& control) {
  control.target_bias = record.number();
  control.level = static_cast<uint32_t>(record.number());
  control.build_id = record.text();
  control.soname = record.text();
  control.patchset = record.text();
  control.tls_carrier = record.text();
}

void read_layout(RecordReader& record, Control& control) {
  control.region = record.part();
  control.image = record.number();
  control.text = record.part();
  control.rodata = record.part();
  control.data = record.part();
  control.eh_frame = record.number();
  control.eh_frame_size = record.number();
}

void read_function(RecordReader& record, Control& control) {
  ControlFunction function;
  function.name = record.text();
  function.jump_address = record.number();
  function.original = record.bytes().copy();
  function.new_address = record.number();
  function.new_size = record.number();
  uint64_t ranges = record.number();
  for (uint64_t i = 0; i < ranges && record.ok(); ++i) {
    uint64_t address = record.number();
    function.ranges.push_back({address, record.number()});
  }
  control.functions.push_back(std::move(function));
}

void read_record(Tag tag, RecordReader& record, Control& control) {
  switch (tag) {
    case Tag::identity:
      return read_identity(record, control);
    case Tag::layout:
      return read_layout(record, control);
    case Tag::function:
      return read_function(record, control);
    case Tag::code: {
      patchfmt::ImageSymbol symbol;
      symbol.name = record.text();
      symbol.offset = record.number();
      symbol.size = record.number();
      control.code.push_back(std::move(symbol));
      return;
    }
    case Tag::kept_data: {
      patchfmt::KeptData kept;
      kept.name = record.text();
      kept.offset = record.number();
      kept.size = record.number();
      control.kept_data.push_back(std::move(kept));
      return;
    }
    case Tag::hook: {
      patchfmt::Hook hook;
      hook.when = static_cast<patchfmt::HookWhen>(record.number());
      hook.name = record.text();
      hook.offset = record.number();
      control.hooks.push_back(std::move(hook));
      return;
    }
    case Tag::info:
      control.info = record.text();
      return;
    case Tag::cve:
      control.cves.push_back(record.text());
      return;
  }
  // A record of a later version: it may be passed over.
}

bool lies_inside(const ControlPart& part, const ControlPart& region) {
  return part.size == 0 || (part.address >= region.address && part.size <= region.size &&
                            part.address - region.address <= region.size - part.size);
}

// What undo relies on; a header that fails here is damaged or forged and nothing is written by it.
bool is_consistent(const Control& control) {
  for (const ControlPart* part : {&control.text, &control.rodata, &control.data})
    if (!lies_inside(*part, control.region)) return false;
  for (const ControlFunction& function : control.functions)
    if (function.original.empty() || !control.text.holds(function.new_address)) return false;
  for (const patchfmt::Hook& hook : control.hooks)
    if (!control.text.holds(control.image + hook.offset)) return false;
  return control.region.size != 0 && !control.build_id.empty();
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::staged:
      return "staged";
    case State::switching:
      return "switching";
    case State::live:
      return "live";
    case State::undoing:
      return "undoing";
    case State::kept:
      return "kept";
  }
  return "unknown";
}

Bytes encode_transaction(const Control& control) {
  Bytes out;
  append_le(out, control.unwinder_deregister);
  append_le(out, control.transaction);
  append_le(out, control.replaces);
  append_le(out, control.transaction_objects);
  return out;
}

Bytes encode_control(const Control& control) {
  Bytes out(control_magic.begin(), control_magic.end());
  append_le(out, control_version);
  append_le(out, static_cast<uint32_t>(control.state));
  out.resize(control_body_offset);
  write_body(out, control);
  store_le(out, 16, static_cast<uint64_t>(out.size()));
  store_le(out, checksum_offset,
           checksum(*ByteView(out).slice(control_body_offset, out.size() - control_body_offset)));
  Bytes transaction = encode_transaction(control);
  std::copy(transaction.begin(), transaction.end(), out.begin() + control_unwinder_offset);
  return out;
}

std::optional<uint64_t> control_bytes(ByteView first_page) {
  auto magic = first_page.slice(0, control_magic.size());
  auto size = first_page.read<uint64_t>(16);
  if (!magic || !size || magic->as_text() != control_magic) return std::nullopt;
  if (*size < control_body_offset || *size > control_bytes_max) return std::nullopt;
  return size;
}

Result<Control> decode_control(ByteView header, std::string_view name) {
  auto size = control_bytes(header);
  auto version = header.read<uint32_t>(8);
  if (!size || !version)
    return make_error(ErrorCode::invalid_input, name, "not a livecare control header");
  if (*version != control_version)
    return make_error(ErrorCode::unsupported, name,
                      "control header version {} was written by another livecare; this one knows "
                      "version {}: use that one to unpatch",
                      *version, control_version);
  auto body = *size <= header.size()
                  ? header.slice(control_body_offset, *size - control_body_offset)
                  : std::nullopt;
  if (!body || header.read<uint64_t>(checksum_offset) != checksum(*body))
    return make_error(ErrorCode::invalid_input, name, "control header is damaged (checksum)");
  Control control;
  uint32_t state = header.read<uint32_t>(control_state_offset).value_or(0);
  control.state = static_cast<State>(state);
  control.unwinder_deregister = header.read<uint64_t>(control_unwinder_offset).value_or(0);
  control.transaction = header.read<uint64_t>(control_transaction_offset).value_or(0);
  control.replaces = header.read<uint64_t>(control_transaction_offset + 8).value_or(0);
  control.transaction_objects = header.read<uint32_t>(control_transaction_offset + 16).value_or(0);
  bool ok =
      state >= static_cast<uint32_t>(State::staged) && state <= static_cast<uint32_t>(State::kept);
  ByteCursor records(*body);
  while (ok && !records.at_end()) {
    auto tag = records.number<uint32_t>();
    auto length = records.number<uint32_t>();
    RecordReader record(records.bytes(length));
    ok = records.ok();
    if (!ok) break;
    read_record(static_cast<Tag>(tag), record, control);
    ok = record.ok();
  }
  if (!ok || !is_consistent(control))
    return make_error(ErrorCode::invalid_input, name, "control header is damaged (records)");
  return control;
}

}  // namespace livecare::engine
