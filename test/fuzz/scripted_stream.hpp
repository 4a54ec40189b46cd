#pragma once

#include "troupe/transport/byte_stream.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <utility>

namespace fuzz {

/// A stream of this process whose other end is two functions. It needs no loop: whoever runs the target calls
/// script::readable until the stream is closed.
class scripted_stream final : public troupe::byte_stream {
public:
  struct script {
    /// What the other end sends next; empty: it has ended. It must stay until the next call.
    std::function<std::span<const std::byte>()> next;
    /// Gets what is written.
    std::function<void(std::span<const std::byte>)> written;
    /// How many bytes one write moves, at most.
    std::size_t write_limit = SIZE_MAX;

    /// Empty unless the stream is started.
    std::function<void()> readable;
    /// What `next` gave and nobody has read.
    std::span<const std::byte> pending;
    bool closed = false;
  };

  /// `s` must outlive the stream.
  explicit scripted_stream(script& s) : script_(s) {}
  ~scripted_stream() override { close(); }

  void start(troupe::loop&, std::function<void()> readable, std::function<void()>) override { script_.readable = std::move(readable); }

  troupe::stream_result read(std::span<std::byte> into) override {
    using status = troupe::stream_result::status;
    auto& pending = script_.pending;
    if (pending.empty())
      pending = script_.next();
    if (pending.empty())
      return {status::ended, 0, 0};
    auto n = std::min(pending.size(), into.size());
    std::memcpy(into.data(), pending.data(), n);
    pending = pending.subspan(n);
    return {status::moved, n, 0};
  }

  troupe::stream_result write(std::span<const iovec> parts) override {
    auto& first = parts.front();
    std::span bytes{static_cast<const std::byte*>(first.iov_base), std::min(first.iov_len, script_.write_limit)};
    script_.written(bytes);
    return {troupe::stream_result::status::moved, bytes.size(), 0};
  }

  void want_write(bool) override {}

  void close() override {
    script_.closed = true;
    script_.readable = nullptr;
  }

  std::string kind() const override { return "script"; }

  std::string peer() const override { return "script"; }

private:
  script& script_;
};

/// Runs `readable` as a loop would, until the stream is closed or handed on.
inline void run(scripted_stream::script& s, const std::function<bool()>& over) {
  while (!over() && s.readable) {
    auto readable = s.readable; // may be replaced while it runs
    readable();
  }
}

} // namespace fuzz
