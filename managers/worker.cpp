#include "troupe/managers/worker.hpp"

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/cluster.hpp"
#include "troupe/managers/named_frames.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/siblings.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/transport/cookie.hpp"
#include "troupe/transport/log.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

// Tasks that wait end within this time when the worker is let go; those that compute are left behind.
constexpr auto end_time = 200ms;
// How long the master's word may be behind that of another worker.
constexpr auto dismissal_time = 100ms;
constexpr std::size_t max_setting_line = 512;
constexpr int highest_port = 65535;
// Between a worker's attempts to join its master.
constexpr auto dial_again_time = 100ms;
// So often in a row the master's end looks as with another cookie until that is what it is.
constexpr int most_cookie_doubts = 10;
// Of several addresses of the master, one that says nothing is given up for the next after this time.
constexpr auto address_time = 2000ms;

[[noreturn]] void end_at_once(int status) { ::_exit(status); }

class worker_process {
public:
  explicit worker_process(prepared_worker w)
    : given_(std::move(w)),
      process_(given_.cookie, 0, 0,
               {[this](proc_id from, frame_view& f) { control(from, f); }, [](proc_id, const std::string&) {},
                [this](proc_id id, const std::string& why) { lost(id, why); }, [this](const std::string& why) { dismissed(why); },
                [](const hello&) {}, [this] { tell_seen(); }},
               given_.net) {
    given_.net = nullptr; // the process's mesh has it, and ends it
  }

  int serve(clock::time_point limit, const std::function<void(const option_values&)>& apply) {
    auto where = listen();
    process_.set_address(where);
    if (given_.settings.tied)
      watch_input();
    process_.start();
    given_.announce(where);
    if (!given_.master.empty())
      dial_master(limit, 0);
    if (!joining_.wait(limit)) {
      process::warn("no master has contacted this worker in time: ending");
      end_at_once(1);
    }
    const sibling_starter others{process_, where.address};
    if (!join(limit, apply))
      return leave(1);
    if (given_.joined)
      given_.joined(process_.net().id());
    leaving_.wait(false); // a thread that drives meanwhile would take the loop from those that run tasks
    if (given_.leaving)
      given_.leaving(ends_apart_);
    return leave(0);
  }

private:
  endpoint listen() {
    const auto bind = parse_bind_address(given_.settings.bind_addr);
    const auto address = bind.scheme().empty() ? resolve_bind_address(bind.address) : bind.address;
    const int last = std::min(bind.port + std::max(given_.settings.bind_tries, 1) - 1, highest_port);
    for (int port = bind.port;; ++port) {
      try {
        return process_.net().listen(address, static_cast<std::uint16_t>(port));
      } catch (const std::system_error& e) {
        if (bind.port == 0 || port >= last || e.code().value() != EADDRINUSE)
          throw;
      }
    }
  }

  void dial_master(clock::time_point limit, std::size_t turn) {
    auto time = std::max(1ms, std::chrono::duration_cast<std::chrono::milliseconds>(limit - clock::now()));
    if (given_.master.size() > 1)
      time = std::min(time, address_time);
    process_.events().post([this, limit, time, turn] {
      const auto& to = given_.master[turn % given_.master.size()];
      process_.net().join(to.where, to.claim, time, [this, limit, turn](const std::string& why_not) {
        if (why_not.empty() || joining_.ready())
          return;
        const bool other_cookie = why_not.find("another cookie") != std::string::npos;
        cookie_doubts_ = other_cookie ? cookie_doubts_ + 1 : 0;
        if (turn + 1 == given_.master.size() && given_.tells_why_not)
          process::warn("can't join yet, and goes on trying: " + why_not);
        // a crowd at its door, perhaps, which looks like a refusal, but not again and again
        if (clock::now() + dial_again_time < limit && !(given_.tells_why_not && cookie_doubts_ >= most_cookie_doubts)) {
          const auto wait = (turn + 1) % given_.master.size() == 0 ? dial_again_time : 0ms;
          process_.events().call_after(wait, [this, limit, turn] { dial_master(limit, turn + 1); });
          return;
        }
        process::warn("this worker can't join its master: " + why_not);
        end_at_once(1);
      });
    });
  }

  // A worker that its master started has no life of its own.
  void watch_input() {
    const int input = given_.tied_to < 0 ? STDIN_FILENO : given_.tied_to;
    process_.events().watch(input, EPOLLIN, [this, input](std::uint32_t) {
      char skipped[256];
      auto n = ::read(input, skipped, sizeof skipped);
      if (n > 0 || (n < 0 && errno == EINTR))
        return;
      process_.events().unwatch(input);
      if (!leaving_) {
        log(log_level::info, "the master has ended: ending");
        end_at_once(1);
      }
    });
  }

