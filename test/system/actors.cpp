#define BOOST_TEST_MODULE actors
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <bit>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <numeric>

namespace {

using ids = std::vector<proc_id>;
using texts = std::vector<std::string>;

// -- message types ------------------------------------------------------------------------------------------

struct particle {
  double x = 0;
  double v = 0;
  texts names;
  bool operator==(const particle&) const = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, particle& p) {
    return f(caf::meta::type_name("particle"), p.x, p.v, p.names);
  }
};

// Reading it can fail, and takes a user's code.
struct fragile {
  int value = 0;
  bool breaks_reading = false;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, fragile& x) {
    auto check = [&]() -> caf::error {
      return x.breaks_reading ? caf::make_error(caf::sec::runtime_error, "it is fragile") : caf::error{};
    };
    return f(caf::meta::type_name("fragile"), x.value, x.breaks_reading, caf::meta::load_callback(check));
  }
};

// Nobody has registered it.
struct stranger {
  int x = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, stranger& s) {
    return f(caf::meta::type_name("stranger"), s.x);
  }
};

const setup register_types{[](troupe::app& app) { app.message_types<particle, std::vector<particle>, fragile>(); }};

// -- actors -------------------------------------------------------------------------------------------------

using where_atom = caf::atom_constant<caf::atom("where")>;
using seen_atom = caf::atom_constant<caf::atom("seen")>;
using watch_atom = caf::atom_constant<caf::atom("watch")>;
using unwatch_atom = caf::atom_constant<caf::atom("unwatch")>;
using tie_atom = caf::atom_constant<caf::atom("tie")>;
using untie_atom = caf::atom_constant<caf::atom("untie")>;
using end_atom = caf::atom_constant<caf::atom("end")>;
using pass_atom = caf::atom_constant<caf::atom("pass")>;
using start_atom = caf::atom_constant<caf::atom("start")>;
using later_atom = caf::atom_constant<caf::atom("later")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using none_atom = caf::atom_constant<caf::atom("none")>;
using reg_atom = caf::atom_constant<caf::atom("register")>;

caf::behavior counter(caf::stateful_actor<int>* self, int start) {
  self->state = start;
  return {
    [=](int n) { return self->state += n; },
    [](where_atom) { return here().myid(); },
  };
}

caf::behavior echo(caf::event_based_actor*) {
  return {
    [](double x) { return x; },
    [](float x) { return x; },
    [](int x) { return x; },
    [](const std::string& x) { return x; },
    [](const std::vector<double>& x) { return x; },
    [](const particle& x) { return x; },
    [](const std::vector<particle>& x) { return x; },
    [](const fragile& x) { return x; },
    [](const caf::actor& x) { return x; },
    [](const std::vector<caf::actor>& x) { return x; },
    [](none_atom) {},
    [](fail_atom) -> caf::result<int> { return caf::make_error(caf::sec::runtime_error, "failed on purpose"); },
    [](fail_atom, int) -> int { throw std::runtime_error{"thrown on purpose"}; },
    [](reg_atom, int x) { return stranger{x}; },
    [](reg_atom) { return fragile{1, true}; },
    [](where_atom) { return here().myid(); },
    [](pass_atom, const caf::actor& to, int x) { caf::anon_send(to, x); },
    [](int a, double b, const std::string& c) { return c + std::to_string(a) + std::to_string(b); },
  };
}

class cell : public caf::event_based_actor {
public:
  cell(caf::actor_config& cfg, double x, texts names) : caf::event_based_actor(cfg), x_(x), names_(std::move(names)) {}

  caf::behavior make_behavior() override {
    return {
      [this](double dx) { return x_ += dx; },
      [this](std::size_t i) { return names_.at(i); },
      [](where_atom) { return here().myid(); },
    };
  }

private:
  double x_;
  texts names_;
};

using adder_actor = caf::typed_actor<caf::replies_to<int, int>::with<int>, caf::replies_to<where_atom>::with<proc_id>>;

