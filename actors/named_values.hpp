#pragma once

#include "troupe/actors/named.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

namespace troupe {

/// The named values of this process. What the master says of a name may arrive twice, and late: of two things said of one name the one with the
/// higher number holds.
///
/// Any thread. Locking: `mutex_` guards everything; no value is destroyed under it.
class named_values {
public:
  using version_ptr = std::shared_ptr<detail::named_version>;

  void put(version_ptr v);
  /// Change `number` has removed these names. Those that aren't there are skipped.
  void drop(const std::vector<std::string>& names, std::uint64_t number);

  /// Null if there's none.
  version_ptr newest(const std::string& name) const;
  /// The number of the last change that is known of a name; 0: none.
  std::uint64_t last_change(const std::string& name) const;
  /// What is defined, in alphabetical order.
  std::vector<std::string> names() const;

private:
  struct entry {
    std::uint64_t number = 0;
    version_ptr value; // null once it has been removed
  };

  mutable std::shared_mutex mutex_;
  std::map<std::string, entry> entries_;
};

/// The versions that a task or a handler has asked for, which stay until it ends: who runs it makes one on the stack. Costs next to nothing while
/// none has been asked for. Where there's none, the thread itself has one.
class named_pins {
public:
  enum class sees {
    /// Of each name the version that it has seen first.
    first,
    newest,
  };

  explicit named_pins(sees what);
  ~named_pins();
  named_pins(const named_pins&) = delete;
  named_pins& operator=(const named_pins&) = delete;

  /// Of the calling thread: the version that it is to see, which is pinned; null if there's none.
  static detail::named_version* find(const named_values& all, const std::string& name);

private:
  using versions = std::map<std::string, std::vector<named_values::version_ptr>>; // the latest last

  struct of_thread;

  const sees sees_;
  named_pins* const outer_;
  std::unique_ptr<versions> held_;
};

} // namespace troupe
