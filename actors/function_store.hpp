#pragma once

#include "troupe/actors/sent_function.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe::detail {

/// Whether functions of this type can be compared without encoding them. g++ 12 takes a lambda with captures for not trivially copyable once it was asked whether it has an ==, so that it isn't.
template <class F>
constexpr bool is_comparable_function() {
  if constexpr (!has_inspect<F>)
    return true; // captures that are bytes
  else
    return std::equality_comparable<F>;
}
template <class F>
inline constexpr bool comparable_function = is_comparable_function<F>();
template <class F, class... Vs>
inline constexpr bool comparable_function<with_t<F, Vs...>> = comparable_function<F> && (std::equality_comparable<Vs> && ...);

/// Whether two functions do the same.
template <class F>
  requires comparable_function<F>
bool same_function(const F& a, const F& b) {
  if constexpr (is_with<F>) {
    return same_function(a.f, b.f) && a.values == b.values;
  } else if constexpr (has_inspect<F>) {
    return static_cast<bool>(a == b);
  } else if constexpr (std::is_empty_v<F>) {
    return true;
  } else {
    const auto x = cleared_bytes(a);
    const auto y = cleared_bytes(b);
    return std::memcmp(x.data(), y.data(), x.size()) == 0;
  }
}

/// The functions that a caching pool has sent. The one that wasn't called for longest goes when there are too many. Any thread.
class function_store {
public:
  /// It keeps no more.
  static constexpr std::size_t most = 64;

  /// The function as it was sent before, or as it is to be sent now.
  template <class F>
  std::shared_ptr<sent_function> get(const F& f) {
    std::vector<entry> garbage; // ends without the lock
    std::lock_guard guard{mutex_};
    const auto type = type_tag<F>();
    byte_buffer bytes;
    if constexpr (!comparable_function<F>) {
      writer out{bytes, process_codec()};
      callable<F>::write(out, f);
    }
    for (auto i = all_.begin(); i != all_.end(); ++i) {
      if (i->type != type)
        continue;
      if constexpr (comparable_function<F>) {
        if (!same_function(static_cast<typed_sent_function<F>&>(*i->function).get(), f))
          continue;
      } else if (i->bytes.size() != bytes.size() || std::memcmp(i->bytes.data(), bytes.data(), bytes.size()) != 0) {
        continue;
      }
      all_.splice(all_.begin(), all_, i);
      return i->function;
    }
    const auto made = make_sent_function(f);
    if (made->is_plain())
      return made;
    all_.push_front({type, made, std::move(bytes)});
    while (all_.size() > most) {
      garbage.push_back(std::move(all_.back()));
      all_.pop_back();
    }
    return made;
  }

  void clear();

  std::size_t size() const;

private:
  struct entry {
    std::uint64_t type;
    std::shared_ptr<sent_function> function;
    byte_buffer bytes; // what it looks like, if that is what tells it from others
  };

  mutable std::mutex mutex_;
  std::list<entry> all_; // called last first
};

} // namespace troupe::detail
