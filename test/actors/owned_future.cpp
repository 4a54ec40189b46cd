#define BOOST_TEST_MODULE owned_future
#include <boost/test/unit_test.hpp>

#include "actors/asking.hpp"

using namespace test;
using troupe::codec_error;
using troupe::error_kind;
namespace flags = troupe::ask_flags;

namespace {

// A future that process 2 has made here.
struct future : owner {
  future() {
    tell(2, [this](troupe::writer& w) {
      w.put(troupe::count_news::kind::create);
      w.put(id.id);
    });
  }

  void put(proc_id from, std::uint64_t question, int x) { ask(from, id, question, ask_op::put, values({x})); }
  bool done(proc_id by, std::uint64_t question) { return answered(by, question) && answer_to(by, question).what == answer_kind::nothing; }
  bool ready() {
    ask(2, id, 999, ask_op::isready);
    return answer_to(2, 999).number == 1;
  }

  const ref_id id{me, 2, 1};
};

arguments error_of(troupe::error_info why) {
  return [why = std::move(why)](troupe::writer& w) { troupe::write(w, why); };
}

arguments process(proc_id p) {
  return [p](troupe::writer& w) { w.put(p); };
}

troupe::kept_value kept(int x) { return troupe::kept_value::of(std::as_bytes(std::span{&x, 1}), nullptr, {}); }

} // namespace

// FU-01, FU-02
BOOST_AUTO_TEST_CASE(a_future_is_set_once) {
  future f;
  BOOST_TEST(!f.ready());
  f.put(3, 1, 7);
  BOOST_TEST(f.done(3, 1));
  BOOST_TEST(f.ready());
  f.put(4, 1, 8);
  BOOST_TEST((f.error_to(4, 1).kind == error_kind::already_set));
  f.ask(4, f.id, 2, ask_op::fail, error_of(failure("no")));
  BOOST_TEST((f.error_to(4, 2).kind == error_kind::already_set));
  for (int i = 0; i < 2; ++i) {
    f.ask(4, f.id, 3, ask_op::fetch);
    BOOST_TEST((ints_of(f.answer_to(4, 3)) == std::vector{7}));
    f.ask(4, f.id, 3, ask_op::wait);
    BOOST_TEST(f.done(4, 3));
  }
}

BOOST_AUTO_TEST_CASE(who_waits_is_answered_when_it_is_set) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch);
  f.ask(4, f.id, 1, ask_op::wait);
  f.ask(4, f.id, 2, ask_op::fetch, nothing(), flags::at_once);
  BOOST_TEST(f.done(4, 2));
  BOOST_TEST(f.answers.empty());
  f.put(2, 0, 5); // nobody wants to know whether it was
  BOOST_TEST((ints_of(f.answer_to(3, 1)) == std::vector{5}));
  BOOST_TEST(f.done(4, 1));
  BOOST_TEST(f.answers.empty());
}

BOOST_AUTO_TEST_CASE(an_error_goes_to_all) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch);
  f.ask(2, f.id, 1, ask_op::fail, error_of(failure("came to nothing")));
  BOOST_TEST(f.done(2, 1));
  BOOST_TEST((f.error_to(3, 1).kind == error_kind::process_exited));
  f.ask(4, f.id, 1, ask_op::wait);
  BOOST_TEST((f.error_to(4, 1).kind == error_kind::process_exited));
  BOOST_TEST(f.ready());
}

BOOST_AUTO_TEST_CASE(who_withdraws_gets_nothing_more) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch);
  f.ask(3, f.id, 0, ask_op::withdraw, number(1));
  BOOST_TEST(f.done(3, 1));
  f.ask(3, f.id, 0, ask_op::withdraw, number(1));
  f.put(2, 0, 5);
  BOOST_TEST(f.answers.empty());
}

BOOST_AUTO_TEST_CASE(another_type_is_refused_before_and_after_it_is_set) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch, nothing(), 0, int_type);
  f.ask(4, f.id, 9, ask_op::wait, nothing(), 0, text_type); // nobody who knows has said
  BOOST_TEST(!f.ready());                                   // asked by its maker
  f.ask(4, f.id, 1, ask_op::fetch, nothing(), 0, text_type);
  BOOST_TEST((f.error_to(4, 1).kind == error_kind::type_mismatch));
  f.ask(4, f.id, 1, ask_op::put, values({1}), 0, text_type);
  BOOST_TEST((f.error_to(4, 1).kind == error_kind::type_mismatch));
  f.put(2, 0, 5);
  BOOST_TEST((ints_of(f.answer_to(3, 1)) == std::vector{5}));
  BOOST_TEST((f.error_to(4, 9).kind == error_kind::type_mismatch));
  f.ask(4, f.id, 1, ask_op::isready, nothing(), 0, text_type);
  BOOST_TEST((f.error_to(4, 1).kind == error_kind::type_mismatch));
  for (auto op : {ask_op::take, ask_op::size, ask_op::close, ask_op::lease, ask_op::isopen}) {
    f.ask(4, f.id, 1, op);
    BOOST_TEST((f.error_to(4, 1).kind == error_kind::type_mismatch));
  }
}