adder_actor::behavior_type adder(adder_actor::stateful_pointer<int> self) {
  return {
    [=](int a, int b) {
      ++self->state;
      return a + b;
    },
    [](where_atom) { return here().myid(); },
  };
}

class typed_cell : public adder_actor::base {
public:
  typed_cell(caf::actor_config& cfg, int more) : adder_actor::base(cfg), more_(more) {}

  adder_actor::behavior_type make_behavior() override {
    return {
      [this](int a, int b) { return a + b + more_; },
      [](where_atom) { return here().myid(); },
    };
  }

private:
  int more_;
};

caf::behavior without_self() {
  return {[](int x) { return x + 1; }};
}

// Hands on what it gets.
caf::behavior relay(caf::event_based_actor* self, caf::actor next, int add) {
  return {[=](int x) { return self->delegate(next, x + add); }};
}

// Never answers an int, nor forgets it.
caf::behavior silent(caf::stateful_actor<std::vector<caf::response_promise>>* self) {
  return {
    [=](int) { self->state.push_back(self->make_response_promise()); },
    [=](seen_atom) { return static_cast<int>(self->state.size()); },
    [=](end_atom) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

// Watches others, and notes what it hears of them.
caf::behavior observer(caf::stateful_actor<texts>* self) {
  self->set_down_handler([=](const caf::down_msg& m) { self->state.push_back("down: " + self->system().render(m.reason)); });
  self->set_exit_handler([=](const caf::exit_msg& m) { self->state.push_back("exit: " + self->system().render(m.reason)); });
  return {
    [=](watch_atom, const caf::actor& a) { self->monitor(a); },
    [=](unwatch_atom, const caf::actor& a) { self->demonitor(a); },
    [=](tie_atom, const caf::actor& a) { self->link_to(a); },
    [=](untie_atom, const caf::actor& a) { self->unlink_from(a); },
    [=](seen_atom) { return self->state; },
  };
}

// Ends in the way it is told to, or with whom it is linked to.
caf::behavior mortal(caf::event_based_actor* self) {
  return {
    [=](end_atom) { self->quit(); },
    [=](end_atom, const std::string& why) { self->quit(caf::make_error(caf::sec::runtime_error, why)); },
    [=](tie_atom, const caf::actor& a) { self->link_to(a); },
    [](int x) { return x; },
  };
}

struct collected {
  int count = 0;
  int misplaced = 0;
  int last = 0;
};

// Gets numbers that should rise by one, bare or in a particle.
caf::behavior collector(caf::stateful_actor<collected>* self) {
  auto take = [=](int n) {
    auto& s = self->state;
    s.misplaced += n != s.last + 1;
    s.last = n;
    ++s.count;
  };
  return {
    [=](int n) { take(n); },
    [=](const particle& p) { take(static_cast<int>(p.x)); },
    [=](seen_atom) { return std::vector<int>{self->state.count, self->state.misplaced}; },
  };
}

caf::behavior sender(caf::event_based_actor* self, caf::actor to) {
  return {
    [=](start_atom, int n, bool mixed) {
      for (int i = 1; i <= n; ++i) {
        if (mixed && i % 3 == 0)
          self->send(to, particle{static_cast<double>(i), 0, {}});
        else
          self->send(to, i);
      }
    },
    [=](later_atom, int n) { self->delayed_send(to, 30ms, n); },
  };
}

// Asks another actor in CAF's own way, and answers when it has its answer.
caf::behavior asker(caf::event_based_actor* self, caf::actor whom) {
  return {[=](int x, int limit_ms) {
    auto promise = self->make_response_promise<std::string>();
    const auto answer = [=](int y) mutable { promise.deliver("answer " + std::to_string(y)); };
    const auto failed = [=](caf::error& e) mutable { promise.deliver("error " + self->system().render(e)); };
    self->request(whom, std::chrono::milliseconds{limit_ms}, x).then(answer, failed);
    return promise;
  }};
}

// Asks another actor, and waits for the answer in its handler.
caf::behavior blocking_asker(caf::event_based_actor*, caf::actor whom) {
  return {[=](int x) { return here().request<int>(whom, x) + 1; }};
}

caf::behavior blocking_caller(caf::event_based_actor*, proc_id where) {
  return {[=](int x) { return here().remotecall_fetch(where, [](int y) { return 2 * y; }, x); }};
}

template <class T>
bool same_bytes(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

texts seen_by(const caf::actor& a) { return here().request<texts>(a, seen_atom::value); }

bool has_seen(const caf::actor& a, const texts& parts) {
  return eventually([&] {
    const auto seen = seen_by(a);
    return seen.size() == parts.size()
           && std::equal(seen.begin(), seen.end(), parts.begin(), [](auto& s, auto& part) { return contains(s, part); });
  });
}

std::size_t number_of_links() { return here().links().size(); }

int ask(const caf::actor& a, int x) { return here().request<int>(a, x); }

// All ordered pairs of different processes, of a master and two workers.
std::vector<std::pair<proc_id, proc_id>> ways(const workers& w) { return {{1, w[0]}, {w[0], 1}, {w[0], w[1]}, {w[1], w[0]}}; }

} // namespace

// -- making them --------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(actors_of_every_form_are_made_on_any_process) {
  workers w{2};
  auto& c = here();
  for (auto p : c.procs()) {
    const auto stateful = c.spawn<counter>(p, 40);
    BOOST_TEST(c.request<int>(stateful, 2) == 42);
    BOOST_TEST(c.request<int>(stateful, 1) == 43);
    BOOST_TEST(c.request<proc_id>(stateful, where_atom::value) == p);

    const auto object = c.spawn<cell>(p, 1.5, texts{"a", "b"});
    BOOST_TEST(c.request<double>(object, 0.25) == 1.75);
    BOOST_TEST(c.request<std::string>(object, std::size_t{1}) == "b");
    BOOST_TEST(c.request<proc_id>(object, where_atom::value) == p);

    const adder_actor typed = c.spawn<adder>(p);
    BOOST_TEST(c.request<int>(typed, 20, 22) == 42);
    BOOST_TEST(c.request<proc_id>(typed, where_atom::value) == p);

    const adder_actor typed_object = c.spawn<typed_cell>(p, 100);
    BOOST_TEST(c.request<int>(typed_object, 20, 22) == 142);
    BOOST_TEST(c.request<proc_id>(typed_object, where_atom::value) == p);

    BOOST_TEST(c.request<int>(c.spawn<without_self>(p), 41) == 42);
  }
  ids anywhere;
  for (int i = 0; i < 2; ++i)
    anywhere.push_back(c.request<proc_id>(c.spawn<counter>(troupe::any, 0), where_atom::value));
  std::sort(anywhere.begin(), anywhere.end());
  BOOST_TEST(anywhere == w.ids());
}

BOOST_AUTO_TEST_CASE(workers_make_actors_on_other_processes) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto a = here().remotecall_fetch(from, [](proc_id p) { return here().spawn<counter>(p, 7); }, to);
    BOOST_TEST(here().request<proc_id>(a, where_atom::value) == to);
    BOOST_TEST(here().request<int>(a, 1) == 8);
  }
}

