#define BOOST_TEST_MODULE task_control
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/executor.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/error.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::becomes_true;
using test::event;
using troupe::error_kind;
using troupe::executor;
using troupe::task_control;
using troupe::waiter;

namespace {

troupe::error_info why(error_kind kind = error_kind::cancelled, const std::string& text = "enough") {
  return troupe::make_error_info(kind, text);
}

const task_control::client nobody{.from = 1, .number = 42, .flags = 0, .kept = {}, .label = nullptr};

bool check_throws() {
  try {
    task_control::check();
  } catch (const troupe::cancelled&) {
    return true;
  }
  return false;
}

bool wait_throws(std::chrono::milliseconds limit) {
  try {
    waiter::of_this_thread().wait(std::chrono::steady_clock::now() + limit);
  } catch (const troupe::cancelled& e) {
    return e.message() == "enough";
  }
  return false;
}

// A job of an executor that is a task, and computes until it is let go.
class computing {
public:
  explicit computing(executor& e) {
    e.submit([this] {
      task_control::task t{nobody};
      control_ = &t.control();
      go_on_.wait();
      at_end();
      answers_ = t.end();
      done_.set();
    });
    becomes_true([this] { return control_.load() != nullptr; });
  }
  ~computing() { finish(); }

  // In the job, when it goes on.
  std::function<void()> at_end = [] {};

  std::optional<task_control::run> tell(const troupe::error_info& what) { return control_.load()->tell(what); }

  // Whether the task may answer.
  bool finish() {
    go_on_.set();
    done_.wait();
    return answers_;
  }

private:
  std::atomic<task_control*> control_{nullptr};
  event go_on_, done_;
  std::atomic<bool> answers_{false};
};

} // namespace

BOOST_AUTO_TEST_CASE(outside_of_a_task_there_is_nothing_to_obey) {
  BOOST_TEST(task_control::current() == nullptr);
  task_control::check();
  BOOST_TEST(task_control::tell_all(why()).empty());
  BOOST_TEST(!wait_throws(1ms));
}

BOOST_AUTO_TEST_CASE(a_task_that_was_told_throws_at_each_check_and_each_wait) {
  task_control::task t{nobody};
  BOOST_TEST(task_control::current() == &t.control());
  BOOST_TEST(!t.control().told());
  BOOST_TEST(!check_throws());
  BOOST_TEST(!wait_throws(1ms));
  BOOST_TEST(t.control().tell(why()).has_value());
  BOOST_TEST(t.control().told());
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(check_throws());
    BOOST_TEST(wait_throws(60s));
  }
  waiter::of_this_thread().notify();
  BOOST_TEST(wait_throws(60s));
}

BOOST_AUTO_TEST_CASE(what_it_was_told_first_counts) {
  task_control::task t{nobody};
  BOOST_TEST(t.control().tell(why()).has_value());
  BOOST_TEST(!t.control().tell(why(error_kind::interrupted)).has_value());
  BOOST_TEST(check_throws());
}

BOOST_AUTO_TEST_CASE(a_wait_in_progress_ends_at_once) {
  for (int round = 0; round < 100; ++round) {
    std::atomic<task_control*> control{nullptr};
    std::atomic<bool> thrown{false};
    event told;
    std::thread t{[&] {
      task_control::task task{nobody};
      control = &task.control();
      thrown = wait_throws(60s);
      told.wait();
    }};
    BOOST_REQUIRE(becomes_true([&] { return control.load() != nullptr; }));
    if (round % 2 == 0)
      std::this_thread::yield();
    BOOST_TEST(control.load()->tell(why()).has_value());
    told.set();
    t.join();
    BOOST_TEST(thrown);
  }
}

BOOST_AUTO_TEST_CASE(the_next_task_of_the_thread_was_told_nothing) {
  std::optional<task_control::run> told;
  {
    task_control::task t{nobody};
    told = t.control().tell(why());
    BOOST_TEST(t.end());
    BOOST_TEST(t.end());
    BOOST_TEST(task_control::current() == nullptr);
    BOOST_TEST(!t.control().tell(why()).has_value()); // it has ended
    BOOST_TEST(!wait_throws(1ms));
  }
  task_control::task t{nobody};
  BOOST_TEST(!check_throws());
  BOOST_TEST(!task_control::look_after(*told).runs);
  BOOST_TEST(!wait_throws(1ms));
}

BOOST_AUTO_TEST_CASE(what_runs_within_the_thread_but_not_in_the_task_is_told_nothing) {
  task_control::task t{nobody};
  t.control().tell(why());
  {
    task_control::hidden other;
    BOOST_TEST(task_control::current() == nullptr);
    BOOST_TEST(!check_throws());
  }
  BOOST_TEST(check_throws());
}

