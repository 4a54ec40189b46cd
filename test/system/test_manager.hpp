#pragma once

/// A manager of the tests' own, written against the public interface alone: it starts workers by hand, and can have all
/// links to them go through a proxy.

#include "system/cutting_proxy.hpp"
#include "system/harness.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <sys/eventfd.h>

namespace system_test {

class test_manager final : public troupe::cluster_manager {
public:
  struct settings {
    /// In front of the program: {"ip", "netns", "exec", "NAME"}.
    std::vector<std::string> prefix = {};
    std::string bind_addr = "127.0.0.1";
    /// Stands in for each worker's address, if it is there.
    std::shared_ptr<cutting_proxy> proxy = {};
    /// Whether workers that were asked to leave, or given up as lost, are killed a little later.
    bool kills = true;
  };

  /// A worker's process.
  struct record {
    explicit record(const troupe::child_options& o)
      : child(o), in(child.take_stdin()), out(child.take_stdout()), err(child.take_stderr()) {}

    std::mutex mutex; // guards all but the streams
    troupe::child_process child;
    troupe::unique_fd in, out, err; // open as long as this is there
    std::uint16_t proxy_port = 0;
    std::optional<std::chrono::steady_clock::time_point> kill_at;
    std::optional<troupe::exit_cause> cause;
    std::function<void(troupe::exit_cause)> ended;
  };
  using record_ptr = std::shared_ptr<record>;

  explicit test_manager(settings s) : settings_(std::move(s)), bell_(::eventfd(0, EFD_CLOEXEC)), reaper_([this] { reap(); }) {}

  ~test_manager() override {
    stopping_ = true;
    ring();
    reaper_.join();
  }

  /// Starts options.extra["count"] workers.
  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    std::vector<record_ptr> started;
    for (int i = std::stoi(options.extra.at("count")); i > 0; --i)
      started.push_back(start(options.threads));
    const auto until = std::chrono::steady_clock::now() + options.launch_timeout;
    for (auto& r : started) {
      if (const auto where = read_address(*r, until))
        sink.launched(describe(r, *where));
      else
        sink.failed({"here", troupe::launch_reason::silent, -1, "told no address; its last words:\n" + last_words(*r)});
    }
  }

  void manage(proc_id id, const troupe::worker_config& config, troupe::manage_op op) override {
    const auto r = record_of(config);
    if (op == troupe::manage_op::finalize)
      send(*r, SIGKILL);
    std::lock_guard guard{mutex_};
    if (op == troupe::manage_op::registered)
      members_[id] = r;
    else if (op == troupe::manage_op::deregistered)
      members_.erase(id);
  }

  void kill(proc_id, const troupe::worker_config& config) override {
    if (!settings_.kills)
      return;
    const auto r = record_of(config);
    {
      std::lock_guard guard{r->mutex};
      r->kill_at = std::chrono::steady_clock::now() + grace;
    }
    ring();
  }

  bool watch(proc_id, const troupe::worker_config& config, std::function<void(troupe::exit_cause)> ended) override {
    const auto r = record_of(config);
    std::lock_guard guard{r->mutex};
    if (r->cause)
      ended(*r->cause);
    else
      r->ended = std::move(ended);
    return true;
  }

  /// Of a member; null if it is none.
  record_ptr process(proc_id id) const {
    std::lock_guard guard{mutex_};
    const auto i = members_.find(id);
    return i == members_.end() ? nullptr : i->second;
  }

  void send(proc_id id, int signal_number) const {
    if (const auto r = process(id))
      send(*r, signal_number);
  }

  /// How many processes have not been seen to end.
  std::size_t running() const {
    std::lock_guard guard{mutex_};
    return running_.size();
  }

