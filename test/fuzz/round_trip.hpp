#pragma once

#include "fuzz/input.hpp"

#include "troupe/transport/codec.hpp"

#include <algorithm>
#include <optional>
#include <span>

namespace fuzz {

template <class T>
troupe::byte_buffer encoded(const T& x, troupe::actor_codec* actors = nullptr) {
  troupe::byte_buffer out;
  troupe::writer w{out, actors};
  write(w, x);
  return out;
}

/// The value that `in` begins with, if it can be decoded. Requires that it is the same after another journey: by its bytes, which are
/// not always those of `in` (any byte but 0 is true, a map has each key once).
template <class T>
std::optional<T> round_trip(std::span<const std::byte> in, troupe::actor_codec* actors = nullptr) {
  std::optional<T> x{std::in_place};
  troupe::byte_buffer sent;
  try {
    troupe::reader r{in, actors};
    read(r, *x);
    sent = encoded(*x, actors);
  } catch (const troupe::codec_error&) {
    return {}; // or it holds what could be an address of this process
  }
  T again{};
  try {
    troupe::reader r{sent, actors};
    read(r, again);
    r.expect_end();
  } catch (const troupe::codec_error&) {
    require(false, "what is encoded can be decoded");
  }
  auto resent = encoded(again, actors);
  require(std::equal(sent.begin(), sent.end(), resent.begin(), resent.end()), "a value stays what it is");
  return x;
}

} // namespace fuzz
