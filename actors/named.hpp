#pragma once

#include "troupe/transport/codec.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/names.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace troupe {

/// @addtogroup data
/// @{

namespace detail {

/// Bytes that stay as they are while a copy of this lives.
struct shared_bytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keeper;
};

/// One version of a named value, as this process has it: its bytes until the first thread asks for the value, then the value in their
/// place.
///
/// Any thread. Locking: `mutex_` guards what isn't const; who finds `decoded_` set needs no lock.
class named_version {
public:
  named_version(std::string name, std::uint64_t number, std::string type, shared_bytes encoded)
    : name(std::move(name)), number(number), type(std::move(type)), encoded_(std::move(encoded)) {}
  named_version(const named_version&) = delete;
  named_version& operator=(const named_version&) = delete;

  const std::string name;
  /// Rises with each change of named values in the cluster.
  const std::uint64_t number;
  /// What type_name gives for the type that it was defined with.
  const std::string type;

  /// T must be `type`. Throws what reading throws; then the bytes are still there.
  template <class T>
  const T& value(actor_codec* actors) {
    if (auto there = decoded_.load(std::memory_order_acquire))
      return *static_cast<const T*>(there);
    std::lock_guard guard{mutex_};
    if (!value_) {
      auto x = std::make_shared<T>();
      reader in{encoded_.bytes, actors};
      read(in, *x);
      in.expect_end();
      value_ = std::move(x);
      encoded_ = {};
      decoded_.store(value_.get(), std::memory_order_release);
    }
    return *static_cast<const T*>(value_.get());
  }

private:
  std::mutex mutex_;
  shared_bytes encoded_;
  std::shared_ptr<const void> value_;
  std::atomic<const void*> decoded_{nullptr};
};

/// See future.hpp.
actor_codec* process_codec();

/// How the type of a named value is called, in errors and where types are compared.
template <class T>
const std::string& type_name() {
  static const std::string name = demangle(typeid(T).name());
  return name;
}

/// The version that the calling task, or thread, is to see; it stays as long as `named` says.
named_version& find_named(const std::string& name, const std::string& type);
[[noreturn]] void throw_named_not_decodable(const named_version& v, const std::exception& e);
[[noreturn]] void throw_named_not_serializable(const std::string& name, const std::exception& e);

} // namespace detail

/// The value that cluster::define has given this name, on any process and thread. It is decoded once on each process, by the first thread
/// that asks, which others wait for; apart from that it doesn't block.
///
/// A task sees one version of a name, the one that was there when it first asked, until it ends, whatever is defined meanwhile, and the
/// reference is valid until then. So it is for functions that on_join or mpi_do runs, and `direct` ones. The handler of an actor gets the
/// newest version each time, and references are valid until it returns. Any other thread, such as the program's body, gets the newest
/// version each time, and references are valid until the thread ends: all versions that it has asked for stay until then.
///
/// Throws usage_error if there's no such name on this process, type_mismatch if it was defined with another type than T, not_decodable, and
/// usage_error outside of app::run.
template <class T>
const T& named(const std::string& name) {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>>,
                "troupe::named<T>: T is the type that the value was defined with, without const or &");
  static_assert(sendable<T>, "values of this type can't be sent to another process: give it an inspect(f, x)");
  static_assert(std::is_default_constructible_v<T>,
                "named values are decoded into a default-constructed value: give the type a default constructor");
  auto& version = detail::find_named(name, detail::type_name<T>());
  try {
    return version.template value<T>(detail::process_codec());
  } catch (const error&) {
    throw;
  } catch (const std::exception& e) {
    detail::throw_named_not_decodable(version, e);
  }
}

/// @}

} // namespace troupe
