#pragma once

/// The owner of references without a process around it: questions are asked as frames from others, answers are looked at, time passes when the test says so.
#include "troupe/actors/owned_references.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace test {

using troupe::ask_op;
using troupe::proc_id;
using troupe::ref_id;
using troupe::reference_answer;
using answer_kind = troupe::reference_answer::kind;
using arguments = std::function<void(troupe::writer&)>;

inline troupe::frame_view view_of(troupe::frame_builder& f) {
  troupe::frame_view v;
  v.references = std::exchange(f.references(), {});
  auto owner = std::make_shared<troupe::byte_buffer>(f.finish_whole());
  v.payload = std::span{*owner}.subspan(sizeof(troupe::frame_header));
  v.owner = std::move(owner);
  return v;
}

inline arguments nothing() {
  return [](troupe::writer&) {};
}

inline arguments number(std::uint64_t n) {
  return [n](troupe::writer& w) { w.put(n); };
}

/// Values for put and give_back.
inline arguments values(std::vector<int> xs) {
  return [xs = std::move(xs)](troupe::writer& w) {
    troupe::write_elements(w, xs.size(), [&](troupe::writer& out, std::size_t i) { out.put(xs[i]); });
  };
}

inline arguments given_back(std::uint64_t take, std::uint64_t place, std::vector<int> xs) {
  return [=, write = values(std::move(xs))](troupe::writer& w) {
    w.put(take);
    w.put(place);
    write(w);
  };
}

inline arguments settlement(std::uint64_t lease, std::uint64_t used, bool ends) {
  return [=](troupe::writer& w) {
    w.put(lease);
    w.put(used);
    w.put(static_cast<std::uint8_t>(ends));
  };
}

inline arguments closing() {
  return [](troupe::writer& w) { w.put(std::uint8_t{0}); };
}

inline arguments closing(troupe::error_info why) {
  return [why = std::move(why)](troupe::writer& w) {
    w.put(std::uint8_t{1});
    troupe::write(w, why);
  };
}

inline troupe::error_info failure(std::string text, troupe::error_kind kind = troupe::error_kind::process_exited) {
  return troupe::make_error_info(kind, std::move(text), 7);
}

inline int int_of(const troupe::kept_value& x) {
  BOOST_REQUIRE_EQUAL(x.bytes.size(), sizeof(int));
  int out;
  std::memcpy(&out, x.bytes.data(), sizeof out);
  return out;
}

inline std::vector<int> ints_of(const reference_answer& a) {
  std::vector<int> out;
  if (a.what == answer_kind::value)
    out.push_back(int_of(a.value));
  for (auto& x : a.elements)
    out.push_back(int_of(x));
  return out;
}

constexpr std::uint64_t int_type = 11;
constexpr std::uint64_t text_type = 13;

class owner {
public:
  static constexpr proc_id me = 1;

  /// `step`: how much time passes at a time; by default, enough for mourning and too little for patience.
  explicit owner(std::chrono::milliseconds step = std::chrono::seconds{2}) : step_(step), all(settings()) {}

  static troupe::frame_view question(const ref_id& about, std::uint64_t number, ask_op op, const arguments& args = nothing(),
                                     std::uint8_t flags = 0, std::uint64_t type = int_type) {
    troupe::frame_builder f;
    auto& out = f.start(troupe::frame_kind::ask).out();
    out.put(number);
    out.put(about.whence);
    out.put(about.id);
    out.put(type);
    out.put(op);
    out.put(flags);
    args(out);
    return view_of(f);
  }

  void ask(proc_id from, const ref_id& about, std::uint64_t number, ask_op op, const arguments& args = nothing(), std::uint8_t flags = 0,
           std::uint64_t type = int_type) {
    auto f = question(about, number, op, args, flags, type);
    all.ask(from, f);
  }

  void tell(proc_id from, const arguments& news) {
    troupe::frame_builder f;
    news(f.start(troupe::frame_kind::counts).out());
    const auto v = view_of(f);
    all.hear(from, troupe::reader{v.payload});
  }

  void lose(proc_id p) {
    gone.insert(p);
    all.peer_lost(p, failure("process " + std::to_string(p) + " was lost"));
  }

  /// What the process was answered to that question, which is forgotten; fails the case unless there's one such answer.
  reference_answer answer_to(proc_id to, std::uint64_t number) {
    const auto is = [&](auto& a) { return a.to == to && a.question == number; };
    const auto i = std::find_if(answers.begin(), answers.end(), is);
    BOOST_REQUIRE_MESSAGE(i != answers.end(), "question " << number << " of process " << to << " has no answer");
    auto out = std::move(*i);
    answers.erase(i);
    BOOST_REQUIRE(std::none_of(answers.begin(), answers.end(), is));
    return out;
  }

  bool answered(proc_id to, std::uint64_t number) const {
    return std::any_of(answers.begin(), answers.end(), [&](auto& a) { return a.to == to && a.question == number; });
  }

  /// The error that the answer is.
  troupe::error_info error_to(proc_id to, std::uint64_t number) {
    const auto a = answer_to(to, number);
    BOOST_REQUIRE(a.what == answer_kind::error);
    return *a.why;
  }

  /// Everything that was to be done later is done.
  void pass_time() {
    now_ += step_;
    for (auto& [after, f] : std::exchange(later, {}))
      f();
  }

  std::vector<proc_id> holders(const ref_id& id) const {
    for (auto& x : all.list())
      if (x.id == id)
        return x.holders;
    return {};
  }

  std::set<proc_id> gone;
  std::vector<reference_answer> answers;
  std::vector<std::pair<std::chrono::milliseconds, std::function<void()>>> later;

private:
  troupe::owned_references::settings settings() {
    troupe::owned_references::settings s;
    s.id = me;
    s.gone = [this](proc_id p) { return gone.contains(p); };
    s.answer = [this](troupe::reference_answer& a) { answers.push_back(std::move(a)); };
    s.send = [](proc_id, troupe::frame_builder&) {};
    s.recount = [](const ref_id&, proc_id) {};
    s.later = [this](std::chrono::milliseconds after, std::function<void()> f) { later.emplace_back(after, std::move(f)); };
    s.write_actor = [](const ref_id&, troupe::writer& w) { w.put(std::uint64_t{77}); };
    s.end_actor = [this](const ref_id& id) { ended_actors.push_back(id); };
    s.now = [this] { return now_; };
    return s;
  }

  std::chrono::steady_clock::time_point now_{std::chrono::hours{1}};
  const std::chrono::milliseconds step_;

public:
  std::vector<ref_id> ended_actors;
  troupe::owned_references all;
};

} // namespace test