BOOST_AUTO_TEST_CASE(an_actor_that_cannot_be_made_is_an_error) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { return here().spawn<counter>(99'999, 1); }); });
  BOOST_CHECK_THROW(e.rethrow_nested(), troupe::unknown_process);
  const auto removed = w[0];
  here().rmprocs(removed);
  BOOST_CHECK_THROW(here().spawn<counter>(removed, 1), troupe::process_exited);
}

// -- handles ------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(handles_travel_as_arguments_results_and_within_messages) {
  workers w{2};
  auto& c = here();
  for (auto p : c.procs()) {
    const auto a = c.spawn<counter>(p, 0);
    for (auto q : c.procs()) {
      BOOST_TEST(c.remotecall_fetch(q, [](const caf::actor& x) { return here().request<proc_id>(x, where_atom::value); }, a) == p);
      const auto back = c.remotecall_fetch(q, [](caf::actor x) { return x; }, a);
      BOOST_TEST((back == a));
      const auto e = c.spawn<echo>(q);
      BOOST_TEST((c.request<caf::actor>(e, a) == a));
      BOOST_TEST((c.request<std::vector<caf::actor>>(e, std::vector<caf::actor>{a, e}) == std::vector<caf::actor>{a, e}));
      const auto captured = c.remotecall_fetch(q, troupe::with(a, [](const caf::actor& x) { return here().request<int>(x, 0); }));
      BOOST_TEST(captured == 0);
    }
  }
  const adder_actor typed = c.spawn<adder>(w[0]);
  BOOST_TEST(c.remotecall_fetch(w[1], [](const adder_actor& x) { return here().request<int>(x, 1, 2); }, typed) == 3);
  BOOST_TEST(!c.remotecall_fetch(w[1], [](const caf::actor& x) { return static_cast<bool>(x); }, caf::actor{}));
}

