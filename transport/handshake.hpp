#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// What two processes say to each other before the first frame: both prove that they know the cluster's
/// cookie, without sending it, before anything else of what the peer sends is decoded. Bytes go in, bytes
/// come out; the owner has the socket and the clock.
///
/// On the wire, integers little-endian:
///
///     preamble, 48 bytes        "TROUPE\r\n", u32 protocol version, u32 0x01020304 in the sender's own byte
///                               order, 32 random bytes (the nonce)
///     dialler's proof, 32       HMAC-SHA256(cookie, "troupe dialler" + dialler's nonce + acceptor's nonce)
///     acceptor's proof, 32      HMAC-SHA256(cookie, "troupe acceptor" + acceptor's nonce + dialler's nonce)
///
/// The dialler speaks first; the acceptor sends nothing before it has seen a troupe preamble, and no proof
/// before it has seen a valid one: who dials without the cookie learns nothing that helps to guess it. Who is
/// dialled gets one proof, and can try cookies against it at leisure: one that a user has chosen should be
/// hard to guess.
///
/// Not thread-safe. An instance takes about half a kilobyte at most, whatever the peer sends.
class handshake {
public:
  enum class role { dialler, acceptor };
  enum class status { running, done, failed };
  enum class failure_kind { none, not_troupe, version, byte_order, cookie, reflected, abandoned };

  static constexpr std::uint32_t protocol_version = 1;
  static constexpr std::size_t preamble_size = 48;
  static constexpr std::size_t proof_size = 32;
  using nonce = std::array<std::byte, 32>;

  /// A dialler's preamble is ready in `take_output()` at once; an acceptor makes its nonce when it has seen a
  /// valid one. The cookie is copied; the copy is wiped as soon as the handshake is decided, at the latest at destruction. `version` and `fixed_nonce` are for
  /// tests: a nonce that is used twice makes old proofs valid again. Throws std::invalid_argument for an
  /// empty cookie, std::runtime_error without random numbers.
  handshake(role r, std::string_view cookie, std::uint32_t version = protocol_version, std::optional<nonce> fixed_nonce = std::nullopt);
  ~handshake();
  handshake(const handshake&) = delete;
  handshake& operator=(const handshake&) = delete;

  /// Takes what the peer sent, in pieces of any size, and returns how many bytes of it belonged to the
  /// handshake: once `done`, the rest are the first frames. Takes nothing unless `running`. Throws
  /// std::runtime_error where OpenSSL fails. What there is to answer waits in `take_output()` afterwards, also
  /// when it failed: it tells the peer why (another version, another byte order), so send it before the
  /// connection is closed.
  std::size_t feed(std::span<const std::byte> in);

  /// Moves out what is to be sent next; empty when it's the peer's turn.
  std::vector<std::byte> take_output();

  /// Fails a running handshake for a reason that only the connection's owner sees. `what_peer_did` goes on
  /// after "the peer", as in "closed the connection" or "sent nothing for 5 s"; the text tells how far it had
  /// come.
  void abandon(std::string_view what_peer_did);

  /// Whether the dialler's proof has been made: its owner may send what the acceptor is to read next, without waiting for
  /// the acceptor's.
  bool proved() const { return role_ == role::dialler && peer_preamble_seen_ && state_ != status::failed; }

  status state() const { return state_; }
  failure_kind failure_reason() const { return failure_kind_; }

  /// A sentence that says what came and what was expected, for the log; empty unless `failed`. Never contains
  /// the cookie or anything derived from it.
  const std::string& failure() const { return failure_; }

private:
  std::size_t wanted() const { return peer_preamble_seen_ ? proof_size : preamble_size; }
  void check_preamble();
  void check_proof();
  const nonce& own_nonce();
  void send_preamble();
  void send_proof();
  std::array<std::byte, proof_size> proof_of(role who);
  void fail(failure_kind kind, std::string text);
  void forget_cookie();

  role role_;
  status state_ = status::running;
  failure_kind failure_kind_ = failure_kind::none;
  bool peer_preamble_seen_ = false;
  std::uint32_t version_;
  std::string cookie_;
  std::optional<nonce> own_nonce_; // an acceptor's is made when it is needed
  nonce peer_nonce_{};
  std::array<std::byte, preamble_size> received_{}; // the peer's preamble, then its proof
  std::size_t received_size_ = 0;
  std::vector<std::byte> output_;
  std::string failure_;
};

} // namespace troupe
