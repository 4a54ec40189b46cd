#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

/// What the fuzz targets share. Their inputs begin with a few bytes that choose how the rest is used.
namespace fuzz {

/// Ends the process, which is how a target says that it has found something, unless what must hold holds.
inline void require(bool holds, const char* what) {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: this must hold and doesn't: %s\n", what);
  std::abort();
}

/// Takes an input apart, from its start. What it gives lives as long as the input.
class input {
public:
  input(const std::uint8_t* data, std::size_t size) : left_(std::as_bytes(std::span{data, size})) {}

  /// 0 if none is left.
  unsigned byte() {
    if (left_.empty())
      return 0;
    auto out = std::to_integer<unsigned>(left_.front());
    left_ = left_.subspan(1);
    return out;
  }

  std::span<const std::byte> rest() const { return left_; }

private:
  std::span<const std::byte> left_;
};

/// Cuts bytes into pieces whose sizes three bytes of the input say, in turn; 0: all that is left.
class pieces {
public:
  explicit pieces(input& in) : sizes_{in.byte(), in.byte(), in.byte()} {}

  /// From the front of `left`, which gets shorter. Empty if it is empty.
  std::span<const std::byte> cut(std::span<const std::byte>& left) {
    auto size = sizes_[turn_++ % sizes_.size()];
    auto out = left.first(size == 0 ? left.size() : std::min<std::size_t>(size, left.size()));
    left = left.subspan(out.size());
    return out;
  }

private:
  std::array<unsigned, 3> sizes_;
  std::size_t turn_ = 0;
};

} // namespace fuzz
