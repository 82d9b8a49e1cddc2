// Members of a JSON object that must be there and be of a kind. Errors are invalid_input, name the
// file and the member. Borrows the JSON value; for use inside one function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "trust/tuf/canonical_json.h"

namespace livecare::trust::tuf {

class Fields {
 public:
  // Refuses what is not an object; `where` says what it is: "role root".
  static Result<Fields> of(const Json& json, std::string_view object, std::string where);

  bool has(const char* name) const { return json_->contains(name); }
  Result<std::string> text(const char* name) const;
  // From 0 or `least` to `most`.
  Result<uint64_t> number(const char* name, uint64_t least, uint64_t most) const;
  Result<bool> boolean(const char* name, bool otherwise) const;
  Result<const Json*> object(const char* name) const;
  Result<const Json*> array(const char* name, size_t count_max) const;
  Result<std::vector<std::string>> texts(const char* name, size_t count_max) const;
  // All members but those of `known`.
  Json without(std::initializer_list<const char*> known) const;

  Error wrong(const char* name, std::string_view what) const;

 private:
  const Json* json_ = nullptr;
  std::string_view object_;
  std::string where_;
};

}  // namespace livecare::trust::tuf
