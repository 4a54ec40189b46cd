// What comes after a handshake with the right cookie: hello, refusal, frames behind them. The first byte chooses: 1 acceptor,
// 2 the peer is not welcome, 4 writes move seven bytes at a time. Then the sizes of the pieces, then what the peer sends.
#include "fuzz/input.hpp"
#include "fuzz/scripted_stream.hpp"

#include "troupe/transport/connection.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

using troupe::handshake;
using view = std::span<const std::byte>;

namespace {

constexpr auto cookie = "correcthorse1234";

troupe::hello own_hello() { return {77, 2, 3, "host", 1234, "build", {1, 2, 3}, {}, {}}; }

struct meeting {
  meeting(bool acceptor, bool welcome, fuzz::pieces cut, view data)
    : is_welcome(welcome), pieces(cut), unsent(data), peer(acceptor ? handshake::role::dialler : handshake::role::acceptor, cookie) {
    script.next = [this] { return next(); };
    script.written = [this](view bytes) { written += bytes.size() - peer.feed(bytes); };
    settings.role = acceptor ? handshake::role::acceptor : handshake::role::dialler;
    settings.cookie = cookie;
    settings.limit = std::chrono::hours{1};
    settings.introduce = own_hello;
    settings.check = [this](const troupe::hello&) {
      fuzz::require(peer.state() == handshake::status::done, "a hello is read only after the handshake");
      return is_welcome ? std::string{} : "not welcome";
    };
    settings.done = [this](std::unique_ptr<troupe::established> result, std::string why_not) {
      ++ends;
      got = std::move(result);
      why = std::move(why_not);
    };
  }

  view next() {
    spoken = peer.take_output();
    if (!spoken.empty() || peer.state() != handshake::status::done)
      return spoken;
    return pieces.cut(unsent);
  }

  bool is_welcome;
  fuzz::pieces pieces;
  view unsent;
  handshake peer;
  std::vector<std::byte> spoken;
  std::size_t written = 0; // after the handshake
  fuzz::scripted_stream::script script;
  troupe::connection::settings settings;
  int ends = 0;
  std::unique_ptr<troupe::established> got;
  std::string why;
};

// The peer's hello is the frame at the front of `sent`, and what is behind it is left over or not yet read.
void check_established(const meeting& m, view sent) {
  auto& e = *m.got;
  troupe::byte_buffer hello;
  troupe::writer out{hello};
  write(out, e.peer);
  auto front = sizeof(troupe::frame_header) + hello.size();
  fuzz::require(front <= sent.size() && std::equal(hello.begin(), hello.end(), sent.begin() + sizeof(troupe::frame_header)),
                "the hello is what was sent");
  auto rest = e.leftover;
  rest.insert(rest.end(), m.script.pending.begin(), m.script.pending.end());
  rest.insert(rest.end(), m.unsent.begin(), m.unsent.end());
  fuzz::require(std::equal(rest.begin(), rest.end(), sent.begin() + static_cast<std::ptrdiff_t>(front), sent.end()),
                "nothing behind the hello is lost");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static troupe::loop loop; // keeps the timer; nothing runs it
  fuzz::input in{data, size};
  auto choice = in.byte();
  fuzz::pieces cut{in};
  auto sent = in.rest();
  meeting m{(choice & 1) != 0, (choice & 2) == 0, cut, sent};
  if ((choice & 4) != 0)
    m.script.write_limit = 7;
  troupe::connection::start(loop, std::make_unique<fuzz::scripted_stream>(m.script), m.settings);
  fuzz::run(m.script, [&] { return m.ends != 0; });
  fuzz::require(m.ends == 1, "it ends once");
  fuzz::require((m.got == nullptr) == !m.why.empty(), "there is a result, or a reason");
  fuzz::require(m.written < 300, "hello and refusal are all that is sent");
  if (m.got) {
    fuzz::require(m.is_welcome && !m.script.closed, "only who is welcome gets in");
    check_established(m, sent);
    m.got->stream->close();
  }
  fuzz::require(m.script.closed, "what has failed is closed");
  return 0;
}
