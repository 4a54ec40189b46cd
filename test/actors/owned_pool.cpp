#define BOOST_TEST_MODULE owned_pool
#include <boost/test/unit_test.hpp>

#include "actors/asking.hpp"

#include "troupe/actors/owned_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <random>

using namespace test;
using troupe::codec_error;
using troupe::error_kind;
using troupe::pool_member;
using troupe::pool_view;
using troupe::detail::pool_push;
using troupe::detail::pool_status;

namespace {

using ids = std::vector<proc_id>;

arguments process(proc_id id) {
  return [=](troupe::writer& w) { w.put(id); };
}

arguments pushed(std::vector<pool_member> members, pool_push how = pool_push::add) {
  return [=](troupe::writer& w) {
    w.put(how);
    write(w, members);
  };
}

template <class T>
T decoded(const reference_answer& a) {
  BOOST_REQUIRE(a.what == answer_kind::value);
  troupe::reader in{a.value.bytes};
  return troupe::read<T>(in);
}

// A pool that process 2 has made here; 2, 3 and 4 use it. Processes from 10 on are its members.
struct pool : owner {
  explicit pool(std::vector<pool_member> members, proc_id in_place = 0) {
    troupe::owned_pool::settings s;
    s.type = int_type;
    s.in_place = in_place;
    s.gone = [this](proc_id p) -> std::optional<troupe::error_info> {
      if (!gone.contains(p))
        return std::nullopt;
      return how_gone(p);
    };
    all.add(std::make_unique<troupe::owned_pool>(id, s), 2);
    ask(2, id, 900, ask_op::pool_push, pushed(std::move(members), pool_push::join));
    BOOST_REQUIRE(answer_to(2, 900).what == answer_kind::nothing);
  }

  static troupe::error_info how_gone(proc_id p) {
    auto why = failure("worker " + std::to_string(p) + " is gone");
    why.cause.reason = "was lost";
    return why;
  }
  void lose(proc_id p) {
    gone.insert(p);
    all.peer_lost(p, how_gone(p));
  }

  void take(proc_id by, std::uint64_t question) { ask(by, id, question, ask_op::pool_take); }
  proc_id taken(proc_id by, std::uint64_t question) {
    const auto a = answer_to(by, question);
    BOOST_REQUIRE(a.what == answer_kind::number);
    return static_cast<proc_id>(a.number);
  }
  proc_id take_now(proc_id by) {
    take(by, 901);
    return taken(by, 901);
  }
  void put(proc_id by, proc_id which) {
    ask(by, id, 902, ask_op::pool_put, process(which));
    BOOST_REQUIRE(answer_to(by, 902).what == answer_kind::nothing);
  }
  void push(proc_id by, std::vector<pool_member> members) { ask(by, id, 903, ask_op::pool_push, pushed(std::move(members))); }
  bool done(proc_id by, std::uint64_t question) { return answered(by, question) && answer_to(by, question).what == answer_kind::nothing; }
  pool_status status() {
    ask(2, id, 904, ask_op::pool_status);
    return decoded<pool_status>(answer_to(2, 904));
  }
  void look(proc_id by, std::uint64_t question, std::uint64_t known) { ask(by, id, question, ask_op::pool_view, number(known)); }
  pool_view seen(proc_id by, std::uint64_t question) { return decoded<pool_view>(answer_to(by, question)); }

  const ref_id id{me, 2, 1};
};

} // namespace

// WP-01, WP-02, WP-03
BOOST_AUTO_TEST_CASE(a_member_that_was_taken_is_out_until_it_is_put_back) {
  pool p{{{10}, {11}}};
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST((p.status().idle == ids{11}));
  BOOST_TEST(p.take_now(3) == 11);
  BOOST_TEST(!p.status().ready);
  p.take(4, 1);
  p.take(3, 2);
  BOOST_TEST(!p.answered(4, 1));
  BOOST_TEST(p.status().size == 2u);
  p.put(3, 11);
  BOOST_TEST(p.taken(4, 1) == 11);
  BOOST_TEST(!p.answered(3, 2));
  p.put(2, 10);
  BOOST_TEST(p.taken(3, 2) == 10);
  BOOST_TEST((p.status().members == ids{10, 11}));
}

