#pragma once

#include <cstddef>
#include <optional>

namespace troupe {

/// @addtogroup references
/// @{

/// What a channel keeps its values in, if it isn't a queue: derive from it, and pass what makes one to remote_channel<T>::on. With Keys,
/// put, take and fetch of the channel get keys in front: ch.put(key, value), ch.take(key).
///
/// Its functions run on the process where the channel lives, one at a time, in turns like tasks. They don't wait: what can't be done now is
/// tried again, in the order in which it was asked for, after every put and take that succeeded. What they throw, the asker gets.
template <class T, class... Keys>
class abstract_channel {
public:
  virtual ~abstract_channel() = default;

  /// Stores the value, which may be moved from. Returns false, and leaves it as it is, if there's no room now.
  virtual bool put(const Keys&... keys, T& value) = 0;

  /// Removes a value and returns it; nothing if there's none now.
  virtual std::optional<T> take(const Keys&... keys) = 0;

  /// The value that `take` would return.
  virtual std::optional<T> fetch(const Keys&... keys) = 0;

  /// How many values there are.
  virtual std::size_t size() const = 0;
};

/// @}

} // namespace troupe
