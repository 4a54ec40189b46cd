#define BOOST_TEST_MODULE actor_arrays
#include "system/harness.hpp"

#include "troupe/transport/element_id.hpp"

#include <troupe/actors.hpp>

#include <array>
#include <atomic>
#include <future>
#include <numeric>
#include <utility>

namespace {

using ids = std::vector<proc_id>;
using troupe::actor_array;
using troupe::array_extents;
using troupe::element;
using troupe::placement;

using who_atom = caf::atom_constant<caf::atom("who")>;
using where_atom = caf::atom_constant<caf::atom("where")>;
using extents_atom = caf::atom_constant<caf::atom("extents")>;
using around_atom = caf::atom_constant<caf::atom("around")>;
using sum_atom = caf::atom_constant<caf::atom("sum")>;
using seen_atom = caf::atom_constant<caf::atom("seen")>;
using same_atom = caf::atom_constant<caf::atom("same")>;
using hang_atom = caf::atom_constant<caf::atom("hang")>;
using go_atom = caf::atom_constant<caf::atom("go")>;
using die_atom = caf::atom_constant<caf::atom("die")>;
using quit_atom = caf::atom_constant<caf::atom("quit")>;
using throw_atom = caf::atom_constant<caf::atom("throw")>;
using total_atom = caf::atom_constant<caf::atom("total")>;
using wait_atom = caf::atom_constant<caf::atom("wait")>;

using position = std::array<std::uint64_t, 3>;

position position_of(const troupe::array_index& i) {
  position out{};
  std::size_t d = 0;
  for (auto n : i)
    out[d++] = static_cast<std::uint64_t>(n);
  return out;
}

const setup register_types{[](troupe::app& app) { app.message_types<position, std::vector<std::uint64_t>, std::vector<int>>(); }};

// Elements on this process that haven't ended.
std::atomic<int> alive{0};

class counted {
public:
  counted() { ++alive; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { end(); }

  // Handles may keep the object of an actor that has ended.
  void end() {
    if (!std::exchange(ended_, true))
      --alive;
  }

private:
  bool ended_ = false;
};

// Registered by being sent to an array.
struct block_of_data {
  std::vector<double> values;
  std::string name;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, block_of_data& x) {
    return f(caf::meta::type_name("block_of_data"), x.values, x.name);
  }
};

class cell : public caf::event_based_actor {
public:
  cell(caf::actor_config& cfg, element<cell> e, int start) : caf::event_based_actor(cfg), e_(std::move(e)), value_(start) {}

  caf::behavior make_behavior() override {
    return {
      [this](who_atom) { return position_of(e_.index()); },
      [this](extents_atom) { return std::vector<std::uint64_t>(e_.extents().begin(), e_.extents().end()); },
      [](where_atom) { return here().myid(); },
      [this](around_atom) { return around(); },
      [this](same_atom) {
        const auto me = e_.array()[e_.index()];
        return me == caf::actor_cast<caf::actor>(this) && me.address() == address();
      },
      [this](int add) {
        value_ = 2 * value_ + add;
        return value_;
      },
      [this](seen_atom) { return value_; },
      [this](sum_atom) { return sum_with_next(); },
      [this](const std::string& text) { return text + std::to_string(e_.index()); },
      [this](const block_of_data& b) {
        value_ = static_cast<int>(std::accumulate(b.values.begin(), b.values.end(), 0.0)) + static_cast<int>(b.name.size());
      },
      [this](hang_atom) {
        promises_.push_back(make_response_promise());
        return promises_.back();
      },
      [this](go_atom) {
        for (auto& p : std::exchange(promises_, {}))
          p.deliver(caf::unit);
      },
      [this](die_atom, int where) {
        if (here().myid() == where)
          ::kill(::getpid(), SIGKILL);
      },
      [this](quit_atom, int who) {
        if (e_.index() == who)
          quit(caf::exit_reason::user_shutdown);
      },
      [this](throw_atom, int who) {
        if (e_.index() == who)
          throw std::out_of_range{"far out"};
      },
      [this](total_atom) {
        e_.array().reduce_async<int>(std::plus<>{}, seen_atom::value).then([to = caf::actor_cast<caf::actor>(this)](int sum) {
          caf::anon_send(to, total_atom::value, sum);
        });
      },
      [this](total_atom, int sum) { value_ = sum; },
      [this](wait_atom) {
        try {
          return e_.array().reduce<int>(std::plus<>{}, seen_atom::value);
        } catch (const troupe::would_block&) {
          return -1;
        }
      },
    };
  }

  void on_exit() override {
    promises_.clear(); // each holds its actor
    counted_.end();
  }

private:
  // The positions of the neighbours in all directions, all bits set where there's none.
  std::vector<std::uint64_t> around() {
    std::vector<std::uint64_t> out;
    const auto note = [&](const caf::actor& a) {
      out.push_back(a ? static_cast<std::uint64_t>(troupe::element_id::of(a.id()).position) : ~std::uint64_t{0});
    };
    for (auto d : {-1, +1}) {
      if (e_.extents().size() == 1)
        note(e_.neighbour(d));
      if (e_.extents().size() == 2)
        note(e_.neighbour(d, 0)), note(e_.neighbour(0, d));
      if (e_.extents().size() == 3)
        note(e_.neighbour(d, 0, 0)), note(e_.neighbour(0, d, 0)), note(e_.neighbour(0, 0, d));
    }
    return out;
  }

  caf::response_promise sum_with_next() {
    auto p = make_response_promise();
    if (const auto next = e_.neighbour(1))
      request(next, caf::infinite, seen_atom::value)
        .then([this, p](int x) mutable { p.deliver(value_ + x); }, [p](caf::error& e) mutable { p.deliver(std::move(e)); });
    else
      p.deliver(value_);
    return p;
  }

