#define BOOST_TEST_MODULE channels
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <unordered_set>

namespace {

using troupe::remote_channel;
using ints = std::vector<int>;
using channel_of_ints = remote_channel<int>;

ints range(int n) {
  ints out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// A channel among other things.
struct mailbox {
  std::string name;
  remote_channel<std::string> letters;
  std::map<std::string, channel_of_ints> more;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, mailbox& x) {
    return f(caf::meta::type_name("mailbox"), x.name, x.letters, x.more);
  }
};

const setup register_types{[](troupe::app& app) { app.message_types<channel_of_ints, mailbox>(); }};

caf::behavior replier(caf::event_based_actor*) {
  return {[](const channel_of_ints& ch, int x) { ch.put(x + 1); },
          [](const mailbox& m) -> std::string {
            m.letters.put("to " + m.name);
            return m.letters.take();
          }};
}

// CH-05: nothing happens for a moment
template <class T>
bool stays_open(const troupe::future<T>& f) {
  return !f.wait_for(50ms);
}

// Puts 0 … n-1, then closes.
void produce(const channel_of_ints& ch, int n) {
  for (int i = 0; i < n; ++i)
    ch.put(i);
  ch.close();
}

ints consume(const channel_of_ints& ch) {
  ints out;
  for (int x : ch)
    out.push_back(x);
  return out;
}

int threads_of(int pid) {
  int n = 0;
  for ([[maybe_unused]] auto& t : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task"})
    ++n;
  return n;
}

template <class Ch, class X>
concept can_put = requires(const Ch& ch, const X& x) { ch.put(x); };

} // namespace

// CH-01
BOOST_AUTO_TEST_CASE(a_channel_holds_one_value_here_unless_told_otherwise) {
  const auto ch = channel_of_ints::on(here());
  BOOST_TEST(ch.id().where == 1);
  ch.put(1);
  BOOST_TEST(!ch.try_put(2));
  BOOST_TEST(ch.size() == 1u);
  BOOST_TEST(ch.take() == 1);
  BOOST_TEST(ch.try_put(2));
}

// CH-02, CH-03
BOOST_AUTO_TEST_CASE(a_channel_can_be_made_anywhere) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<std::string>::on(here(), where, 3);
    BOOST_TEST(ch.id().where == where);
    BOOST_TEST(ch.id().whence == 1);
    ch.put("a");
    BOOST_TEST(here().remotecall_fetch(w[1], [](const remote_channel<std::string>& c) { return c.put("b").take(); }, ch) == "a");
    BOOST_TEST(ch.take() == "b");
  }
  const auto from_worker = here().remotecall_fetch(w[0], [](proc_id p) { return channel_of_ints::on(here(), p, 2); }, w[1]);
  BOOST_TEST(from_worker.id().where == w[1]);
  BOOST_TEST(from_worker.id().whence == w[0]);
  from_worker.put(5);
  BOOST_TEST(from_worker.take() == 5);
  BOOST_CHECK_THROW(channel_of_ints::on(here(), 99), troupe::unknown_process);
}

// CH-04, CH-14, CH-15, CH-20
BOOST_AUTO_TEST_CASE(values_come_out_in_order_and_looking_removes_none) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<std::variant<int, std::string, double>>::on(here(), where, 10);
    BOOST_TEST(!ch.isready());
    BOOST_TEST(ch.isempty());
    ch.put(1).put("Hello").put(5.0);
    BOOST_TEST(ch.isready());
    BOOST_TEST(!ch.isempty());
    BOOST_TEST(std::get<int>(ch.fetch()) == 1);
    BOOST_TEST(std::get<int>(ch.fetch()) == 1);
    BOOST_TEST(std::get<int>(ch.take()) == 1);
    BOOST_TEST(std::get<std::string>(ch.take()) == "Hello");
    BOOST_TEST(std::get<double>(ch.fetch()) == 5.0);
    BOOST_TEST(std::get<double>(ch.take()) == 5.0);
    BOOST_TEST(!ch.isready());
    BOOST_TEST(ch.isopen());
  }
}