// WP-09
BOOST_AUTO_TEST_CASE(the_one_that_was_idle_for_longest_is_taken) {
  pool p{{{12}, {10}, {11}}};
  BOOST_TEST(p.take_now(2) == 12);
  BOOST_TEST(p.take_now(2) == 10);
  p.put(2, 10);
  p.put(2, 12);
  BOOST_TEST(p.take_now(2) == 11);
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST(p.take_now(2) == 12);
}

// WP-04, WP-10
BOOST_AUTO_TEST_CASE(who_waits_takes_nothing_and_is_served_in_its_turn) {
  pool p{{{10}}};
  p.ask(3, p.id, 1, ask_op::pool_wait);
  BOOST_TEST(p.done(3, 1));
  BOOST_TEST(p.take_now(2) == 10);
  p.ask(3, p.id, 2, ask_op::pool_wait);
  p.take(4, 3);
  p.ask(3, p.id, 4, ask_op::pool_wait);
  BOOST_TEST(!p.answered(3, 2));
  p.put(2, 10);
  BOOST_TEST(p.done(3, 2));
  BOOST_TEST(p.taken(4, 3) == 10);
  BOOST_TEST(!p.answered(3, 4)); // it came behind the taker
  p.put(4, 10);
  BOOST_TEST(p.done(3, 4));
  BOOST_TEST(p.status().ready);
}

// WP-12
BOOST_AUTO_TEST_CASE(what_is_no_member_or_is_not_out_is_not_given_back) {
  pool p{{{10}}};
  p.put(2, 99);
  p.put(2, 10);
  p.put(2, -5);
  BOOST_TEST(p.take_now(2) == 10);
  p.take(2, 1);
  BOOST_TEST(!p.answered(2, 1));
  BOOST_TEST(p.status().size == 1u);
}

// WP-15
BOOST_AUTO_TEST_CASE(a_member_is_out_as_often_as_it_has_slots) {
  pool p{{{10, 2}, {11, 1}}};
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST(p.take_now(2) == 11);
  BOOST_TEST(p.take_now(3) == 10);
  BOOST_TEST(!p.status().ready);
  BOOST_TEST(p.status().size == 2u);
  p.push(2, {{11}, {10, 2}});
  BOOST_TEST(p.done(2, 903));
  BOOST_TEST((p.status().idle == ids{10, 11}));
  BOOST_TEST(p.take_now(2) == 11);
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST(!p.status().ready);
}

// WP-13, WP-14
BOOST_AUTO_TEST_CASE(who_waits_for_a_pool_whose_members_all_die_is_told) {
  pool p{{{10}, {11}}};
  p.take_now(2);
  p.take_now(2);
  p.take(3, 1);
  p.ask(4, p.id, 2, ask_op::pool_wait);
  p.lose(10);
  BOOST_TEST(!p.answered(3, 1));
  BOOST_TEST((p.status().members == ids{11}));
  p.lose(11);
  const auto why = p.error_to(3, 1);
  BOOST_TEST((why.kind == error_kind::no_workers));
  BOOST_TEST((why.pids == ids{10, 11}));
  BOOST_TEST(why.message.find("worker 10 was lost, worker 11 was lost") != std::string::npos);
  BOOST_TEST((p.error_to(4, 2).kind == error_kind::no_workers));
  p.take(3, 3);
  BOOST_TEST((p.error_to(3, 3).kind == error_kind::no_workers));
  BOOST_TEST(!p.status().ready);
  p.push(2, {{12}});
  BOOST_TEST(p.done(2, 903));
  BOOST_TEST(p.take_now(3) == 12);
}

