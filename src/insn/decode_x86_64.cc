// Lengths of x86-64 instructions from tables.
//
// An instruction is: prefixes, opcode (in one of several maps), ModRM, SIB, displacement,
// immediate. Its length follows from very little: whether the opcode has a ModRM byte, how many
// bytes of immediate, and three prefixes (66, 67, REX.W) that change sizes. What the instruction
// does is not needed, but for where it goes (Flow). So each opcode map is 16 strings of 16
// letters, one letter per opcode; a handful of opcodes whose length depends on ModRM.reg or a
// mandatory prefix have letters of their own.
//
// VEX and EVEX make it simpler, as their maps are regular: every opcode has ModRM (but vzeroupper)
// and map 3 always, map 1 in eight cases, has one byte of immediate.
//
// Why not Zydis: this decoder is linked into the program that patches processes, which must stay
// small, and its whole truth fits on a page. The test compares it with Zydis over all the code of
// the machine's largest libraries. Where the two vendors differ (66 before a near branch), we
// follow Intel, as Zydis does. XOP is in, as OpenSSL has code in it; 16/32-bit modes and the vector
// branches of Knights Corner are left out.
//
// It answers for every instruction that a CPU runs, but also gives a length for many opcodes of the
// vector maps that are not assigned: do not use it to tell code from data.
//
// Source of the tables: Intel SDM volume 2, appendix A (opcode map).
#include <string_view>

#include "insn/cpu.h"

namespace livecare::insn {
namespace {

constexpr uint64_t instruction_bytes_max = 15;

// .  no operand bytes        m  ModRM            x  invalid in 64-bit mode
// b  imm8                    B  ModRM + imm8     p  prefix or escape, handled before
// w  imm16                   z  imm16/32         Z  ModRM + imm16/32
// v  imm16/32/64 (mov)       o  moffs            e  imm16 + imm8 (enter)
// r  rel8                    R  rel32
// g  ModRM, imm8 if reg < 2  G  ModRM, imm16/32 if reg < 2 (test of groups F6 and F7)
// c  ModRM that always means a register (control and debug registers)
// q  ModRM, two imm8 after prefix 66 or F2 (extrq, insertq)
// D  ModRM + imm32 (XOP)
constexpr std::string_view one_byte_map[16] = {
    "mmmmbzxxmmmmbzxp",  // 00
    "mmmmbzxxmmmmbzxx",  // 10
    "mmmmbzpxmmmmbzpx",  // 20
    "mmmmbzpxmmmmbzpx",  // 30
    "pppppppppppppppp",  // 40 REX
    "................",  // 50
    "xxpmppppzZbB....",  // 60
    "rrrrrrrrrrrrrrrr",  // 70
    "BZxBmmmmmmmmmmmm",  // 80
    "..........x.....",  // 90
    "oooo....bz......",  // a0
    "bbbbbbbbvvvvvvvv",  // b0
    "BBw.ppBZe.w..bx.",  // c0
    "mmmmxxx.mmmmmmmm",  // d0
    "rrrrbbbbRRxr....",  // e0
    "p.pp..gG......mm",  // f0
};

constexpr std::string_view two_byte_map[16] = {
    "mmmmx.....x.xm.B",  // 0f 00
    "mmmmmmmmmmmmmmmm",  // 0f 10
    "ccccxxxxmmmmmmmm",  // 0f 20
    "......x.pxpxxxxx",  // 0f 30
    "mmmmmmmmmmmmmmmm",  // 0f 40
    "mmmmmmmmmmmmmmmm",  // 0f 50
    "mmmmmmmmmmmmmmmm",  // 0f 60
    "BBBBmmm.qmxxmmmm",  // 0f 70
    "RRRRRRRRRRRRRRRR",  // 0f 80
    "mmmmmmmmmmmmmmmm",  // 0f 90
    "...mBmxx...mBmmm",  // 0f a0
    "mmmmmmmmmmBmmmmm",  // 0f b0
    "mmBmBBBm........",  // 0f c0
    "mmmmmmmmmmmmmmmm",  // 0f d0
    "mmmmmmmmmmmmmmmm",  // 0f e0
    "mmmmmmmmmmmmmmmm",  // 0f f0
};

enum class Map { one_byte, two_byte, three_byte_38, three_byte_3a, five, six, xop_8, xop_9, xop_a };

// Reads forward; remembers whether it ran past the end.
class Cursor {
 public:
  explicit Cursor(ByteView code)
      : code_(code.size() > instruction_bytes_max ? *code.slice(0, instruction_bytes_max) : code) {}

