#define BOOST_TEST_MODULE channels_given_up
#include "system/harness.hpp"

#include "troupe/actors/waiter.hpp"

#include <atomic>
#include <numeric>
#include <optional>

namespace {

using troupe::call_options;
using troupe::remote_channel;
using ints = std::vector<int>;
using channel_of_ints = remote_channel<int>;

ints range(int first, int last) {
  ints out(static_cast<std::size_t>(last - first));
  std::iota(out.begin(), out.end(), first);
  return out;
}

void kill(proc_id p) { ::kill(static_cast<::pid_t>(here().info(p).os_pid), SIGKILL); }

template <class T>
bool stays_open(const troupe::future<T>& f) {
  return !f.wait_for(50ms);
}

// Everything that is in it.
ints drain(const channel_of_ints& ch) {
  ints out;
  while (const auto x = ch.try_take())
    out.push_back(*x);
  return out;
}

std::atomic<int> gate{0};

} // namespace

// -- who waits no longer ----------------------------------------------------------------------------------------------------

// IN-06
BOOST_AUTO_TEST_CASE(a_take_past_its_deadline_takes_nothing) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 8);
    const auto give_up = [](const channel_of_ints& c) {
      const auto too_late = [](auto f) {
        try {
          f(call_options{.deadline = 5ms});
        } catch (const troupe::deadline_exceeded&) {
          return 1;
        }
        return 0;
      };
      return too_late([&](auto&& o) { c.take(o); }) + too_late([&](auto&& o) { c.fetch(o); }) + too_late([&](auto&& o) { c.wait(o); })
             + too_late([&](auto&& o) { c.take_many(5, o); });
    };
    for (auto p : {proc_id{1}, w[0], w[1]}) {
      BOOST_TEST(here().remotecall_fetch(p, give_up, ch) == 4);
      ch.put(7);
      BOOST_TEST(ch.take() == 7);
    }
    const auto too_late = here().remotecall(w[1], [](const channel_of_ints& c) { c.take(call_options{.deadline = 5ms}); }, ch);
    BOOST_CHECK_THROW(too_late.wait(), troupe::deadline_exceeded);
  }
}

BOOST_AUTO_TEST_CASE(a_put_past_its_deadline_puts_nothing) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 2);
    ch.put(1);
    BOOST_CHECK_THROW(ch.put_many(call_options{.deadline = 10ms}, ints{2, 3}), troupe::deadline_exceeded);
    BOOST_CHECK_THROW(ch.put(call_options{.deadline = 10ms}, 4), troupe::deadline_exceeded);
    BOOST_TEST((drain(ch) == ints{1, 2})); // what there was room for is in
    const auto large = remote_channel<std::vector<double>>::on(here(), where, 0);
    BOOST_CHECK_THROW(large.put(call_options{.deadline = 1ms}, std::vector<double>(2'000'000)), troupe::deadline_exceeded);
    BOOST_TEST(!large.isready());
  }
}

// One side gives up at about the moment at which the other acts.
BOOST_AUTO_TEST_CASE(nothing_is_lost_or_doubled_when_a_deadline_meets_its_value) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 1000);
    const auto taking = here().remotecall(
      w[1],
      [](const channel_of_ints& c) {
        ints out;
        for (int i = 0; c.isopen() || c.isready(); ++i)
          try {
            out.push_back(c.take(call_options{.deadline = std::chrono::microseconds{i % 7 * 50}}));
          } catch (const troupe::deadline_exceeded&) {
          } catch (const troupe::channel_closed&) {
          }
        return out;
      },
      ch);
    for (int i = 0; i < 1000; ++i) {
      ch.put(i);
      if (i % 3 == 0)
        std::this_thread::yield();
    }
    BOOST_TEST(eventually([&] { return ch.isempty(); }));
    ch.close();
    BOOST_TEST((taking.fetch() == range(0, 1000)));
  }
}

