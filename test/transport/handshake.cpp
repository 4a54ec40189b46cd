#define BOOST_TEST_MODULE handshake
#include <boost/test/unit_test.hpp>

#include "troupe/transport/handshake.hpp"

#include <algorithm>
#include <stdexcept>

using troupe::handshake;
using bytes = std::vector<std::byte>;

namespace {

constexpr std::string_view cookie = "correcthorse1234";
constexpr auto dialler = handshake::role::dialler;
constexpr auto acceptor = handshake::role::acceptor;

// The vectors are written by hand. The proofs come from the command line:
//   { printf 'troupe dialler'; echo DIALLER_NONCE ACCEPTOR_NONCE | xxd -r -p; } |
//     openssl dgst -sha256 -hmac COOKIE
// The byte order mark is a little-endian machine's.
constexpr std::string_view preamble_start = "54524f5550450d0a"
                                            "01000000"
                                            "04030201";
constexpr std::string_view dialler_nonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr std::string_view acceptor_nonce = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
constexpr std::string_view dialler_proof = "ea63a055d716a9ff8c1804d7facf29b7c43c543f71045a8beac6641bb5500f89";
constexpr std::string_view acceptor_proof = "45f27dc963ff627973446fcd18eb72663ad7625bfbec6c99c51674fd7038c050";

bytes from_hex(std::string_view hex) {
  bytes out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16)));
  return out;
}

bytes from_text(std::string_view text) {
  const auto raw = std::as_bytes(std::span{text});
  return {raw.begin(), raw.end()};
}

