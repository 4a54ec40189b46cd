#pragma once

#include "troupe/actors/shared_source.hpp"
#include "troupe/transport/codec.hpp"

#include <memory>
#include <utility>

namespace troupe {

/// @addtogroup data
/// @{

namespace detail {

template <class T>
class typed_shared_source final : public shared_source {
public:
  using shared_source::shared_source;

  /// There from the beginning.
  typed_shared_source(const ref_id& id, T value) : shared_source(id), value_(std::make_shared<const T>(std::move(value))) {}
  void start() { came(); }

  /// Needs `here`.
  const T& value() const { return *value_; }

  std::uint64_t type() const override { return type_tag<T>(); }

protected:
  std::shared_ptr<future_state> expect() override { return std::make_shared<typed_future_state<T>>(); }

  void take(future_state& arrived) override { value_ = std::make_shared<const T>(static_cast<typed_future_state<T>&>(arrived).take()); }

  void encode(writer& out) const override {
    writer::referring scope{out, value_};
    write(out, *value_);
  }

private:
  std::shared_ptr<const T> value_;
};

} // namespace detail

/// A value that is the same on every process, for ever. It travels to a process when it is first used there, once, and from one process to
/// the next: it leaves the one that shared it twice, however many there are. Copies of the handle mean the same value, and can be
/// arguments, results, parts of other values. The value is freed, on all of them, when the last copy anywhere is gone, or the process that
/// shared it is. An empty handle throws usage_error. Any thread.
template <class T>
class shared {
public:
  static_assert(sendable<T>, "values of this type can't be sent to another process: give it an inspect(f, x)");
  static_assert(std::is_default_constructible_v<T>,
                "values are decoded into a default-constructed one: give the type a default constructor");

  /// What it stands for.
  using value_type = T;

  /// An empty handle.
  shared() = default;

  /// @cond internal
  explicit shared(T value) {
    auto made = std::make_shared<detail::typed_shared_source<T>>(detail::next_shared_id(), std::move(value));
    detail::shared_source_of(made->id(), [&] { return made; });
    made->start();
    held_ = detail::own_shared(made);
    source_ = std::move(made);
  }
  /// @endcond

  /// Whether it stands for a value: it is neither default-constructed nor moved from. Doesn't block.
  bool valid() const noexcept { return source_ != nullptr; }

  /// Blocks until the value is here, the first time on each process. Throws process_exited if it is gone with the process that shared it,
  /// not_decodable. The reference is valid as long as a copy of the handle on this process.
  const T& get() const {
    if (!source_)
      detail::throw_empty_shared();
    source_->bring();
    return source_->value();
  }
  /// The same as get().
  const T& operator*() const { return get(); }
  /// The address of what get() gives.
  const T* operator->() const { return &get(); }

  /// Whether the value is here. Doesn't block.
  bool ishere() const {
    if (!source_)
      detail::throw_empty_shared();
    return source_->here();
  }

  /// Which process shared it (`where` and `whence`), and its number there. Doesn't block.
  ref_id id() const {
    if (!source_)
      detail::throw_empty_shared();
    return source_->id();
  }

  /// Whether both stand for the same shared value, or both for none; values aren't compared.
  friend bool operator==(const shared& a, const shared& b) { return a.source_ == b.source_; }

  /// For CAF, outside of the cluster: nothing is written, and what is read is empty.
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, shared&) {
    return f(caf::meta::type_name("troupe::shared"));
  }

private:
  friend struct codec<shared<T>>;

  std::shared_ptr<detail::typed_shared_source<T>> source_;
  held_reference_ptr held_;
};

/// A shared value travels as a reference.
template <class T>
struct codec<shared<T>> {
  static void write(writer& w, const shared<T>& x) {
    w.put(std::uint8_t{x.valid()});
    if (x.valid())
      w.refer(x.held_);
  }

  static void read(reader& r, shared<T>& x) {
    x = {};
    if (r.get<std::uint8_t>() == 0)
      return;
    x.held_ = r.referred();
    const auto& id = x.held_->id();
    x.source_ = std::dynamic_pointer_cast<detail::typed_shared_source<T>>(
      detail::shared_source_of(id, [&] { return std::make_shared<detail::typed_shared_source<T>>(id); }));
    if (!x.source_)
      detail::throw_other_type(id, detail::type_tag<T>());
  }
};

/// @}

} // namespace troupe