// CH-05
BOOST_AUTO_TEST_CASE(put_waits_while_it_is_full_and_take_while_it_is_empty) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 2);
    const auto take = here().remotecall(
      w[1],
      [](const channel_of_ints& c) {
        c.wait();
        return c.fetch() + c.take();
      },
      ch);
    BOOST_TEST(stays_open(take));
    ch.put(1);
    BOOST_TEST(take.fetch() == 2);
    ch.put(1).put(2);
    const auto put = here().remotecall(w[1], [](const channel_of_ints& c) { c.put(3); }, ch);
    BOOST_TEST(stays_open(put));
    BOOST_TEST(ch.take() == 1);
    put.wait();
    BOOST_TEST((ch.take_many(10) == ints{2, 3}));
  }
}

// CH-06, CH-07
BOOST_AUTO_TEST_CASE(without_capacity_values_go_from_hand_to_hand_as_they_were) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<std::vector<double>>::on(here(), where, 0);
    const auto put = here().remotecall(
      w[1],
      [](const remote_channel<std::vector<double>>& c) {
        std::vector<double> x(8193);
        for (int i = 1; i <= 10; ++i) {
          std::fill(x.begin(), x.end(), i);
          c.put(x);
          std::fill(x.begin(), x.end(), -1);
        }
      },
      ch);
    BOOST_TEST(stays_open(put));
    for (int i = 1; i <= 10; ++i)
      BOOST_TEST((ch.take() == std::vector<double>(8193, i)));
    put.wait();
  }
}

// CH-08
BOOST_AUTO_TEST_CASE(what_is_put_is_a_copy) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<ints>::on(here(), where, 3);
    ints x{0};
    for (int i = 1; i <= 3; ++i) {
      x[0] = i;
      ch.put(x);
    }
    for (int i = 1; i <= 3; ++i)
      BOOST_TEST((ch.take() == ints{i}));
  }
}

// CH-09, CH-11, CH-12
BOOST_AUTO_TEST_CASE(a_closed_channel_gives_what_is_in_it_and_then_says_so) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]})
    for (std::size_t capacity : {0u, 3u}) {
      const auto ch = channel_of_ints::on(here(), where, capacity);
      if (capacity > 0)
        ch.put(1).put(2);
      here().remotecall_wait(
        w[1],
        [](const channel_of_ints& c) {
          c.close();
          c.close(std::runtime_error{"too late"});
        },
        ch);
      ch.close();
      BOOST_TEST(!ch.isopen());
      BOOST_CHECK_THROW(ch.put(3), troupe::channel_closed);
      BOOST_CHECK_THROW(ch.try_put(3), troupe::channel_closed);
      if (capacity > 0) {
        BOOST_TEST(ch.isready());
        BOOST_TEST(ch.take() == 1);
        BOOST_TEST(ch.fetch() == 2);
        BOOST_TEST(ch.take() == 2);
      }
      for (int i = 0; i < 2; ++i) {
        BOOST_CHECK_THROW(ch.take(), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.fetch(), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.wait(), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.take_many(3), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.try_take(), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.try_take(10s), troupe::channel_closed);
        BOOST_CHECK_THROW(ch.take_async().fetch(), troupe::channel_closed);
      }
    }
}

