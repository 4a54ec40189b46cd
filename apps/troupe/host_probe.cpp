#include "host_probe.hpp"

#include "build_id.hpp"
#include "report.hpp"
#include "run_command.hpp"

#include "troupe/managers/remote_command.hpp"
#include "troupe/managers/ssh_manager.hpp"

#include <cmath>
#include <cstdlib>

namespace command {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::string_view label = "troupe_host ";
constexpr auto here_time = std::chrono::seconds{10};

// Each line is a name and what it stands for; the login shell may have said something before. First of all is the answer to being reached; the clock is read when this
// end has heard that and said so, which takes the time that it took to connect out of the difference.
constexpr const char* script_begin = R"sh(t() { printf 'troupe_host %s %s\n' "$1" "$2"; }
t reached yes
read go
t clock "$(date +%s.%N)"
t name "$(uname -n)"
t os "$(test -r /etc/os-release && . /etc/os-release && printf '%s %s' "$ID" "$VERSION_ID" || uname -s)"
t arch "$(uname -m)"
t machine "$(uname -n) $(cat /etc/machine-id /proc/sys/kernel/random/boot_id | tr '\n' ' ')"
t cpus "$(nproc || getconf _NPROCESSORS_ONLN)"
t load "$(cut -d' ' -f1 /proc/loadavg)"
t total "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
t available "$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)"
)sh";

constexpr const char* script_end =
  R"sh(t mpi "$(command -v mpirun > /dev/null && mpirun --version < /dev/null 2>&1 | head -c 400 | tr '\n' ' ')"
t end yes
)sh";

std::string program_part(const std::string& program) {
  return "p=$(command -v " + troupe::posix_word(program) + ")\nt program \"$p\"\nif test -n \"$p\"; then\n" + "t head \"$(od -An -v -tx1 -N"
         + std::to_string(build_id_within) + " \"$p\" | tr -d ' \\n')\"\n"
         + "t version \"$(\"$p\" --version < /dev/null 2>&1 | head -n 1)\"\nfi\n";
}

std::string make_script(const std::string& dir, const std::string& program) {
  std::string out = script_begin;
  if (!dir.empty())
    out += "test -d " + troupe::posix_word(dir) + " && t dir yes || t dir no\n";
  if (!program.empty())
    out += program_part(program);
  return "exec 2> /dev/null\n" + out + script_end;
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// Takes lines as they come.
class listener {
public:
  explicit listener(host_state& out) : out_(out), start_(clock::now()) {}

  std::optional<std::string> take(std::string_view line) {
    const auto at = line.find(label);
    if (at == std::string_view::npos)
      return ""; // a login shell's
    line.remove_prefix(at + label.size());
    const auto space = line.find(' ');
    const std::string name{line.substr(0, space)};
    const std::string value{space == std::string_view::npos ? "" : line.substr(space + 1)};
    if (name == "reached" && !out_.reached) {
      out_.reached = std::chrono::duration<double>(clock::now() - start_).count();
      asked_ = now();
      return "go\n";
    }
    if (name == "clock") {
      take_clock(value);
      return std::nullopt;
    }
    out_.told[name] = printable(value);
    return "";
  }

private:
  // Half way between the question and the answer, at best.
  void take_clock(const std::string& text) {
    const auto answered = now();
    char* end = nullptr;
    const double there = std::strtod(text.c_str(), &end);
    if (end == text.c_str())
      return;
    const bool whole = text.find_first_of("0123456789", text.find('.')) == std::string::npos; // its date knows no %N
    out_.clock = {there + (whole ? 0.5 : 0) - (asked_ + answered) / 2, (answered - asked_) / 2 + (whole ? 0.5 : 0)};
  }

  host_state& out_;
  const clock::time_point start_;
  double asked_ = 0;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string by_hand(const troupe::machine_spec& m, const host_question& what, const std::string& command) {
  std::string out = "by hand: " + what.ssh.ssh;
  for (auto& flag : what.ssh.sshflags)
    out += " " + flag;
  return out + (m.port == 0 ? "" : " -p " + std::to_string(m.port)) + " " + m.destination() + " " + command;
}

std::string advice_for(const troupe::machine_spec& m, const host_question& what, const std::string& said) {
  if (has(said, "resolve hostname"))
    return "is the name right? getent hosts " + m.host + "; names that only ssh knows stand in ~/.ssh/config";
  if (has(said, "refused"))
    return "does sshd run there, and at this port? Another port: " + m.host + ":PORT";
  if (has(said, "timed out") || has(said, "No route"))
    return "is it up, and does no firewall keep ssh out? ping " + m.host;
  return by_hand(m, what, "true");
}

std::string seconds_text(std::chrono::milliseconds t) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(t.count()) / 1000);
  return text;
}