BOOST_AUTO_TEST_CASE(an_empty_pool_says_so_and_one_that_was_made_of_the_dead_how_they_ended) {
  pool empty{{}};
  empty.take(2, 1);
  BOOST_TEST((empty.error_to(2, 1).kind == error_kind::no_workers));
  pool p{{{10}}};
  p.gone.insert(11);
  p.ask(2, p.id, 1, ask_op::pool_push, pushed({{10}, {11}}, pool_push::join));
  BOOST_TEST(p.done(2, 1));
  BOOST_TEST((p.status().members == ids{10}));
  p.push(2, {{12}, {11}}); // all or nothing
  BOOST_TEST((p.error_to(2, 903).kind == error_kind::process_exited));
  BOOST_TEST((p.status().members == ids{10}));
  p.lose(10);
  p.take(2, 2);
  const auto text = p.error_to(2, 2).message;
  BOOST_TEST(text.find("worker 11 was lost, worker 10 was lost") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(how_members_ended_is_told_of_some) {
  pool p{{}};
  for (proc_id id = 10; id < 1000; ++id) {
    p.push(2, {{id}});
    p.lose(id);
    BOOST_TEST(p.done(2, 903));
  }
  p.take(2, 1);
  const auto why = p.error_to(2, 1);
  BOOST_TEST(why.message.size() < 500u);
  BOOST_TEST(why.message.find("and others") != std::string::npos);
  BOOST_TEST(why.pids.size() < 20u);
}

BOOST_AUTO_TEST_CASE(what_a_process_that_dies_has_taken_comes_back) {
  pool p{{{10}, {11, 2}}};
  BOOST_TEST(p.take_now(3) == 10);
  BOOST_TEST(p.take_now(3) == 11);
  BOOST_TEST(p.take_now(2) == 11);
  p.take(3, 1);
  p.take(4, 2);
  p.take(2, 3);
  p.lose(3);
  BOOST_TEST(p.taken(4, 2) == 10);
  BOOST_TEST(p.taken(2, 3) == 11);
  BOOST_TEST(!p.answered(3, 1));
  // whoever has it may give back what another took: then that one's end gives nothing back
  p.put(2, 10);
  p.lose(4);
  BOOST_TEST(p.take_now(2) == 10);
  BOOST_TEST(!p.status().ready);
}

BOOST_AUTO_TEST_CASE(who_takes_its_question_back_gets_nothing) {
  pool p{{{10}}};
  p.take_now(2);
  p.take(3, 1);
  p.take(4, 1);
  p.ask(3, p.id, 0, ask_op::withdraw, number(1));
  BOOST_TEST(p.done(3, 1));
  p.put(2, 10);
  BOOST_TEST(p.taken(4, 1) == 10);
  p.ask(4, p.id, 0, ask_op::withdraw, number(1)); // too late
  BOOST_TEST(!p.answered(4, 1));
  p.look(3, 2, p.status().size == 1 ? ~std::uint64_t{0} : 0);
  BOOST_TEST(p.seen(3, 2).members.size() == 1u);
}

// WP-16
BOOST_AUTO_TEST_CASE(while_there_is_no_member_another_stands_in_any_number_of_times) {
  pool p{{}, 1};
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(p.take_now(3) == 1);
  auto s = p.status();
  BOOST_TEST(s.size == 0u);
  BOOST_TEST((s.members == ids{1}));
  BOOST_TEST((s.idle == ids{1}));
  BOOST_TEST(s.ready);
  p.look(2, 1, 0);
  const auto alone = p.seen(2, 1);
  BOOST_REQUIRE(alone.members.size() == 1u);
  BOOST_TEST(alone.members[0].id == 1);
  BOOST_TEST(alone.members[0].taken == 0);
  p.ask(2, p.id, 2, ask_op::pool_push, pushed({{10}}, pool_push::join));
  p.ask(2, p.id, 3, ask_op::pool_push, pushed({{10}, {11}}, pool_push::join));
  p.put(3, 1);
  s = p.status();
  BOOST_TEST(s.size == 2u);
  BOOST_TEST((s.members == ids{10, 11}));
  p.take_now(2);
  p.take_now(2);
  p.take(4, 4);
  p.ask(4, p.id, 5, ask_op::pool_wait);
  BOOST_TEST(!p.answered(4, 4));
  p.lose(10);
  p.lose(11);
  BOOST_TEST(p.taken(4, 4) == 1);
  BOOST_TEST(p.done(4, 5));
}

BOOST_AUTO_TEST_CASE(a_view_comes_when_another_member_is_there_or_one_has_become_idle_or_busy) {
  pool p{{{10, 2}, {11}}};
  p.look(2, 1, 0);
  const auto first = p.seen(2, 1);
  BOOST_TEST(!first.custom);
  BOOST_TEST(first.version > 0u);
  BOOST_REQUIRE(first.members.size() == 2u);
  BOOST_TEST(first.members[0].slots == 2);
  p.look(2, 2, first.version);
  p.take_now(3); // one of two slots
  BOOST_TEST(!p.answered(2, 2));
  p.take_now(3);
  const auto second = p.seen(2, 2);
  BOOST_TEST(second.version != first.version);
  BOOST_TEST(second.members[1].taken == 1);
  p.look(2, 3, second.version);
  p.put(3, 11);
  const auto third = p.seen(2, 3);
  BOOST_TEST(third.members[1].taken == 0);
  p.look(2, 4, third.version);
  p.lose(11);
  const auto fourth = p.seen(2, 4);
  BOOST_TEST(fourth.members.size() == 1u);
  p.look(2, 5, fourth.version);
  p.push(2, {{12}});
  BOOST_TEST(p.seen(2, 5).members.size() == 2u);
  p.look(2, 6, p.status().size == 2 ? 0 : 1);
  const auto last = p.seen(2, 6).version;
  p.look(2, 7, last);
  p.look(3, 7, last);
  p.look(4, 7, last);
  p.ask(2, p.id, 0, ask_op::withdraw, number(7));
  BOOST_TEST(p.done(2, 7));
  p.lose(3);
  p.push(2, {{13}});
  BOOST_TEST(!p.answered(2, 7));
  BOOST_TEST(!p.answered(3, 7));
  BOOST_TEST(p.seen(4, 7).members.size() == 3u);
}

BOOST_AUTO_TEST_CASE(questions_that_make_no_sense_are_refused) {
  pool p{{{10}}};
  BOOST_CHECK_THROW(p.push(3, {{11, 0}}), codec_error);
  BOOST_CHECK_THROW(p.push(3, {{0, 1}}), codec_error);
  BOOST_CHECK_THROW(p.push(3, {{11, troupe::detail::most_pool_slots + 1}}), codec_error);
  p.push(3, {{10, troupe::detail::most_pool_slots}});
  BOOST_TEST((p.error_to(3, 903).kind == error_kind::usage));
  BOOST_CHECK_THROW(p.ask(3, p.id, 1, ask_op::pool_put, nothing()), codec_error);
  BOOST_CHECK_THROW(p.ask(3, p.id, 1, ask_op::pool_view, nothing()), codec_error);
  BOOST_CHECK_THROW(p.ask(3, p.id, 1, ask_op::pool_take, number(1)), codec_error);
  BOOST_CHECK_THROW(p.ask(3, p.id, 1, ask_op::pool_push,
                          [](troupe::writer& w) {
                            w.put(pool_push::add);
                            w.put(~std::uint64_t{0});
                          }),
                    codec_error);
  p.ask(3, p.id, 2, ask_op::take);
  BOOST_TEST((p.error_to(3, 2).kind == error_kind::type_mismatch));
  p.ask(3, p.id, 3, ask_op::pool_take, nothing(), 0, text_type);
  BOOST_TEST((p.error_to(3, 3).kind == error_kind::type_mismatch));
  BOOST_TEST(p.take_now(2) == 10);
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_pool_that_nobody_holds_is_told) {
  pool p{{{10}}};
  p.take_now(2);
  p.take(2, 1);
  p.look(2, 3, 0);
  p.look(2, 2, p.seen(2, 3).version);
  p.tell(2, [](troupe::writer& w) { // give_up
    w.put(std::uint8_t{0});
    w.put(std::uint64_t{1});
  });
  BOOST_TEST((p.error_to(2, 1).kind == error_kind::usage));
  BOOST_TEST((p.error_to(2, 2).kind == error_kind::usage));
  BOOST_TEST(p.all.size() == 0u);
}

namespace {

// What the pool does, in the plainest form: idle slots in the order in which they came, takers in theirs.
struct model {
  struct slot {
    proc_id id;
    proc_id by; // 0: idle
    std::uint64_t since;
  };
  std::vector<slot> slots;
  std::deque<std::pair<proc_id, std::uint64_t>> takers;
  std::uint64_t clock = 0;

  bool alive(proc_id id) const {
    return std::any_of(slots.begin(), slots.end(), [=](auto& s) { return s.id == id; });
  }
  int idle(proc_id id) const {
    return static_cast<int>(std::count_if(slots.begin(), slots.end(), [=](auto& s) { return s.id == id && s.by == 0; }));
  }
};

} // namespace

// WP-02, WP-08, WP-13, WP-14
BOOST_AUTO_TEST_CASE(random_histories_lose_no_member_and_no_taker) {
  const auto given = std::getenv("TROUPE_HISTORIES");
  const int histories = given == nullptr ? 400 : std::atoi(given);
  for (int seed = 0; seed < histories; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random{static_cast<std::uint32_t>(seed)};
      const auto below = [&](int n) { return static_cast<int>(random() % static_cast<std::uint32_t>(n)); };
      pool p{{}};
      model m;
      std::vector<std::pair<proc_id, proc_id>> held; // who has which
      std::vector<std::pair<proc_id, std::uint64_t>> open;
      ids clients{2, 3, 4, 5};
      proc_id next_member = 10;
      std::uint64_t question = 1;
      const auto add = [&](proc_id id, int slots) {
        p.push(2, {{id, slots}});
        BOOST_REQUIRE(p.done(2, 903));
        for (int i = 0; i < slots; ++i)
          m.slots.push_back({id, 0, 0});
      };
      // every question that the pool has answered, against what is possible
      const auto check = [&] {
        std::erase_if(open, [&](auto& o) {
          if (!p.answered(o.first, o.second))
            return false;
          const auto a = p.answer_to(o.first, o.second);
          BOOST_REQUIRE(!m.takers.empty());
          BOOST_REQUIRE((m.takers.front() == o)); // in the order of asking
          m.takers.pop_front();
          if (a.what == answer_kind::error) {
            BOOST_REQUIRE(m.slots.empty());
            return true;
          }
          const auto id = static_cast<proc_id>(a.number);
          const auto s = std::find_if(m.slots.begin(), m.slots.end(), [&](auto& x) { return x.id == id && x.by == 0; });
          BOOST_REQUIRE(s != m.slots.end());
          s->by = o.first;
          held.emplace_back(o.first, id);
          return true;
        });
        const auto idle = std::count_if(m.slots.begin(), m.slots.end(), [](auto& s) { return s.by == 0; });
        if (!m.takers.empty()) {
          BOOST_REQUIRE(!m.slots.empty());
          BOOST_REQUIRE(idle == 0);
        }
        const auto now = p.status();
        BOOST_REQUIRE(now.ready == (idle > 0));
        std::set<proc_id> live, free;
        for (auto& s : m.slots) {
          live.insert(s.id);
          if (s.by == 0)
            free.insert(s.id);
        }
        BOOST_REQUIRE((now.members == ids{live.begin(), live.end()}));
        BOOST_REQUIRE((now.idle == ids{free.begin(), free.end()}));
        BOOST_REQUIRE(now.size == live.size());
      };
      add(next_member++, 1 + below(2));
      for (int step = 0; step < 60; ++step) {
        const auto client = clients[static_cast<std::size_t>(below(static_cast<int>(clients.size())))];
        switch (below(9)) {
          case 0:
          case 1:
          case 2:
            m.takers.emplace_back(client, question);
            open.emplace_back(client, question);
            p.take(client, question++);
            break;
          case 3:
          case 4:
          case 5:
            if (!held.empty()) {
              const auto i = held.begin() + below(static_cast<int>(held.size()));
              const auto s = std::find_if(m.slots.begin(), m.slots.end(), [&](auto& x) { return x.id == i->second && x.by == i->first; });
              if (s != m.slots.end())
                s->by = 0;
              p.put(i->first, i->second);
              held.erase(i);
            } else {
              p.put(client, next_member);
            }
            break;
          case 6:
            if (!open.empty()) {
              const auto i = open.begin() + below(static_cast<int>(open.size()));
              p.ask(i->first, p.id, 0, ask_op::withdraw, number(i->second));
              BOOST_REQUIRE(p.done(i->first, i->second));
              m.takers.erase(std::find(m.takers.begin(), m.takers.end(), *i));
              open.erase(i);
            }
            break;
          case 7:
            if (below(2) == 0 || m.slots.empty())
              add(below(3) == 0 && !m.slots.empty() ? m.slots.front().id : next_member++, 1 + below(2));
            break;
          case 8:
            if (below(3) > 0 && !m.slots.empty()) { // a member dies
              const auto id = m.slots[static_cast<std::size_t>(below(static_cast<int>(m.slots.size())))].id;
              std::erase_if(m.slots, [=](auto& s) { return s.id == id; });
              std::erase_if(held, [=](auto& h) { return h.second == id; });
              p.lose(id);
            } else if (clients.size() > 1 && client != 2) { // a user dies
              for (auto& s : m.slots)
                if (s.by == client)
                  s.by = 0;
              std::erase_if(held, [=](auto& h) { return h.first == client; });
              std::erase_if(open, [=](auto& o) { return o.first == client; });
              std::erase_if(m.takers, [=](auto& o) { return o.first == client; });
              std::erase(clients, client);
              p.lose(client);
            }
            break;
        }
        check();
      }
      BOOST_REQUIRE(p.answers.empty());
    }
  }
}