// CH-10
BOOST_AUTO_TEST_CASE(closing_wakes_everyone_anywhere) {
  workers w{3};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 1);
    const auto full = channel_of_ints::on(here(), where, 1);
    full.put(0);
    std::vector<troupe::future<bool>> ends;
    for (auto p : {w[1], w[2], proc_id{1}}) {
      ends.push_back(here().remotecall(
        p,
        [](const channel_of_ints& c) {
          try {
            c.take();
          } catch (const troupe::channel_closed&) {
            return true;
          }
          return false;
        },
        ch));
      ends.push_back(here().remotecall(
        p,
        [](const channel_of_ints& c) {
          try {
            c.put(1);
          } catch (const troupe::channel_closed&) {
            return true;
          }
          return false;
        },
        full));
    }
    BOOST_TEST(stays_open(ends.front()));
    ch.close();
    full.close();
    for (auto& f : ends) {
      BOOST_TEST(f.wait_for(patience));
      BOOST_TEST(f.fetch());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_channel_can_be_closed_with_an_error) {
  workers w{1};
  const auto ch = channel_of_ints::on(here(), w[0], 1);
  ch.put(1);
  ch.close(std::domain_error{"the source has dried up"});
  BOOST_TEST(ch.take() == 1);
  BOOST_TEST(contains(error_of<troupe::error>([&] { ch.take(); }).what(), "the source has dried up"));
  BOOST_TEST(contains(error_of<troupe::error>([&] { ch.put(1); }).what(), "the source has dried up"));
  BOOST_TEST(contains(error_of<troupe::error>([&] { consume(ch); }).what(), "the source has dried up")); // CH-13
}

// CH-13
BOOST_AUTO_TEST_CASE(a_loop_over_a_channel_ends_when_it_is_closed_and_empty) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]})
    for (std::size_t capacity : {0u, 1u, 32u})
      for (auto [from, to] : {std::pair{proc_id{1}, w[1]}, {w[1], proc_id{1}}, {w[1], w[0]}, {w[0], w[0]}}) {
        const auto ch = channel_of_ints::on(here(), where, capacity);
        const auto producing = here().remotecall<produce>(from, ch, 300);
        BOOST_TEST((here().remotecall_fetch<consume>(to, ch) == range(300)));
        producing.wait();
      }
}

// CH-16
BOOST_AUTO_TEST_CASE(another_type_is_refused) {
  workers w{1};
  BOOST_TEST((!can_put<channel_of_ints, std::string>));
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 2);
    const remote_channel<std::string> wrong{here(), ch.id()};
    BOOST_CHECK_THROW(wrong.put("x"), troupe::type_mismatch);
    BOOST_CHECK_THROW(wrong.take(), troupe::type_mismatch);
    const troupe::future<int> no_future{here(), ch.id()};
    BOOST_CHECK_THROW(no_future.fetch(), troupe::type_mismatch);
    BOOST_TEST(here().remotecall_fetch(
      w[0],
      [](troupe::ref_id id) {
        try {
          remote_channel<std::string>{here(), id}.put("x");
        } catch (const troupe::type_mismatch& e) {
          return contains(e.what(), "int");
        }
        return false;
      },
      ch.id()));
    BOOST_TEST(ch.isempty());
    const channel_of_ints right{here(), ch.id()};
    right.put(4);
    BOOST_TEST(right == ch);
    BOOST_TEST(ch.take() == 4);
    BOOST_CHECK_THROW(ch.take(std::string{"a key"}), troupe::type_mismatch);
  }
}

// CH-17
BOOST_AUTO_TEST_CASE(each_value_goes_to_one_taker) {
  workers w{4};
  for (const bool by_loop : {false, true}) {
    const auto ch = channel_of_ints::on(here(), w[0], 10);
    std::vector<troupe::future<ints>> taking;
    for (auto p : w.ids())
      taking.push_back(here().remotecall(
        p,
        [](const channel_of_ints& c, bool loop) {
          if (loop)
            return consume(c);
          ints out;
          try {
            while (true)
              out.push_back(c.take());
          } catch (const troupe::channel_closed&) {
          }
          return out;
        },
        ch, by_loop));
    produce(ch, 1000);
    ints all;
    for (auto& f : taking)
      all.insert(all.end(), f.fetch().begin(), f.fetch().end());
    std::sort(all.begin(), all.end());
    BOOST_TEST((all == range(1000)));
  }
}

