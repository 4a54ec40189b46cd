#pragma once

#include "troupe/transport/actor_codec.hpp"
#include "troupe/transport/names.hpp"

#include <caf/error.hpp>
#include <caf/message.hpp>
#include <caf/node_id.hpp>
#include <caf/rtti_pair.hpp>
#include <caf/type_erased_tuple.hpp>
#include <caf/type_erased_value.hpp>
#include <caf/type_nr.hpp>
#include <caf/unit.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace troupe {

/// @cond internal

/// How the elements of CAF messages of one type travel.
struct message_type {
  std::string name;
  /// Of the name: the same in every program.
  std::uint64_t hash;
  /// CAF's name for it: a number for its own types, a type_info for others.
  caf::rtti_pair rtti;
  void (*save)(writer&, const void* value);
  caf::type_erased_value_ptr (*load)(reader&);

  // Values in memory of one's own.
  std::size_t size;
  std::size_t alignment;
  /// Makes one from what a reader gets. Throws what reading throws; then there's none.
  void (*read)(reader&, void* where);
  void (*destroy)(void* value);
  caf::type_erased_value_ptr (*take)(void* value);
  caf::type_erased_value_ptr (*copy)(const void* value);

  /// Reading it may run a user's code.
  bool user_code;
};

namespace detail {

bool add_message_type(message_type type);

template <class T>
void save_element(writer& out, const void* value) {
  write(out, *static_cast<const T*>(value));
}

template <class T>
caf::type_erased_value_ptr load_element(reader& in) {
  auto out = caf::make_type_erased_value<T>();
  read(in, *static_cast<T*>(out->get_mutable()));
  return out;
}

template <class T>
void read_element(reader& in, void* where) {
  std::unique_ptr<T, void (*)(T*)> made{::new (where) T(), [](T* x) { x->~T(); }};
  read(in, *made);
  static_cast<void>(made.release());
}

template <class T>
bool register_message_type(bool user_code) {
  static_assert(std::is_default_constructible_v<T>, "a message type needs a default constructor");
  constexpr auto nr = caf::type_nr<T>::value;
  message_type type;
  type.name = demangle(typeid(T).name());
  type.hash = hash_name(type.name);
  type.rtti = {nr, nr == 0 ? &typeid(T) : nullptr};
  type.save = save_element<T>;
  type.load = load_element<T>;
  type.size = sizeof(T);
  type.alignment = alignof(T);
  static_assert(alignof(T) <= alignof(std::max_align_t), "message types can't ask for more than the usual alignment");
  type.read = read_element<T>;
  type.destroy = [](void* value) { static_cast<T*>(value)->~T(); };
  type.take = [](void* value) { return caf::make_type_erased_value<T>(std::move(*static_cast<T*>(value))); };
  type.copy = [](const void* value) { return caf::make_type_erased_value<T>(*static_cast<const T*>(value)); };
  type.user_code = user_code;
  return add_message_type(std::move(type));
}

// Being named anywhere in a program registers the type when the program starts.
template <class T>
struct message_type_entry {
  static inline const bool added = register_message_type<T>(true);
};

} // namespace detail

/// @endcond

/// Lets values of these types be elements of messages between actors of different processes. Must be called, or used, in
/// every process that shall understand them, before the cluster has more than one.
/// @ingroup actors
template <class... Ts>
void message_types() {
  (static_cast<void>(detail::message_type_entry<Ts>::added), ...);
}

/// @cond internal

/// The types that this program has registered, ordered by hash: the position is the number on the wire.
const std::vector<const message_type*>& known_message_types();

/// Hashes of known_message_types(), in order.
std::vector<std::uint64_t> message_type_hashes();

/// For each of a peer's hashes our own type, or null.
std::vector<const message_type*> translate_message_types(const std::vector<std::uint64_t>& hashes);

/// Appends the numbers and then the values of a message's elements. Throws codec_error that names a type that isn't
/// registered.
void write_elements(writer& out, const caf::type_erased_tuple& elements);

/// Whether reading the elements that begin here would run a user's code.
bool needs_user_code(reader in, const std::vector<const message_type*>& types);

/// The type of a peer's number. Throws codec_error if there's none here.
const message_type& message_type_at(std::uint16_t number, const std::vector<const message_type*>& types);

caf::message make_message_of(std::vector<caf::type_erased_value_ptr> elements);

/// Messages within messages, and the contexts of errors, name their types instead.
template <>
struct codec<caf::message> {
  static void write(writer& w, const caf::message& x);
  static void read(reader& r, caf::message& x);
};

template <>
struct codec<caf::error> {
  static void write(writer& w, const caf::error& x);
  static void read(reader& r, caf::error& x);
};

template <>
struct codec<caf::unit_t> {
  static void write(writer&, const caf::unit_t&) {}
  static void read(reader&, caf::unit_t&) {}
};

template <>
struct codec<caf::node_id> {
  static void write(writer& w, const caf::node_id& x);
  static void read(reader& r, caf::node_id& x);
};

/// @endcond

} // namespace troupe
