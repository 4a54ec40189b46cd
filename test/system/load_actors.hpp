#pragma once

/// What runs on the processes of a cluster under load. Whatever is answered depends on who answers and on all that was sent, and
/// whatever is only sent has a number: what is lost, comes twice, in the wrong order or from another process is seen.

#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace load {

using troupe::here;
using troupe::proc_id;
using number = std::uint64_t;
using numbers = std::vector<number>;

inline number mix(number x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// What process `id` answers to a question.
inline number right_answer(proc_id id, number question, const numbers& data) {
  auto sum = mix(question + static_cast<number>(id));
  for (auto x : data)
    sum = mix(sum ^ x);
  return sum;
}

inline numbers data_for(number question, std::size_t size) {
  numbers out(size);
  for (auto& x : out)
    x = question = mix(question + 1);
  return out;
}

// -- tasks --------------------------------------------------------------------------------------------------

inline number answer(number question, const numbers& data) { return right_answer(here().myid(), question, data); }

/// Asks another process, from a task.
inline number ask(proc_id whom, number question, const numbers& data) { return here().remotecall_fetch<answer>(whom, question, data); }

/// Asks several at once, and waits in the task for all.
inline number ask_all(const std::vector<proc_id>& whom, number question) {
  std::vector<troupe::future<number>> open;
  for (auto id : whom)
    open.push_back(here().remotecall<answer>(id, question, numbers{}));
  number sum = 0;
  for (auto& f : open)
    sum = mix(sum ^ f.fetch());
  return sum;
}

inline number right_answer_of_all(const std::vector<proc_id>& whom, number question) {
  number sum = 0;
  for (auto id : whom)
    sum = mix(sum ^ right_answer(id, question, {}));
  return sum;
}

// -- actors -------------------------------------------------------------------------------------------------

/// What came of a request that one actor has sent to another.
struct outcome {
  number value = 0;
  std::string error;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, outcome& x) {
    return f(caf::meta::type_name("outcome"), x.value, x.error);
  }
};

/// What an actor has seen.
struct books {
  std::map<proc_id, number> sent;     ///< to the actor of each process
  std::map<proc_id, number> received; ///< and from it
  std::map<proc_id, int> ends;        ///< how often the actor there was reported to have ended
  std::string wrong;                  ///< the first thing that should not have happened

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, books& x) {
    return f(caf::meta::type_name("books"), x.sent, x.received, x.ends, x.wrong);
  }
};

using meet_atom = caf::atom_constant<caf::atom("meet")>;
using part_atom = caf::atom_constant<caf::atom("part")>;
using write_atom = caf::atom_constant<caf::atom("write")>;
using note_atom = caf::atom_constant<caf::atom("note")>;
using pass_atom = caf::atom_constant<caf::atom("pass")>;
using ask_atom = caf::atom_constant<caf::atom("ask")>;
using show_atom = caf::atom_constant<caf::atom("show")>;

struct clerk_state {
  books seen;
  std::map<proc_id, caf::actor> others;

  void take_note(proc_id from, number n, number check) {
    const auto next = ++seen.received[from];
    if ((n != next || check != mix(n)) && seen.wrong.empty())
      seen.wrong = "note " + std::to_string(n) + " from process " + std::to_string(from) + " came in place of " + std::to_string(next);
    seen.received[from] = n;
  }

  void take_end(const caf::actor_addr& who, const std::string& why) {
    for (auto& [id, other] : others) {
      if (other.address() == who) {
        ++seen.ends[id];
        return;
      }
    }
    seen.wrong += "the end of an unknown actor was reported: " + why + '\n';
  }
};

/// One for each worker: sends numbered notes to the others, asks them, and monitors them.
inline caf::behavior clerk(caf::stateful_actor<clerk_state>* self) {
  auto& state = self->state;
  self->set_down_handler([self](caf::down_msg& m) { self->state.take_end(m.source, self->system().render(m.reason)); });
  return {
    [self, &state](meet_atom, proc_id id, const caf::actor& other) {
      state.others[id] = other;
      self->monitor(other);
    },
    [&state](part_atom, proc_id id) {
      state.others.erase(id);
      state.seen.sent.erase(id);
      state.seen.received.erase(id);
      state.seen.ends.erase(id);
    },
    [self, &state](write_atom, proc_id to, int count) {
      for (auto& sent = state.seen.sent[to]; count > 0; --count) {
        ++sent;
        self->send(state.others.at(to), note_atom::value, here().myid(), sent, mix(sent));
      }
    },
    [&state](note_atom, proc_id from, number n, number check) { state.take_note(from, n, check); },
    [](ask_atom, number question) { return right_answer(here().myid(), question, {}); },
    [self, &state](pass_atom, proc_id to, number question) {
      auto promise = self->make_response_promise<outcome>();
      self->request(state.others.at(to), caf::infinite, ask_atom::value, question)
        .then([=](number value) mutable { promise.deliver(outcome{value, {}}); },
              [=](caf::error& e) mutable { promise.deliver(outcome{0, self->system().render(e)}); });
      return promise;
    },
    [&state](show_atom) { return state.seen; },
  };
}

/// On every process, before app.run.
inline void register_messages(troupe::app& app) { app.message_types<outcome, books>(); }

} // namespace load