  counted counted_;
  element<cell> e_;
  int value_;
  std::vector<caf::response_promise> promises_;
};

using cells = actor_array<cell>;

int alive_everywhere() {
  int out = 0;
  for (auto id : here().procs())
    out += here().remotecall_fetch(id, [] { return alive.load(); });
  return out;
}

// On the master alone, and on three workers.
template <class F>
void alone_and_on_three(F f) {
  f();
  const workers w{3};
  f();
}

void check_indices(const cells& grid) {
  const auto who = grid.collect<position>(who_atom::value);
  const auto where = grid.collect<proc_id>(where_atom::value);
  BOOST_TEST(who.size() == grid.size());
  for (std::size_t i = 0; i < grid.size(); ++i) {
    const auto index = troupe::array_index::at(i, grid.extents());
    BOOST_TEST((who[i] == position_of(index)));
    BOOST_TEST(where[i] == grid.where(index));
    BOOST_TEST((grid[i] == grid[index]));
    BOOST_TEST((here().request<position>(grid[index], who_atom::value) == who[i]));
  }
  for (auto& e : grid.collect<std::vector<std::uint64_t>>(extents_atom::value))
    BOOST_TEST((e == std::vector<std::uint64_t>(grid.extents().begin(), grid.extents().end())));
  for (auto same : grid.collect<bool>(same_atom::value))
    BOOST_TEST(same);
}

} // namespace

