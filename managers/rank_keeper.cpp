#include "troupe/managers/rank_keeper.hpp"

#include "troupe/managers/mpi_job.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mpi.h>
#include <mutex>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

constexpr std::string_view before_id = "      From worker ";
constexpr std::string_view behind_id = ":\t";
constexpr std::string_view end_word = "troupe_rank_ended: ";

// What a rank tells its keeper, in one write.
enum class command : std::uint8_t {
  label,
  others_survive,
  /// Lines go to the rank.
  forward,
  /// They don't any more, once those that have been written are there; an empty packet ends them.
  show,
  /// The same, at once.
  show_now,
};

struct order {
  command what = command::label;
  std::uint8_t size = 0;
  char text[62] = {};
};

// A line on its way to the rank is a packet: this, so that none is empty, and the line.
constexpr char line_mark = '>';
// How many lines the sink gets at once, at most.
constexpr std::size_t most_lines = 256;

constexpr int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE};
// How long a rank that has ended can be looked at by the master, in microseconds; see mpi_rank_manager.
constexpr ::useconds_t zombie_time = 200'000;
// What is longer comes in pieces, each a line of its own.
constexpr std::size_t longest_line = 64 << 10;

std::atomic<rank_keeper*> the_keeper{nullptr};

// -- the keeper. It has been forked: no allocation, no lock.