BOOST_AUTO_TEST_CASE(a_task_that_unwinds_may_wait) {
  struct waits_at_its_end {
    bool& came;
    ~waits_at_its_end() {
      BOOST_TEST(!check_throws());
      waiter::of_this_thread().reset();
      came = !waiter::of_this_thread().wait(std::chrono::steady_clock::now() + 1ms);
    }
  };
  task_control::task t{nobody};
  t.control().tell(why());
  bool came = false;
  try {
    waits_at_its_end x{came};
    task_control::check();
  } catch (const troupe::cancelled&) {
    BOOST_TEST(check_throws());
  }
  BOOST_TEST(came);
}

BOOST_AUTO_TEST_CASE(all_tasks_that_run_are_told_at_once) {
  constexpr int tasks = 10;
  executor e{tasks};
  std::atomic<int> begun{0}, thrown{0};
  for (int i = 0; i < tasks; ++i)
    e.submit([&] {
      task_control::task t{nobody};
      ++begun;
      thrown += wait_throws(60s);
    });
  BOOST_REQUIRE(becomes_true([&] { return begun == tasks; }));
  e.submit([&] { wait_throws(1ms); }); // no task
  const auto told = task_control::tell_all(why());
  BOOST_TEST(told.size() == 10u);
  BOOST_TEST(becomes_true([&] { return thrown == tasks; }));
  BOOST_REQUIRE(becomes_true([&] { return e.idle(); }));
  BOOST_TEST(task_control::tell_all(why()).empty());
}

BOOST_AUTO_TEST_CASE(the_turn_of_a_task_that_goes_on_computing_is_taken) {
  executor e{1};
  computing task{e};
  event other;
  e.submit([&] { other.set(); });
  auto told = task.tell(why());
  BOOST_REQUIRE(told.has_value());
  BOOST_TEST(!other.is_set());
  const auto now = task_control::look_after(*told);
  BOOST_TEST(now.runs);
  BOOST_TEST(!now.unanswered.has_value()); // its client has given up
  BOOST_TEST(other.wait());
  BOOST_TEST(task_control::look_after(*told).runs);
  BOOST_TEST(task.finish());
  BOOST_TEST(!task_control::look_after(*told).runs);
}

BOOST_AUTO_TEST_CASE(who_waits_for_an_interrupted_task_that_computes_is_answered_once_in_its_place) {
  executor e{2};
  computing task{e};
  auto told = task.tell(why(error_kind::interrupted));
  const auto now = task_control::look_after(*told);
  BOOST_TEST(now.runs);
  BOOST_REQUIRE(now.unanswered.has_value());
  BOOST_TEST(now.unanswered->number == 42u);
  BOOST_TEST(!task_control::look_after(*told).unanswered.has_value());
  BOOST_TEST(!task.finish()); // too late
  computing next{e};
  BOOST_TEST(next.finish());
}

BOOST_AUTO_TEST_CASE(a_task_that_has_waited_since_it_was_told_keeps_its_turn) {
  executor e{1};
  std::atomic<task_control*> control{nullptr};
  event told_it, has_waited, end;
  e.submit([&] {
    task_control::task t{nobody};
    control = &t.control();
    told_it.wait();
    executor::waiting{};
    has_waited.set();
    end.wait();
  });
  BOOST_REQUIRE(becomes_true([&] { return control.load() != nullptr; }));
  auto told = control.load()->tell(why());
  told_it.set();
  BOOST_REQUIRE(has_waited.wait());
  event other;
  e.submit([&] { other.set(); });
  BOOST_TEST(task_control::look_after(*told).runs);
  BOOST_TEST(e.backlog());
  BOOST_TEST(!other.is_set());
  BOOST_TEST(task_control::look_after(*told).runs); // it has computed since the last look
  BOOST_TEST(other.wait());
  end.set();
}

BOOST_AUTO_TEST_CASE(who_looks_late_has_a_turn_again_before_it_learns_why) {
  executor e{1};
  computing task{e};
  std::atomic<bool> before{true}, after{false};
  task.at_end = [&] {
    before = executor::in_job();
    after = check_throws() && executor::in_job();
  };
  auto told = task.tell(why());
  task_control::look_after(*told);
  task.finish();
  BOOST_TEST(!before);
  BOOST_TEST(after);
}

BOOST_AUTO_TEST_CASE(tasks_that_are_told_at_any_time_throw_what_they_were_told_or_end) {
  executor e{2};
  constexpr int tasks = 20'000;
  std::atomic<int> done{0}, wrong{0};
  for (int i = 0; i < tasks; ++i)
    e.submit([&, i] {
      task_control::task t{nobody};
      try {
        if (i % 3 == 0)
          waiter::of_this_thread().wait(std::chrono::steady_clock::now());
        task_control::check();
        wrong += !t.end();
      } catch (const troupe::cancelled& x) {
        wrong += x.message() != "enough" || !t.control().told();
      } catch (...) {
        ++wrong;
      }
      ++done;
    });
  std::vector<task_control::run> all;
  BOOST_TEST(becomes_true([&] {
    for (auto& r : task_control::tell_all(why()))
      all.push_back(std::move(r));
    for (auto& r : all)
      task_control::look_after(r);
    if (all.size() > 100)
      all.clear();
    return done == tasks;
  }));
  BOOST_TEST(wrong == 0);
}