BOOST_AUTO_TEST_CASE(a_take_that_came_too_late_is_followed_by_one_of_the_same_value) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 2000);
    ch.put_many(range(0, 2000));
    const auto taking = here().remotecall(
      w[1],
      [](const channel_of_ints& c) {
        ints out;
        int late = 0;
        for (int i = 0; out.size() < 2000; ++i)
          try {
            if (i % 10 == 9) {
              for (int x : c.take_many(3, call_options{.deadline = std::chrono::microseconds{i % 7 * 10}}))
                out.push_back(x);
            } else {
              out.push_back(c.take(call_options{.deadline = std::chrono::microseconds{i % 7 * 10}}));
            }
          } catch (const troupe::deadline_exceeded&) {
            ++late;
          }
        return std::pair{out, late};
      },
      ch);
    const auto [taken, late] = taking.fetch();
    BOOST_TEST((taken == range(0, 2000)));
    BOOST_TEST(late > 0);
  }
}

BOOST_AUTO_TEST_CASE(a_token_ends_waits) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 1);
    troupe::cancel_token token;
    std::thread other{[&] {
      std::this_thread::sleep_for(20ms); // the others wait by then, or find it cancelled
      token.cancel();
    }};
    BOOST_CHECK_THROW(ch.take(call_options{.token = token}), troupe::cancelled);
    other.join();
    BOOST_CHECK_THROW(ch.take_many(3, call_options{.deadline = 1h, .token = token}), troupe::cancelled);
    ch.put(1);
    BOOST_CHECK_THROW(ch.put(call_options{.token = token}, 2), troupe::cancelled);
    BOOST_TEST((drain(ch) == ints{1}));
  }
}

BOOST_AUTO_TEST_CASE(an_interrupted_wait_takes_nothing) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 1);
    for (int form = 0; form < 4; ++form) {
      std::atomic<troupe::waiter*> waiting{nullptr};
      std::atomic<bool> interrupted{false};
      std::thread t{[&] {
        waiting = &troupe::waiter::of_this_thread();
        try {
          if (form == 0)
            ch.take();
          else if (form == 1)
            ch.take_many(2);
          else if (form == 2)
            for (int x : ch)
              static_cast<void>(x);
          else
            ch.wait();
        } catch (const troupe::interrupted&) {
          interrupted = true;
        }
      }};
      BOOST_TEST(eventually([&] { return waiting.load() != nullptr; }));
      std::this_thread::sleep_for(5ms); // in its wait, or about to
      waiting.load()->interrupt("enough");
      t.join();
      BOOST_TEST(interrupted);
      ch.put(form);
      BOOST_TEST((drain(ch) == ints{form}));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_value_that_nobody_looks_at_is_the_first_again) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 8);
    ch.put_many({1, 2, 3});
    {
      const auto f = ch.take_async();
      BOOST_TEST(eventually([&] { return f.isready(); }));
      BOOST_TEST(ch.size() == 2u);
    }
    BOOST_TEST(ch.take() == 1);
    BOOST_TEST((drain(ch) == ints{2, 3}));
    static_cast<void>(ch.take_async()); // before there is one
    ch.put(4);
    BOOST_TEST(ch.take() == 4);
    auto cancelled = ch.take_async();
    cancelled.cancel();
    BOOST_CHECK_THROW(cancelled.fetch(), troupe::cancelled);
    ch.put(5);
    BOOST_TEST(ch.take() == 5);
    ch.put(6);
    auto looked_at = ch.take_async();
    const auto copy = looked_at;
    looked_at = {};
    BOOST_TEST(copy.fetch() == 6);
    BOOST_TEST(ch.isempty());
  }
}

BOOST_AUTO_TEST_CASE(cancelling_races_with_values_and_loses_none) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 8);
    for (int i = 0; i < 500; ++i) {
      auto f = ch.take_async();
      ch.put(i);
      if (i % 3 == 0)
        f.cancel();
      else if (i % 3 == 1)
        f = {};
      std::optional<int> got;
      if (f.valid()) {
        try {
          got = f.fetch();
        } catch (const troupe::cancelled&) {
        }
      }
      if (!got)
        got = ch.take(call_options{.deadline = 10s});
      BOOST_REQUIRE(*got == i);
    }
    BOOST_TEST(ch.isempty());
  }
}

