#include "hosts.hpp"

#include "build_id.hpp"
#include "mpi_kind.hpp"
#include "run_command.hpp"

#include "troupe/managers/machine_spec.hpp"
#include "troupe/transport/error.hpp"

#include <troupe/cli.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace command {

namespace {

constexpr double large_difference = 1; // s, between clocks

struct hosts_options {
  std::string file;
  std::vector<std::string> specs;
  double timeout = 10;
  std::string ssh = troupe::ssh_options{}.ssh;
  std::vector<std::string> flags;
  std::string exename;
  std::string shell = "posix";
};

// CLI11's own check answers with six decimals.
std::string check_timeout(const std::string& text) {
  char* end = nullptr;
  const double x = std::strtod(text.c_str(), &end);
  return end != text.c_str() && *end == '\0' && x >= 0.1 && x <= 3600 ? std::string{} : "'" + text + "' is not 0.1 to 3600 seconds";
}

void add_options(CLI::App& cli, hosts_options& o) {
  cli
    .add_option("FILE", o.file,
                "a hostfile: one machine in each line, [user@]host[:port] [address[:port]], with '4*' or 'auto*'\nin front or behind")
    ->type_name("");
  cli.add_option("--host", o.specs, "such machines, one or more, besides those of FILE, which then stands in front")
    ->type_name("(machine)");
  cli.add_option("--timeout", o.timeout, "how long each host may take, in seconds")
    ->type_name("(seconds)")
    ->check(check_timeout)
    ->capture_default_str();
  cli.add_option("--ssh", o.ssh, "the client: a name in PATH or a file")->type_name("(command)")->capture_default_str();
  cli.add_option("--sshflags", o.flags, "arguments for it, separated by blanks; can be repeated")
    ->type_name("(text)")
    ->expected(1)
    ->take_all();
  cli.add_option("--exename", o.exename, "a program that is to be there, the same as here")->type_name("(path)");
  cli.add_option("--shell", o.shell, "what runs commands there, posix or csh")
    ->type_name("(word)")
    ->check(
      [](const std::string& word) { return word == "posix" || word == "csh" ? std::string{} : "'" + word + "' is neither posix nor csh"; })
    ->capture_default_str();
}

std::vector<troupe::machine_spec> machines_of(const hosts_options& o) {
  std::vector<troupe::machine_spec> out;
  if (!o.file.empty())
    out = troupe::read_hostfile(o.file);
  for (auto& spec : o.specs)
    out.emplace_back(spec);
  if (out.empty())
    throw troupe::usage_error{o.file.empty() ? "which hosts? troupe hosts FILE, or troupe hosts --host MACHINE…"
                                             : "hostfile '" + o.file + "': there is no host in it"};
  return troupe::merged(out);
}

host_question question_of(const hosts_options& o) {
  host_question out;
  out.ssh.ssh = o.ssh;
  for (auto& text : o.flags)
    for (auto& word : CLI::detail::split_up(text))
      if (!word.empty())
        out.ssh.sshflags.push_back(word);
  out.ssh.exename = o.exename;
  out.ssh.shell = o.shell;
  out.ssh.launch_timeout = std::chrono::milliseconds{static_cast<std::int64_t>(o.timeout * 1000)};
  std::error_code gone;
  out.dir = std::filesystem::current_path(gone).string();
  return out;
}

// Some at a time: sshd refuses connections when there are more.
std::vector<host_state> look_at_all(const std::vector<troupe::machine_spec>& machines, const host_question& what) {
  std::vector<host_state> out(machines.size());
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  const auto at_once = std::min(machines.size(), static_cast<std::size_t>(what.ssh.max_parallel));
  for (std::size_t i = 0; i < at_once; ++i)
    threads.emplace_back([&] {
      for (auto at = next++; at < machines.size(); at = next++)
        out[at] = look_at(machines[at], what);
    });
  for (auto& t : threads)
    t.join();
  return out;
}

std::string memory_text(const host_state& h) {
  const auto total = std::strtod(h.at("total").c_str(), nullptr);
  if (total <= 0)
    return "?";
  return in_bytes(1024 * std::strtod(h.at("available").c_str(), nullptr)) + " of " + in_bytes(1024 * total);
}

std::string signed_time(double seconds) {
  char text[32];
  std::abs(seconds) < 1 ? std::snprintf(text, sizeof text, "%+.0f ms", 1000 * seconds)
                        : std::snprintf(text, sizeof text, "%+.1f s", seconds);
  return text;
}

std::string clock_text(const host_state& h) {
  if (!h.clock)
    return "?";
  return std::abs(h.clock->seconds) <= h.clock->error ? "same" : signed_time(h.clock->seconds);
}

std::string or_unknown(std::string text) { return text.empty() ? "?" : text; }

std::string mpi_text(const host_state& h) {
  const auto said = h.at("mpi");
  if (said.empty())
    return h.told.contains("mpi") ? "none" : "?";
  const auto kind = starter_kind(said);
  return kind.name.empty() ? "unknown" : kind.to_text();
}

// How the program there compares with the one of the same name here.
enum class comparison { missing, same_build, other_build, unknown };

comparison compare(const host_state& h, const host_question& what) {
  if (h.at("program").empty())
    return h.told.contains("program") ? comparison::missing : comparison::unknown;
  const auto file = what.ssh.exename.find('/') == std::string::npos ? find_program(what.ssh.exename) : what.ssh.exename;
  const auto here = build_id_of_file(file);
  const auto there = build_id_in(from_hex(h.at("head")));
  if (here.empty() || there.empty())
    return comparison::unknown;
  return here == there ? comparison::same_build : comparison::other_build;
}

std::string program_text(const host_state& h, const host_question& what) {
  switch (compare(h, what)) {
    case comparison::missing:
      return "missing";
    case comparison::same_build:
      return "same build";
    case comparison::other_build:
      return "another build";
    case comparison::unknown:
      break;
  }
  return h.at("program").empty() ? "?" : "there";
}

int widest_name(const std::vector<host_state>& all) {
  std::size_t out = 0;
  for (auto& h : all)
    out = std::max(out, h.machine.text.size());
  return static_cast<int>(out);
}

void note_program(findings& out, const host_state& h, const host_question& what) {
  const auto& name = h.machine.text;
  const auto how = compare(h, what);
  const auto id = build_id_in(from_hex(h.at("head")));
  if (how == comparison::missing)
    out.push_back({mark::missing, name, "the program " + what.ssh.exename + " is not there, or can't be executed",
                   "copy it there, or another path: --exename, in programs the option exename"});
  else if (how == comparison::other_build)
    out.push_back({mark::warning, name,
                   what.ssh.exename + " is another build there (" + id.substr(0, 12) + ", says '" + h.at("version") + "')",
                   "copy the one from here; or name the tasks, TROUPE_TASK, if they are to differ"});
  else if (how == comparison::unknown && !h.at("program").empty())
    out.push_back({mark::ok, name,
                   what.ssh.exename + " is there and can't be compared"
                     + (id.empty() ? ": it has no build id" : ": there's none here, or it has no build id")});
  if (!h.at("program").empty() && h.at("version").find("error while loading shared libraries") != std::string::npos)
    out.push_back({mark::missing, name, "the program can't start: " + h.at("version"),
                   "install that library there; troupe's own come with libcaf-dev and mpich"});
}

void note_host(findings& out, const host_state& h, const host_state& here, const host_question& what) {
  const auto& name = h.machine.text;
  if (!h.failure.empty())
    out.push_back({mark::missing, name, h.failure, h.advice});
  if (!h.reached)
    return;
  if (const auto arch = h.at("arch"); !arch.empty() && arch != here.at("arch"))
    out.push_back({mark::warning, name, "it is " + arch + ", this machine " + here.at("arch") + ": the same program doesn't run on both",
                   "a build for each, and TROUPE_TASK for what they call"});
  if (h.clock && std::abs(h.clock->seconds) - h.clock->error > large_difference)
    out.push_back({mark::warning, name,
                   "its clock is " + in_time(std::abs(h.clock->seconds)) + (h.clock->seconds > 0 ? " ahead" : " behind"),
                   "synchronize both: apt-get install chrony"});
  if (h.at("dir") == "no")
    out.push_back({mark::warning, name, "there is no directory " + what.dir + ", where workers run unless they are told another",
                   "start the program in one that is on all hosts, or use the option dir"});
  if (!what.ssh.exename.empty())
    note_program(out, h, what);
}

} // namespace