  bool join(clock::time_point limit, const std::function<void(const option_values&)>& apply) {
    join_answer answer;
    try {
      apply(request_.options);
      process_.make_runtime(given_.settings.threads);
      cluster::make_worker_cluster(process_);
      process_.run_in_loop([this] { meet_others(); });
      if (!values_here_.wait(limit))
        throw usage_error{"it didn't get the named values in time"};
      for (auto& f : request_.functions)
        run_join_function(process_.net().id(), f);
    } catch (const std::exception& e) {
      answer.problem = e.what();
    }
    answer.self = process_.self();
    process_.run_in_loop([&] {
      frame_builder f;
      f.start(frame_kind::joined);
      write(f.out(), answer);
      process_.net().send(master_id, f, urgency::now);
    });
    return answer.problem.empty();
  }

  // Loop thread.
  void meet_others() {
    process_.set_form(request_.form, request_.place);
    process_.net().set_restricted(request_.form.which != topology::all_to_all);
    membership_change others;
    others.joined = request_.members;
    others.draining = request_.draining;
    others.joined.push_back(process_.self());
    process_.apply(others);
    // news that came while the runtime was made
    for (auto& change : early_)
      take_change(change);
    early_.clear();
    met_ = true;
  }

  int leave(int status) {
    std::string left;
    // everyone knows that this process is gone: what the end of its actors and tasks would send is for nobody
    process_.run_in_loop([this] { process_.net().close(); });
    if (auto rt = process_.runtime())
      left = rt->shut_down(clock::now() + end_time);
    std::fflush(stdout);
    std::fflush(stderr);
    if (!left.empty()) {
      if (given_.before_exit) {
        process_.stop();
        given_.before_exit();
      }
      end_at_once(status);
    }
    process_.stop();
    cluster::drop_worker_cluster();
    return status;
  }

  // Loop thread.
  void control(proc_id from, frame_view& f) {
    if (f.header.kind == frame_kind::named) // which workers pass on
      return take_named(f);
    reader in{f.payload};
    if (from != master_id)
      throw codec_error{"only the master sends it"};
    switch (f.header.kind) {
      case frame_kind::join:
        request_ = read<join_request>(in);
        in.expect_end();
        joining_.set_value({});
        check_values();
        return;
      case frame_kind::members: {
        auto change = read<membership_change>(in);
        in.expect_end();
        if (met_)
          take_change(change);
        else
          early_.push_back(std::move(change));
        return;
      }
      case frame_kind::unnamed: {
        const auto number = read<std::uint64_t>(in);
        process_.named().drop(read<std::vector<std::string>>(in), number);
        in.expect_end();
        acknowledge_named(number);
        return;
      }
      case frame_kind::dial: {
        auto dialler = read<proc_id>(in);
        auto to = read<proc_id>(in);
        in.expect_end();
        if (dialler == process_.net().id())
          process_.net().redial(to);
        return;
      }
      case frame_kind::drain:
        in.expect_end();
        process_.runtime()->take_no_more_work(draining_error(process_.net().id()), [this] {
          frame_builder done;
          done.start(frame_kind::drained);
          process_.net().send(master_id, done, urgency::now);
        });
        return;
      case frame_kind::leave:
        ends_apart_ = in.get<std::uint8_t>() != 0;
        in.expect_end();
        process_.net().take_leave();
        leaving_ = true;
        leaving_.notify_all();
        return;
      default:
        throw codec_error{"a master doesn't send it"};
    }
  }

  void take_change(const membership_change& change) {
    process_.apply(change);
    unseen_ = change.version;
    tell_seen();
  }

  // The master goes on when the links are there that have to be.
  void tell_seen() {
    if (unseen_ == 0 || !process_.all_linked())
      return;
    frame_builder f;
    f.start(frame_kind::members_seen);
    write(f.out(), std::exchange(unseen_, 0));
    process_.net().send(master_id, f, urgency::now);
  }

  void take_named(const frame_view& f) {
    auto v = receive_named(process_.net(), f);
    const auto number = v.number;
    process_.named().put(std::make_shared<detail::named_version>(v.name, number, v.type, v.encoded));
    acknowledge_named(number);
  }

  void acknowledge_named(std::uint64_t number) {
    frame_builder f;
    f.start(frame_kind::named_seen);
    write(f.out(), number);
    process_.net().send(master_id, f, urgency::now);
    check_values();
  }

