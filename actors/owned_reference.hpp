#pragma once

#include "troupe/actors/kept_value.hpp"
#include "troupe/actors/references.hpp"
#include "troupe/transport/error.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace troupe {

/// An answer to who asked about a reference.
struct reference_answer {
  enum class kind : std::uint8_t {
    /// A value as it is.
    value,
    /// Several, as elements.
    elements,
    /// A number or a bool, as a u64.
    number,
    /// It is so; or, to what is to be done at once, it isn't.
    nothing,
    error,
  };

  proc_id to = 0;
  std::uint64_t question = 0;
  kind what = kind::nothing;
  kept_value value;
  std::vector<kept_value> elements;
  std::uint64_t number = 0;
  /// Of values that were taken, what to give back with them; 0: nothing was taken.
  std::uint64_t place = 0;
  std::shared_ptr<const error_info> why;
};

/// What has to be done once no lock is held: answers that leave, values that end.
struct reference_work {
  std::vector<reference_answer> answers;
  std::vector<kept_value> garbage;
  std::vector<std::unique_ptr<class owned_reference>> ended;
  std::vector<ref_id> ended_actors; // those who were asked for their actors
  std::vector<std::function<void()>> jobs;

  /// The values end later.
  void drop(std::vector<kept_value>& values);
};

/// What is asked about a reference, by whom.
struct reference_question {
  proc_id from = 0;
  std::uint64_t number = 0; // 0: no answer is wanted
  std::uint64_t type = 0;   // 0: any
  ask_op op = ask_op::wait;
  std::uint8_t flags = 0;
  reader* in = nullptr;
  frame_view* frame = nullptr;

  bool at_once() const { return (flags & ask_flags::at_once) != 0; }

  /// What stays of it when its frame has gone.
  reference_question to_be_kept() const {
    auto out = *this;
    out.in = nullptr;
    out.frame = nullptr;
    return out;
  }
};

/// What lives on this process and is referred to from others: a future, a channel or a pool. Its lock is its owner's.
class owned_reference {
public:
  explicit owned_reference(const ref_id& id) : id_(id) {}
  virtual ~owned_reference() = default;
  owned_reference(const owned_reference&) = delete;
  owned_reference& operator=(const owned_reference&) = delete;

  const ref_id& id() const { return id_; }

  /// Answers now or later. Throws codec_error.
  virtual void ask(reference_question& q, reference_work& out) = 0;

  /// Who asked waits no more. Returns whether it did.
  virtual bool withdraw(proc_id from, std::uint64_t number, reference_work& out) = 0;

  /// What an answer has brought to a process, if anything, is on its way back.
  virtual void expect_back(proc_id, std::uint64_t) {}

  /// A process has gone: those there who wait are forgotten, and so is what was promised by it.
  virtual void forget(proc_id gone, const error_info& why, reference_work& out) = 0;

  /// A process gets no new work from now on, for the reason given.
  virtual void retire(proc_id, const error_info&, reference_work&) {}

  /// A process has come in the place of one that was lost.
  virtual void replace(proc_id, proc_id, reference_work&) {}

  using reason = std::function<error_info()>;

  /// Nobody holds it any more: whoever waits gets the error, which is made for them.
  virtual void end(const reason& why, reference_work& out) = 0;

  /// The process that has promised the value, see future::tie; 0: none.
  proc_id tied = 0;
  /// It was asked for its actor.
  bool has_actor = false;

protected:
  static reference_answer answer_to(const reference_question& q, reference_answer::kind what) {
    reference_answer out;
    out.to = q.from;
    out.question = q.number;
    out.what = what;
    return out;
  }
  static void answer_error(reference_work& out, const reference_question& q, error_info why);
  static void answer_number(reference_work& out, const reference_question& q, std::uint64_t n);
  static void answer_nothing(reference_work& out, const reference_question& q);

  /// What a channel is to be closed with. Throws codec_error.
  error_info read_reason(reference_question& q) const;

  /// Throws type_mismatch if the asker takes it for another type.
  void check_type(const reference_question& q, std::uint64_t type) const;
  [[noreturn]] void throw_wrong_op(const reference_question& q, const char* what_it_is) const;

private:
  const ref_id id_;
};

} // namespace troupe