  uint8_t peek() {
    auto byte = code_.read<uint8_t>(at_);
    if (!byte) failed_ = true;
    return byte.value_or(0);
  }
  uint8_t take() {
    uint8_t byte = peek();
    at_++;
    return byte;
  }
  // A signed number of 1, 2, 4 or 8 bytes.
  int64_t take_signed(unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++) value |= uint64_t{take()} << (8 * i);
    const unsigned unused_bits = 64 - 8 * width;
    return static_cast<int64_t>(value << unused_bits) >> unused_bits;
  }
  void skip(unsigned count) { at_ += count; }
  uint64_t position() const { return at_; }
  bool failed() const { return failed_ || at_ > code_.size(); }

 private:
  ByteView code_;
  uint64_t at_ = 0;
  bool failed_ = false;
};

class Decoder {
 public:
  explicit Decoder(ByteView code) : cursor_(code) {}

  std::optional<Instruction> run() {
    bool valid = take_prefixes() && take_opcode() && take_operands();
    if (!valid || cursor_.failed()) return std::nullopt;
    result_.length = static_cast<uint8_t>(cursor_.position());
    classify();
    return result_;
  }

 private:
  bool take_prefixes() {
    for (;;) {
      uint8_t byte = cursor_.peek();
      if (cursor_.failed()) return false;
      bool legacy = true;
      switch (byte) {
        case 0x66:
          operand_16_ = true;
          break;
        case 0x67:
          address_32_ = true;
          break;
        case 0xf2:
        case 0xf3:
          repeat_ = byte;
          break;
        case 0xf0:
          lock_ = true;
          break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
          break;
        default:
          legacy = false;
      }
      if (!legacy && (byte & 0xf0) != 0x40) return true;
      // REX counts only directly before the opcode.
      rex_ = legacy ? 0 : byte;
      cursor_.skip(1);
    }
  }

  bool take_opcode() {
    opcode_ = cursor_.take();
    if (opcode_ == 0xc5 || opcode_ == 0xc4 || opcode_ == 0x62) return take_vector_opcode();
    // 8F is pop, whose ModRM has 0 in reg; XOP has at least 8 in the five bits there.
    if (opcode_ == 0x8f && (cursor_.peek() & 0x1f) >= 8) return take_vector_opcode();
    if (opcode_ != 0x0f) return true;
    map_ = Map::two_byte;
    opcode_ = cursor_.take();
    if (opcode_ == 0x38) map_ = Map::three_byte_38;
    if (opcode_ == 0x3a) map_ = Map::three_byte_3a;
    if (map_ != Map::two_byte) opcode_ = cursor_.take();
    return true;
  }

  bool take_vector_opcode() {
    if (rex_ != 0 || operand_16_ || repeat_ != 0 || lock_) return false;
    vector_ = true;
    unsigned map = 1;
    if (opcode_ == 0xc5) {
      cursor_.skip(1);
    } else if (opcode_ == 0xc4 || opcode_ == 0x8f) {
      map = cursor_.take() & 0x1f;
      cursor_.skip(1);
      if (opcode_ == 0xc4 && map > 3) return false;
    } else {
      uint8_t first = cursor_.take();
      uint8_t second = cursor_.take();
      cursor_.skip(1);
      if ((first & 0x08) != 0 || (second & 0x04) == 0) return false;
      map = first & 0x07;
    }
    opcode_ = cursor_.take();
    switch (map) {
      case 1:
        map_ = Map::two_byte;
        return true;
      case 2:
        map_ = Map::three_byte_38;
        return true;
      case 3:
        map_ = Map::three_byte_3a;
        return true;
      case 5:
        map_ = Map::five;
        return true;
      case 6:
        map_ = Map::six;
        return true;
      case 8:
        map_ = Map::xop_8;
        return true;
      case 9:
        map_ = Map::xop_9;
        return true;
      case 10:
        map_ = Map::xop_a;
        return true;
      default:
        return false;
    }
  }

  char operand_letter() const {
    switch (map_) {
      case Map::one_byte:
        return one_byte_map[opcode_ >> 4][opcode_ & 15];
      case Map::three_byte_3a:
      case Map::xop_8:
        return 'B';
      case Map::xop_a:
        return 'D';
      case Map::three_byte_38:
      case Map::five:
      case Map::six:
      case Map::xop_9:
        return 'm';
      case Map::two_byte:
        break;
    }
    if (!vector_) return two_byte_map[opcode_ >> 4][opcode_ & 15];
    if (opcode_ == 0x77) return '.';
    bool immediate = (opcode_ >= 0x70 && opcode_ <= 0x73) || opcode_ == 0xc2 ||
                     (opcode_ >= 0xc4 && opcode_ <= 0xc6);
    return immediate ? 'B' : 'm';
  }