BOOST_AUTO_TEST_CASE(large_values_go_back_whole) {
  workers w{1};
  const auto ch = remote_channel<std::vector<double>>::on(here(), w[0], 4);
  std::vector<double> big(2'000'000);
  std::iota(big.begin(), big.end(), 0.0);
  ch.put(big);
  ch.put({2});
  for (int i = 0; i < 3; ++i) {
    const auto f = ch.take_async();
    BOOST_TEST(eventually([&] { return f.isready(); }));
  }
  for (int i = 0; i < 20; ++i)
    try {
      ch.take(call_options{.deadline = std::chrono::milliseconds{i}});
      ch.take();
      ch.put(big);
      ch.put({2});
    } catch (const troupe::deadline_exceeded&) {
    }
  BOOST_TEST((ch.take() == big));
  BOOST_TEST((ch.take() == std::vector<double>{2}));
}

BOOST_AUTO_TEST_CASE(an_asked_for_value_can_be_sent_on) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 8);
  const auto answer = here().remotecall(w[1], [](const troupe::future<int>& f) { return f.fetch() + 1; }, ch.take_async());
  ch.put(1);
  BOOST_TEST(answer.fetch() == 2);
}

// -- loops ------------------------------------------------------------------------------------------------------------------

// CH-13
BOOST_AUTO_TEST_CASE(a_loop_that_ends_early_takes_what_it_has_seen_and_nothing_else) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 1000);
    ch.put_many(range(0, 1000));
    int next = 0;
    for (int n : {1, 10, 100, 333})
      for (auto p : {proc_id{1}, w[0], w[1]}) {
        const auto seen = here().remotecall_fetch(
          p,
          [](const channel_of_ints& c, int most) {
            ints out;
            for (int x : c) {
              out.push_back(x);
              if (static_cast<int>(out.size()) == most)
                break;
            }
            return out;
          },
          ch, std::min(n, 100));
        BOOST_TEST((seen == range(next, next + static_cast<int>(seen.size()))));
        next += static_cast<int>(seen.size());
        BOOST_TEST(eventually([&] { return ch.size() == static_cast<std::size_t>(1000 - next); }));
      }
    BOOST_TEST((drain(ch) == range(next, 1000)));
  }
}

BOOST_AUTO_TEST_CASE(a_loop_that_throws_has_taken_what_it_has_seen) {
  workers w{1};
  const auto ch = channel_of_ints::on(here(), w[0], 10);
  ch.put_many(range(0, 10));
  BOOST_CHECK_THROW(
    [&] {
      for (int x : ch)
        if (x == 3)
          throw std::runtime_error{"enough"};
    }(),
    std::runtime_error);
  BOOST_TEST((drain(ch) == range(4, 10)));
}

BOOST_AUTO_TEST_CASE(reading_ahead_never_exceeds_the_capacity) {
  workers w{2};
  for (std::size_t capacity : {0u, 1u, 5u}) {
    const auto ch = channel_of_ints::on(here(), w[0], capacity);
    const auto reading = here().remotecall(
      w[1],
      [](const channel_of_ints& c) {
        for (int x : c)
          if (x == 100) { // it has read ahead what it could by now
            while (gate == 0)
              troupe::this_task::sleep_for(1ms);
            break;
          }
      },
      ch);
    for (int i = 0; i <= 100; ++i)
      ch.put(i);
    std::size_t more = 0;
    while (ch.try_put(0, 100ms) && more <= 10)
      ++more;
    BOOST_TEST(more <= capacity);
    here().remotecall_wait(w[1], [] { gate = 1; });
    reading.wait();
    BOOST_TEST(eventually([&] { return ch.size() == more; }));
    here().remotecall_wait(w[1], [] { gate = 0; });
  }
}

// -- who is lost ------------------------------------------------------------------------------------------------------------

// CH-26: what a loop has is acknowledged when it has been used
BOOST_AUTO_TEST_CASE(what_a_lost_reader_has_not_used_is_there_again) {
  for (auto where : {0, 1}) {
    workers w{2};
    const auto ch = channel_of_ints::on(here(), where == 0 ? 1 : w[0], 1000);
    const auto progress = channel_of_ints::on(here(), 1, 1000);
    ch.put_many(range(0, 1000));
    here().remote_do(
      w[1],
      [](const channel_of_ints& c, const channel_of_ints& p) {
        for (int x : c) {
          if (x < 500)
            continue;
          p.put(x);
          troupe::this_task::sleep_for(1h);
        }
      },
      ch, progress);
    BOOST_TEST(progress.take() == 500);
    kill(w[1]);
    BOOST_TEST(eventually([&] { return ch.size() >= 500; }));
    const auto rest = drain(ch);
    BOOST_REQUIRE(!rest.empty());
    BOOST_TEST(rest.front() <= 500); // what it was at may come again
    BOOST_TEST((rest == range(rest.front(), 1000)));
  }
}