std::string tail_text(const std::string& tail) { return tail.empty() ? "" : "; the last lines of stderr:\n" + tail; }

void explain(host_state& out, const command_end& end, const host_question& what) {
  const auto limit = seconds_text(what.ssh.launch_timeout);
  if (!end.not_started.empty()) {
    out.failure = end.not_started;
    out.advice = "apt-get install openssh-client, or another client: --ssh";
  } else if (end.too_slow()) {
    out.failure = out.reached ? "has not told everything within " + limit
                              : what.ssh.ssh + " has neither reached the host nor failed within " + limit + tail_text(end.err);
    out.advice = out.reached ? "something hangs there: "
                                 + std::string{out.told.contains("available") ? "mpirun --version, or the program" : "the shell"}
                                 + "; more time: --timeout"
                             : "it accepts and says nothing, or is very slow: more time: --timeout";
  } else {
    troupe::keeper_session::end how;
    how.state = *end.state;
    how.tail = end.err.substr(0, end.err.find_last_not_of("\r\n") + 1);
    const auto why = troupe::explain_ssh(out.machine.host, how, what.dir, "sh");
    out.failure = why.text;
    if (out.reached) {
      out.failure = "its connection ended before it had told everything: " + what.ssh.ssh + " " + how.state.to_text() + tail_text(how.tail);
      out.advice = by_hand(out.machine, what, "true");
    } else if (why.reason == troupe::launch_reason::no_address) {
      out.failure = what.ssh.ssh + " got in, and no shell answered: it " + how.state.to_text() + tail_text(how.tail);
      out.advice =
        by_hand(out.machine, what, "'sh -l -c true'")
        + (what.ssh.shell == troupe::shell::csh ? "; is its login shell csh, as --shell says?" : "; is its login shell csh? --shell csh");
    } else if (why.reason == troupe::launch_reason::unreachable) {
      out.advice = advice_for(out.machine, what, end.err);
    }
  }
}

} // namespace

std::string host_state::at(const std::string& name) const {
  const auto i = told.find(name);
  return i == told.end() ? std::string{} : i->second;
}

host_state look_at(const troupe::machine_spec& machine, const host_question& what) {
  host_state out;
  out.machine = machine;
  auto client = troupe::ssh_client(machine, what.ssh);
  client.args.push_back(
    troupe::command_line({.dir = {}, .env = {}, .program = "sh", .args = {"-c", make_script(what.dir, what.ssh.exename)}}, what.ssh.shell));
  listener listening{out};
  const auto end = run_command(client, what.ssh.launch_timeout, {}, [&](std::string_view line) { return listening.take(line); });
  if (out.at("end").empty())
    explain(out, end, what);
  return out;
}

host_state look_here() {
  host_state out;
  listener listening{out};
  troupe::child_options what;
  what.program = "sh";
  what.args = {"-c", make_script({}, {})};
  run_command(what, here_time, {}, [&](std::string_view line) { return listening.take(line); });
  return out;
}

} // namespace command
