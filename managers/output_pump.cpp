#include "troupe/managers/output_pump.hpp"

#include "troupe/transport/log.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace troupe {

namespace {

constexpr std::size_t read_size = 64 * 1024;
constexpr std::size_t reads_per_round = 4; // then it's the next source's turn

[[noreturn]] void throw_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

unique_fd checked(int fd, const char* what) {
  if (fd < 0)
    throw_errno(what);
  return unique_fd{fd};
}

void watch(const unique_fd& epoll, int fd, output_pump::id as) {
  ::epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = as;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    throw_errno("can't watch a worker's output");
}

template <class Call>
void report_if_it_throws(bool& reported, Call call) {
  std::string what;
  try {
    return call();
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
    what = "an exception of unknown type";
  }
  if (!std::exchange(reported, true))
    log(log_level::error, "a handler of workers' output failed: " + what);
}

} // namespace

struct output_pump::handler {
  line_handler call;
  bool reported = false; // the pump thread's
};

struct output_pump::source {
  unique_fd fd;
  std::shared_ptr<handler> on_line;
  end_handler on_end;
  bool removed = false;
  std::string partial_line;
};

output_pump::output_pump()
  : epoll_{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")},
    wake_{checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
    buffer_(read_size) {
  watch(epoll_, wake_.get(), 0);
  thread_ = std::thread{[this] { run(); }};
}

output_pump::~output_pump() {
  {
    std::lock_guard lock{mutex_};
    stopping_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
}

output_pump::id output_pump::add(unique_fd fd, line_handler on_line, end_handler on_end) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    throw_errno("can't read a worker's output");
  auto added = std::make_shared<source>();
  added->fd = std::move(fd);
  added->on_line = std::make_shared<handler>();
  added->on_line->call = std::move(on_line);
  added->on_end = std::move(on_end);

  std::lock_guard lock{mutex_}; // until it's in the table: its first bytes may be there already
  watch(epoll_, added->fd.get(), last_id_ + 1);
  sources_.emplace(++last_id_, std::move(added));
  return last_id_;
}

void output_pump::set_handler(id which, line_handler on_line) {
  auto replacement = std::make_shared<handler>();
  replacement->call = std::move(on_line);
  std::lock_guard lock{mutex_};
  if (const auto found = sources_.find(which); found != sources_.end())
    found->second->on_line.swap(replacement); // the old one dies after the lock: its destructor is the user's
}

void output_pump::remove(id which) {
  std::shared_ptr<source> gone; // outlives the lock, like the handlers in it
  std::unique_lock lock{mutex_};
  if (const auto found = sources_.find(which); found != sources_.end()) {
    gone = std::move(found->second);
    sources_.erase(found);
    gone->removed = true;
    changed_.notify_all();
  }
  if (!on_own_thread())
    changed_.wait(lock, [&] { return current_ != which; });
  if (gone)
    close_source(*gone); // not before: the thread may have been reading it
}

bool output_pump::drain(id which, std::chrono::steady_clock::time_point deadline) {
  if (on_own_thread())
    throw std::logic_error("output_pump::drain in a handler would wait for itself");
  std::unique_lock lock{mutex_};
  return changed_.wait_until(lock, deadline, [&] { return !sources_.contains(which) && current_ != which; });
}

void output_pump::run() {
  std::array<::epoll_event, 64> events;
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i)
      serve(events[static_cast<std::size_t>(i)].data.u64);
    std::lock_guard lock{mutex_};
    if (stopping_)
      return;
  }
}

void output_pump::serve(id which) {
  std::shared_ptr<source> from;
  {
    std::lock_guard lock{mutex_};
    const auto found = sources_.find(which);
    if (found == sources_.end())
      return;
    from = found->second;
    current_ = which;
  }
  if (!read_round(*from))
    finish(which, *from);
  from.reset(); // before `remove` is told: its caller may end what the handlers hold
  std::lock_guard lock{mutex_};
  current_ = 0;
  changed_.notify_all();
}

// False at the end of the source.
bool output_pump::read_round(source& from) {
  for (std::size_t i = 0; i < reads_per_round; ++i) {
    const auto size = ::read(from.fd.get(), buffer_.data(), buffer_.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
      return true; // if there is more, epoll says so again
    if (size <= 0)
      return false;
    if (!split(from, {buffer_.data(), static_cast<std::size_t>(size)}))
      return true;
  }
  return true;
}

// False when nothing more is wanted: the source has been removed, or the pump ends.
bool output_pump::split(source& from, std::string_view data) {
  auto& partial = from.partial_line;
  while (!data.empty()) {
    if (partial.size() == max_line && data.front() != '\n') {
      if (!deliver(from, partial))
        return false;
      partial.clear();
    }
    const auto room = max_line - partial.size();
    // One byte further than there is room: a full line is one line, not a piece and an empty rest.
    const auto newline = data.substr(0, room + 1).find('\n');
    if (newline == std::string_view::npos) {
      partial.append(data.substr(0, room));
      data.remove_prefix(std::min(room, data.size()));
      continue;
    }
    std::string_view line = data.substr(0, newline);
    if (!partial.empty())
      line = partial.append(line);
    if (!deliver(from, line))
      return false;
    partial.clear();
    data.remove_prefix(newline + 1);
  }
  return true;
}

// False, and no call, when the source has been removed or the pump ends.
bool output_pump::deliver(source& from, std::string_view line) {
  std::shared_ptr<handler> to;
  {
    std::lock_guard lock{mutex_};
    if (from.removed || stopping_)
      return false;
    to = from.on_line;
  }
  if (to->call)
    report_if_it_throws(to->reported, [&] { to->call(line); });
  return true;
}

void output_pump::finish(id which, source& from) {
  if (!from.partial_line.empty())
    deliver(from, from.partial_line);
  {
    std::lock_guard lock{mutex_};
    if (from.removed || stopping_)
      return;
  }
  close_source(from);
  bool reported = false;
  if (from.on_end)
    report_if_it_throws(reported, from.on_end);
  std::lock_guard lock{mutex_};
  sources_.erase(which); // `serve` holds it until the lock is free
}

void output_pump::close_source(source& which) {
  if (!which.fd)
    return; // removed in its own `on_end`
  // Closing alone would leave it in the epoll set if a duplicate of the descriptor is open elsewhere.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, which.fd.get(), nullptr);
  which.fd.reset();
}

} // namespace troupe
