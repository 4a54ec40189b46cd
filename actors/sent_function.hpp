#pragma once

#include "troupe/actors/callable.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/shared.hpp"
#include "troupe/actors/type_tag.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// Functions that are called on other processes again and again, and travel to each of them once.
namespace troupe {

namespace detail {

/// How a function stands in a call.
enum class function_form : std::uint8_t {
  /// As it is: not worth keeping.
  plain = 0,
  /// Encoded, behind its number: it is kept there under that.
  bytes = 1,
  /// As a shared value, behind its number: it is brought there, and kept.
  shared = 2,
  /// Its number: it is there.
  known = 3,
};

/// A function, where it was given, and who has it. Its end has all of them forget it. Any thread.
class sent_function {
public:
  sent_function(const sent_function&) = delete;
  sent_function& operator=(const sent_function&) = delete;
  virtual ~sent_function();

  /// Writes it so that `to` can call it.
  void write(writer& out, proc_id to);

  /// `to` has called it.
  void is_known_by(proc_id to);
  /// A call of it has been sent to `to`, which has it if the call succeeds, or the function fails. Null: nobody hears of that. The call may still wait there when this ends.
  void sent_with(proc_id to, std::shared_ptr<future_state> call);
  /// A process has ended.
  void forget(proc_id gone);

  function_form form() const { return form_; }
  bool is_plain() const { return form_ == function_form::plain; }
  const ref_id& id() const { return id_; }

protected:
  /// Takes a number, unless it is plain.
  explicit sent_function(function_form form);

  virtual void write_itself(writer& out) = 0;

private:
  void look_at_first_call(proc_id to);

  const function_form form_;
  ref_id id_;
  std::mutex mutex_; // guards the next ones
  std::set<proc_id> sent_;
  std::set<proc_id> called_; // with calls of which nobody here waits for the end
  std::set<proc_id> known_;
  std::map<proc_id, std::shared_ptr<future_state>> first_calls_; // to those that may know it
};

/// A function as a value. No std::optional: once there is one of a lambda with captures, g++ 12 takes that for not trivially copyable.
template <class F>
struct function_box {
  std::shared_ptr<const F> f;
};

/// At most so many bytes are written into each call until the first is answered; what is larger is shared.
inline constexpr std::size_t most_in_a_call = 4096;

/// Whether a value takes few bytes, and refers to nothing. False where only encoding it would tell.
template <class T>
bool is_small(const T& x) {
  if constexpr (block_element<T> || std::is_same_v<T, bool>)
    return sizeof(T) <= most_in_a_call;
  else if constexpr (can_land<T>)
    return x.size() * sizeof(*x.data()) <= most_in_a_call;
  else
    return false;
}

template <class F>
inline constexpr bool is_with = false;
template <class F, class... Vs>
inline constexpr bool is_with<with_t<F, Vs...>> = true;

/// Whether a function of this type is worth keeping where it is called.
template <class F>
inline constexpr bool may_be_kept = is_with<F> || has_inspect<F> || sizeof(F) > 64;

/// Whether a function of this type may be too large to be written into each call.
template <class F>
inline constexpr bool may_be_shared = may_be_kept<F> && (is_with<F> || has_inspect<F>);

template <class F>
function_form form_of([[maybe_unused]] const F& f) {
  if constexpr (!may_be_kept<F>)
    return function_form::plain;
  else if constexpr (is_with<F>)
    return std::apply([](auto&... vs) { return (is_small(vs) && ...); }, f.values) ? function_form::bytes : function_form::shared;
  else
    return has_inspect<F> ? function_form::shared : function_form::bytes;
}

template <class F>
class typed_sent_function final : public sent_function {
public:
  explicit typed_sent_function(F f) : sent_function(form_of(f)) {
    if constexpr (may_be_shared<F>)
      if (form() == function_form::shared) {
        shared_ = shared<function_box<F>>{function_box<F>{std::make_shared<const F>(std::move(f))}};
        return;
      }
    writer out{bytes_, process_codec()};
    callable<F>::write(out, f);
    small_ = std::make_unique<const F>(std::move(f));
  }

  const F& get() const {
    if constexpr (may_be_shared<F>)
      if (!small_)
        return *shared_.get().f;
    return *small_;
  }

protected:
  void write_itself(writer& out) override {
    if constexpr (may_be_shared<F>)
      if (!small_) {
        troupe::write(out, shared_);
        return;
      }
    if (!is_plain())
      out.put(std::uint64_t{bytes_.size()});
    out.raw(bytes_.data(), bytes_.size());
  }

private:
  struct nothing {};

  byte_buffer bytes_;
  std::unique_ptr<const F> small_; // or shared_
  // what programs needn't compile for most functions
  [[no_unique_address]] std::conditional_t<may_be_shared<F>, shared<function_box<F>>, nothing> shared_;
};

/// No pointer to the derived class but `new`'s: there is one for each function, and each smart pointer to it would be compiled.
template <class F>
std::shared_ptr<sent_function> make_sent_function(const F& f) {
  return std::unique_ptr<sent_function>{new typed_sent_function<F>(f)};
}

/// See function_cache.
std::shared_ptr<const void> kept_function(const ref_id& id, std::uint64_t type);
std::shared_ptr<const void> keep_function(const ref_id& id, std::uint64_t type, const std::function<std::shared_ptr<const void>()>& make);

[[noreturn]] void throw_no_such_form(function_form form);

/// What sent_function::write has written. Blocks while a shared one is brought.
template <class F>
std::shared_ptr<const F> read_sent_function(reader& in) {
  const auto form = in.get<function_form>();
  if (form == function_form::plain)
    return std::make_shared<const F>(callable<F>::read(in));
  if constexpr (may_be_kept<F>) {
    const auto id = in.get<ref_id>();
    const auto type = type_tag<F>();
    if (form == function_form::known)
      return std::static_pointer_cast<const F>(kept_function(id, type));
    if constexpr (may_be_shared<F>)
      if (form == function_form::shared) {
        const auto value = troupe::read<shared<function_box<F>>>(in);
        return std::static_pointer_cast<const F>(keep_function(id, type, [&]() -> std::shared_ptr<const void> {
          const auto all = std::make_shared<const shared<function_box<F>>>(value);
          const auto& box = all->get();
          if (!box.f)
            throw codec_error{"a shared function that is empty"};
          return {all, &*box.f};
        }));
      }
    if (form == function_form::bytes) {
      const auto bytes = in.take(in.get<std::uint64_t>());
      return std::static_pointer_cast<const F>(keep_function(id, type, [&]() -> std::shared_ptr<const void> {
        reader own{bytes, in.actors()};
        auto f = std::make_shared<const F>(callable<F>::read(own));
        own.expect_end();
        return f;
      }));
    }
  }
  throw_no_such_form(form);
}

} // namespace detail

template <class F>
struct codec<detail::function_box<F>> {
  static void write(writer& out, const detail::function_box<F>& x) { detail::callable<F>::write(out, *x.f); }
  static void read(reader& in, detail::function_box<F>& x) { x.f = std::make_shared<const F>(detail::callable<F>::read(in)); }
};

} // namespace troupe
