// The handshake, either role. The first byte chooses: 1 acceptor, 2 the proof that the rest holds is what it differs by from
// the right one, so that zeros are right whatever the nonce. Then the sizes of the pieces, then what the peer sends.
#include "fuzz/input.hpp"

#include "troupe/transport/handshake.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include <openssl/evp.h>
#include <openssl/hmac.h>

using troupe::handshake;
using bytes = std::vector<std::byte>;
using view = std::span<const std::byte>;

namespace {

constexpr std::string_view cookie = "correcthorse1234";
constexpr std::size_t preamble_size = handshake::preamble_size;
constexpr std::size_t whole_size = preamble_size + handshake::proof_size;
// magic, version 1, and a little-endian machine's byte order
constexpr std::string_view preamble_start{"TROUPE\r\n\1\0\0\0\4\3\2\1", 16};

// 0, 1, 2, … for the dialler, 64, 65, 66, … for the acceptor
handshake::nonce nonce_of(bool acceptor) {
  handshake::nonce out;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(i + (acceptor ? 64 : 0));
  return out;
}

bytes operator+(bytes left, view right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// What the peer has to send, computed apart from the code under test.
bytes right_proof(bool from_acceptor, view its_nonce, view other_nonce) {
  std::string_view label = from_acceptor ? "troupe acceptor" : "troupe dialler";
  auto message = bytes{} + std::as_bytes(std::span{label}) + its_nonce + other_nonce;
  bytes out(handshake::proof_size);
  HMAC(EVP_sha256(), cookie.data(), static_cast<int>(cookie.size()), reinterpret_cast<unsigned char*>(message.data()), message.size(),
       reinterpret_cast<unsigned char*>(out.data()), nullptr);
  return out;
}

bool starts_right(view sent, std::size_t size) { return sent.size() >= size && std::memcmp(sent.data(), preamble_start.data(), size) == 0; }

void check_output(const handshake& h, bool acceptor, view sent, bool greeted, const bytes& out) {
  auto done = h.state() == handshake::status::done;
  auto expected = preamble_size;
  if (acceptor && !starts_right(sent, 8))
    expected = 0; // before it has seen the magic it says nothing
  else if (acceptor && !greeted)
    expected = std::min(out.size(), preamble_size); // only a version or a byte order that it names
  else if (acceptor ? done : greeted)
    expected = whole_size;
  fuzz::require(out.size() == expected && (expected != 0 || out.empty()), "the output is preamble and proof at most, when they are due");
  fuzz::require(out.size() == 0 || out.size() == preamble_size || out.size() == whole_size, "the output is whole");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
  auto choice = in.byte();
  auto acceptor = (choice & 1) != 0;
  fuzz::pieces cut{in};
  bytes sent{in.rest().begin(), in.rest().end()};
  auto own_nonce = nonce_of(acceptor);
  bytes proof;
  if (sent.size() > preamble_size)
    proof = right_proof(!acceptor, view{sent}.subspan(16, 32), own_nonce);
  if ((choice & 2) != 0)
    for (auto i = preamble_size; i < std::min(sent.size(), whole_size); ++i)
      sent[i] ^= proof[i - preamble_size];

  handshake h{acceptor ? handshake::role::acceptor : handshake::role::dialler, cookie, 1, own_nonce};
  auto out = h.take_output();
  std::size_t used = 0;
  for (view left = sent; !left.empty();) {
    auto running = h.state() == handshake::status::running;
    auto piece = cut.cut(left);
    auto taken = h.feed(piece);
    fuzz::require(taken <= piece.size(), "no more is taken than is there");
    fuzz::require(running || taken == 0, "nothing is taken once it is decided");
    fuzz::require(h.state() != handshake::status::running || taken == piece.size(), "all is taken until it is decided");
    used += taken;
    out = out + h.take_output();
  }
  fuzz::require(used <= whole_size, "no more is taken than belongs to a handshake");

  auto greeted =
    starts_right(sent, 16) && sent.size() >= preamble_size && !std::equal(own_nonce.begin(), own_nonce.end(), sent.begin() + 16);
  auto right = greeted && sent.size() >= whole_size && std::equal(proof.begin(), proof.end(), sent.begin() + preamble_size);
  fuzz::require((h.state() == handshake::status::done) == right, "it is done when the proof is right, and only then");
  check_output(h, acceptor, sent, greeted, out);
  h.abandon("closed the connection");
  fuzz::require(h.state() != handshake::status::running, "abandoning decides it");
  fuzz::require((h.state() == handshake::status::failed) == !h.failure().empty(), "a failure has a text, and nothing else has");
  fuzz::require(h.failure().size() < 300 && h.failure().find(cookie) == std::string::npos, "the text is short and without the cookie");
  return 0;
}
