// expect: values of this type can't be sent to another process: give it an inspect
#include <troupe/troupe.hpp>

struct job {
  int n = 0;
  std::function<void()> then;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, job& x) {
    return f(x.n, x.then);
  }
};

void call(troupe::cluster& c) {
  c.remotecall(2, [](job j) { return j.n; }, job{});
}
