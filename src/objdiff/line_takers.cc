#include "objdiff/line_takers.h"

#include <algorithm>
#include <array>

namespace livecare::objdiff {
namespace {

struct Taker {
  std::string_view function;
  unsigned argument;
};

constexpr auto takers = std::to_array<Taker>({
    // C and C++ libraries
    {"__assert_fail", 2},
    {"__assert_perror_fail", 2},
    {"__malloc_assert", 2},
    {"__libc_assert_fail", 2},
    {"_ZSt21__glibcxx_assert_failPKciS0_S0_", 1},
    // GLib
    {"g_assertion_message", 2},
    {"g_assertion_message_expr", 2},
    {"g_assertion_message_cmpnum", 2},
    {"g_assertion_message_cmpstr", 2},
    {"g_assertion_message_error", 2},
    // OpenSSL
    {"CRYPTO_malloc", 2},
    {"CRYPTO_zalloc", 2},
    {"CRYPTO_realloc", 3},
    {"CRYPTO_clear_realloc", 4},
    {"CRYPTO_free", 2},
    {"CRYPTO_clear_free", 3},
    {"CRYPTO_strdup", 2},
    {"CRYPTO_strndup", 3},
    {"CRYPTO_memdup", 3},
    {"CRYPTO_secure_malloc", 2},
    {"CRYPTO_secure_zalloc", 2},
    {"CRYPTO_secure_free", 2},
    {"CRYPTO_secure_clear_free", 3},
    {"ERR_set_debug", 1},
    {"ERR_put_error", 4},
    {"OPENSSL_die", 2},
    // curl
    {"curl_dbg_malloc", 1},
    {"curl_dbg_calloc", 2},
    {"curl_dbg_realloc", 2},
    {"curl_dbg_free", 1},
    {"curl_dbg_strdup", 1},
    // QEMU
    {"error_setg_internal", 2},
    {"error_setg_errno_internal", 2},
    {"error_setg_file_open_internal", 2},
    {"qemu_mutex_lock_impl", 2},
    {"qemu_mutex_trylock_impl", 2},
    {"qemu_mutex_unlock_impl", 2},
    {"qemu_cond_wait_impl", 3},
    {"qemu_rec_mutex_lock_impl", 2},
    {"qemu_rec_mutex_unlock_impl", 2},
    // Databases
    {"safe_mutex_lock", 3},
    {"safe_mutex_unlock", 2},
    {"_db_enter_", 2},
    {"_db_pargs_", 0},
    {"errfinish", 1},
    {"ExceptionalCondition", 2},
    // Linux
    {"warn_slowpath_fmt", 1},
    {"__might_sleep", 1},
    {"__might_fault", 1},
    {"lockdep_rcu_suspicious", 1},
    {"__might_resched", 1},
});
constexpr auto source_endings = std::to_array<std::string_view>(
    {".c", ".cc", ".cpp", ".cxx", ".C", ".c++", ".y", ".yy", ".l", ".ll", ".m"});

constexpr size_t file_name_bytes_max = 4096;

template <size_t N>
bool ends_with_any(std::string_view text, const std::array<std::string_view, N>& endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) {
    return text.size() > ending.size() && text.ends_with(ending);
  });
}

std::string_view base_name(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

std::optional<unsigned> line_argument(std::string_view function) {
  for (const Taker& taker : takers)
    if (taker.function == function) return taker.argument;
  return std::nullopt;
}

bool is_file_name(std::string_view text, std::string_view own_name) {
  if (text.empty() || text.size() > file_name_bytes_max) return false;
  if (!own_name.empty() && text == own_name) return true;
  bool path_like = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+~@").find(c) != std::string_view::npos;
  });
  if (!path_like) return false;
  return ends_with_any(text, source_endings) && base_name(text) == base_name(own_name);
}

}  // namespace livecare::objdiff
