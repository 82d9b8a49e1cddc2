// Which registers hold the name of the function's own source file, before each of its instructions.
#pragma once

#include <string_view>
#include <vector>

#include "objdiff/function_code.h"

namespace livecare::objdiff {

class FileRegisters {
 public:
  explicit FileRegisters(const FunctionCode& code);
  // Registers that hold a file name before instruction number i, whatever way led there.
  RegisterSet before(size_t i) const { return before_[i]; }

 private:
  bool loads_file_name(const CodeInstruction& instruction) const;
  RegisterSet find_constant() const;
  std::vector<size_t> roots() const;
  RegisterSet behind(size_t i) const;
  void flow_from(size_t i);
  void meet(size_t i, RegisterSet files);

  const FunctionCode& code_;
  RegisterSet preserved_;
  std::string_view own_name_;
  RegisterSet constant_ = 0;
  std::vector<RegisterSet> before_;
  std::vector<bool> reached_;
  std::vector<size_t> open_;
};

}  // namespace livecare::objdiff