  /// What a process has written to stderr and nobody has asked for before.
  static std::string last_words(const record& r) {
    std::string text;
    char buffer[4096];
    for (::pollfd p{r.err.get(), POLLIN, 0}; ::poll(&p, 1, 0) > 0;) {
      const auto n = ::read(p.fd, buffer, sizeof buffer);
      if (n <= 0)
        break;
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }

private:
  static constexpr auto grace = 500ms;

  static record_ptr record_of(const troupe::worker_config& config) { return std::any_cast<record_ptr>(config.userdata); }

  static void send(record& r, int signal_number) {
    std::lock_guard guard{r.mutex};
    r.child.signal(signal_number);
  }

  record_ptr start(int threads) {
    auto args = settings_.prefix;
    args.push_back(std::filesystem::read_symlink("/proc/self/exe"));
    args.insert(args.end(), {"--worker", "--bind-addr=" + settings_.bind_addr, "--threads=" + std::to_string(threads)});
    const auto program = args.front();
    args.erase(args.begin());
    auto r =
      std::make_shared<record>(troupe::child_options{.program = program, .args = args, .dir = {}, .env = {}, .env_removed_prefixes = {}});
    const auto line = here().cookie() + "\n";
    static_cast<void>(!::write(r->in.get(), line.data(), line.size()));
    {
      std::lock_guard guard{mutex_};
      running_.push_back(r);
    }
    ring();
    return r;
  }

  // Of "troupe_worker:PORT#ADDRESS".
  static std::optional<troupe::endpoint> read_address(const record& r, std::chrono::steady_clock::time_point until) {
    constexpr std::string_view word = "troupe_worker:";
    std::string line;
    for (char c = 0; c != '\n'; line += c) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      ::pollfd p{r.out.get(), POLLIN, 0};
      if (left <= 0ms || ::poll(&p, 1, static_cast<int>(left.count())) <= 0 || ::read(p.fd, &c, 1) != 1)
        return std::nullopt;
    }
    const auto hash = line.find('#');
    if (!line.starts_with(word) || hash == std::string::npos)
      return std::nullopt;
    troupe::endpoint out;
    out.port = static_cast<std::uint16_t>(std::stoi(line.substr(word.size())));
    out.address = line.substr(hash + 1, line.size() - hash - 2);
    return out;
  }

  troupe::worker_config describe(const record_ptr& r, const troupe::endpoint& where) const {
    troupe::worker_config config;
    config.host = where.address;
    config.port = where.port;
    std::lock_guard guard{r->mutex};
    if (settings_.proxy) {
      config.host = "127.0.0.1";
      config.port = r->proxy_port = settings_.proxy->add(where);
    }
    config.os_pid = r->child.pid();
    config.userdata = r;
    return config;
  }

  // -- the thread that sees processes end ------------------------------------------------------------------------

  void ring() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(bell_.get(), &one, sizeof one));
  }

  void reap() {
    while (!stopping_) {
      std::vector<::pollfd> entries{{bell_.get(), POLLIN, 0}};
      std::vector<record_ptr> all;
      {
        std::lock_guard guard{mutex_};
        all = running_;
      }
      bool hurry = false;
      for (auto& r : all) {
        entries.push_back({r->child.pidfd(), POLLIN, 0});
        std::lock_guard guard{r->mutex};
        hurry = hurry || r->kill_at;
      }
      ::poll(entries.data(), entries.size(), hurry ? 20 : -1);
      std::uint64_t n;
      if (entries[0].revents != 0)
        static_cast<void>(!::read(bell_.get(), &n, sizeof n));
      for (auto& r : all)
        look_after(r);
    }
  }

  void look_after(const record_ptr& r) {
    std::function<void(troupe::exit_cause)> tell;
    {
      std::lock_guard guard{r->mutex};
      if (r->kill_at && std::chrono::steady_clock::now() > *r->kill_at)
        r->child.signal(SIGKILL);
      const auto state = r->child.try_wait();
      if (!state)
        return;
      r->cause = troupe::exit_cause{};
      r->cause->host = "here";
      r->cause->status = state->status;
      r->cause->signal = state->signal;
      r->cause->stderr_tail = last_words(*r);
      tell.swap(r->ended);
    }
    if (tell)
      tell(*r->cause);
    if (settings_.proxy && r->proxy_port != 0)
      settings_.proxy->remove(r->proxy_port);
    std::lock_guard guard{mutex_};
    std::erase(running_, r);
  }

  settings settings_;
  mutable std::mutex mutex_; // guards the next two; no record's is taken under it
  std::map<proc_id, record_ptr> members_;
  std::vector<record_ptr> running_;
  std::atomic<bool> stopping_{false};
  troupe::unique_fd bell_;
  std::thread reaper_; // last
};

/// Workers of such a manager.
inline std::vector<proc_id> add_workers(const std::shared_ptr<test_manager>& manager, int n, int threads = 0) {
  troupe::launch_options options;
  options.extra["count"] = std::to_string(n);
  options.threads = threads;
  return here().addprocs(manager, options);
}

} // namespace system_test