// -- requests -----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(requests_give_values_nothing_or_errors) {
  workers w{1};
  auto& c = here();
  for (auto p : c.procs()) {
    const auto a = c.spawn<echo>(p);
    BOOST_TEST(c.request<std::string>(a, std::string{"text"}) == "text");
    BOOST_TEST(c.request<std::string>(a, 1, 2.0, std::string{"x"}).starts_with("x12.0"));
    c.request<void>(a, none_atom::value);

    const auto failed = error_of<troupe::remote_error>([&] { c.request<int>(a, fail_atom::value); });
    BOOST_TEST(contains(failed.what(), "failed on purpose"));
    BOOST_TEST(failed.pid() == p);
    BOOST_CHECK_THROW(c.request<void>(a, fail_atom::value), troupe::remote_error);
    const auto unexpected = error_of<troupe::remote_error>([&] { c.request<int>(a, std::vector<int>{1}); });
    BOOST_TEST(contains(unexpected.what(), "unexpected_message"));

    const auto wrong = error_of<troupe::type_mismatch>([&] { c.request<int>(a, 1.5); });
    BOOST_TEST(contains(wrong.what(), "int"));
    BOOST_TEST(contains(wrong.what(), "1.5"));
    BOOST_CHECK_THROW(c.request<void>(a, 1.5), troupe::type_mismatch);
    BOOST_CHECK_THROW(c.request<int>(a, none_atom::value), troupe::type_mismatch);
    BOOST_TEST(c.request<int>(a, 3) == 3);
  }
  BOOST_CHECK_THROW(c.request<int>(caf::actor{}, 1), troupe::usage_error);
}

BOOST_AUTO_TEST_CASE(a_request_ends_when_the_actor_or_its_process_does) {
  workers w{2};
  auto& c = here();
  for (auto p : {proc_id{1}, w[0]}) {
    const auto a = c.spawn<silent>(p);
    caf::anon_send(a, end_atom::value);
    for (int i = 0; i < 3; ++i) // one that still finds it, and others that don't
      BOOST_CHECK_THROW(c.request<int>(a, 1), troupe::remote_error);
  }
  const auto a = c.spawn<silent>(w[1]);
  auto waiting = std::async(std::launch::async, [&] { return error_of<troupe::process_exited>([&] { c.request<int>(a, 1); }).pid(); });
  auto on_worker = c.remotecall(
    w[0],
    [](const caf::actor& x) {
      try {
        return here().request<int>(x, 1);
      } catch (const troupe::process_exited& e) {
        return 1000 + e.pid();
      }
    },
    a);
  BOOST_TEST(eventually([&] { return c.request<int>(a, seen_atom::value) == 2; }));
  c.rmprocs(w[1]);
  BOOST_TEST(waiting.get() == w[1]);
  BOOST_TEST(on_worker.fetch() == 1000 + w[1]);
  BOOST_CHECK_THROW(c.request<int>(a, 1), troupe::process_exited);
}