BOOST_AUTO_TEST_CASE(malformed_questions_are_refused) {
  future f;
  for (auto& [op, args] : {std::pair{ask_op::put, values({7})},
                           {ask_op::fail, error_of(failure("x"))},
                           {ask_op::withdraw, number(3)},
                           {ask_op::tie, process(3)}}) {
    const auto whole = owner::question(f.id, 4, op, args);
    for (std::size_t n = 0; n < whole.payload.size(); ++n) {
      troupe::frame_view cut;
      cut.payload = whole.payload.first(n);
      cut.owner = whole.owner;
      BOOST_CHECK_THROW(f.all.ask(3, cut), codec_error);
    }
  }
  BOOST_CHECK_THROW(f.ask(3, f.id, 1, ask_op::put, values({1, 2})), codec_error);
  BOOST_CHECK_THROW(f.ask(3, f.id, 1, ask_op::put, values({})), codec_error);
  BOOST_CHECK_THROW(f.ask(3, f.id, 1, ask_op::create, number(3)), codec_error); // not its own
  BOOST_CHECK_THROW(f.ask(2, f.id, 1, ask_op::create, number(3)), codec_error); // a second time
  BOOST_TEST(!f.ready());
  BOOST_TEST(f.answers.empty());
}

BOOST_AUTO_TEST_CASE(a_tied_future_fails_when_who_promised_it_is_lost_first) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch);
  f.ask(2, f.id, 1, ask_op::tie, process(4));
  BOOST_TEST(f.done(2, 1));
  f.lose(4);
  BOOST_TEST((f.error_to(3, 1).kind == error_kind::process_exited));

  future kept_promise;
  kept_promise.ask(2, kept_promise.id, 1, ask_op::tie, process(4));
  kept_promise.put(4, 0, 9);
  kept_promise.lose(4);
  kept_promise.ask(3, kept_promise.id, 1, ask_op::fetch);
  BOOST_TEST((ints_of(kept_promise.answer_to(3, 1)) == std::vector{9}));

  future late;
  late.gone.insert(4);
  late.ask(2, late.id, 1, ask_op::tie, process(4));
  late.ask(3, late.id, 1, ask_op::wait);
  BOOST_TEST((late.error_to(3, 1).kind == error_kind::process_exited));
}

BOOST_AUTO_TEST_CASE(who_is_lost_is_not_answered) {
  future f;
  f.ask(3, f.id, 1, ask_op::fetch);
  f.lose(3);
  f.put(2, 0, 1);
  BOOST_TEST(f.answers.empty());
}

BOOST_AUTO_TEST_CASE(the_actor_ends_with_the_reference) {
  future f;
  f.ask(3, f.id, 1, ask_op::actor);
  BOOST_TEST((f.answer_to(3, 1).what == answer_kind::value));
  BOOST_TEST(f.ended_actors.empty());
  f.tell(2, [&](troupe::writer& w) {
    w.put(troupe::count_news::kind::give_up);
    w.put(f.id.id);
  });
  BOOST_TEST((f.ended_actors == std::vector{f.id}));
}

// -- results of calls -------------------------------------------------------------------------------------------------------

// GC-01
BOOST_AUTO_TEST_CASE(a_result_is_kept_until_its_caller_gives_it_up) {
  owner o;
  const ref_id id{1, 3, 5};
  o.all.begin_call(id);
  BOOST_TEST((o.holders(id) == std::vector<proc_id>{3}));
  BOOST_TEST(o.all.set_value(id, kept(4), int_type));
  o.ask(3, id, 1, ask_op::fetch);
  BOOST_TEST((ints_of(o.answer_to(3, 1)) == std::vector{4}));
  BOOST_TEST(!o.all.set_value(id, kept(5), int_type));
  BOOST_TEST(!o.all.set_error(id, failure("x")));
  o.tell(3, [&](troupe::writer& w) {
    w.put(troupe::count_news::kind::give_up);
    w.put(id.id);
  });
  BOOST_TEST(o.all.size() == 0u);
  BOOST_TEST(!o.all.set_value(id, kept(5), int_type));
}

BOOST_AUTO_TEST_CASE(a_caller_may_give_up_before_its_call_arrives) {
  owner o;
  const ref_id id{1, 3, 5};
  o.tell(3, [&](troupe::writer& w) {
    w.put(troupe::count_news::kind::give_up);
    w.put(id.id);
  });
  o.all.begin_call(id);
  BOOST_TEST(o.all.size() == 0u);
}

