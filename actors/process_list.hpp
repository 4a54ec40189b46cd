#pragma once

#include <boost/intrusive/list.hpp>

#include <mutex>

namespace troupe {

/// A base of those that are in a process_list.
using process_list_member = boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

/// All Ts of the process, in no order: each puts itself into it when it is made, and takes itself out as the first thing in its destructor. Any thread.
/// Locking: `mutex` guards the list; a T's own is taken under it.
template <class T>
struct process_list {
  std::mutex mutex;
  boost::intrusive::list<T, boost::intrusive::constant_time_size<false>> all;

  static process_list& of_process() {
    static auto list = new process_list; // threads may end after the static objects have
    return *list;
  }

  void add(T& x) {
    std::lock_guard guard{mutex};
    all.push_front(x);
  }

  void remove(T& x) {
    std::lock_guard guard{mutex};
    all.erase(all.iterator_to(x));
  }
};

} // namespace troupe