  // They may come before the request to join that says which there are, and in any order.
  void check_values() {
    if (joining_.ready() && !values_here_.ready() && std::all_of(request_.values.begin(), request_.values.end(), [this](auto& v) {
          return process_.named().last_change(v.first) >= v.second;
        }))
      values_here_.set_value({});
  }

  // Whether another worker still belongs to the cluster is the master's to say.
  void lost(proc_id id, const std::string& why) {
    if (leaving_)
      return;
    if (id == master_id) {
      process::warn("worker " + std::to_string(process_.net().id()) + " has lost its master (" + why + "): ending");
      end_at_once(1);
    }
    frame_builder f;
    f.start(frame_kind::doubt);
    write(f.out(), id);
    write(f.out(), why);
    process_.net().send(master_id, f, urgency::now);
  }

  // Declared lost, and yet alive: what this process does must not be seen any more. If it was removed, the master's word may come last.
  void dismissed(const std::string& why) {
    if (leaving_ || std::exchange(dismissed_, true))
      return;
    process_.net().take_leave();
    process_.events().call_after(dismissal_time, [this, why] {
      if (leaving_)
        return;
      process::warn("worker " + std::to_string(process_.net().id()) + ": the cluster goes on without this process (" + why + "): ending");
      end_at_once(1);
    });
  }

  prepared_worker given_;
  detail::future_state joining_;
  int cookie_doubts_ = 0; // in a row; on the loop
  detail::future_state values_here_;
  std::atomic<bool> leaving_{false};
  join_request request_; // written before joining_ is set
  bool met_ = false;     // loop thread: knows the members, and takes news of them
  std::uint64_t unseen_ = 0; // loop thread: the last change that the master hasn't heard of yet
  bool dismissed_ = false; // loop thread
  bool ends_apart_ = false; // written before leaving_ is set
  std::vector<membership_change> early_;
  process process_; // last: its thread calls the others
};

void prepare_output() {
  // whole lines leave at once: they show on the master when they are written, and none is lost in a crash
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::setvbuf(stderr, nullptr, _IOLBF, 0);
  // when the master is gone, so is who reads our output: the link tells, and tells why
  std::signal(SIGPIPE, SIG_IGN);
}

// Returns what standard input was, if something else has taken its place.
unique_fd arrange_streams(const worker_settings& settings) {
  if (settings.stderr_to_stdout)
    ::dup2(STDOUT_FILENO, STDERR_FILENO);
  unique_fd before{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)};
  if (settings.close_stdin) {
    const unique_fd nothing{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    ::dup2(nothing.get(), STDIN_FILENO);
  }
  return before;
}

} // namespace

clock::time_point launch_limit(const worker_settings& s) {
  return clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>{s.launch_timeout});
}

std::string read_setting_line(clock::time_point limit, const std::string& what) {
  std::string line;
  while (line.size() < max_setting_line) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - clock::now()).count();
    pollfd p{STDIN_FILENO, POLLIN, 0};
    auto n = left > 0 ? ::poll(&p, 1, static_cast<int>(left)) : 0;
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      throw usage_error{"a worker reads " + what + " of its standard input; none came in time"};
    char c;
    if (::read(STDIN_FILENO, &c, 1) != 1)
      throw usage_error{"a worker reads " + what + " of its standard input; it ended before"};
    if (c == '\n')
      return line;
    line += c;
  }
  throw usage_error{"a worker reads " + what + " of its standard input; what came is too long"};
}

int run_worker(prepared_worker worker, const std::function<void(const option_values&)>& apply) {
  prepare_output();
  const auto limit = launch_limit(worker.settings);
  worker_process w{std::move(worker)};
  return w.serve(limit, apply);
}

int run_worker(const worker_settings& settings, const std::function<void(const option_values&)>& apply) {
  prepare_output();
  const auto limit = launch_limit(settings);
  auto cookie = settings.cookie.empty() ? read_setting_line(limit, "the cluster's cookie as the first line") : settings.cookie;
  try {
    check_cookie(cookie);
  } catch (const std::invalid_argument& e) {
    throw usage_error{std::string{settings.cookie.empty() ? "the first line of standard input is no cookie: " : "--worker: "} + e.what()};
  }
  const auto input = arrange_streams(settings);
  const auto announce = [](const endpoint& where) {
    std::printf("%s\n", start_line(where).c_str());
    std::fflush(stdout);
  };
  prepared_worker prepared;
  prepared.settings = settings;
  prepared.tied_to = input.get();
  prepared.cookie = std::move(cookie);
  prepared.announce = announce;
  worker_process w{std::move(prepared)};
  return w.serve(limit, apply);
}

} // namespace troupe