BOOST_AUTO_TEST_CASE(elements_know_their_index_the_extents_and_their_array_wherever_they_are_placed) {
  alone_and_on_three([] {
    for (auto& n : {array_extents{1}, array_extents{10}, array_extents{3, 5}, array_extents{2, 3, 4}})
      for (auto& how : {placement::block, placement::cyclic}) {
        const auto grid = here().spawn_array<cell>(n, how, 0);
        BOOST_TEST((grid.extents() == n));
        BOOST_TEST((grid.placement() == how));
        check_indices(grid);
        grid.end();
      }
    const auto all = here().workers();
    const auto backwards = [all](const troupe::array_index& i) { return all[all.size() - 1 - i % all.size()]; };
    const auto grid = here().spawn_array<cell>({3, 5}, placement::custom(backwards), 0);
    check_indices(grid);
    BOOST_TEST(grid.where({0, 0}) == all.back());
    BOOST_TEST((grid.placement().kind() == placement::how::custom));
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(neighbours_are_there_up_to_the_border) {
  alone_and_on_three([] {
    constexpr auto none = ~std::uint64_t{0};
    const auto line = here().spawn_array<cell>(3, placement::block, 0);
    BOOST_TEST((line.collect<std::vector<std::uint64_t>>(around_atom::value)
                == std::vector<std::vector<std::uint64_t>>{{none, 1}, {0, 2}, {1, none}}));
    const auto plane = here().spawn_array<cell>({2, 2}, placement::cyclic, 0);
    BOOST_TEST(
      (plane.collect<std::vector<std::uint64_t>>(around_atom::value)
       == std::vector<std::vector<std::uint64_t>>{{none, none, 2, 1}, {none, 0, 3, none}, {0, none, none, 3}, {1, 2, none, none}}));
    const auto cube = here().spawn_array<cell>({2, 2, 2}, placement::block, 0);
    BOOST_TEST((cube.collect<std::vector<std::uint64_t>>(around_atom::value)[7] == std::vector<std::uint64_t>{3, 5, 6, none, none, none}));
    const troupe::element<cell> e{nullptr, 0};
    BOOST_CHECK_THROW(static_cast<void>(e.neighbour(1)), troupe::usage_error);
    for (auto& a : {line, plane, cube})
      a.end();
  });
}

namespace {

struct second_state {
  element<> me;
  double x = 0;
};

caf::behavior second(caf::stateful_actor<second_state>* self, element<> e, const std::string& name, float x) {
  self->state.me = e;
  self->state.x = x + static_cast<float>(name.size());
  return {[self](int n) { return n * self->state.x + self->state.me.index(); }};
}

// Has no behavior of its own until it is told.
void third(caf::event_based_actor* self, element<caf::event_based_actor> e) {
  self->become(caf::message_handler{[e](int n) { return n + static_cast<int>(e.index()); }});
}

class plain : public caf::event_based_actor {
public:
  plain(caf::actor_config& cfg, std::string text) : caf::event_based_actor(cfg), text_(std::move(text)) {}
  caf::behavior make_behavior() override {
    return {[this](int) { return text_; }};
  }

private:
  std::string text_;
};

} // namespace

BOOST_AUTO_TEST_CASE(elements_are_of_a_class_or_a_function) {
  alone_and_on_three([] {
    const auto functions = here().spawn_array<second>({2, 2}, placement::block, "abc", 1);
    BOOST_TEST((functions.collect<double>(10) == std::vector<double>{40, 41, 42, 43}));
    const auto becoming = here().spawn_array<third>(3);
    BOOST_TEST((becoming.collect<int>(5) == std::vector<int>{5, 6, 7}));
    const auto simple = here().spawn_array<plain>(2, placement::cyclic, "text");
    BOOST_TEST((simple.collect<std::string>(0) == std::vector<std::string>{"text", "text"}));
    functions.end();
    becoming.end();
    simple.end();
  });
}

BOOST_AUTO_TEST_CASE(what_is_for_all_reaches_each_once_and_in_order) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(20, placement::cyclic, 1);
    int expected = 1;
    for (int i = 0; i < 10; ++i) {
      grid.broadcast(i);
      expected = 2 * expected + i;
    }
    grid.step(7).wait();
    expected = 2 * expected + 7;
    for (auto x : grid.collect<int>(seen_atom::value))
      BOOST_TEST(x == expected);
    BOOST_TEST(grid.reduce<int>(std::plus<>{}, seen_atom::value) == 20 * expected);
    BOOST_TEST(grid.reduce<int>([](int a, int b) { return std::max(a, b); }, 1) == 2 * expected + 1);
    BOOST_TEST(here().request<int>(grid[3], seen_atom::value) == 2 * expected + 1);
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(answers_can_be_had_as_futures_also_by_an_element_of_the_array) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(7, placement::cyclic, 2);
    auto all = grid.collect_async<int>(seen_atom::value);
    auto sum = grid.reduce_async<int>(std::plus<>{}, seen_atom::value);
    BOOST_TEST((all.fetch() == std::vector<int>(7, 2)));
    BOOST_TEST(sum.fetch() == 14);
    BOOST_CHECK_THROW(grid.collect_async<double>(seen_atom::value).wait(), troupe::type_mismatch);
    BOOST_CHECK_THROW(grid.reduce_async<int>(troupe::call_options{.deadline = 30ms}, std::plus<>{}, hang_atom::value).wait(),
                      troupe::deadline_exceeded);
    caf::anon_send(grid[3], total_atom::value);
    BOOST_TEST(eventually([&] { return here().request<int>(grid[3], seen_atom::value) == 14; }));
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(a_reduction_of_blocks_keeps_their_order_whoever_asks) {
  const workers w{4};
  for (int n : {1, 3, 4, 10}) {
    const auto grid = here().spawn_array<cell>(n, placement::block, 0);
    std::string expected;
    for (int i = 0; i < n; ++i)
      expected += "e" + std::to_string(i);
    for (auto id : here().procs())
      BOOST_TEST(here().remotecall_fetch(
                   id, [](const cells& g) { return g.reduce<std::string>(std::plus<>{}, std::string{"e"}); }, grid)
                 == expected);
    grid.end();
  }
}

BOOST_AUTO_TEST_CASE(elements_ask_each_other_on_any_process) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(9, placement::cyclic, 0);
    for (std::size_t i = 0; i < grid.size(); ++i)
      caf::anon_send(grid[i], static_cast<int>(i));
    // an answer behind the messages that came by the same way
    for (std::size_t i = 0; i < grid.size(); ++i)
      BOOST_TEST(here().request<int>(grid[i], seen_atom::value) == static_cast<int>(i));
    const auto sums = grid.collect<int>(sum_atom::value);
    for (std::size_t i = 0; i < sums.size(); ++i)
      BOOST_TEST(sums[i] == static_cast<int>(i + 1 < sums.size() ? 2 * i + 1 : i));
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(a_step_is_over_when_every_element_has_kept_its_promise) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(6, placement::block, 0);
    const auto done = grid.step(hang_atom::value);
    for (std::size_t i = 0; i < grid.size(); ++i) {
      BOOST_TEST(!done.wait_for(10ms));
      caf::anon_send(grid[i], go_atom::value);
    }
    done.wait();
    std::promise<void> told;
    grid.step(seen_atom::value).then([&] { told.set_value(); });
    BOOST_TEST((told.get_future().wait_for(patience) == std::future_status::ready));
    here().sync([&] { grid.step(3); });
    BOOST_TEST(here().request<int>(grid[0], seen_atom::value) == 3);
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(large_messages_travel_once_to_each_process) {
  const workers w{3};
  const auto grid = here().spawn_array<cell>(60, placement::block, 0);
  const auto bytes = [] {
    std::uint64_t all = 0;
    for (auto& l : here().links())
      all += l.bytes;
    return all;
  };
  grid.step(0).wait();
  const auto before = bytes();
  const block_of_data data{std::vector<double>(500'000, 1.0), "name"};
  grid.step(data).wait();
  const auto travelled = bytes() - before;
  BOOST_TEST(travelled >= 3 * 4'000'000u);
  BOOST_TEST(travelled < 3 * 4'000'000u + 1'000'000u);
  for (auto x : grid.collect<int>(seen_atom::value))
    BOOST_TEST(x == 500'004);
  grid.end();
}

BOOST_AUTO_TEST_CASE(an_array_s_handle_works_wherever_it_is_passed) {
  const workers w{3};
  const auto grid =
    here().spawn_array<cell>({2, 3}, placement::custom([&](int i, int j) { return w[static_cast<std::size_t>((i + j) % 2)]; }), 5);
  const auto handles = [&] {
    std::vector<caf::actor> out;
    for (std::size_t i = 0; i < grid.size(); ++i)
      out.push_back(grid[i]);
    return out;
  }();
  for (auto id : here().procs()) {
    BOOST_TEST(here().remotecall_fetch(
      id,
      [](const std::vector<cells>& all, const std::vector<caf::actor>& elements) {
        auto& g = all.front();
        for (std::size_t i = 0; i < elements.size(); ++i)
          if (!(g[i] == elements[i]) || here().request<int>(g[i], seen_atom::value) != 5)
            return false;
        return g.reduce<int>(std::plus<>{}, seen_atom::value) == 30 && g == all.back() && g.extents()[1] == 3;
      },
      std::vector<cells>{grid, grid}, handles));
  }
  BOOST_TEST(!cells{}.valid());
  BOOST_CHECK_THROW(cells{}.size(), troupe::usage_error);
  grid.end();
}

BOOST_AUTO_TEST_CASE(one_made_on_a_worker_is_like_one_made_on_the_master) {
  const workers w{2};
  const auto grid = here().remotecall_fetch(w[1], [] { return here().spawn_array<cell>(5, placement::cyclic, 2); });
  check_indices(grid);
  const auto other = here().spawn_array<cell>(5, placement::cyclic, 3);
  BOOST_TEST(!(grid == other));
  BOOST_TEST(!(grid[0] == other[0]));
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, seen_atom::value) == 10);
  BOOST_TEST(other.reduce<int>(std::plus<>{}, seen_atom::value) == 15);
  grid.end();
  other.end();
}

namespace {

// Greets its neighbours before they are there, and everybody.
class greeter : public caf::event_based_actor {
public:
  greeter(caf::actor_config& cfg, element<greeter> e) : caf::event_based_actor(cfg), e_(std::move(e)) {
    for (auto d : {-1, +1})
      if (const auto n = e_.neighbour(d)) {
        send(n, 1);
        send(n, 2);
        neighbours_.push_back(n);
        monitor(n);
      }
    if (e_.index() == 1)
      e_.array().broadcast(std::string{"all"});
  }

  caf::behavior make_behavior() override {
    set_down_handler([this](const caf::down_msg&) { ++downs_; });
    return {
      [this](int n) { greetings_.push_back(n); },
      [this](const std::string&) { greetings_.push_back(100); },
      [this](seen_atom) { return greetings_; },
      [this](who_atom) {
        // what was asked for before they were there are the same actors
        for (auto& n : neighbours_)
          send(n, 3);
        int i = 0;
        for (auto d : {-1, +1})
          if (const auto n = e_.neighbour(d); n && !(n == neighbours_[static_cast<std::size_t>(i++)]))
            return false;
        return true;
      },
      [this](where_atom) { return downs_; },
    };
  }

private:
  element<greeter> e_;
  std::vector<caf::actor> neighbours_;
  std::vector<int> greetings_;
  int downs_ = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(what_is_sent_to_elements_before_they_are_made_comes_in_order) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<greeter>(7);
    const auto all_greeted = [&](std::size_t greetings) {
      const auto seen = grid.collect<std::vector<int>>(seen_atom::value);
      for (std::size_t i = 0; i < seen.size(); ++i)
        if (seen[i].size() != (i == 0 || i == 6 ? greetings : 2 * greetings) + 1)
          return false;
      return true;
    };
    BOOST_TEST(eventually([&] { return all_greeted(2); }));
    for (auto& one : grid.collect<std::vector<int>>(seen_atom::value)) {
      BOOST_TEST(std::count(one.begin(), one.end(), 100) == 1);
      std::erase(one, 100);
      for (std::size_t i = 0; i < one.size(); ++i) // never a second greeting without a first
        BOOST_TEST(std::count(one.begin(), one.begin() + static_cast<std::ptrdiff_t>(i) + 1, 2)
                   <= std::count(one.begin(), one.begin() + static_cast<std::ptrdiff_t>(i) + 1, 1));
    }
    for (auto same : grid.collect<bool>(who_atom::value))
      BOOST_TEST(same);
    BOOST_TEST(eventually([&] { return all_greeted(3); }));
    caf::anon_send_exit(grid[3], caf::exit_reason::user_shutdown);
    for (int i : {2, 4})
      BOOST_TEST(eventually([&] { return here().request<int>(grid[i], where_atom::value) == 1; }));
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(bad_arguments_are_told_before_anything_is_made) {
  const workers w{1};
  auto& c = here();
  BOOST_TEST(
    contains(error_of<troupe::usage_error>([&] { c.spawn_array<cell>(0, placement::block, 1); }).what(), "an array of 0 elements"));
  BOOST_CHECK_THROW((c.spawn_array<cell>({3, 0}, placement::block, 1)), troupe::usage_error);
  const auto nobody =
    error_of<troupe::unknown_process>([&] { c.spawn_array<cell>(3, placement::custom([](int i) { return 90 + i; }), 1); });
  BOOST_TEST(nobody.what() == "the placement puts element 0 on process 90: there is no process 90 in this cluster");
  BOOST_CHECK_THROW(c.spawn_array<cell>(3, placement::block.on({0}), 1), troupe::unknown_process);
  const auto gone = c.addprocs(1);
  c.rmprocs(gone);
  BOOST_CHECK_THROW(c.spawn_array<cell>(3, placement::block.on(gone), 1), troupe::process_exited);
  BOOST_TEST(alive_everywhere() == 0);
  const auto grid = c.spawn_array<cell>({2, 3}, placement::block, 1);
  BOOST_TEST(error_of<troupe::usage_error>([&] { static_cast<void>(grid[6]); }).what()
             == std::string{"index 6 of an array of 2 x 3 elements: there are 0 to 5"});
  BOOST_CHECK_THROW((grid[{2, 0}]), troupe::usage_error);
  BOOST_CHECK_THROW((grid[{0, 0, 0}]), troupe::usage_error);
  BOOST_CHECK_THROW(static_cast<void>(grid.where(-1)), troupe::usage_error);
  grid.end();
}

namespace {

class fragile : public caf::event_based_actor {
public:
  fragile(caf::actor_config& cfg, element<fragile> e, int bad) : caf::event_based_actor(cfg) {
    if (e.index() >= bad)
      throw std::domain_error{"no room for " + std::to_string(e.index())};
  }
  caf::behavior make_behavior() override {
    return {[](int) {}};
  }

private:
  counted counted_;
};

caf::behavior fragile_function(caf::event_based_actor*, element<> e, int bad) {
  if (e.index() >= bad)
    throw std::domain_error{"no room for " + std::to_string(e.index())};
  return {[](int) {}};
}

} // namespace

BOOST_AUTO_TEST_CASE(a_constructor_that_throws_ends_all_and_says_which_element_it_was) {
  alone_and_on_three([] {
    for (int bad : {0, 5, 8}) {
      const auto check = [&](const troupe::remote_error& e, proc_id where) {
        BOOST_TEST(e.message() == "no room for " + std::to_string(bad));
        BOOST_TEST(e.type_name() == "std::domain_error");
        BOOST_TEST(e.pid() == where);
        BOOST_TEST(e.item() == static_cast<std::size_t>(bad));
        BOOST_TEST(contains(e.what(), "at element " + std::to_string(bad) + " of array "));
        BOOST_CHECK_THROW(e.rethrow_nested(), std::domain_error);
      };
      const auto all = here().workers();
      const auto where = all[static_cast<std::size_t>(bad) * all.size() / 9];
      check(error_of<troupe::remote_error>([&] { here().spawn_array<fragile>(9, placement::block, bad); }), where);
      check(error_of<troupe::remote_error>([&] { here().spawn_array<fragile_function>(9, placement::block, bad); }), where);
      BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
    }
  });
}

BOOST_AUTO_TEST_CASE(a_message_that_elements_do_not_handle_is_an_error_of_who_waits) {
  alone_and_on_three([] {
    const worker_output quiet;
    const auto grid = here().spawn_array<cell>(4, placement::block, 1);
    const auto e = error_of<troupe::remote_error>([&] { grid.step(1.5).wait(); });
    BOOST_TEST(contains(e.what(), "it has no handler for this message"));
    BOOST_TEST(contains(e.what(), "cell"));
    BOOST_CHECK_THROW(grid.collect<int>(1.5), troupe::remote_error);
    const auto other = error_of<troupe::type_mismatch>([&] { grid.collect<double>(seen_atom::value); });
    BOOST_TEST(contains(other.what(), "where double was expected"));
    BOOST_CHECK_THROW(grid.reduce<int>(std::plus<>{}, go_atom::value), troupe::type_mismatch);
    const auto thrown = error_of<troupe::remote_error>(
      [&] { grid.reduce<int>([](int, int) -> int { throw std::range_error{"too much"}; }, seen_atom::value); });
    BOOST_TEST(thrown.message() == "too much");
    BOOST_TEST(grid.reduce<int>(std::plus<>{}, seen_atom::value) == 4); // it goes on
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(an_element_that_has_ended_is_an_error_of_who_waits_for_all) {
  alone_and_on_three([] {
    const worker_output quiet;
    const captured_stream silence{STDERR_FILENO};
    const auto grid = here().spawn_array<cell>(6, placement::cyclic, 1);
    const auto hanging = grid.step(hang_atom::value);
    grid.broadcast(quit_atom::value, 4);
    const auto e = error_of<troupe::remote_error>([&] { hanging.wait(); });
    BOOST_TEST(e.item() == 4u);
    BOOST_TEST(contains(e.what(), "has ended"));
    BOOST_CHECK_THROW(grid.step(1).wait(), troupe::remote_error);
    BOOST_CHECK_THROW(here().request<int>(grid[4], seen_atom::value), troupe::remote_error);
    BOOST_TEST(here().request<int>(grid[3], seen_atom::value) == 3);

    const auto other = here().spawn_array<cell>(6, placement::cyclic, 1);
    BOOST_TEST(error_of<troupe::remote_error>([&] { other.step(throw_atom::value, 2).wait(); }).item() == 2u);
    grid.end();
    other.end();
    BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
  });
}

BOOST_AUTO_TEST_CASE(a_step_has_the_limits_of_a_call) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(6, placement::block, 1);
    BOOST_CHECK_THROW(grid.step(troupe::call_options{.deadline = 30ms}, hang_atom::value).wait(), troupe::deadline_exceeded);
    BOOST_CHECK_THROW(grid.reduce<int>(troupe::call_options{.deadline = 30ms}, std::plus<>{}, hang_atom::value), troupe::deadline_exceeded);
    BOOST_CHECK_THROW(grid.collect<int>(troupe::call_options{.deadline = 30ms}, hang_atom::value), troupe::deadline_exceeded);
    const auto f = grid.step(hang_atom::value);
    f.cancel();
    BOOST_CHECK_THROW(f.wait(), troupe::cancelled);
    grid.broadcast(go_atom::value);
    BOOST_TEST(grid.reduce<int>(troupe::call_options{.deadline = 20s}, std::plus<>{}, seen_atom::value) == 6);
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(an_element_that_would_wait_for_itself_is_told) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(3, placement::block, 1);
    for (auto x : grid.collect<int>(wait_atom::value))
      BOOST_TEST(x == -1);
    grid.end();
  });
}

BOOST_AUTO_TEST_CASE(the_end_of_an_array_ends_its_elements_and_is_told_to_who_asks_then) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(10, placement::cyclic, 1);
    BOOST_TEST(alive_everywhere() == 10);
    const auto first = grid[0];
    grid.end();
    BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
    BOOST_TEST(contains(error_of<troupe::usage_error>([&] { grid.step(1).wait(); }).what(), "has ended"));
    BOOST_CHECK_THROW(grid.collect<int>(seen_atom::value), troupe::usage_error);
    BOOST_CHECK_THROW(here().request<int>(first, seen_atom::value), troupe::remote_error);
    BOOST_CHECK_THROW(here().request<int>(grid[0], seen_atom::value), troupe::remote_error);
    BOOST_CHECK_NO_THROW(grid.broadcast(1));
    BOOST_CHECK_NO_THROW(grid.end());
  });
}

BOOST_AUTO_TEST_CASE(elements_can_be_monitored_and_linked_from_anywhere) {
  alone_and_on_three([] {
    const auto grid = here().spawn_array<cell>(4, placement::cyclic, 1);
    for (int i : {0, 3}) {
      std::promise<caf::error> ended;
      const caf::actor watcher = here().system().spawn([&](caf::event_based_actor* self) -> caf::behavior {
        self->monitor(grid[i]);
        self->set_down_handler([&, self](const caf::down_msg& m) {
          ended.set_value(m.source == grid[i].address() ? m.reason : caf::error{caf::exit_reason::unknown});
          self->quit();
        });
        return {[](int) {}};
      });
      caf::anon_send_exit(grid[i], caf::exit_reason::out_of_workers);
      auto reason = ended.get_future();
      BOOST_REQUIRE((reason.wait_for(patience) == std::future_status::ready));
      BOOST_TEST((reason.get() == caf::exit_reason::out_of_workers));
    }
    const auto linked = here().system().spawn([&](caf::event_based_actor* self) -> caf::behavior {
      self->link_to(grid[1]);
      return {[](int) {}};
    });
    here().request<void>(linked, 1);
    caf::anon_send_exit(linked, caf::exit_reason::out_of_workers);
    BOOST_TEST(eventually([] { return alive_everywhere() == 1; }));
    grid.end();
  });
}

// -- deaths ---------------------------------------------------------------------------------------------------

namespace {

class mortal : public caf::event_based_actor {
public:
  mortal(caf::actor_config& cfg, element<mortal> e, int bad) : caf::event_based_actor(cfg) {
    if (e.index() == bad)
      ::kill(::getpid(), SIGKILL);
  }
  caf::behavior make_behavior() override {
    return {[](int) {}};
  }

private:
  counted counted_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_worker_that_dies_while_an_array_is_made_is_the_error_and_nothing_is_left) {
  for (int victim = 0; victim < 5; ++victim) {
    const workers w{5};
    const auto gone = error_of<troupe::process_exited>([&] { here().spawn_array<mortal>(20, placement::cyclic, victim + 5); });
    BOOST_TEST(gone.pid() == w[static_cast<std::size_t>(victim)]);
    BOOST_TEST(gone.cause().signal == SIGKILL);
    BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
  }
}

BOOST_AUTO_TEST_CASE(who_waits_for_an_array_hears_that_a_process_of_it_has_died) {
  for (std::size_t victim = 0; victim < 5; ++victim) { // inner processes of the tree, and leaves
    const workers w{5};
    const auto grid = here().spawn_array<cell>(20, placement::block, 1);
    const auto waiting = grid.step(hang_atom::value);
    const auto elsewhere =
      here().remotecall(w[(victim + 1) % 5], [](const cells& g) { return g.reduce<int>(std::plus<>{}, hang_atom::value); }, grid);
    BOOST_TEST(!waiting.wait_for(20ms));
    grid.broadcast(die_atom::value, static_cast<int>(w[victim]));
    BOOST_TEST(error_of<troupe::process_exited>([&] { waiting.wait(); }).pid() == w[victim]);
    BOOST_TEST(error_of<troupe::process_exited>([&] { elsewhere.wait(); }).pid() == w[victim]);
    // and who asks later
    BOOST_CHECK_THROW(grid.step(1).wait(), troupe::process_exited);
    BOOST_CHECK_THROW(grid.collect<int>(seen_atom::value), troupe::process_exited);
    BOOST_CHECK_THROW(grid.reduce<int>(std::plus<>{}, seen_atom::value), troupe::process_exited);
    BOOST_CHECK_THROW(grid.broadcast(1), troupe::process_exited);
    // what lives elsewhere lives
    for (std::size_t i = 0; i < grid.size(); ++i)
      if (grid.where(i) != w[victim])
        BOOST_TEST(here().request<int>(grid[i], seen_atom::value) == 1);
      else
        BOOST_CHECK_THROW(here().request<int>(grid[i], seen_atom::value), troupe::process_exited);
    grid.end();
    BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
  }
}

namespace {

// The first says at once that it has handled a step, the others when they hear from it.
class follower : public caf::event_based_actor {
public:
  follower(caf::actor_config& cfg, element<follower> e) : caf::event_based_actor(cfg), e_(std::move(e)) {}
  caf::behavior make_behavior() override {
    return {
      [this](const std::vector<double>&) {
        auto p = make_response_promise();
        if (e_.index() == 0)
          p.deliver(caf::unit);
        else
          promise_ = p;
        return p;
      },
      [this](go_atom) {
        for (std::size_t i = 1; i < e_.extents(); ++i)
          send(e_.array()[i], 1);
      },
      [this](int) { promise_.deliver(caf::unit); },
    };
  }
  void on_exit() override { promise_ = {}; }

private:
  element<follower> e_;
  caf::response_promise promise_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_process_that_dies_when_its_elements_have_answered_still_ends_the_step) {
  for (std::size_t n : {2u, 4u}) {
    const workers w{static_cast<int>(n)};
    const auto grid = here().spawn_array<follower>(n);
    const auto waiting = grid.step(std::vector<double>{1});
    BOOST_TEST(!waiting.wait_for(50ms));
    ::kill(static_cast<::pid_t>(here().info(w[0]).os_pid), SIGKILL);
    BOOST_TEST(waiting.wait_for(patience));
    BOOST_TEST(error_of<troupe::process_exited>([&] { waiting.wait(); }).pid() == w[0]);
    grid.end();
  }
}

BOOST_AUTO_TEST_CASE(a_large_step_leaves_room_for_what_its_elements_wait_for) {
  const workers w{1};
  const auto grid = here().spawn_array<follower>(2, placement::block.on({1, w[0]}));
  const auto waiting = grid.step(std::vector<double>(3'000'000, 1.0)); // more than may be on its way
  BOOST_TEST(!waiting.wait_for(200ms));
  caf::anon_send(grid[0], go_atom::value);
  BOOST_TEST(waiting.wait_for(patience));
  waiting.wait();
  grid.end();
}

namespace {

std::atomic<int> handled{0};

caf::behavior slow(caf::event_based_actor*, element<> e, int slow_one) {
  return {[me = static_cast<int>(e.index()), slow_one](const std::vector<char>&) {
    if (me == slow_one)
      std::this_thread::sleep_for(10ms);
    ++handled;
  }};
}

std::int64_t peak_mb(proc_id id) {
  return here().remotecall_fetch(id, [] {
    const auto text = read_file("/proc/self/status");
    return std::stoll(text.substr(text.find("VmHWM:") + 6)) / 1024;
  });
}

} // namespace

BOOST_AUTO_TEST_CASE(who_broadcasts_faster_than_any_process_of_the_tree_can_handle_it_waits) {
  const workers w{3};
  for (int slow_one : {0, 1}) { // the first process hands on to the second
    const auto grid = here().spawn_array<slow>(3, placement::block, slow_one);
    const std::vector<char> data(1'000'000);
    for (int i = 0; i < 150; ++i)
      grid.broadcast(data);
    grid.end();
  }
  for (auto id : w.ids())
    BOOST_TEST(peak_mb(id) < 100);
}

BOOST_AUTO_TEST_CASE(an_array_ends_behind_what_was_broadcast_before) {
  alone_and_on_three([] {
    for (int i = 0; i < 5; ++i) {
      here().everywhere([] { handled = 0; });
      const auto grid = here().spawn_array<slow>(300, placement::cyclic, -1);
      grid.broadcast(std::vector<char>(10));
      grid.end();
      BOOST_TEST(eventually([] {
        int all = 0;
        for (auto id : here().procs())
          all += here().remotecall_fetch(id, [] { return handled.load(); });
        return all == 300;
      }));
    }
  });
}

namespace {

class delegating : public caf::event_based_actor {
public:
  delegating(caf::actor_config& cfg, element<delegating> e, caf::actor to) : caf::event_based_actor(cfg), to_(std::move(to)) {
    static_cast<void>(e);
  }
  caf::behavior make_behavior() override {
    return {[this](std::vector<char>&) { return delegate(to_, 1); }};
  }

private:
  caf::actor to_;
};

caf::behavior answering() {
  return {[](int x) { return x; }};
}

} // namespace

BOOST_AUTO_TEST_CASE(elements_may_have_others_answer_for_them_again_and_again) {
  const workers w{2};
  const auto answers = here().spawn<answering>(1);
  const auto grid = here().spawn_array<delegating>(2, placement::block, answers);
  for (int i = 0; i < 150; ++i)
    BOOST_TEST(grid.reduce<int>(std::plus<>{}, std::vector<char>(300'000)) == 2);
  for (auto id : w.ids()) // no operation is left
    BOOST_TEST(eventually([&] {
      return here().remotecall_fetch(
        id, [] { return here().system().registry().named_actors().size() < 100 && here().system().registry().running() == 1; });
    }));
  grid.end();
  caf::anon_send_exit(answers, caf::exit_reason::user_shutdown);
}

namespace {

class slow_to_come : public caf::event_based_actor {
public:
  slow_to_come(caf::actor_config& cfg, element<slow_to_come> e, int bad) : caf::event_based_actor(cfg) {
    std::this_thread::sleep_for(5ms);
    if (e.index() == bad)
      ::kill(::getpid(), SIGKILL);
  }
  caf::behavior make_behavior() override {
    return {[](int) {}};
  }
  void on_exit() override { counted_.end(); }

private:
  counted counted_;
};

} // namespace

BOOST_AUTO_TEST_CASE(elements_that_are_still_made_when_their_array_fails_do_not_stay) {
  const workers w{4};
  BOOST_CHECK_THROW(here().spawn_array<slow_to_come>(100, placement::block, 3), troupe::process_exited);
  BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
}

BOOST_AUTO_TEST_CASE(an_array_whose_creator_dies_while_it_is_made_ends_with_it) {
  const workers w{3};
  const auto made = here().remotecall(w[0], [] { here().spawn_array<slow_to_come>(90, placement::block, -1); });
  BOOST_TEST(eventually([&] { return here().remotecall_fetch(w[1], troupe::direct([] { return alive.load(); })) > 2; }));
  ::kill(static_cast<::pid_t>(here().info(w[0]).os_pid), SIGKILL);
  BOOST_CHECK_THROW(made.wait(), troupe::process_exited);
  BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_also_the_wait_for_room) {
  const workers w{1};
  const auto grid = here().spawn_array<slow>(1, placement::block.on({w[0]}), 0);
  const std::vector<char> data(4'000'000);
  const auto busy = here().remotecall(w[0], [] { // it takes the only turn, and keeps it
    const auto until = std::chrono::steady_clock::now() + 2s;
    while (std::chrono::steady_clock::now() < until) {
    }
  });
  for (int i = 0; i < 8; ++i)
    BOOST_CHECK_THROW(grid.step(troupe::call_options{.deadline = 50ms}, data).wait(), troupe::deadline_exceeded);
  BOOST_CHECK(!busy.isready());
  busy.wait();
  grid.step(data).wait();
  grid.end();
}

namespace {

class early : public caf::event_based_actor {
public:
  early(caf::actor_config& cfg, element<early> e, int how) : caf::event_based_actor(cfg), e_(std::move(e)), how_(how) {
    if (how_ == 0)
      e_.array().reduce<int>(std::plus<>{}, 1);
  }
  caf::behavior make_behavior() override {
    if (how_ == 1)
      e_.array().step(1).wait();
    if (how_ == 2)
      throw std::domain_error{"nothing to do"};
    return {[](int x) { return x; }};
  }

private:
  element<early> e_;
  int how_;
};

} // namespace

BOOST_AUTO_TEST_CASE(what_goes_wrong_before_an_element_has_begun_is_told_as_it_is) {
  alone_and_on_three([] {
    for (int how : {0, 1}) {
      const auto e = error_of<troupe::remote_error>([&] { here().spawn_array<early>(3, placement::block, how); });
      BOOST_TEST(contains(e.what(), "would wait for itself"), e.what());
    }
    const auto e = error_of<troupe::remote_error>([&] { here().spawn_array<early>(3, placement::block, 2); });
    BOOST_TEST(e.message() == "nothing to do");
    BOOST_TEST(e.item() == 0u);
  });
}

BOOST_AUTO_TEST_CASE(a_placement_of_an_array_makes_another_like_it) {
  const workers w{3};
  const auto first =
    here().spawn_array<cell>({2, 4}, placement::custom([&](int i, int j) { return w[static_cast<std::size_t>(i + j) % 3]; }), 1);
  const auto second = here().spawn_array<cell>(first.extents(), first.placement(), 1);
  for (int i = 0; i < 8; ++i)
    BOOST_TEST(first.where(i) == second.where(i));
  check_indices(second);
  first.end();
  second.end();
}

BOOST_AUTO_TEST_CASE(an_error_does_not_grow_with_the_answer_that_it_is_about) {
  const auto grid = here().spawn_array<cell>(1, placement::block, 1);
  const auto e = error_of<troupe::type_mismatch>([&] { grid.collect<int>(std::string(1'000'000, 'x')); });
  BOOST_TEST(std::string{e.what()}.size() < 500u);
  grid.end();
}

BOOST_AUTO_TEST_CASE(what_combines_answers_is_no_function_to_be_called) {
  const workers w{1};
  BOOST_CHECK_THROW(here().remotecall_fetch(w[0], troupe::detail::gather_answers<int>{}), troupe::error);
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return 1; }) == 1);
}

namespace {

enum class mode : std::int8_t { fast, slow };

caf::behavior taker(caf::event_based_actor*, element<>) {
  return {
    [](mode m) { return static_cast<int>(m); },
    [](const std::vector<block_of_data>& all) { return static_cast<int>(all.size()); },
    [](const std::array<double, 3>& x) { return static_cast<int>(x[2]); },
  };
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_sent_to_all_needs_no_registration) {
  const workers w{2};
  const auto grid = here().spawn_array<taker>(4);
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, mode::slow) == 4);
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, std::vector<block_of_data>(3)) == 12);
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, std::array<double, 3>{0, 1, 2}) == 8);
  grid.end();
}