void write_all(int fd, const char* from, std::size_t bytes) {
  while (bytes > 0) {
    const auto n = ::write(fd, from, bytes);
    if (n < 0 && errno != EINTR)
      return; // nobody reads any more
    if (n > 0) {
      from += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }
}

struct relayed {
  int from, to;
  std::size_t held = 0; // of a line that isn't complete
  std::array<char, longest_line> line;
};

relayed streams[2];
char label_text[sizeof order::text];
std::size_t label_size = 0;
bool others_survive = false;
bool is_launched = false;
bool is_master = false;
int orders = -1;
int rank_process = -1; // a pidfd
int to_rank = -1; // lines, as packets
int at_rank = -1; // the rank's end of that: what it leaves there is shown
bool forwards = false;
bool stops_forwarding = false;

bool has_ended(int process) {
  pollfd p{process, POLLIN, 0};
  return process >= 0 && ::poll(&p, 1, 0) > 0;
}

// Behind all lines: the rank reads until it is there.
void stop_forwarding_now() {
  forwards = stops_forwarding = false;
  const char end = 0;
  while (::send(to_rank, &end, sizeof end, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EAGAIN && !has_ended(rank_process)) {
      pollfd all[2] = {{to_rank, POLLOUT, 0}, {rank_process, POLLIN, 0}};
      ::poll(all, 2, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

// What the rank has told.
void take_orders() {
  for (order o; ::read(orders, &o, sizeof o) == sizeof o;)
    switch (o.what) {
      case command::label:
        label_size = std::min<std::size_t>(o.size, sizeof label_text);
        std::memcpy(label_text, o.text, label_size);
        break;
      case command::others_survive:
        others_survive = true;
        break;
      case command::forward:
        forwards = true;
        break;
      case command::show:
        stops_forwarding = forwards;
        break;
      case command::show_now:
        if (forwards)
          stop_forwarding_now();
    }
}

// Returns false if it is to be shown.
bool forward_line(const char* line, std::size_t bytes) {
  static char packet[longest_line + 1];
  packet[0] = line_mark;
  std::memcpy(packet + 1, line, bytes);
  while (forwards) {
    if (::send(to_rank, packet, bytes + 1, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
      return true;
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN || has_ended(rank_process)) {
      forwards = stops_forwarding = false;
      break;
    }
    pollfd all[3] = {{to_rank, POLLOUT, 0}, {rank_process, POLLIN, 0}, {orders, POLLIN, 0}};
    ::poll(all, 3, -1);
    take_orders();
    if (all[2].revents == POLLHUP) // it is about to end
      forwards = stops_forwarding = false;
  }
  return false;
}

void show_line(const relayed& s, const char* line, std::size_t bytes);

// What the rank hasn't read before it ended.
void show_what_is_left() {
  static char packet[longest_line + 1];
  for (::ssize_t n; at_rank >= 0 && (n = ::recv(at_rank, packet, sizeof packet, MSG_DONTWAIT)) > 0;)
    if (packet[0] == line_mark)
      show_line(streams[0], packet + 1, static_cast<std::size_t>(n) - 1);
}

void write_line(const relayed& s, const char* line, std::size_t bytes) {
  if (forwards) {
    const auto without_end = bytes > 0 && line[bytes - 1] == '\n' ? bytes - 1 : bytes;
    if (forward_line(line, without_end))
      return;
    if (has_ended(rank_process))
      show_what_is_left();
  }
  show_line(s, line, bytes);
}

// Label and line leave in one write where that is possible, so that the ranks' lines aren't mixed.
void show_line(const relayed& s, const char* line, std::size_t bytes) {
  static char whole[longest_line + sizeof label_text + 1];
  std::memcpy(whole, label_text, label_size);
  std::memcpy(whole + label_size, line, bytes);
  auto size = label_size + bytes;
  if (label_size != 0 && (bytes == 0 || whole[size - 1] != '\n'))
    whole[size++] = '\n';
  write_all(s.to, whole, size);
}

// False at the end.
bool relay_some(relayed& s) {
  const auto n = ::read(s.from, s.line.data() + s.held, s.line.size() - s.held);
  if (n < 0 && errno == EINTR)
    return true;
  take_orders(); // it was given before these lines were written, if it was
  if (n > 0)
    s.held += static_cast<std::size_t>(n);
  std::size_t begin = 0;
  while (begin < s.held) {
    const auto end = static_cast<const char*>(std::memchr(s.line.data() + begin, '\n', s.held - begin));
    const auto size = end != nullptr ? static_cast<std::size_t>(end - s.line.data()) + 1 - begin : s.held - begin;
    if (end == nullptr && n > 0 && size < s.line.size())
      break;
    write_line(s, s.line.data() + begin, size);
    begin += size;
  }
  std::memmove(s.line.data(), s.line.data() + begin, s.held - begin);
  s.held -= begin;
  return n > 0;
}

// Last lines without an end.
void write_what_is_held() {
  for (auto& s : streams)
    if (s.held > 0)
      write_line(s, s.line.data(), std::exchange(s.held, 0));
}

// Until both streams have ended; or, with a rank to wait for, until that has ended and what it wrote is told, since others that it has started
// may keep its streams.
void relay_all() {
  pollfd all[4] = {{streams[0].from, POLLIN, 0}, {streams[1].from, POLLIN, 0}, {rank_process, POLLIN, 0}, {orders, POLLIN, 0}};
  while (all[0].fd >= 0 || all[1].fd >= 0) {
    const auto n = ::poll(all, 4, stops_forwarding ? 0 : -1);
    if (n < 0)
      continue;
    if ((all[3].revents & POLLIN) != 0)
      take_orders();
    else if (all[3].revents != 0)
      all[3].fd = -1; // the rank gives no more
    bool any = false;
    for (int i = 0; i < 2; ++i)
      if (all[i].fd >= 0 && all[i].revents != 0) {
        any = true;
        if (!relay_some(streams[i]))
          all[i].fd = -1;
      }
    if (!any && all[2].revents != 0)
      break;
    if (!any && n == 0 && stops_forwarding) { // all that had been written has been read
      write_what_is_held();
      stop_forwarding_now();
    }
  }
  write_what_is_held(); // while others keep the stream open
}

// How the rank has ended, for the master that has started the job, and for a user who looks.
void tell_end(int status) {
  char text[160];
  const int rank = mpi_job::rank_from_environment().value_or(-1);
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  int n = 0;
  if (is_launched)
    n = std::snprintf(text, sizeof text, "%.*s%d %d %d\n", static_cast<int>(end_word.size()), end_word.data(), rank,
                      signal == 0 ? WEXITSTATUS(status) : -1, signal);
  else if (signal != 0)
    n = std::snprintf(text, sizeof text, "troupe: rank %d was killed by signal %d (%s)\n", rank, signal,
                      sigdescr_np(signal) != nullptr ? sigdescr_np(signal) : "?");
  else if (WEXITSTATUS(status) != 0)
    n = std::snprintf(text, sizeof text, "troupe: rank %d exited with status %d\n", rank, WEXITSTATUS(status));
  if (n > 0)
    write_all(is_launched ? STDOUT_FILENO : STDERR_FILENO, text, static_cast<std::size_t>(n));
}

// The parent of a rank: sees its end, and tells of it.
[[noreturn]] void keep(::pid_t rank) {
  relay_all();
  ::siginfo_t ended{};
  while (::waitid(P_PID, static_cast<::id_t>(rank), &ended, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    // again
  }
  show_what_is_left();
  take_orders();
  if (others_survive && !is_launched)
    ::usleep(zombie_time);
  int status = 0;
  while (::waitpid(rank, &status, 0) < 0 && errno == EINTR) {
    // again
  }
  tell_end(status);
  if (others_survive) {
    rank_keeper::say_goodbye();
    // the program's status is the master's, which a death that it has survived must not spoil
    ::_exit(is_master ? (WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)) : 0);
  }
  if (WIFSIGNALED(status)) {
    std::signal(WTERMSIG(status), SIG_DFL);
    ::rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none); // the rank has left one
    ::raise(WTERMSIG(status));
    ::_exit(128 + WTERMSIG(status)); // it was blocked
  }
  ::_exit(WEXITSTATUS(status));
}

bool has_one_thread() {
  char text[4096];
  const unique_fd f{::open("/proc/self/status", O_RDONLY | O_CLOEXEC)};
  const auto n = f ? ::read(f.get(), text, sizeof text - 1) : -1;
  if (n <= 0)
    return false;
  text[n] = '\0';
  const auto at = std::strstr(text, "\nThreads:");
  return at != nullptr && std::atoi(at + 9) == 1;
}

void ignore_signals() {
  for (int number : ignored)
    std::signal(number, SIG_IGN);
}

bool make_pipe(unique_fd& read, unique_fd& write) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return false;
  read = unique_fd{ends[0]};
  write = unique_fd{ends[1]};
  return true;
}

} // namespace

// A launcher of MPICH's kind ends all ranks when one ends without a word; said in its place, it doesn't (PMI-1, "finalize"; hydra 4.0.2: pmip_cb.c).
void rank_keeper::say_goodbye() {
  const auto text = std::getenv("PMI_FD");
  const int fd = text != nullptr ? std::atoi(text) : -1;
  pollfd p{fd, POLLIN, 0};
  if (fd < 0 || ::poll(&p, 1, 0) < 0 || (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
    return; // the rank has said it
  constexpr std::string_view word = "cmd=finalize\n";
  if (::send(fd, word.data(), word.size(), MSG_NOSIGNAL) < 0)
    return;
  static char answer[2048];
  std::size_t held = 0;
  while (held + 1 < sizeof answer && ::poll(&p, 1, 2000) > 0) {
    const auto n = ::read(fd, answer + held, sizeof answer - 1 - held);
    if (n <= 0)
      return;
    held += static_cast<std::size_t>(n);
    answer[held] = '\0';
    if (std::strstr(answer, "finalize_ack") != nullptr)
      return;
  }
}

rank_keeper::rank_keeper(mode how) {
  unique_fd out_read, out_write, err_read, err_write, orders_read, orders_write;
  int lines[2];
  if (!make_pipe(out_read, out_write) || !make_pipe(err_read, err_write) || !make_pipe(orders_read, orders_write)
      || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lines) != 0)
    return;
  unique_fd lines_read{lines[0]}, lines_write{lines[1]};
  std::fflush(stdout);
  std::fflush(stderr);
  const auto begin_relaying = [&] {
    ignore_signals();
    ::prctl(PR_SET_NAME, "troupe-keeper");
    is_launched = how == mode::launched;
    is_master = !is_launched && mpi_job::rank_from_environment() == 0;
    std::signal(SIGCHLD, SIG_DFL);
    streams[0].from = out_read.get();
    streams[0].to = STDOUT_FILENO;
    streams[1].from = err_read.get();
    streams[1].to = STDERR_FILENO;
    orders = orders_read.get();
    to_rank = lines_write.get();
    ::fcntl(orders, F_SETFL, O_NONBLOCK);
    out_write.reset();
    err_write.reset();
    orders_write.reset();
    ::close(STDIN_FILENO);
  };
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized == 0 && has_one_thread()) {
    const auto parent = ::getpid();
    const auto rank = ::fork();
    if (rank < 0)
      return;
    if (rank != 0) {
      rank_process = static_cast<int>(::syscall(SYS_pidfd_open, rank, 0));
      if (rank_process >= 0)
        at_rank = lines_read.get();
      else
        lines_read.reset(); // then its end is seen by this
      begin_relaying();
      keep(rank);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent)
      ::_exit(1);
  } else {
    // no thread of this process would live on in a child; forked twice, so that nobody who waits for children finds one that it doesn't know
    const auto child = ::fork();
    if (child < 0)
      return;
    if (child == 0) {
      if (::fork() > 0)
        ::_exit(0);
      begin_relaying();
      for (int fd = STDERR_FILENO + 1; fd < 1024; ++fd)
        if (fd != out_read.get() && fd != err_read.get() && fd != orders_read.get() && fd != lines_write.get())
          ::close(fd);
      relay_all();
      ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
      // again
    }
  }
  ::dup2(out_write.get(), STDOUT_FILENO);
  ::dup2(err_write.get(), STDERR_FILENO);
  orders_ = ::dup(orders_write.get());
  ::fcntl(orders_, F_SETFD, FD_CLOEXEC);
  lines_ = std::move(lines_read);
  if (how == mode::joined)
    the_keeper = this;
}

rank_keeper::~rank_keeper() {
  the_keeper = nullptr;
  if (orders_ >= 0)
    ::close(orders_);
}

rank_keeper* rank_keeper::of_process() { return the_keeper; }

namespace {

void give(int to, const order& o) {
  if (to >= 0)
    write_all(to, reinterpret_cast<const char*>(&o), sizeof o);
}

} // namespace

void rank_keeper::label(proc_id id) {
  const auto text = text_of(id);
  std::fflush(stdout);
  order o{command::label};
  o.size = static_cast<std::uint8_t>(text.copy(o.text, sizeof o.text));
  give(orders_, o);
}

void rank_keeper::let_others_survive() { give(orders_, {command::others_survive}); }

// The thread may outlive the keeper's object, if the sink blocks.
struct rank_keeper::forwarding {
  line_sink sink;
  unique_fd lines;
  unique_fd orders;
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;

  // Looks at the next line, behind those that it has looked at already. Returns false if there is nothing at once, or no more.
  bool look(std::vector<std::string>& out, int flags, bool& ended) {
    std::string packet(longest_line + 1, '\0');
    ::ssize_t n;
    while ((n = ::recv(lines.get(), packet.data(), packet.size(), MSG_PEEK | flags)) < 0 && errno == EINTR) {
      // again
    }
    ended = n == 0 || (n > 0 && packet[0] != line_mark) || (n < 0 && errno != EAGAIN);
    if (n <= 0 || ended)
      return false;
    packet.resize(static_cast<std::size_t>(n));
    out.push_back(packet.substr(1));
    return true;
  }

  // Those that have been looked at: the keeper shows what is left if this process dies.
  void take(std::size_t n) {
    char mark;
    for (; n > 0; --n)
      ::recv(lines.get(), &mark, sizeof mark, MSG_DONTWAIT);
  }

  void run() {
    bool takes = true, ended = false;
    std::vector<std::string> all;
    while (!ended) {
      if (takes)
        all.clear();
      const auto before = all.size();
      for (bool more = look(all, 0, ended); more && all.size() < before + most_lines;)
        more = look(all, MSG_DONTWAIT, ended);
      if (takes && !all.empty() && !sink(all)) {
        takes = false;
        give(orders.get(), {command::show_now});
      }
      take(all.size() - before);
    }
    if (!takes)
      for (auto& line : all) { // once the keeper expects nothing of this thread any more
        line.push_back('\n');
        write_all(STDOUT_FILENO, line.data(), line.size());
      }
    std::lock_guard guard{mutex};
    over = true;
    changed.notify_all();
  }
};

void rank_keeper::forward(line_sink sink) {
  if (!lines_ || forwarding_)
    return;
  forwarding_ = std::make_shared<forwarding>();
  forwarding_->sink = std::move(sink);
  forwarding_->lines = std::move(lines_);
  constexpr int from_the_first = 0;
  ::setsockopt(forwarding_->lines.get(), SOL_SOCKET, SO_PEEK_OFF, &from_the_first, sizeof from_the_first);
  forwarding_->orders = unique_fd{::dup(orders_)};
  ::fcntl(forwarding_->orders.get(), F_SETFD, FD_CLOEXEC);
  std::thread{[f = forwarding_] { f->run(); }}.detach();
  std::fflush(stdout);
  give(orders_, {command::forward});
}

void rank_keeper::stop_forwarding(std::chrono::milliseconds limit) {
  if (!forwarding_)
    return;
  std::fflush(stdout);
  give(orders_, {command::show});
  std::unique_lock lock{forwarding_->mutex};
  forwarding_->changed.wait_for(lock, limit, [&] { return forwarding_->over; });
}

std::optional<rank_keeper::ended> rank_keeper::end_of(std::string_view line) {
  if (!line.starts_with(end_word))
    return std::nullopt;
  std::istringstream in{std::string{line.substr(end_word.size())}};
  ended e;
  if (!(in >> e.rank >> e.status >> e.signal))
    return std::nullopt;
  return e;
}

std::string rank_keeper::text_of(proc_id id) { return std::string{before_id} + std::to_string(id) + std::string{behind_id}; }

std::optional<rank_keeper::found> rank_keeper::label_of(std::string_view line) {
  if (!line.starts_with(before_id))
    return std::nullopt;
  found f{};
  const auto number = line.data() + before_id.size();
  const auto [end, error] = std::from_chars(number, line.data() + line.size(), f.id);
  const auto at = static_cast<std::size_t>(end - line.data());
  if (error != std::errc{} || f.id <= master_id || !line.substr(at).starts_with(behind_id))
    return std::nullopt;
  f.size = at + behind_id.size();
  return f;
}

} // namespace troupe
