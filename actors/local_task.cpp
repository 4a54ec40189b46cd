#include "troupe/actors/local_task.hpp"

#include "troupe/actors/runtime.hpp"

#include <mutex>
#include <unordered_map>

namespace troupe::detail {

namespace {

// Closures whose tasks haven't begun.
struct closure_table {
  std::mutex mutex;
  std::uint64_t last = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<local_closure>> all;

  std::unique_ptr<local_closure> take(std::uint64_t number) {
    std::lock_guard guard{mutex};
    auto node = all.extract(number);
    return node ? std::move(node.mapped()) : nullptr;
  }
};

closure_table& closures() {
  static auto t = new closure_table; // tasks may run while the static objects of the program end
  return *t;
}

} // namespace

std::uint64_t keep_closure(std::unique_ptr<local_closure> f, future_state& result) {
  auto& t = closures();
  std::uint64_t number = 0;
  {
    std::lock_guard guard{t.mutex};
    number = ++t.last;
    t.all.emplace(number, std::move(f));
  }
  result.when_here([number] {
    // one that was never run: it ends where the user's code may run
    if (auto unused = closures().take(number))
      run_as_job([unused = std::shared_ptr<local_closure>{std::move(unused)}] {});
  });
  return number;
}

std::unique_ptr<local_closure> take_closure(std::uint64_t number) {
  auto out = closures().take(number);
  if (!out)
    throw usage_error{"there is no task " + std::to_string(number) + " of c.async that waits on process " + std::to_string(own_id())};
  return out;
}

proc_id own_id() { return runtime::get().id(); }

} // namespace troupe::detail