// FU-02
BOOST_AUTO_TEST_CASE(what_is_put_into_a_calls_future_stays) {
  owner o;
  const ref_id id{1, 3, 5};
  o.all.begin_call(id);
  o.ask(4, id, 1, ask_op::put, values({9}));
  BOOST_TEST((o.answer_to(4, 1).what == answer_kind::nothing));
  BOOST_TEST(!o.all.set_value(id, kept(5), int_type));
  o.ask(3, id, 1, ask_op::fetch);
  BOOST_TEST((ints_of(o.answer_to(3, 1)) == std::vector{9}));
}

// -- what isn't known -------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_question_about_what_is_not_made_yet_waits_for_its_maker) {
  owner o;
  const ref_id f{1, 2, 1}, c{1, 2, 2};
  o.ask(3, f, 1, ask_op::fetch);
  o.ask(3, f, 2, ask_op::put, values({6}));
  o.ask(3, c, 3, ask_op::put, values({7}));
  o.ask(4, c, 1, ask_op::take);
  BOOST_TEST(o.answers.empty());
  BOOST_TEST(o.all.list().empty());
  o.tell(2, [&](troupe::writer& w) {
    w.put(troupe::count_news::kind::create);
    w.put(f.id);
  });
  o.ask(2, c, 0, ask_op::create, number(1));
  BOOST_TEST((ints_of(o.answer_to(3, 1)) == std::vector{6}));
  BOOST_TEST((o.answer_to(3, 2).what == answer_kind::nothing));
  BOOST_TEST((o.answer_to(3, 3).what == answer_kind::nothing));
  BOOST_TEST((ints_of(o.answer_to(4, 1)) == std::vector{7}));
  o.pass_time();
  BOOST_TEST(o.answers.empty());
  BOOST_TEST(o.all.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_question_about_what_is_never_made_is_refused) {
  const ref_id f{1, 2, 1};
  owner patient;
  patient.ask(3, f, 1, ask_op::fetch);
  patient.pass_time();
  BOOST_TEST(patient.answers.empty());

  owner o{std::chrono::hours{1}};
  o.ask(3, f, 1, ask_op::fetch);
  o.ask(3, f, 2, ask_op::wait);
  o.ask(3, f, 0, ask_op::withdraw, number(2));
  BOOST_TEST(o.answers.size() == 1u);
  BOOST_TEST((o.answer_to(3, 2).what == answer_kind::nothing));
  o.pass_time();
  BOOST_TEST((o.error_to(3, 1).kind == error_kind::usage));
  BOOST_TEST(o.answers.empty());
  BOOST_TEST(o.all.size() == 0u);
}

BOOST_AUTO_TEST_CASE(who_ought_to_know_is_refused_at_once) {
  owner o;
  o.ask(2, {1, 2, 1}, 1, ask_op::fetch); // its maker would have told before
  BOOST_TEST((o.error_to(2, 1).kind == error_kind::usage));
  o.ask(2, {1, 1, 1}, 1, ask_op::fetch); // made here, and gone
  BOOST_TEST((o.error_to(2, 1).kind == error_kind::usage));
  o.gone.insert(4);
  o.ask(2, {1, 4, 1}, 1, ask_op::fetch); // its maker won't tell any more
  BOOST_TEST((o.error_to(2, 1).kind == error_kind::usage));
  o.ask(2, {1, 4, 1}, 0, ask_op::put, values({1}));
  BOOST_TEST(o.answers.empty());
  BOOST_TEST(o.all.size() == 0u);
}

BOOST_AUTO_TEST_CASE(news_that_cannot_be_read_are_refused) {
  owner o;
  const auto add = [](proc_id from, proc_id holder) {
    return [=](troupe::writer& w) {
      w.put(troupe::count_news::kind::add);
      w.put(proc_id{2});
      w.put(std::uint64_t{1});
      w.put(from);
      w.put(holder);
      w.put(std::int64_t{1});
    };
  };
  BOOST_CHECK_THROW(o.tell(3, add(4, 5)), codec_error); // about others
  BOOST_CHECK_THROW(o.tell(3, [](troupe::writer& w) { w.put(std::uint8_t{9}); }), codec_error);
  troupe::frame_builder f;
  add(3, 4)(f.start(troupe::frame_kind::counts).out());
  const auto v = view_of(f);
  for (std::size_t n = 1; n < v.payload.size(); ++n)
    BOOST_CHECK_THROW(o.all.hear(3, troupe::reader{v.payload.first(n)}), codec_error);
  BOOST_TEST(o.all.size() == 0u);
}
