#include "troupe/transport/handshake.hpp"

#include "troupe/transport/cookie.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace troupe {

namespace {

constexpr std::string_view magic = "TROUPE\r\n";
constexpr std::uint32_t byte_order_mark = 0x01020304;
constexpr std::uint32_t swapped_byte_order_mark = 0x04030201;
constexpr std::size_t version_at = magic.size();
constexpr std::size_t mark_at = version_at + 4;
constexpr std::size_t nonce_at = mark_at + 4;

void append(std::vector<std::byte>& out, std::span<const std::byte> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

std::uint32_t read_little_endian(std::span<const std::byte, 4> in) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value |= std::to_integer<std::uint32_t>(in[i]) << (8 * i);
  return value;
}

void append_little_endian(std::vector<std::byte>& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<std::byte>(value >> shift));
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (auto byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    if (!text.empty())
      text += ' ';
    text += digits[value >> 4];
    text += digits[value & 15];
  }
  return text;
}

handshake::nonce random_nonce() {
  init_crypto();
  handshake::nonce bytes;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) != 1)
    throw std::runtime_error("OpenSSL has no random numbers for a handshake");
  return bytes;
}

} // namespace

handshake::handshake(role r, std::string_view cookie, std::uint32_t version, std::optional<nonce> fixed_nonce)
  : role_{r}, version_{version}, cookie_{cookie}, own_nonce_{fixed_nonce} {
  if (cookie_.empty())
    throw std::invalid_argument("a handshake needs a cookie, and this one is empty");
  if (role_ == role::dialler)
    send_preamble();
}

handshake::~handshake() { forget_cookie(); }

std::size_t handshake::feed(std::span<const std::byte> in) {
  std::size_t used = 0;
  while (state_ == status::running && used < in.size()) {
    const auto piece = in.subspan(used, std::min(in.size() - used, wanted() - received_size_));
    std::copy(piece.begin(), piece.end(), received_.begin() + static_cast<std::ptrdiff_t>(received_size_));
    received_size_ += piece.size();
    used += piece.size();
    if (!peer_preamble_seen_)
      check_preamble();
    else if (received_size_ == proof_size)
      check_proof();
  }
  return used;
}

// Looks at each field as soon as it is complete: a later version's preamble may have another length.
void handshake::check_preamble() {
  const std::span<const std::byte> got{received_.data(), received_size_};
  const auto start = got.first(std::min(got.size(), magic.size()));
  if (std::memcmp(start.data(), magic.data(), start.size()) != 0)
    return fail(failure_kind::not_troupe, "the peer sent junk: first bytes " + to_hex(start) + ", expected a troupe preamble");
  if (got.size() < mark_at)
    return;
  const auto version = read_little_endian(got.subspan<version_at, 4>());
  if (version != version_) {
    if (role_ == role::acceptor)
      send_preamble(); // so that the dialler can name both versions too
    return fail(failure_kind::version, "the peer speaks protocol version " + std::to_string(version) + ", this process speaks version "
                                         + std::to_string(version_));
  }
  if (got.size() < nonce_at)
    return;
  std::uint32_t mark = 0;
  std::memcpy(&mark, got.data() + mark_at, sizeof mark);
  if (mark == swapped_byte_order_mark) {
    if (role_ == role::acceptor)
      send_preamble();
    return fail(failure_kind::byte_order, "the peer's machine has another byte order: its mark reads 0x04030201, expected 0x01020304");
  }
  if (mark != byte_order_mark)
    return fail(failure_kind::not_troupe,
                "the peer sent junk: byte order mark " + to_hex(got.subspan(mark_at, 4)) + ", expected 0x01020304");
  if (got.size() < preamble_size)
    return;
  std::copy(got.begin() + nonce_at, got.end(), peer_nonce_.begin());
  if (peer_nonce_ == own_nonce())
    return fail(failure_kind::reflected, "the peer sent this process's own random number back, "
                                         "expected one of its own");
  peer_preamble_seen_ = true;
  received_size_ = 0;
  if (role_ == role::acceptor)
    send_preamble();
  else
    send_proof();
}

void handshake::check_proof() {
  const auto expected = proof_of(role_ == role::dialler ? role::acceptor : role::dialler);
  if (CRYPTO_memcmp(received_.data(), expected.data(), proof_size) != 0)
    return fail(failure_kind::cookie, "the peer doesn't know this cluster's cookie");
  if (role_ == role::acceptor)
    send_proof();
  state_ = status::done;
  forget_cookie();
}

const handshake::nonce& handshake::own_nonce() {
  if (!own_nonce_)
    own_nonce_ = random_nonce();
  return *own_nonce_;
}

void handshake::send_preamble() {
  append(output_, std::as_bytes(std::span{magic}));
  append_little_endian(output_, version_);
  append(output_, std::as_bytes(std::span{&byte_order_mark, 1}));
  append(output_, own_nonce());
}

void handshake::send_proof() { append(output_, proof_of(role_)); }

std::array<std::byte, handshake::proof_size> handshake::proof_of(role who) {
  // The label keeps one side's proof from being good as the other's.
  const std::string_view label = who == role::dialler ? "troupe dialler" : "troupe acceptor";
  std::vector<std::byte> message;
  append(message, std::as_bytes(std::span{label}));
  append(message, who == role_ ? own_nonce() : peer_nonce_);
  append(message, who == role_ ? peer_nonce_ : own_nonce());
  std::array<std::byte, proof_size> proof;
  if (HMAC(EVP_sha256(), cookie_.data(), static_cast<int>(cookie_.size()), reinterpret_cast<const unsigned char*>(message.data()),
           message.size(), reinterpret_cast<unsigned char*>(proof.data()), nullptr)
      == nullptr)
    throw std::runtime_error("OpenSSL can't compute HMAC-SHA256");
  return proof;
}

std::vector<std::byte> handshake::take_output() { return std::exchange(output_, {}); }

void handshake::abandon(std::string_view what_peer_did) {
  if (state_ != status::running)
    return;
  std::string text = "the peer ";
  text += what_peer_did;
  text += " after " + std::to_string(received_size_) + " of the " + std::to_string(wanted());
  text += peer_preamble_seen_ ? " bytes of its proof" : " bytes of its preamble";
  if (peer_preamble_seen_ && role_ == role::dialler)
    text += "; it may have another cookie"; // an acceptor that refuses our proof says nothing
  fail(failure_kind::abandoned, std::move(text));
}

void handshake::fail(failure_kind kind, std::string text) {
  state_ = status::failed;
  failure_kind_ = kind;
  failure_ = std::move(text);
  forget_cookie();
}

void handshake::forget_cookie() {
  OPENSSL_cleanse(cookie_.data(), cookie_.size());
  cookie_.clear();
}

} // namespace troupe