// CH-19
BOOST_AUTO_TEST_CASE(jobs_go_to_whoever_is_free) {
  workers w{4};
  const auto jobs = channel_of_ints::on(here(), 1, 32);
  const auto results = remote_channel<std::pair<int, proc_id>>::on(here(), 1, 32);
  for (auto p : w.ids())
    here().remote_do(
      p,
      [](const channel_of_ints& in, const remote_channel<std::pair<int, proc_id>>& out) {
        for (int job : in)
          out.put({job, here().myid()});
      },
      jobs, results);
  for (int i = 0; i < 12; ++i)
    jobs.put(i);
  std::set<int> done;
  for (int i = 0; i < 12; ++i)
    done.insert(results.take().first);
  BOOST_TEST(done.size() == 12u);
  jobs.close();
}

// CH-18, RF-06
BOOST_AUTO_TEST_CASE(a_channel_travels_in_whatever_holds_it) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 8);
  const auto put_in = [](const channel_of_ints& c, int x) { c.put(x); };
  here().remotecall_wait(
    w[1], [](const std::map<std::string, std::vector<channel_of_ints>>& m) { m.at("a").at(1).put(1); },
    std::map<std::string, std::vector<channel_of_ints>>{{"a", {channel_of_ints{}, ch}}});
  here().remotecall_wait(w[1], [](const std::optional<channel_of_ints>& c) { c->put(2); }, std::optional{ch});
  here().remotecall_wait(w[1], troupe::with(ch, [](const channel_of_ints& c) { c.put(3); }));
  mailbox box{"me", remote_channel<std::string>::on(here(), w[0], 1), {{"x", ch}}};
  const auto back = here().remotecall_fetch(
    w[1],
    [](mailbox b) {
      b.letters.put(b.name);
      b.more["x"].put(4);
      b.more["y"] = b.more["x"];
      return b;
    },
    box);
  BOOST_TEST(back.letters.take() == "me");
  BOOST_TEST((back.more.at("y") == ch));
  BOOST_TEST((std::hash<channel_of_ints>{}(back.more.at("y")) == std::hash<channel_of_ints>{}(ch))); // RF-02
  std::unordered_set<channel_of_ints> known{ch, back.more.at("x"), back.more.at("y")};
  BOOST_TEST(known.size() == 1u);
  const auto a = here().spawn<replier>(w[1]);
  caf::anon_send(a, ch, 4);
  BOOST_TEST(here().request<std::string>(a, box) == "to me");
  BOOST_TEST((ch.take_many(1) == ints{1}));
  for (int i = 2; i <= 5; ++i)
    BOOST_TEST(ch.take() == i);
  here().remotecall_wait(w[1], put_in, ch, 6);
  BOOST_TEST(ch.take() == 6);
  const auto empty = here().remotecall_fetch(w[1], [](channel_of_ints c) { return c; }, channel_of_ints{});
  BOOST_TEST(!empty.valid());
}

// RF-05
BOOST_AUTO_TEST_CASE(outside_of_the_cluster_a_channel_means_nothing) {
  const auto ch = channel_of_ints::on(here());
  std::vector<char> buffer;
  caf::binary_serializer sink{here().system(), buffer};
  BOOST_TEST(!sink(const_cast<channel_of_ints&>(ch)));
  channel_of_ints out = ch;
  caf::binary_deserializer source{here().system(), buffer};
  BOOST_TEST(!source(out));
  troupe::byte_buffer bytes;
  troupe::writer w{bytes};
  BOOST_CHECK_THROW(write(w, ch), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(a_channel_can_hold_channels_and_futures) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<std::pair<channel_of_ints, troupe::future<int>>>::on(here(), where, 2);
    const auto served = here().remotecall(
      w[1],
      [](const remote_channel<std::pair<channel_of_ints, troupe::future<int>>>& c) {
        for (auto& [answer, number] : c)
          answer.put(number.fetch() * 2);
      },
      ch);
    for (int i = 0; i < 20; ++i) {
      const auto answer = channel_of_ints::on(here(), w[0]);
      ch.put({answer, here().remotecall(w[0], [](int x) { return x; }, i)});
      const auto got = answer.try_take(10s);
      if (!got)
        served.wait(); // says why
      BOOST_TEST(got.value_or(-1) == 2 * i);
    }
    ch.close();
    served.wait();
  }
}

