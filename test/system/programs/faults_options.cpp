// Prints the values of its options, as each process has them.
#include <troupe/cli.hpp>
#include <troupe/troupe.hpp>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

namespace {

int number = 7;
double ratio = 0.5;
bool flag = false;
std::string name = "nobody";
std::vector<int> list;
std::optional<int> maybe;

std::string values() {
  std::string out =
    "number=" + std::to_string(number) + " ratio=" + std::to_string(ratio) + " flag=" + (flag ? "yes" : "no") + " name=" + name + " list=";
  for (auto n : list)
    out += std::to_string(n) + ",";
  return out + " maybe=" + (maybe ? std::to_string(*maybe) : "none");
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"faults_options", "Shows its options", "4.5.6"};
  app.option("--number", number, "a number");
  app.option("--ratio", ratio, "another");
  app.option("--flag", flag, "yes or no");
  app.option("--name", name, "a text");
  app.option("--list", list, "some numbers");
  app.option("--maybe", maybe, "a number or none");
  auto& needed = app.option("--needed", name, "must be there");
  if (std::getenv("NEEDED") != nullptr)
    needed.required();
  std::vector<std::string> worker_env;
  app.option("--worker-env", worker_env, "variables of one more worker");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (!worker_env.empty()) {
      troupe::local_options o;
      for (auto& text : worker_env)
        o.env.emplace_back(text.substr(0, text.find('=')), text.substr(text.find('=') + 1));
      c.addprocs(1, o);
    }
    std::cout << "workers: " << (c.nprocs() - 1) << '\n';
    for (auto id : c.procs())
      std::cout << "on " << id << ": " << c.remotecall_fetch(id, [] { return values(); }) << '\n';
    return 0;
  });
}