BOOST_AUTO_TEST_CASE(a_worker_that_is_removed_or_drained_takes_its_elements_along_or_keeps_them) {
  const workers w{3};
  const auto grid = here().spawn_array<cell>(6, placement::block, 1);
  here().drain(w[1]);
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, seen_atom::value) == 6);
  const auto without = here().spawn_array<cell>(6, placement::block, 1);
  BOOST_TEST((without.placement().processes() == ids{w[0], w[2]}));
  here().rmprocs(w[1]);
  BOOST_CHECK_THROW(grid.step(1).wait(), troupe::process_exited);
  without.step(1).wait();
  grid.end();
  without.end();
}

BOOST_AUTO_TEST_CASE(under_master_worker_the_master_asks_each_process_itself) {
  const workers w{3, {.topology = troupe::topology::master_worker}};
  const auto grid = here().spawn_array<cell>(10, placement::block, 1);
  check_indices(grid);
  BOOST_TEST(grid.reduce<std::string>(std::plus<>{}, std::string{"e"}) == "e0e1e2e3e4e5e6e7e8e9");
  grid.step(1).wait();
  const auto refused =
    error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [](const cells& g) { g.step(1).wait(); }, grid); });
  BOOST_CHECK_THROW(refused.rethrow_nested(), troupe::not_connected);
  grid.end();
}

