#pragma once

#include "troupe/transport/codec.hpp"

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What the tests of the codec and of everything that is made of encoded values share.
namespace test {

using bytes = std::vector<std::byte>;

/// The bytes that hexadecimal text stands for; blanks and line ends in it say nothing.
inline bytes from_hex(std::string_view hex) {
  bytes out;
  std::string digits;
  for (char c : hex)
    if (c != ' ' && c != '\n')
      digits += c;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return out;
}

inline std::string to_hex(std::span<const std::byte> in) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (auto b : in) {
    out += digits[std::to_integer<unsigned>(b) >> 4];
    out += digits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

template <class T>
bytes encoded(const T& x) {
  troupe::byte_buffer out;
  troupe::writer w{out};
  troupe::write(w, x);
  return {out.begin(), out.end()};
}

/// The value that all of the bytes make up.
template <class T>
T decoded(std::span<const std::byte> in) {
  troupe::reader r{in};
  auto x = troupe::read<T>(r);
  r.expect_end();
  return x;
}

/// What decoding throws; empty if it throws nothing.
template <class T>
std::string why_not_decoded(std::span<const std::byte> in) {
  try {
    static_cast<void>(decoded<T>(in));
    return {};
  } catch (const troupe::codec_error& e) {
    return e.what();
  }
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

} // namespace test