// GC-05
BOOST_AUTO_TEST_CASE(a_channel_in_a_channel_lives) {
  workers w{2};
  const auto outer = remote_channel<channel_of_ints>::on(here(), w[0]);
  auto inner = channel_of_ints::on(here(), w[1]);
  const auto id = inner.id();
  const auto lives = [&] {
    const auto all = here().references(w[1]);
    return std::any_of(all.begin(), all.end(), [&](auto& r) { return r.id == id; });
  };
  inner.put(7);
  outer.put(inner);
  inner = {};
  BOOST_TEST(eventually([&] {
    for (auto& r : here().references(w[1]))
      if (r.id == id)
        return r.holders == std::vector{w[0]};
    return false;
  }));
  BOOST_TEST(here().remotecall_fetch(w[1], [](const remote_channel<channel_of_ints>& c) { return c.take().take(); }, outer) == 7);
  BOOST_TEST(eventually([&] { return !lives(); }));
}

// CH-23
BOOST_AUTO_TEST_CASE(any_thread_of_any_process_may_put_and_take) {
  workers w{2, {.threads = 2}};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = channel_of_ints::on(here(), where, 4);
    const auto both = [](const channel_of_ints& c, bool puts) {
      std::atomic<int> n{0};
      const auto work = [&] {
        for (int i = 0; i < 100; ++i)
          if (puts)
            c.put(1);
          else
            n += c.take();
      };
      std::thread other{work};
      work();
      other.join();
      return n.load();
    };
    std::vector<troupe::future<int>> all;
    for (auto p : w.ids())
      for (const bool puts : {true, false})
        all.push_back(here().remotecall(p, both, ch, puts));
    int sum = 0;
    for (auto& f : all)
      sum += f.fetch();
    BOOST_TEST(sum == 400);
    BOOST_TEST(ch.isempty());
  }
}

// CH-27
BOOST_AUTO_TEST_CASE(who_tries_is_told_at_once) {
  workers w{2};
  const auto ch = channel_of_ints::on(here(), w[0], 1);
  BOOST_TEST(!ch.try_take());
  BOOST_TEST(!ch.try_fetch());
  BOOST_TEST(ch.try_put(1));
  BOOST_TEST(!ch.try_put(2));
  BOOST_TEST(ch.try_fetch().value_or(0) == 1);
  const auto try_it = [](const channel_of_ints& c) { return c.try_take().has_value() ? 1 : 0; };
  const auto one = here().remotecall(w[1], try_it, ch);
  const auto other = here().remotecall(w[0], try_it, ch);
  BOOST_TEST(one.fetch() + other.fetch() == 1);
  BOOST_TEST(!ch.try_take(20ms));
  BOOST_TEST(!ch.try_fetch(20ms));
  BOOST_TEST(ch.try_put(3, 1s));
  BOOST_TEST(!ch.try_put(4, 20ms));
  BOOST_TEST(ch.try_take(1s).value_or(0) == 3);
  BOOST_TEST(ch.isempty());
}

