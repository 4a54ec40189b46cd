#include "troupe/transport/connection.hpp"

#include <cstring>
#include <exception>
#include <utility>

namespace troupe {

namespace {

// A hello carries a few strings and a few hundred type hashes.
constexpr std::size_t max_hello_size = 256 << 10;

} // namespace

void connection::start(loop& l, std::unique_ptr<byte_stream> stream, settings s) {
  std::make_shared<connection>(l, std::move(stream), std::move(s))->start();
}

void connection::start() {
  auto self = shared_from_this();
  send(handshake_.take_output());
  // most strangers have said what they have to say, and are never watched
  on_readable();
  if (done_)
    return;
  // the loop's function keeps the connection; finish and fail end it
  stream_->start(loop_, [self] { self->on_readable(); }, [] {});
  if (settings_.limit.count() != 0)
    timer_ = loop_.call_after(settings_.limit, [self] { self->out_of_time(); });
}

void connection::out_of_time() {
  auto limit = std::to_string(settings_.limit.count()) + " ms";
  handshake_.abandon("sent nothing for " + limit);
  fail(handshake_.failure().empty() ? "the peer didn't introduce itself within " + limit : handshake_.failure());
}

connection::connection(loop& l, std::unique_ptr<byte_stream> stream, settings s)
  : loop_(l), stream_(std::move(stream)), settings_(std::move(s)), handshake_(settings_.role, settings_.cookie) {}

void connection::on_readable() {
  auto self = shared_from_this();
  std::byte space[4096];
  while (!done_) {
    auto result = stream_->read(space);
    if (result.what == stream_result::status::would_block)
      return;
    if (result.what != stream_result::status::moved) {
      return abandon(result.what == stream_result::status::ended ? std::string{"closed the connection"}
                                                                 : "broke off: " + std::string{std::strerror(result.error)});
    }
    take({space, result.bytes});
    if (result.bytes < sizeof space)
      return; // if there's more, the loop says so
  }
}

void connection::abandon(const std::string& what_peer_did) {
  handshake_.abandon(what_peer_did);
  fail(handshake_.failure().empty() ? "the peer " + what_peer_did + " before it introduced itself" : handshake_.failure());
}

void connection::take(std::span<const std::byte> in) {
  if (handshake_.state() == handshake::status::running) {
    try {
      in = in.subspan(handshake_.feed(in));
    } catch (const std::exception& e) { // OpenSSL can't
      return fail(e.what());
    }
    send(handshake_.take_output());
    if (handshake_.state() == handshake::status::failed)
      return fail(handshake_.failure());
    if (done_)
      return; // the peer has gone while it was answered
    if (handshake_.state() == handshake::status::done && settings_.proved)
      settings_.proved();
    if (handshake_.proved() && !std::exchange(introduced_, true))
      send_hello(); // behind the proof: one round trip less
  }
  if (done_ || handshake_.state() != handshake::status::done)
    return;
  input_.insert(input_.end(), in.begin(), in.end());
  take_hello();
}

void connection::take_hello() {
  frame_header h;
  if (input_.size() < sizeof h)
    return;
  std::memcpy(&h, input_.data(), sizeof h);
  auto wrong = check(h);
  if (wrong.empty() && h.kind != frame_kind::hello && h.kind != frame_kind::refusal && h.kind != frame_kind::dismissal)
    wrong = "a " + to_string(h.kind) + " frame where a hello was expected";
  if (wrong.empty() && h.size > max_hello_size)
    wrong = "a hello of " + std::to_string(h.size) + " bytes, the limit is " + std::to_string(max_hello_size);
  if (!wrong.empty())
    return fail("the peer sent " + wrong);
  if (input_.size() - sizeof h < h.size)
    return;
  reader in{std::span{input_}.subspan(sizeof h, h.size)};
  try {
    if (h.kind != frame_kind::hello) {
      auto why = read<std::string>(in);
      if (h.kind == frame_kind::dismissal && settings_.dismissed)
        settings_.dismissed(why);
      return fail("the peer refused: " + why);
    }
    auto peer = read<hello>(in);
    in.expect_end();
    if (auto v = settings_.check(peer); !v.why_not.empty()) {
      send_refusal(v);
      return fail(v.why_not);
    }
    if (settings_.role == handshake::role::acceptor)
      send_hello();
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(sizeof h + h.size));
    finish(std::move(peer));
  } catch (const codec_error& e) {
    fail(std::string{"the peer sent a hello that can't be read: "} + e.what());
  }
}

void connection::send_hello() {
  frame_builder f;
  f.start(frame_kind::hello);
  write(f.out(), settings_.introduce());
  send(f.finish_sealed());
}

void connection::send_refusal(const verdict& v) {
  frame_builder f;
  f.start(v.dismissed ? frame_kind::dismissal : frame_kind::refusal);
  write(f.out(), v.why_not);
  send(f.finish_sealed());
}

// A fresh stream takes what two processes say to introduce themselves at once: its buffers are empty and larger.
void connection::send(std::span<const std::byte> bytes) {
  while (!done_ && !bytes.empty()) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    auto result = stream_->write({&piece, 1});
    if (result.what != stream_result::status::moved)
      return abandon("doesn't take what introduces this process"
                     + (result.what == stream_result::status::failed ? std::string{": "} + std::strerror(result.error) : std::string{}));
    bytes = bytes.subspan(result.bytes);
  }
}

void connection::finish(hello peer) {
  if (done_)
    return;
  done_ = true;
  loop_.cancel(timer_);
  auto out = std::make_unique<established>();
  out->stream = std::move(stream_);
  out->peer = std::move(peer);
  out->leftover = std::move(input_);
  settings_.done(std::move(out), {});
}

void connection::fail(std::string why) {
  if (done_)
    return;
  done_ = true;
  loop_.cancel(timer_);
  auto peer = stream_->peer();
  stream_->close();
  settings_.done(nullptr, peer + ": " + why);
}

} // namespace troupe
