#include "troupe/actors/splitting.hpp"

namespace troupe {

namespace detail {

void throw_index_out_of_range(const std::string& value, std::size_t bits, bool is_signed) {
  throw usage_error{"the end " + value + " of a range is none of the integers that both ends have in common, of " + std::to_string(bits)
                    + (is_signed ? " bits with sign" : " bits without sign") + ": give both ends one type"};
}

void throw_too_few(const char* what, std::int64_t value, int least) {
  throw usage_error{std::string{what} + " is " + std::to_string(value) + ", and must be at least " + std::to_string(least)};
}

} // namespace detail

std::vector<std::size_t> split_batches(std::int64_t n, std::int64_t at_least) {
  constexpr std::int64_t usual = 100;
  if (n < 0)
    detail::throw_too_few("split_batches: the number of items", n, 0);
  if (at_least < 1)
    detail::throw_too_few("split_batches: the number of batches", at_least, 1);
  const auto rounded_up = n / usual + (n % usual != 0);
  const auto size = rounded_up < at_least ? std::max<std::int64_t>(1, n / at_least) : usual;
  std::vector<std::size_t> out(static_cast<std::size_t>(n / size), static_cast<std::size_t>(size));
  if (n % size != 0)
    out.push_back(static_cast<std::size_t>(n % size));
  return out;
}

} // namespace troupe
