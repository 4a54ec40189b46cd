// Starts workers that don't come. Prints what addprocs says, and whether good workers come afterwards.
#include <troupe/cli.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <unistd.h>

namespace {

// Where DIE_AT says, a worker ends as DIE_HOW says.
void die_at(const char* place) {
  const auto at = std::getenv("DIE_AT");
  const auto how = std::getenv("DIE_HOW");
  if (at == nullptr || how == nullptr || std::strcmp(at, place) != 0)
    return;
  if (std::strcmp(how, "throw") == 0)
    throw std::runtime_error{"this worker doesn't like its options"};
  std::cerr << "dying at " << place << std::endl;
  if (std::strcmp(how, "stop") == 0) {
    ::raise(SIGSTOP);
    return;
  }
  const auto number = std::atoi(how);
  if (number < 0)
    ::kill(::getpid(), -number);
  ::_exit(number);
}

struct static_object {
  static_object() { die_at("static"); }
} the_static_object;

std::string flat(std::string text) {
  std::replace(text.begin(), text.end(), '\n', '|');
  return text;
}

struct settings {
  std::string exename;
  std::string script;
  std::vector<std::string> env;
  int count = 1;
  double timeout = 60;
  bool partial = false;
};

troupe::local_options make_options(const settings& s) {
  troupe::local_options o;
  o.exename = s.exename;
  if (!s.script.empty()) {
    o.exename = "/bin/sh";
    o.exeflags = {"-c", s.script, "sh"};
  }
  for (auto& text : s.env)
    o.env.emplace_back(text.substr(0, text.find('=')), text.substr(text.find('=') + 1));
  o.launch_timeout = std::chrono::milliseconds{static_cast<int>(1000 * s.timeout)};
  o.partial = s.partial;
  return o;
}

void add(troupe::cluster& c, const settings& s) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    const auto ids = c.addprocs(s.count, make_options(s));
    std::cout << "came: " << ids.size() << '\n';
  } catch (const troupe::launch_error& e) {
    std::cout << "launch_error: " << flat(e.what()) << '\n' << "failures: " << e.failures().size() << '\n';
    for (auto& f : e.failures())
      std::cout << "failure: " << to_string(f.reason) << ", status " << f.status << ", " << (f.host.empty() ? "no host" : "host") << ", "
                << flat(f.text) << '\n';
    std::cout << "joined:";
    for (auto id : e.joined())
      std::cout << ' ' << id << " answers " << c.remotecall_fetch(id, [] { return troupe::here().myid(); });
    std::cout << '\n';
  } catch (const troupe::usage_error& e) {
    std::cout << "usage_error: " << e.what() << '\n';
  }
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
  std::cout << "ms: " << static_cast<int>(taken.count()) << std::endl;
}

} // namespace

int main(int argc, char** argv) {
  die_at("main");
  const bool is_worker = std::any_of(argv, argv + argc, [](const char* a) { return std::strcmp(a, "--worker") == 0; });
  troupe::app app{"faults_launches", "Workers that don't come"};
  settings s;
  bool wait = false;
  app.option("--exename", s.exename, "what is started");
  app.option("--script", s.script, "for a shell: what is started");
  app.option("--env", s.env, "variables of workers");
  app.option("--count", s.count, "how many");
  app.option("--timeout", s.timeout, "in seconds");
  app.option("--partial", s.partial, "take those who come");
  app.option("--wait", wait, "stay until stdin ends");
  app.cli().add_option_function<std::string>("--poison", [&](const std::string&) {
    if (is_worker)
      die_at("options");
  });
  return app.run(argc, argv, [&](troupe::cluster& c) {
    add(c, s);
    if (wait)
      std::cin.get();
    std::cout << "workers: " << (c.nprocs() - 1) << std::endl;
    const auto good = c.addprocs(1);
    std::cout << "a good one: " << (c.remotecall_fetch(good.front(), [] { return 42; })) << std::endl;
    return 0;
  });
}