std::string in_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(i + 1 < row.size() ? widths[i] - row[i].size() + 2 : 0, ' ');
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string host_table(const std::vector<host_state>& all, const host_question& what) {
  std::vector<std::vector<std::string>> rows{{"host", "reached in", "system", "CPUs", "load", "memory free", "clock", "MPI"}};
  if (!what.ssh.exename.empty())
    rows.front().push_back("program");
  for (auto& h : all) {
    if (!h.reached) {
      rows.push_back({h.machine.text, "not"});
      continue;
    }
    rows.push_back({h.machine.text, in_time(*h.reached), or_unknown(h.at("os")) + ", " + or_unknown(h.at("arch")), or_unknown(h.at("cpus")),
                    or_unknown(h.at("load")), memory_text(h), clock_text(h), mpi_text(h)});
    if (!what.ssh.exename.empty())
      rows.back().push_back(program_text(h, what));
  }
  return in_columns(rows);
}

findings host_notes(const std::vector<host_state>& all, const host_state& here, const host_question& what) {
  findings out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    note_host(out, all[i], here, what);
    const auto id = all[i].at("machine");
    if (id.empty())
      continue;
    const auto first = std::find_if(all.begin(), all.end(), [&](auto& h) { return h.at("machine") == id; });
    if (const auto at = static_cast<std::size_t>(first - all.begin()); at != i)
      out.push_back({mark::ok, all[i].machine.text, "is the same machine as " + all[at].machine.text});
    else if (id == here.at("machine"))
      out.push_back({mark::ok, all[i].machine.text, "is this machine"});
  }
  return out;
}

int run_hosts(int argc, char** argv) {
  hosts_options o;
  CLI::App cli{
    "Reaches hosts by ssh, as programs do for their workers, and says what is there. The exit status is 0 if all have answered,\n"
    "and have the program that was asked for.",
    "troupe hosts"};
  add_options(cli, o);
  try {
    cli.parse(argc, argv);
    const auto what = question_of(o);
    const auto machines = machines_of(o);
    end_commands_on_signals();
    const auto all = look_at_all(machines, what);
    const auto notes = host_notes(all, look_here(), what);
    std::fputs(host_table(all, what).c_str(), stdout);
    report r{stdout, may_colour(stdout), widest_name(all)};
    if (!notes.empty())
      std::fputs("\n", stdout);
    r.add(notes);
    const auto answered = std::count_if(all.begin(), all.end(), [](auto& h) { return h.reached.has_value(); });
    std::printf("\n%td of %zu hosts reached.\n", answered, all.size());
    return r.missing() == 0 && std::fflush(stdout) == 0 ? 0 : 1;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0)
      return cli.exit(e);
    std::fprintf(stderr, "troupe hosts: %s\nRun it with --help to see what it takes.\n", e.what());
  } catch (const troupe::usage_error& e) {
    std::fprintf(stderr, "troupe hosts: %s\n", e.what());
  }
  return 2;
}

} // namespace command