BOOST_AUTO_TEST_CASE(an_exception_in_a_handler_ends_the_actor_and_the_request) {
  workers w{1};
  worker_output output;
  const auto a = here().spawn<echo>(w[0]);
  const auto watcher = here().spawn<observer>(1);
  here().request<void>(watcher, watch_atom::value, a);
  BOOST_CHECK_THROW(here().request<int>(a, fail_atom::value, 1), troupe::remote_error);
  BOOST_TEST(has_seen(watcher, {"down: "}));
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return here().myid(); }) == w[0]);
}

BOOST_AUTO_TEST_CASE(actors_ask_each_other_with_a_limit) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto good = here().spawn<asker>(from, here().spawn<counter>(to, 10));
    BOOST_TEST(here().request<std::string>(good, 5, 20'000) == "answer 15");
    const auto bad = here().spawn<asker>(from, here().spawn<silent>(to));
    BOOST_TEST(contains(here().request<std::string>(bad, 5, 30), "request_timeout"));
    const auto dead = here().spawn<mortal>(to);
    const auto late = here().spawn<asker>(from, dead);
    caf::anon_send(dead, end_atom::value);
    BOOST_TEST(eventually([&, late = late] { return here().request<std::string>(late, 5, 20'000).starts_with("error"); }));
  }
}

BOOST_AUTO_TEST_CASE(scoped_actors_talk_to_actors_elsewhere) {
  workers w{1};
  const auto a = here().spawn<counter>(w[0], 1);
  caf::scoped_actor self{here().system()};
  int answer = 0;
  self->request(a, patience, 41).receive([&](int x) { answer = x; }, [&](caf::error& e) { BOOST_ERROR(here().system().render(e)); });
  BOOST_TEST(answer == 42);
  const auto e = here().spawn<echo>(w[0]);
  self->send(e, pass_atom::value, caf::actor_cast<caf::actor>(self), 7);
  int got = 0;
  self->receive([&](int x) { got = x; }, caf::after(patience) >> [] {});
  BOOST_TEST(got == 7);
}

BOOST_AUTO_TEST_CASE(a_request_can_be_handed_on_across_three_processes) {
  workers w{2};
  const auto end = here().spawn<counter>(1, 1000);
  const auto second = here().spawn<relay>(w[1], end, 20);
  const auto first = here().spawn<relay>(w[0], second, 300);
  BOOST_TEST(here().request<int>(first, 1) == 1321);
  BOOST_TEST(here().remotecall_fetch<ask>(w[1], first, 1) == 1642);
  BOOST_TEST(here().remotecall_fetch<ask>(w[0], first, 1) == 1963);
}

BOOST_AUTO_TEST_CASE(a_request_that_was_handed_on_ends_when_its_last_process_does) {
  workers w{2};
  const auto end = here().spawn<silent>(w[1]);
  const auto first = here().spawn<relay>(w[0], end, 0);
  auto waiting =
    std::async(std::launch::async, [&] { return std::string{error_of<troupe::error>([&] { here().request<int>(first, 1); }).what()}; });
  BOOST_TEST(eventually([&] { return here().request<int>(end, seen_atom::value) == 1; }));
  here().rmprocs(w[1]);
  BOOST_TEST(contains(waiting.get(), "worker " + std::to_string(w[1])));
  BOOST_CHECK_THROW(here().request<int>(first, 1), troupe::error);
}

// -- monitors and links -------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_monitor_on_another_process_hears_of_the_end_and_its_reason) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto watcher = here().spawn<observer>(from);
    const auto normal = here().spawn<mortal>(to);
    const auto failing = here().spawn<mortal>(to);
    const auto killed = here().spawn<mortal>(to);
    const auto unwatched = here().spawn<mortal>(to);
    for (auto& a : {normal, failing, killed, unwatched})
      here().request<void>(watcher, watch_atom::value, a);
    here().request<void>(watcher, unwatch_atom::value, unwatched);

    caf::anon_send(unwatched, end_atom::value, "nobody looks");
    BOOST_CHECK_THROW(here().request<int>(unwatched, 1), troupe::remote_error);
    caf::anon_send(normal, end_atom::value);
    BOOST_TEST(has_seen(watcher, {"down: "}));
    caf::anon_send(failing, end_atom::value, "it failed");
    BOOST_TEST(has_seen(watcher, {"down: ", "it failed"}));
    caf::anon_send_exit(killed, caf::exit_reason::kill);
    BOOST_TEST(has_seen(watcher, {"down: ", "it failed", "kill"}));
    // one that has ended already
    here().request<void>(watcher, watch_atom::value, failing);
    BOOST_TEST(has_seen(watcher, {"down: ", "it failed", "kill", "down: "}));
  }
}

BOOST_AUTO_TEST_CASE(a_link_to_another_process_ends_both_or_is_noticed) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto watcher = here().spawn<observer>(from); // notes exits and survives
    const auto one = here().spawn<mortal>(from);
    const auto two = here().spawn<mortal>(to);
    const auto three = here().spawn<mortal>(to);
    here().request<void>(one, tie_atom::value, two);
    here().request<void>(watcher, tie_atom::value, one);
    here().request<void>(watcher, tie_atom::value, three);
    BOOST_TEST(ask(one, 1) + ask(two, 1) + ask(three, 1) == 3);
    caf::anon_send(two, end_atom::value, "the first to go"); // takes `one` with it
    BOOST_TEST(has_seen(watcher, {"the first to go"}));
    BOOST_CHECK_THROW(ask(one, 1), troupe::remote_error);
    caf::anon_send(three, end_atom::value, "the second to go");
    BOOST_TEST(has_seen(watcher, {"exit: ", "the second to go"}));

    // the one that has made the link goes first
    const auto four = here().spawn<mortal>(from);
    const auto five = here().spawn<mortal>(to);
    const auto far_watcher = here().spawn<observer>(to);
    here().request<void>(far_watcher, watch_atom::value, five);
    here().request<void>(four, tie_atom::value, five);
    caf::anon_send(four, end_atom::value, "the third to go");
    BOOST_TEST(has_seen(far_watcher, {"the third to go"}));
  }
}