BOOST_AUTO_TEST_CASE(a_hundred_thousand_elements_are_there) {
  const workers w{4};
  const auto grid = here().spawn_array<cell>(100'000, placement::block, 1);
  BOOST_TEST(grid.reduce<int>(std::plus<>{}, seen_atom::value) == 100'000);
  BOOST_TEST(grid.collect<int>(1).size() == 100'000u);
  grid.broadcast(2);
  BOOST_TEST(here().request<int>(grid[99'999], seen_atom::value) >= 3);
  BOOST_TEST(alive_everywhere() == 100'000);
  grid.end();
  BOOST_TEST(eventually([] { return alive_everywhere() == 0; }));
}

BOOST_AUTO_TEST_CASE(arrays_with_several_threads_on_a_worker_keep_their_promises) {
  const workers w{2, {.threads = 4}};
  const auto grid = here().spawn_array<cell>(50, placement::cyclic, 0);
  std::vector<troupe::future<void>> steps;
  int expected = 0;
  for (int i = 0; i < 12; ++i) {
    steps.push_back(grid.step(i));
    expected = 2 * expected + i;
  }
  for (auto& s : steps)
    s.wait();
  for (auto x : grid.collect<int>(seen_atom::value))
    BOOST_TEST(x == expected);
  grid.end();
}
