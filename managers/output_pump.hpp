#pragma once

#include "troupe/transport/unique_fd.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace troupe {

/// Reads the output pipes of workers in a thread of its own and hands over whole lines.
///
/// Handlers run in that thread, one at a time. One that blocks holds up every source: nothing is read
/// meanwhile, so the writers are slowed down and memory stays bounded (128 KiB at most for each source).
/// Handlers may call `add`, `set_handler` and `remove`. What a handler throws is reported on stderr, once for
/// each handler, and the lines go on.
///
/// Every function may be called from any thread, the destructor from any but the pump's own.
class output_pump {
public:
  /// Never 0, never used again.
  using id = std::uint64_t;
  /// The view is valid during the call.
  using line_handler = std::function<void(std::string_view line)>;
  using end_handler = std::function<void()>;

  /// In bytes, without the newline.
  static constexpr std::size_t max_line = 64 * 1024;

  /// Throws std::system_error when the system has no epoll, eventfd or thread left.
  output_pump();
  /// Forgets what hasn't been delivered; `on_end` isn't called. Waits for a handler that runs.
  ~output_pump();
  output_pump(const output_pump&) = delete;
  output_pump& operator=(const output_pump&) = delete;

  /// Reads `fd` to its end. `on_line` gets each line without its '\n' (a '\r' stays), the last one also when
  /// it has none; a line longer than `max_line` comes in pieces of that length and a shorter rest. Then
  /// `on_end` is called once and the source is gone; a read error counts as its end. Both handlers may be
  /// empty. `fd` becomes non-blocking. Throws std::system_error when it can't be polled (a file, for
  /// instance).
  id add(unique_fd fd, line_handler on_line, end_handler on_end);

  /// Lines go to `on_line` from now on; the old handler may still be busy with an earlier one when this
  /// returns, and is kept until then. Nothing happens when the source is gone.
  void set_handler(id source, line_handler on_line);

  /// Closes the descriptor and forgets what hasn't been delivered; `on_end` isn't called. Afterwards no
  /// handler of this source runs or will run: waits for one that does (except in a handler), so hold no lock
  /// that it may want. Nothing happens when the source is gone.
  void remove(id source);

  /// Blocks until the source is gone, all its lines and its end delivered (or removed): true; or until the
  /// deadline: false. Throws std::logic_error in a handler, where it would wait for itself.
  bool drain(id source, std::chrono::steady_clock::time_point deadline);

private:
  struct handler;
  struct source;

  void run();
  void serve(id which);
  bool read_round(source& from);
  bool split(source& from, std::string_view data);
  bool deliver(source& from, std::string_view line);
  void finish(id which, source& from);
  void close_source(source& which);
  bool on_own_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  // Guards what follows and each source, except descriptor and partial line: these are the pump thread's
  // while it is busy with the source. Not held while handlers run, or while they are destroyed.
  std::mutex mutex_;
  std::condition_variable changed_; // a source is gone, or the thread has left one
  std::unordered_map<id, std::shared_ptr<source>> sources_;
  id last_id_ = 0;
  id current_ = 0; // the source that the thread is busy with
  bool stopping_ = false;

  unique_fd epoll_;
  unique_fd wake_;
  std::vector<char> buffer_; // the pump thread's
  std::thread thread_;       // last: it uses all the others
};

} // namespace troupe