// CH-28
BOOST_AUTO_TEST_CASE(ten_thousand_takers_need_no_threads) {
  workers w{1};
  const auto ch = channel_of_ints::on(here(), w[0], 10'000);
  std::vector<troupe::future<int>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(ch.take_async());
  BOOST_TEST(!ch.try_take());
  BOOST_TEST(threads_of(::getpid()) <= 50);
  BOOST_TEST(threads_of(static_cast<int>(here().info(w[0]).os_pid)) <= 50);
  ch.put_many(range(10'000));
  for (int i = 0; i < 10'000; ++i)
    if (all[static_cast<std::size_t>(i)].fetch() != i)
      BOOST_FAIL("taker " << i << " got " << all[static_cast<std::size_t>(i)].fetch());
  BOOST_TEST(ch.isempty());
}

// CH-29
BOOST_AUTO_TEST_CASE(many_values_go_in_one_message) {
  workers w{1};
  const auto ch = channel_of_ints::on(here(), w[0], 20'000);
  const auto single = time_of([&] {
    for (int i = 0; i < 2000; ++i)
      ch.put(i);
  });
  BOOST_TEST((ch.take_many(2000) == range(2000)));
  const auto many = time_of([&] { ch.put_many(range(2000)); });
  BOOST_TEST((ch.take_many(5000) == range(2000)));
  BOOST_TEST(single / many >= 5);
}

BOOST_AUTO_TEST_CASE(large_values_pass_whole) {
  workers w{2};
  const std::vector<double> big(2'000'000, 1.5); // 16 MB
  for (auto where : {proc_id{1}, w[0]}) {
    const auto ch = remote_channel<std::pair<std::vector<double>, channel_of_ints>>::on(here(), where, 2);
    const auto plain = remote_channel<std::vector<double>>::on(here(), where, 2);
    const auto answer = channel_of_ints::on(here(), w[1], 4);
    ch.put({big, answer});
    plain.put(big);
    plain.put(std::vector<double>{1});
    here().remotecall_wait(
      w[1],
      [](const remote_channel<std::pair<std::vector<double>, channel_of_ints>>& c, const remote_channel<std::vector<double>>& p) {
        const auto [values, back] = c.take();
        back.put(static_cast<int>(std::count(values.begin(), values.end(), 1.5)));
        const auto looked = p.fetch();
        back.put(static_cast<int>(std::count(looked.begin(), looked.end(), 1.5)));
        back.put(static_cast<int>(p.take_many(2).size()));
        p.put(looked);
      },
      ch, plain);
    BOOST_TEST((answer.take_many(4) == ints{2'000'000, 2'000'000, 2}));
    BOOST_TEST((plain.take() == big));
  }
}

// CH-21
BOOST_AUTO_TEST_CASE(an_element_is_looked_up_where_the_channel_lives) {
  workers w{1};
  using grid = std::vector<std::vector<double>>;
  const auto ch = troupe::remote_channel<grid>::on(here(), w[0]);
  grid five(5, std::vector<double>(100'000));
  five[2][3] = 23.5;
  ch.put(five);
  const auto received = [] { return here().statistics().front().bytes_received; };
  const auto before = received();
  BOOST_TEST(ch.at(2, 3) == 23.5);
  BOOST_TEST(ch.at(4).size() == 100'000u);
  BOOST_TEST(ch.isready()); // it is still there
  BOOST_TEST(received() - before < 2'000'000u);
}

// GC-13
BOOST_AUTO_TEST_CASE(an_empty_channel_throws_whatever_is_asked_of_it) {
  auto ch = channel_of_ints::on(here());
  const auto moved = std::move(ch);
  for (auto& x : {ch, channel_of_ints{}}) {
    BOOST_TEST(!x.valid());
    BOOST_CHECK_THROW(x.put(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.try_put(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.put_many({1}), troupe::usage_error);
    BOOST_CHECK_THROW(x.take(), troupe::usage_error);
    BOOST_CHECK_THROW(x.take_many(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.take_async(), troupe::usage_error);
    BOOST_CHECK_THROW(x.try_take(), troupe::usage_error);
    BOOST_CHECK_THROW(x.fetch(), troupe::usage_error);
    BOOST_CHECK_THROW(x.wait(), troupe::usage_error);
    BOOST_CHECK_THROW(x.isready(), troupe::usage_error);
    BOOST_CHECK_THROW(x.isopen(), troupe::usage_error);
    BOOST_CHECK_THROW(x.size(), troupe::usage_error);
    BOOST_CHECK_THROW(x.close(), troupe::usage_error);
    BOOST_CHECK_THROW(x.tie(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.id(), troupe::usage_error);
    BOOST_CHECK_THROW(x.actor(), troupe::usage_error);
    BOOST_CHECK_THROW(x.begin(), troupe::usage_error);
  }
}
