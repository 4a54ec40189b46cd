// Uses troupe where there is no cluster.
#include <troupe/troupe.hpp>

#include <iostream>
#include <stdexcept>

namespace {

template <class F>
void attempt(const char* what, F f) {
  try {
    f();
    std::cout << what << ": nothing was thrown\n";
  } catch (const troupe::usage_error& e) {
    std::cout << what << ": usage_error, " << e.what() << '\n';
  } catch (const std::exception& e) {
    std::cout << what << ": another exception, " << e.what() << '\n';
  }
}

} // namespace

int main(int argc, char** argv) {
  attempt("here before", [] { troupe::here(); });
  attempt("call before", [] { troupe::here().remotecall_fetch(1, [] {}); });
  attempt("empty fetch", [] { troupe::future<int>{}.fetch(); });
  attempt("empty wait", [] { troupe::future<int>{}.wait(); });
  attempt("empty isready", [] { troupe::future<int>{}.isready(); });
  troupe::app app{"faults_outside"};
  troupe::future<int> kept;
  const auto status = app.run(argc, argv, [&](troupe::cluster& c) {
    kept = c.remotecall(1, [] { return 42; });
    kept.wait();
    attempt("direct that blocks", [&] { c.remotecall_wait(1, troupe::direct([] { troupe::here().remotecall_wait(1, [] {}); })); });
    auto moved = std::move(kept);
    attempt("moved", [&] { kept.fetch(); });
    kept = std::move(moved);
    attempt("workers on a worker", [&] {
      const auto id = c.addprocs(1).front();
      try {
        c.remotecall_wait(id, [] { troupe::here().addprocs(1); });
      } catch (const troupe::remote_error& e) {
        e.rethrow_nested();
      }
    });
    attempt("cookie too late", [&] { c.cookie("another"); });
    attempt("cookie too long", [&] { c.cookie("12345678901234567"); });
    return 0;
  });
  attempt("here afterwards", [] { troupe::here(); });
  attempt("call afterwards", [] { troupe::here().remotecall_fetch(1, [] {}); });
  if (kept.valid()) // not on the worker
    std::cout << "kept: " << kept.fetch() << '\n';
  std::cout << "second run: " << app.run(argc, argv, [](troupe::cluster&) { return 6; }) << '\n';
  return status;
}
