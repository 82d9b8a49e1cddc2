// The container around the body (docs/formats/patch.md has the grammar):
//
//   header 64 bytes | body, one zstd frame | signature block
//
// A file is read from the outside in, and nothing is done with bytes that the step before has not
// bounded: the header says how long each piece is (checked against limits and the file's length),
// the digest says whether the body is the one that was written, and only then is it decompressed,
// into a buffer of exactly the size that the header promised. The digest guards against damage;
// against malice there is the signature, which covers header and compressed body, so that a
// verifier needs to understand neither zstd nor the body.
#include "patchfmt/codec.h"

#include <openssl/evp.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

#include "patchfmt/body.h"
#include "patchfmt/check.h"

namespace livecare::patchfmt {

namespace {

constexpr std::string_view file_magic{"LCPATCH\n", 8};
constexpr std::string_view signature_magic{"LCSG", 4};
constexpr uint32_t version = 1;
constexpr uint64_t header_bytes = 64;
constexpr uint64_t digest_offset = 32;
constexpr uint64_t digest_bytes = 32;
constexpr uint64_t body_bytes_max = uint64_t{256} << 20;
constexpr uint64_t signature_block_bytes = 8;
constexpr uint64_t signature_bytes = 96;
constexpr uint32_t signatures_max = 16;
constexpr int zstd_level = 12;

using Digest = std::array<uint8_t, digest_bytes>;

Digest digest_of(ByteView bytes) {
  Digest digest{};
  LIVECARE_ASSERT(
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

struct Frame {       // where the pieces of a file are
  ByteView covered;  // header and body: what signatures are made over
  ByteView body;     // compressed
  uint64_t body_size = 0;
  ByteView signatures;  // signature_bytes each
};

template <class... Args>
Error damaged(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::invalid_input, name, "{}; fetch the file again",
                    fmt::format(format, std::forward<Args>(args)...));
}

Result<ByteView> signature_list(ByteView file, uint64_t offset, std::string_view name) {
  auto magic = file.slice(offset, signature_magic.size());
  auto count = file.read<uint32_t>(offset + signature_magic.size());
  if (!magic || !count || magic->as_text() != signature_magic)
    return damaged(name, "signature block is missing");
  if (*count > signatures_max)
    return damaged(name, "has {} signatures, over the limit of {}", *count, signatures_max);
  auto list = file.slice(offset + signature_block_bytes, *count * signature_bytes);
  if (!list) return damaged(name, "signature block is cut off");
  if (list->end() != file.end()) return damaged(name, "has bytes after its signature block");
  return *list;
}

Result<Frame> open_frame(ByteView file, std::string_view name) {
  if (file.size() > patch_file_bytes_max)
    return make_error(ErrorCode::invalid_input, name, "larger than the limit of {} bytes",
                      patch_file_bytes_max);
  auto magic = file.slice(0, file_magic.size());
  if (!magic || magic->as_text() != file_magic)
    return make_error(ErrorCode::invalid_input, name,
                      "is not a livecare patch file; give one that livecare-build made");
  auto file_version = file.read<uint32_t>(8);
  auto stored = file.read<uint64_t>(16);
  auto size = file.read<uint64_t>(24);
  if (file.size() < header_bytes || !file_version || !stored || !size)
    return damaged(name, "header is cut off");
  if (*file_version != version || file.read<uint32_t>(12) != header_bytes)
    return make_error(ErrorCode::unsupported, name,
                      "has format version {}, this program reads version {}; update the agent",
                      *file_version, version);
  if (*size > body_bytes_max)
    return damaged(name, "claims a body of {} bytes, over the limit of {}", *size, body_bytes_max);
  auto body = file.slice(header_bytes, *stored);
  if (!body) return damaged(name, "body is cut off");
  TRY(ByteView signatures, signature_list(file, header_bytes + *stored, name));
  return Frame{*file.slice(0, header_bytes + *stored), *body, *size, signatures};
}

Result<Bytes> decompress(const Frame& frame, std::string_view name) {
  if (ZSTD_getFrameContentSize(frame.body.data(), frame.body.size()) != frame.body_size)
    return damaged(name, "body is not the zstd frame that the header promises");
  Bytes body(frame.body_size);
  size_t got = ZSTD_decompress(body.data(), body.size(), frame.body.data(), frame.body.size());
  if (ZSTD_isError(got) || got != body.size()) return damaged(name, "body does not decompress");
  return body;
}

std::vector<Signature> list_of(const Frame& frame) {
  std::vector<Signature> list;
  for (uint64_t at = 0; at < frame.signatures.size(); at += signature_bytes) {
    Signature& signature = list.emplace_back();
    const uint8_t* bytes = frame.signatures.data() + at;
    std::copy_n(bytes, signature.key_id.size(), signature.key_id.begin());
    std::copy_n(bytes + signature.key_id.size(), signature.signature.size(),
                signature.signature.begin());
  }
  return list;
}

Bytes compress(ByteView body) {
  Bytes out(ZSTD_compressBound(body.size()));
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  LIVECARE_ASSERT(context != nullptr);
  size_t size = ZSTD_compressCCtx(context.get(), out.data(), out.size(), body.data(), body.size(),
                                  zstd_level);
  LIVECARE_ASSERT(!ZSTD_isError(size));
  out.resize(size);
  return out;
}

void append(Bytes& out, ByteView bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

Bytes write(const Patchset& patchset) {
  Bytes body = write_body(patchset);
  Bytes stored = compress(body);
  Bytes out;
  append(out, ByteView(file_magic));
  append_le(out, version);
  append_le(out, static_cast<uint32_t>(header_bytes));
  append_le(out, static_cast<uint64_t>(stored.size()));
  append_le(out, static_cast<uint64_t>(body.size()));
  Digest digest = digest_of(stored);
  append(out, ByteView(digest.data(), digest.size()));
  append(out, stored);
  append(out, ByteView(signature_magic));
  append_le(out, uint32_t{0});
  return out;
}

Result<PatchFile> read(ByteView file, std::string_view name) {
  TRY(Frame frame, open_frame(file, name));
  Digest digest = digest_of(frame.body);
  if (!(*file.slice(digest_offset, digest_bytes) == ByteView(digest.data(), digest.size())))
    return damaged(name, "body is damaged (its SHA-256 is not the one in the header)");
  TRY(Bytes body, decompress(frame, name));
  TRY(Patchset patchset, read_body(body, name));
  TRY_STATUS(check(patchset, name));
  return PatchFile{std::move(patchset), list_of(frame)};
}

Result<std::vector<Signature>> signatures(ByteView file, std::string_view name) {
  TRY(Frame frame, open_frame(file, name));
  return list_of(frame);
}

Result<ByteView> signed_bytes(ByteView file, std::string_view name) {
  TRY(Frame frame, open_frame(file, name));
  return frame.covered;
}

Result<Bytes> add_signature(ByteView file, std::string_view name, const Signature& signature) {
  TRY(Frame frame, open_frame(file, name));
  uint64_t count = frame.signatures.size() / signature_bytes;
  if (count >= signatures_max)
    return make_error(ErrorCode::invalid_input, name, "has {} signatures already, the limit",
                      count);
  Bytes out = file.copy();
  append(out, ByteView(signature.key_id.data(), signature.key_id.size()));
  append(out, ByteView(signature.signature.data(), signature.signature.size()));
  store_le(out, frame.covered.size() + signature_magic.size(), static_cast<uint32_t>(count + 1));
  return out;
}

}  // namespace livecare::patchfmt