bytes operator+(bytes left, const bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

handshake::nonce nonce_of(std::string_view hex) {
  handshake::nonce out;
  std::ranges::copy(from_hex(hex), out.begin());
  return out;
}

bytes preamble(std::string_view nonce) { return from_hex(preamble_start) + from_hex(nonce); }

// Carries bytes to and fro, `piece` at a time, until neither side has more to say.
void converse(handshake& a, handshake& b, std::size_t piece) {
  auto carry = [piece](handshake& from, handshake& to) {
    const bytes out = from.take_output();
    for (std::size_t at = 0; at < out.size(); at += piece)
      to.feed(std::span{out}.subspan(at, std::min(piece, out.size() - at)));
    return !out.empty();
  };
  while (carry(a, b) || carry(b, a)) {
  }
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

void check_failed(const handshake& h, handshake::failure_kind kind, std::string_view part) {
  BOOST_TEST((h.state() == handshake::status::failed));
  BOOST_TEST((h.failure_reason() == kind), h.failure());
  BOOST_TEST(contains(h.failure(), part), h.failure());
  BOOST_TEST(!contains(h.failure(), cookie));
}

void check_agree(std::size_t piece) {
  handshake d{dialler, cookie}, a{acceptor, cookie};
  converse(d, a, piece);
  BOOST_TEST((d.state() == handshake::status::done), d.failure());
  BOOST_TEST((a.state() == handshake::status::done), a.failure());
  BOOST_TEST(d.failure().empty());
}

} // namespace

BOOST_AUTO_TEST_CASE(both_ends_agree_when_everything_arrives_at_once) { check_agree(1000); }

BOOST_AUTO_TEST_CASE(both_ends_agree_when_bytes_arrive_one_by_one) { check_agree(1); }

BOOST_AUTO_TEST_CASE(the_dialler_sends_the_documented_bytes) {
  handshake d{dialler, cookie, 1, nonce_of(dialler_nonce)};
  BOOST_TEST((d.take_output() == preamble(dialler_nonce)));
  BOOST_TEST(d.feed(preamble(acceptor_nonce)) == 48u);
  BOOST_TEST((d.take_output() == from_hex(dialler_proof)));
  BOOST_TEST((d.state() == handshake::status::running));
  BOOST_TEST(d.feed(from_hex(acceptor_proof)) == 32u);
  BOOST_TEST((d.state() == handshake::status::done));
  BOOST_TEST(d.take_output().empty());
}

BOOST_AUTO_TEST_CASE(the_acceptor_sends_the_documented_bytes_and_nothing_before_it_is_asked) {
  handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
  BOOST_TEST(a.take_output().empty());
  const bytes first = preamble(dialler_nonce);
  a.feed(std::span{first}.first(47));
  BOOST_TEST(a.take_output().empty());
  a.feed(std::span{first}.last(1));
  BOOST_TEST((a.take_output() == preamble(acceptor_nonce)));
  const bytes proof = from_hex(dialler_proof);
  a.feed(std::span{proof}.first(31));
  BOOST_TEST(a.take_output().empty());
  a.feed(std::span{proof}.last(1));
  BOOST_TEST((a.take_output() == from_hex(acceptor_proof)));
  BOOST_TEST((a.state() == handshake::status::done));
}

BOOST_AUTO_TEST_CASE(bytes_after_the_handshake_are_left_for_the_frames) {
  handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
  BOOST_TEST(a.feed(preamble(dialler_nonce) + from_hex(dialler_proof) + from_text("frames")) == 80u);
  BOOST_TEST((a.state() == handshake::status::done));
  BOOST_TEST(a.feed(from_text("more frames")) == 0u);

  handshake d{dialler, cookie, 1, nonce_of(dialler_nonce)};
  BOOST_TEST(d.feed(preamble(acceptor_nonce) + from_hex(acceptor_proof) + from_text("frames")) == 80u);
  BOOST_TEST((d.state() == handshake::status::done));
}

// CK-07
BOOST_AUTO_TEST_CASE(a_dialler_with_a_wrong_cookie_is_refused_and_gets_no_proof) {
  handshake d{dialler, "anothercookie"}, a{acceptor, cookie};
  a.feed(d.take_output());
  d.feed(a.take_output());
  a.feed(d.take_output());
  check_failed(a, handshake::failure_kind::cookie, "doesn't know this cluster's cookie");
  BOOST_TEST(a.take_output().empty());
  d.abandon("closed the connection");
  check_failed(d, handshake::failure_kind::abandoned, "it may have another cookie");
}

BOOST_AUTO_TEST_CASE(an_acceptor_that_only_guesses_is_refused) {
  handshake d{dialler, cookie};
  d.feed(preamble(acceptor_nonce) + bytes(32));
  check_failed(d, handshake::failure_kind::cookie, "doesn't know this cluster's cookie");
}

BOOST_AUTO_TEST_CASE(one_wrong_bit_in_the_proof_is_noticed) {
  for (std::size_t at : {0u, 15u, 31u}) {
    bytes proof = from_hex(dialler_proof);
    proof[at] ^= std::byte{1};
    handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
    a.feed(preamble(dialler_nonce) + proof);
    check_failed(a, handshake::failure_kind::cookie, "cookie");
  }
}

BOOST_AUTO_TEST_CASE(a_replayed_dialler_is_refused) {
  handshake d{dialler, cookie}, a{acceptor, cookie};
  bytes recorded = d.take_output();
  a.feed(recorded);
  d.feed(a.take_output());
  const bytes proof = d.take_output();
  a.feed(proof);
  BOOST_TEST((a.state() == handshake::status::done));

  handshake later{acceptor, cookie};
  later.feed(recorded + proof);
  check_failed(later, handshake::failure_kind::cookie, "cookie");
  BOOST_TEST(later.take_output().size() == handshake::preamble_size); // and no proof
}

BOOST_AUTO_TEST_CASE(a_replayed_acceptor_is_refused) {
  handshake d{dialler, cookie};
  d.feed(preamble(acceptor_nonce) + from_hex(acceptor_proof));
  check_failed(d, handshake::failure_kind::cookie, "cookie");
}

BOOST_AUTO_TEST_CASE(a_dialler_that_hears_its_own_bytes_refuses_them) {
  handshake d{dialler, cookie};
  d.feed(d.take_output());
  check_failed(d, handshake::failure_kind::reflected, "own random number");
  BOOST_TEST(d.take_output().empty());
}

BOOST_AUTO_TEST_CASE(an_acceptor_that_meets_its_own_nonce_refuses_it) {
  handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
  a.feed(preamble(acceptor_nonce));
  check_failed(a, handshake::failure_kind::reflected, "own random number");
  BOOST_TEST(a.take_output().empty());
}

BOOST_AUTO_TEST_CASE(one_sides_proof_is_not_good_as_the_others) {
  handshake d{dialler, cookie, 1, nonce_of(dialler_nonce)};
  d.feed(preamble(acceptor_nonce) + from_hex(dialler_proof));
  check_failed(d, handshake::failure_kind::cookie, "cookie");
}

BOOST_AUTO_TEST_CASE(each_handshake_has_a_nonce_of_its_own) {
  handshake first{dialler, cookie}, second{dialler, cookie};
  BOOST_TEST((first.take_output() != second.take_output()));
}

// CK-07, MP-43
BOOST_AUTO_TEST_CASE(junk_is_refused_and_its_first_bytes_are_shown) {
  handshake a{acceptor, cookie};
  a.feed(from_text("GET / HTTP/1.1\r\n\r\n"));
  check_failed(a, handshake::failure_kind::not_troupe, "first bytes 47 45 54 20 2f 20 48 54, expected a troupe preamble");
  BOOST_TEST(a.take_output().empty());
}

BOOST_AUTO_TEST_CASE(junk_is_noticed_at_its_first_wrong_byte) {
  for (std::size_t good = 0; good < 8; ++good) {
    handshake a{acceptor, cookie};
    bytes sent = preamble(dialler_nonce);
    a.feed(std::span{sent}.first(good));
    BOOST_TEST((a.state() == handshake::status::running));
    sent[good] ^= std::byte{0xff};
    a.feed(std::span{sent}.subspan(good, 1));
    check_failed(a, handshake::failure_kind::not_troupe, "junk");
  }
}

BOOST_AUTO_TEST_CASE(a_peer_that_sends_the_cookie_itself_does_not_get_it_into_the_log) {
  handshake a{acceptor, cookie};
  a.feed(from_text(cookie));
  // Half of it is, in hex: as many bytes as the magic has.
  check_failed(a, handshake::failure_kind::not_troupe, "63 6f 72 72 65 63 74 68, expected");
}

// CK-08
BOOST_AUTO_TEST_CASE(a_truncated_handshake_stays_undecided_until_it_is_abandoned) {
  const bytes sent = preamble(dialler_nonce) + from_hex(dialler_proof);
  for (std::size_t size : {0u, 5u, 16u, 47u, 48u, 79u}) {
    handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
    BOOST_TEST(a.feed(std::span{sent}.first(size)) == size);
    BOOST_TEST((a.state() == handshake::status::running));
    a.abandon("closed the connection");
    check_failed(a, handshake::failure_kind::abandoned,
                 size < 48 ? std::to_string(size) + " of the 48 bytes of its preamble"
                           : std::to_string(size - 48) + " of the 32 bytes of its proof");
    BOOST_TEST(a.feed(std::span{sent}.subspan(size)) == 0u);
    BOOST_TEST((a.state() == handshake::status::failed));
  }
}

BOOST_AUTO_TEST_CASE(abandoning_changes_nothing_that_is_decided) {
  handshake a{acceptor, cookie, 1, nonce_of(acceptor_nonce)};
  a.feed(preamble(dialler_nonce) + from_hex(dialler_proof));
  a.abandon("closed the connection");
  BOOST_TEST((a.state() == handshake::status::done));
}

// CK-10
BOOST_AUTO_TEST_CASE(another_protocol_version_is_refused_by_both_ends_naming_both) {
  for (std::size_t piece : {1u, 1000u}) {
    handshake d{dialler, cookie, 0}, a{acceptor, cookie, 1};
    converse(d, a, piece);
    check_failed(a, handshake::failure_kind::version, "the peer speaks protocol version 0");
    check_failed(a, handshake::failure_kind::version, "this process speaks version 1");
    check_failed(d, handshake::failure_kind::version, "the peer speaks protocol version 1");
    check_failed(d, handshake::failure_kind::version, "this process speaks version 0");
  }
}

BOOST_AUTO_TEST_CASE(another_byte_order_is_refused_by_both_ends) {
  bytes swapped = preamble(dialler_nonce);
  std::reverse(swapped.begin() + 12, swapped.begin() + 16);
  handshake a{acceptor, cookie};
  a.feed(swapped);
  check_failed(a, handshake::failure_kind::byte_order, "another byte order");
  BOOST_TEST(a.take_output().size() == handshake::preamble_size);

  handshake d{dialler, cookie};
  d.take_output();
  d.feed(swapped);
  check_failed(d, handshake::failure_kind::byte_order, "another byte order");
  BOOST_TEST(d.take_output().empty());
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_of_no_known_order_is_junk) {
  bytes sent = preamble(dialler_nonce);
  sent[13] = std::byte{0x77};
  handshake a{acceptor, cookie};
  a.feed(sent);
  check_failed(a, handshake::failure_kind::not_troupe, "byte order mark 04 77 02 01");
}

BOOST_AUTO_TEST_CASE(an_empty_cookie_is_refused) { BOOST_CHECK_THROW((handshake{dialler, ""}), std::invalid_argument); }