// CH-25
BOOST_AUTO_TEST_CASE(a_taker_that_is_lost_swallows_nothing) {
  for (auto where : {0, 1}) {
    workers w{3};
    const auto ch = channel_of_ints::on(here(), where == 0 ? 1 : w[0], 1);
    const auto lost = here().remotecall(
      w[1],
      [](const channel_of_ints& c) {
        const auto more = c.take_async();
        return c.take();
      },
      ch);
    BOOST_TEST(stays_open(lost));
    kill(w[1]);
    BOOST_CHECK_THROW(lost.fetch(), troupe::process_exited);
    const auto other = here().remotecall(w[2], [](const channel_of_ints& c) { return c.take(); }, ch);
    BOOST_TEST(stays_open(other));
    ch.put(7);
    BOOST_TEST(other.fetch() == 7);
  }
}

BOOST_AUTO_TEST_CASE(a_putter_that_is_lost_puts_nothing_more) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 1);
  ch.put(1);
  const auto lost = here().remotecall(w[1], [](const channel_of_ints& c) { c.put(2); }, ch);
  BOOST_TEST(stays_open(lost));
  kill(w[1]);
  BOOST_CHECK_THROW(lost.wait(), troupe::process_exited);
  here().remotecall_wait(w[0], [] {});
  BOOST_TEST(ch.take() == 1);
  BOOST_TEST(!ch.try_take(50ms));
}

// CH-24, FA-05
BOOST_AUTO_TEST_CASE(a_lost_owner_is_told_of_to_all_who_wait_and_all_who_come) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 1);
  const auto full = channel_of_ints::on(here(), w[0], 1);
  full.put(1);
  const auto ended = [](const channel_of_ints& c, int form) -> proc_id {
    try {
      if (form == 0)
        c.take();
      else if (form == 1)
        c.put(1);
      else if (form == 2)
        c.wait();
      else
        for (int x : c)
          static_cast<void>(x);
    } catch (const troupe::process_exited& e) {
      return e.pid();
    }
    return 0;
  };
  std::vector<troupe::future<proc_id>> all;
  for (auto p : {proc_id{1}, w[1]})
    for (int form = 0; form < 4; ++form)
      all.push_back(here().remotecall(p, ended, form == 1 ? full : ch, form));
  const auto asked = ch.take_async();
  BOOST_TEST(stays_open(all.back()));
  kill(w[0]);
  for (auto& f : all) {
    BOOST_TEST(f.wait_for(patience));
    BOOST_TEST(f.fetch() == w[0]);
  }
  BOOST_CHECK_THROW(asked.fetch(), troupe::process_exited);
  for (int form = 0; form < 4; ++form)
    BOOST_TEST(ended(ch, form) == w[0]);
  BOOST_CHECK_THROW(ch.try_put(1), troupe::process_exited);
  BOOST_CHECK_THROW(ch.isready(), troupe::process_exited);
  BOOST_CHECK_THROW(ch.size(), troupe::process_exited);
  BOOST_CHECK_THROW(ch.close(), troupe::process_exited);
  BOOST_CHECK_THROW(ch.actor(), troupe::process_exited);
  BOOST_CHECK_THROW(channel_of_ints::on(here(), w[0]), troupe::process_exited);
}

// FA-06
BOOST_AUTO_TEST_CASE(a_tied_channel_ends_with_who_promised_its_values) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 8);
  ch.tie(w[1]);
  ch.put(1);
  const auto reading = here().remotecall(
    1,
    [](const channel_of_ints& c) {
      int sum = 0;
      try {
        for (int x : c)
          sum += x;
      } catch (const troupe::process_exited& e) {
        return sum * 100 + e.pid();
      }
      return 0;
    },
    ch);
  BOOST_TEST(stays_open(reading));
  kill(w[1]);
  BOOST_TEST(reading.fetch() == 100 + w[1]);
}
