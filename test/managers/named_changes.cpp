#define BOOST_TEST_MODULE named_changes
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/managers/named_changes.hpp"

#include <future>
#include <map>
#include <memory>
#include <set>
#include <vector>

using namespace std::chrono_literals;
using troupe::named_changes;
using troupe::proc_id;

namespace {

using ids = std::set<proc_id>;

constexpr std::size_t large = 1 << 20;

troupe::detail::shared_bytes bytes(std::size_t n, int value) {
  auto all = std::make_shared<troupe::byte_buffer>(n, static_cast<std::byte>(value));
  return {*all, all};
}

// Where nobody can be reached.
class nowhere final : public troupe::transport {
public:
  troupe::endpoint listen(troupe::loop&, const troupe::endpoint& at, acceptor) override { return at; }
  void dial(troupe::loop&, const troupe::endpoint&, std::chrono::milliseconds, troupe::dial_handler) override {}
};

// A master whose workers say what the test has them say. What is sent to them waits for links that never come, and is counted.
class master {
public:
  explicit master(int workers, std::chrono::milliseconds patience = 1h) : names_(process_, [this] { return audience_; }, patience) {
    process_.start();
    process_.run_in_loop([&] {
      for (proc_id id = 2; id < 2 + workers; ++id) {
        process_.net().add(id, {});
        audience_.push_back({id, true});
      }
    });
  }

  std::future<void> define(std::size_t n, int value) {
    return std::async(std::launch::async, [this, n, value] { names_.define("x", "bytes", bytes(n, value)); });
  }

  // Those that have been sent so much in all since the last call.
  ids sent(std::size_t least) {
    ids out;
    for (auto& [id, c] : process_.net().counts()) {
      auto& before = sent_before_[id];
      if (c.bytes_sent - before >= least)
        out.insert(id);
      before = c.bytes_sent;
    }
    return out;
  }

  void acknowledge(const ids& from, std::uint64_t number) {
    process_.run_in_loop([&] {
      for (auto id : from)
        names_.acknowledged(id, number);
    });
  }

  void lose(proc_id id) {
    process_.run_in_loop([&] {
      std::erase_if(audience_, [&](auto& l) { return l.id == id; });
      names_.gone(id);
    });
  }

  void join(proc_id id) {
    process_.run_in_loop([&] {
      process_.net().add(id, {});
      audience_.push_back({id, false});
    });
  }

  // Waits until a change has been made here and sent.
  bool begun(std::uint64_t number) {
    return test::becomes_true([&] {
      bool there = false;
      process_.run_in_loop([&] { there = process_.named().last_change("x") == number; });
      return there;
    });
  }

  named_changes& names() { return names_; }

private:
  troupe::process process_{"cookie",
                           troupe::master_id,
                           1,
                           {[](proc_id, troupe::frame_view&) {}, [](proc_id, const std::string&) {}, [](proc_id, const std::string&) {},
                            [](const std::string&) {}, [](const troupe::hello&) {}},
                           std::make_shared<nowhere>()};
  std::vector<named_changes::listener> audience_; // loop thread
  named_changes names_;
  std::map<proc_id, std::uint64_t> sent_before_;
};

bool open(std::future<void>& f) { return f.wait_for(0s) == std::future_status::timeout; }

} // namespace

BOOST_AUTO_TEST_CASE(a_small_value_goes_to_each_from_here) {
  master m{5};
  auto defined = m.define(100, 1);
  BOOST_TEST(m.begun(1));
  BOOST_TEST((m.sent(100) == ids{2, 3, 4, 5, 6}));
  m.acknowledge({2, 3, 4, 6}, 1);
  BOOST_TEST(open(defined));
  m.acknowledge({5}, 1);
  defined.get();
}

BOOST_AUTO_TEST_CASE(a_large_value_goes_to_two_who_pass_it_on_and_to_who_is_unknown_to_others) {
  master m{8};
  m.join(20);
  auto defined = m.define(large, 1);
  BOOST_TEST(m.begun(1));
  BOOST_TEST((m.sent(large) == ids{2, 6, 20}));
  m.acknowledge({2, 3, 4, 5, 6, 7, 8, 9, 20}, 1);
  defined.get();
}

BOOST_AUTO_TEST_CASE(those_behind_a_process_that_is_lost_get_it_from_here_unless_they_have_it) {
  master m{8}; // 2 passes on to 3, 4, 5; 6 to 7, 8, 9
  auto defined = m.define(large, 1);
  BOOST_TEST(m.begun(1));
  m.sent(0);
  m.acknowledge({3, 6}, 1);
  m.lose(2);
  BOOST_TEST((m.sent(large) == ids{4, 5}));
  m.lose(4); // behind which there's nobody
  BOOST_TEST((m.sent(large) == ids{}));
  m.lose(6); // which had it
  BOOST_TEST((m.sent(large) == ids{7, 9})); // 7 passes it on to 8
  m.lose(7);
  BOOST_TEST((m.sent(large) == ids{8}));
  m.acknowledge({5, 8}, 1);
  BOOST_TEST(open(defined));
  m.acknowledge({9}, 1);
  defined.get();
}

BOOST_AUTO_TEST_CASE(who_has_nothing_after_a_long_time_gets_it_from_here_once) {
  master m{8, 50ms};
  auto defined = m.define(large, 1);
  BOOST_TEST(m.begun(1));
  ids all = m.sent(large);
  BOOST_TEST(test::becomes_true([&] {
    all.merge(m.sent(large));
    return all.size() == 8;
  }));
  m.acknowledge({2}, 1);
  BOOST_TEST((m.sent(1) == ids{}));
  m.acknowledge({3, 4, 5, 6, 7, 8, 9}, 1);
  defined.get();
}

BOOST_AUTO_TEST_CASE(one_change_is_sent_after_the_other) {
  master m{2};
  auto first = m.define(100, 1);
  BOOST_TEST(m.begun(1));
  m.sent(0);
  auto second = m.define(100, 2);
  m.acknowledge({2}, 1);
  BOOST_TEST(m.sent(1).empty());
  m.acknowledge({3}, 1);
  first.get();
  BOOST_TEST(m.begun(2));
  BOOST_TEST((m.sent(100) == ids{2, 3}));
  m.acknowledge({2, 3}, 1); // again, and late
  BOOST_TEST(open(second));
  m.lose(2);
  m.acknowledge({3}, 2);
  second.get();
}

BOOST_AUTO_TEST_CASE(the_present_value_is_not_sent_but_waited_for) {
  master m{2};
  auto first = m.define(100, 1);
  BOOST_TEST(m.begun(1));
  m.sent(0);
  auto again = m.define(100, 1);
  BOOST_TEST(open(again));
  m.acknowledge({2, 3}, 1);
  first.get();
  again.get();
  BOOST_TEST(m.sent(1).empty());
}

BOOST_AUTO_TEST_CASE(a_digest_tells_values_apart) {
  std::set<troupe::bytes_digest> seen;
  for (std::size_t n = 0; n < 70; ++n)
    for (int value : {0, 1, 255}) {
      seen.insert(troupe::digest_of(bytes(n, value).bytes));
      BOOST_TEST((troupe::digest_of(bytes(n, value).bytes) == troupe::digest_of(bytes(n, value).bytes)));
    }
  BOOST_TEST(seen.size() == 1 + 69 * 3u);
  std::vector<std::byte> x(64);
  for (std::size_t bit = 0; bit < 512; ++bit) {
    x[bit / 8] ^= std::byte{1} << bit % 8;
    BOOST_TEST(seen.insert(troupe::digest_of(x)).second);
    x[bit / 8] = {};
  }
}