BOOST_AUTO_TEST_CASE(links_that_were_cut_and_normal_ends_do_not_take_others_along) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto watcher = here().spawn<observer>(from);
    const auto cut = here().spawn<mortal>(to);
    here().request<void>(watcher, tie_atom::value, cut);
    here().request<void>(watcher, untie_atom::value, cut);
    caf::anon_send(cut, end_atom::value, "unheard");
    BOOST_CHECK_THROW(ask(cut, 1), troupe::remote_error);

    const auto one = here().spawn<mortal>(from);
    const auto two = here().spawn<mortal>(to);
    here().request<void>(one, tie_atom::value, two);
    here().request<void>(watcher, watch_atom::value, two);
    caf::anon_send(two, end_atom::value);
    BOOST_TEST(has_seen(watcher, {"down: "})); // and so no exit of `cut`
    BOOST_TEST(ask(one, 1) == 1);
  }
}

BOOST_AUTO_TEST_CASE(monitors_and_links_hear_of_the_end_of_a_process) {
  workers w{2};
  const auto lost = w[1];
  const auto here_watcher = here().spawn<observer>(1);
  const auto there_watcher = here().spawn<observer>(w[0]);
  const auto tied = here().spawn<mortal>(w[0]);
  const auto a = here().spawn<mortal>(lost);
  here().request<void>(here_watcher, watch_atom::value, a);
  here().request<void>(there_watcher, watch_atom::value, a);
  here().request<void>(there_watcher, tie_atom::value, here().worker(lost));
  here().request<void>(here_watcher, watch_atom::value, here().worker(lost));
  here().request<void>(tied, tie_atom::value, here().worker(lost));
  BOOST_TEST(ask(tied, 1) == 1);
  here().rmprocs(lost);
  BOOST_TEST(has_seen(here_watcher, {"down: ", "down: "}));
  BOOST_TEST(has_seen(there_watcher, {"", ""}));
  for (auto& text : seen_by(here_watcher))
    BOOST_TEST(contains(text, "was removed"));
  BOOST_TEST(eventually([&] {
    try {
      return ask(tied, 1) == 0;
    } catch (const troupe::remote_error&) {
      return true;
    }
  }));
  BOOST_CHECK_THROW(here().worker(lost), troupe::process_exited);
  BOOST_CHECK_THROW(here().worker(99'999), troupe::unknown_process);
  BOOST_TEST((here().worker(1) == here().worker(1)));
  BOOST_TEST((here().worker(1) != here().worker(w[0])));
}

// -- messages -----------------------------------------------------------------------------------------------

// RC-09
BOOST_AUTO_TEST_CASE(numbers_arrive_to_the_bit) {
  workers w{1};
  const auto a = here().spawn<echo>(w[0]);
  using limits = std::numeric_limits<double>;
  const std::vector<double> odd{limits::infinity(),
                                -limits::infinity(),
                                limits::quiet_NaN(),
                                -limits::quiet_NaN(),
                                std::bit_cast<double>(0x7ff8000000000123u),
                                -0.0,
                                0.0,
                                limits::denorm_min(),
                                -limits::denorm_min(),
                                limits::min() / 3,
                                limits::max(),
                                0.1};
  for (double x : odd)
    BOOST_TEST(same_bytes(here().request<double>(a, x), x));
  const auto back = here().request<std::vector<double>>(a, odd);
  BOOST_TEST_REQUIRE(back.size() == odd.size());
  BOOST_TEST(std::memcmp(back.data(), odd.data(), odd.size() * sizeof(double)) == 0);
  for (float x : {std::numeric_limits<float>::denorm_min(), -0.0f, std::numeric_limits<float>::infinity()})
    BOOST_TEST(same_bytes(here().request<float>(a, x), x));
  std::vector<double> big(4 << 20);
  std::iota(big.begin(), big.end(), 0.25);
  BOOST_TEST((here().request<std::vector<double>>(a, big) == big));
}

BOOST_AUTO_TEST_CASE(types_of_ones_own_travel_in_messages) {
  workers w{1};
  const auto a = here().spawn<echo>(w[0]);
  const particle p{1.5, -0.0, {"a", ""}};
  BOOST_TEST((here().request<particle>(a, p) == p));
  const std::vector<particle> many(1000, p);
  BOOST_TEST((here().request<std::vector<particle>>(a, many) == many));
  BOOST_TEST(here().request<fragile>(a, fragile{7, false}).value == 7);
}

BOOST_AUTO_TEST_CASE(a_type_that_is_not_registered_is_named_to_who_asks) {
  workers w{1};
  worker_output output;
  captured_stream err{STDERR_FILENO};
  const auto a = here().spawn<echo>(w[0]);
  const auto asked = error_of<troupe::remote_error>([&] { here().request<int>(a, stranger{1}); });
  BOOST_TEST(contains(asked.what(), "stranger"), asked.what());
  BOOST_TEST(contains(asked.what(), "message_types"));
  const auto answered = error_of<troupe::remote_error>([&] { here().request<stranger>(a, reg_atom::value, 1); });
  BOOST_TEST(contains(answered.what(), "stranger"));
  BOOST_TEST(here().request<int>(a, 3) == 3);
}

BOOST_AUTO_TEST_CASE(a_message_that_cannot_be_read_is_an_error_to_who_asks) {
  workers w{1};
  const auto a = here().spawn<echo>(w[0]);
  const auto asked = error_of<troupe::remote_error>([&] { here().request<fragile>(a, fragile{1, true}); });
  BOOST_TEST(contains(asked.what(), "it is fragile"));
  const auto answered = error_of<troupe::remote_error>([&] { here().request<fragile>(a, reg_atom::value); });
  BOOST_TEST(contains(answered.what(), "it is fragile"));
  BOOST_TEST(here().request<int>(a, 3) == 3);
}

BOOST_AUTO_TEST_CASE(messages_between_two_actors_arrive_in_order_and_directly) {
  workers w{2};
  const auto to = here().spawn<collector>(w[1]);
  const auto from = here().spawn<sender>(w[0], to);
  BOOST_TEST(number_of_links() <= 3u); // the two may have met when the handle came
  here().request<void>(from, start_atom::value, 10'000, false);
  const auto all_there = [&](const caf::actor& a, int n) {
    return eventually([&] { return here().request<std::vector<int>>(a, seen_atom::value).at(0) == n; });
  };
  BOOST_TEST(all_there(to, 10'000));
  BOOST_TEST(here().request<std::vector<int>>(to, seen_atom::value) == (std::vector<int>{10'000, 0}));
  BOOST_TEST(number_of_links() == 3u);
  for (auto& l : here().links())
    if (l.a != 1)
      BOOST_TEST(l.frames >= 10'000u);

  const auto mixed = here().spawn<collector>(w[1]);
  here().request<void>(here().spawn<sender>(w[0], mixed), start_atom::value, 10'000, true);
  BOOST_TEST(all_there(mixed, 10'000));
  BOOST_TEST(here().request<std::vector<int>>(mixed, seen_atom::value) == (std::vector<int>{10'000, 0}));
}

BOOST_AUTO_TEST_CASE(a_message_can_be_sent_later) {
  workers w{2};
  for (auto [from, to] : ways(w)) {
    const auto target = here().spawn<collector>(to);
    const auto s = here().spawn<sender>(from, target);
    const auto took = time_of([&] {
      here().request<void>(s, later_atom::value, 1);
      BOOST_TEST(eventually([&] { return here().request<std::vector<int>>(target, seen_atom::value).at(0) == 1; }));
    });
    BOOST_TEST((took >= 30ms));
  }
}

// -- waiting in handlers ------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(actors_that_wait_in_their_handlers_do_not_lock_up_their_process) {
  workers w{2};
  for (auto p : {proc_id{1}, w[0]}) {
    auto chain = here().spawn<counter>(p, 0);
    for (int i = 0; i < 10; ++i)
      chain = here().spawn<blocking_asker>(p, chain);
    BOOST_TEST(here().request<int>(chain, 5) == 15);
    BOOST_TEST(here().remotecall_fetch<ask>(p, chain, 0) == 15);
    std::vector<std::future<int>> many;
    for (int i = 0; i < 20; ++i)
      many.push_back(std::async(std::launch::async, ask, here().spawn<blocking_asker>(p, chain), 0));
    for (auto& m : many)
      BOOST_TEST(m.get() == 16);
    BOOST_TEST(ask(here().spawn<blocking_caller>(p, w[1]), 21) == 42);
    BOOST_TEST(ask(here().spawn<blocking_caller>(p, p), 21) == 42);
  }
  auto across = here().spawn<counter>(1, 0);
  for (int i = 0; i < 6; ++i)
    across = here().spawn<blocking_asker>(w[static_cast<std::size_t>(i % 2)], across);
  BOOST_TEST(ask(across, 1) == 7);
}