  bool take_operands() {
    const unsigned wide = (operand_16_ && (rex_ & 8) == 0) ? 2 : 4;
    switch (operand_letter()) {
      case '.':
        return true;
      case 'm':
        return take_modrm();
      case 'b':
        return take_immediate(1);
      case 'w':
        return take_immediate(2);
      case 'z':
        return take_immediate(wide);
      case 'v':
        return take_immediate((rex_ & 8) != 0 ? 8 : wide);
      case 'o':
        return take_immediate(address_32_ ? 4 : 8);
      case 'e':
        return take_immediate(3);
      case 'B':
        return take_modrm() && take_immediate(1);
      case 'Z':
        return take_modrm() && (is_xbegin() ? take_relative(wide) : take_immediate(wide));
      case 'D':
        return take_modrm() && take_immediate(4);
      case 'g':
        return take_modrm() && (reg() < 2 ? take_immediate(1) : true);
      case 'G':
        return take_modrm() && (reg() < 2 ? take_immediate(wide) : true);
      case 'r':
        return take_relative(1);
      case 'R':
        return take_relative(4);
      case 'c':
        modrm_ = cursor_.take();
        return true;
      case 'q':
        return take_modrm() && ((operand_16_ || repeat_ == 0xf2) ? take_immediate(2) : true);
      default:
        return false;
    }
  }

  bool take_modrm() {
    modrm_ = cursor_.take();
    const unsigned mod = modrm_ >> 6;
    const unsigned rm = modrm_ & 7;
    if (mod == 3) return is_allowed_modrm();
    unsigned base = rm;
    if (rm == 4) base = cursor_.take() & 7;
    if (mod == 0 && rm == 5) return is_allowed_modrm() && take_relative(4);
    if (mod == 2 || (mod == 0 && rm == 4 && base == 5)) cursor_.skip(4);
    if (mod == 1) cursor_.skip(1);
    return is_allowed_modrm();
  }

  bool is_allowed_modrm() const {
    if (map_ != Map::one_byte) return true;
    if (opcode_ == 0x8f) return reg() == 0;
    if (opcode_ == 0xfe) return reg() < 2;
    if (opcode_ == 0xff) return reg() < 7;
    return true;
  }

  bool take_immediate(unsigned width) {
    cursor_.skip(width);
    return true;
  }

  bool take_relative(unsigned width) {
    result_.pc_relative_offset = static_cast<uint8_t>(cursor_.position());
    result_.pc_relative_width = static_cast<uint8_t>(width);
    result_.displacement = cursor_.take_signed(width);
    return true;
  }

  unsigned reg() const { return (modrm_ >> 3) & 7; }
  bool is_xbegin() const { return opcode_ == 0xc7 && modrm_ == 0xf8; }

  void classify() {
    if (vector_) return;
    if (map_ == Map::one_byte) classify_one_byte();
    if (map_ == Map::two_byte) classify_two_byte();
  }

  void classify_one_byte() {
    if ((opcode_ & 0xf0) == 0x70 || (opcode_ >= 0xe0 && opcode_ <= 0xe3) || is_xbegin()) {
      result_.flow = Flow::conditional_jump;
      return;
    }
    switch (opcode_) {
      case 0x90:
        result_.is_nop = repeat_ == 0 && (rex_ & 1) == 0;
        break;
      case 0xc2:
      case 0xc3:
      case 0xca:
      case 0xcb:
      case 0xcf:
        result_.flow = Flow::ret;
        break;
      case 0xcc:
      case 0xcd:
      case 0xf1:
      case 0xf4:
        result_.flow = Flow::trap;
        break;
      case 0xe8:
        result_.flow = Flow::call;
        break;
      case 0xe9:
      case 0xeb:
        result_.flow = Flow::jump;
        break;
      case 0xff:
        if (reg() == 2 || reg() == 3) result_.flow = Flow::indirect_call;
        if (reg() == 4 || reg() == 5) result_.flow = Flow::indirect_jump;
        break;
      default:
        break;
    }
  }

  void classify_two_byte() {
    if ((opcode_ & 0xf0) == 0x80) {
      result_.flow = Flow::conditional_jump;
      return;
    }
    switch (opcode_) {
      case 0x05:
      case 0x34:
        result_.flow = Flow::syscall;
        break;
      case 0x07:
      case 0x35:
      case 0xaa:
        result_.flow = Flow::ret;
        break;
      case 0x0b:
      case 0xb9:
      case 0xff:
        result_.flow = Flow::trap;
        break;
      case 0x1e:
        result_.is_endbr = repeat_ == 0xf3 && modrm_ == 0xfa;
        break;
      case 0x1f:
        result_.is_nop = true;
        break;
      default:
        break;
    }
  }

  Cursor cursor_;
  Instruction result_;
  Map map_ = Map::one_byte;
  uint8_t opcode_ = 0;
  uint8_t modrm_ = 0;
  uint8_t rex_ = 0;
  uint8_t repeat_ = 0;
  bool operand_16_ = false;
  bool address_32_ = false;
  bool lock_ = false;
  bool vector_ = false;
};

}  // namespace

std::optional<Instruction> decode_x86_64(ByteView code) {
  return Decoder(code).run();
}

}  // namespace livecare::insn
