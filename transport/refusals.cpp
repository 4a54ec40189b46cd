#include "troupe/transport/refusals.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace troupe {

namespace {

// Addresses that are counted one by one in an interval, and those that a line shows.
constexpr std::size_t max_addresses = 64;
constexpr std::size_t shown_addresses = 3;

template <class Key>
std::vector<std::pair<Key, std::size_t>> most_first(const std::map<Key, std::size_t>& counts) {
  std::vector<std::pair<Key, std::size_t>> out(counts.begin(), counts.end());
  std::stable_sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.second > b.second; });
  return out;
}

} // namespace

std::string_view to_string(refusal_reason r) {
  switch (r) {
    case refusal_reason::junk:
      return "sent junk";
    case refusal_reason::version:
      return "speak another protocol version";
    case refusal_reason::byte_order:
      return "have another byte order";
    case refusal_reason::cookie:
      return "don't know the cookie";
    case refusal_reason::reflected:
      return "sent our own number back";
    case refusal_reason::left:
      return "hung up early";
    case refusal_reason::slow:
      return "were too slow";
    case refusal_reason::crowd:
      return "were too many at once";
    case refusal_reason::unwelcome:
      return "know the cookie but have no business here";
    case refusal_reason::trouble:
      return "could not be attended to";
  }
  return "?";
}

std::optional<std::string> refusal_log::add(const refusal& r, clock::time_point now) {
  if (!running_ || (counted_ == 0 && now >= interval_end_)) {
    begin_interval(now);
    lines_ = 0;
  }
  if (lines_ < settings_.lines) {
    ++lines_;
    return "a connection was refused: " + r.text;
  }
  ++counted_;
  ++by_reason_[r.reason];
  if (by_address_.size() < max_addresses || by_address_.count(r.address) != 0)
    ++by_address_[r.address];
  else
    ++of_other_addresses_;
  return std::nullopt;
}

std::optional<refusal_log::clock::time_point> refusal_log::due() const {
  return counted_ == 0 ? std::nullopt : std::optional{interval_end_};
}

std::optional<std::string> refusal_log::take(clock::time_point now) {
  if (counted_ == 0)
    return std::nullopt;
  std::string text = std::to_string(counted_) + " more connections were refused: ";
  std::string_view separator;
  for (auto& [reason, n] : most_first(by_reason_)) {
    text.append(separator).append(std::to_string(n)).append(" ").append(to_string(reason));
    separator = ", ";
  }
  text += "; " + addresses();
  counted_ = of_other_addresses_ = 0;
  by_reason_.clear();
  by_address_.clear();
  begin_interval(now); // lines_ stays: as long as they keep coming there are no single lines
  return text;
}

std::string refusal_log::addresses() const {
  std::string text;
  auto others = of_other_addresses_;
  std::size_t shown = 0;
  for (auto& [address, n] : most_first(by_address_)) {
    if (shown++ < shown_addresses)
      text += (text.empty() ? "" : ", ") + std::to_string(n) + " from " + address;
    else
      others += n;
  }
  if (others != 0)
    text += ", " + std::to_string(others) + " from other addresses";
  return text;
}

void refusal_log::begin_interval(clock::time_point now) {
  running_ = true;
  interval_end_ = now + settings_.interval;
}

} // namespace troupe
