#pragma once

#include "troupe/transport/byte_buffer.hpp"
#include "troupe/transport/landing.hpp"
#include "troupe/transport/pointer_check.hpp"
#include "troupe/transport/reference.hpp"

#include <array>
#include <bit>
#include <cfloat>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <caf/meta/annotation.hpp>
#include <caf/meta/load_callback.hpp>
#include <caf/meta/save_callback.hpp>

// How values become bytes and bytes values. Everything is written as it lies in memory: two processes agree on byte order
// before they exchange anything. Contiguous data moves as one block, at the speed of memcpy.
//
// What can travel: arithmetic types and enums; strings, containers, pairs, tuples, optionals and variants of what can
// travel; classes with an `inspect` in CAF's form; trivially copyable classes without pointers; CAF's actor handles.
namespace troupe {

/// @cond internal

class actor_codec;

/// A value could not be encoded or decoded. Internal: callers see not_serializable or not_decodable.
class codec_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// What `inspect` returns when run by a writer or reader: nothing, or why it failed. Anything that CAF's inspect functions
/// and their callbacks return converts to it.
class codec_status {
public:
  codec_status() = default;

  template <class E>
    requires(!std::same_as<E, codec_status> && requires(const E& e) { static_cast<bool>(e); })
  codec_status(const E& e) { // NOLINT: implicit, so that `return error;` works in a user's inspect
    if (static_cast<bool>(e)) {
      if constexpr (requires { to_string(e); })
        text_ = to_string(e);
      if (text_.empty())
        text_ = "inspect failed";
    }
  }

  explicit operator bool() const noexcept { return !text_.empty(); }

  const std::string& text() const noexcept { return text_; }

private:
  std::string text_;
};

/// Specialize to teach the codec a type: `static void write(writer&, const T&)` and `static void read(reader&, T&)`.
template <class T>
struct codec;

/// A large block of a frame that isn't copied into its buffer: it stands before the buffer's byte `at`.
struct outside_block {
  std::size_t at = 0;
  std::span<const std::byte> bytes;
  /// The bytes stay as they are while it lives.
  std::shared_ptr<const void> keeper;
};

/// Appends values to a buffer.
class writer {
public:
  using result_type = codec_status;
  static constexpr bool reads_state = true;
  static constexpr bool writes_state = false;

  /// `out` must outlive the writer. Without `actors`, handles can't be written.
  explicit writer(byte_buffer& out, actor_codec* actors = nullptr) : out_(out), actors_(actors) {}

  /// Has `referring` work: blocks that aren't copied go there.
  void set_outside(std::vector<outside_block>* blocks) { outside_ = blocks; }

  /// Has `refer` work: what is referred to is listed there.
  void set_references(std::vector<held_reference_ptr>* list) { references_ = list; }

  /// What is written while it lives is an element of its own: in front of it stand u64 its size and u32 the number of its references, whose
  /// places count from its beginning. Elements don't lie in each other.
  class element {
  public:
    static constexpr std::size_t header = sizeof(std::uint64_t) + sizeof(std::uint32_t);

    explicit element(writer& w);
    ~element();
    element(const element&) = delete;
    element& operator=(const element&) = delete;

  private:
    writer& writer_;
    std::size_t at_;
    std::size_t outside_;
  };

  /// Notes a reference of bytes that are written as they are.
  void carry(held_reference_ptr to);

  /// Notes a reference that goes with the frame, and writes its place among them. Throws codec_error if this is no frame's writer.
  void refer(held_reference_ptr to);

  /// While it lives, large blocks are referred to where they lie; `keeper` must keep them as they are.
  class referring {
  public:
    referring(writer& w, std::shared_ptr<const void> keeper) : writer_(w) { writer_.keeper_ = std::move(keeper); }
    ~referring() { writer_.keeper_ = nullptr; }
    referring(const referring&) = delete;
    referring& operator=(const referring&) = delete;

  private:
    writer& writer_;
  };

  /// Writes each argument; what a user's `inspect` calls.
  template <class... Ts>
  codec_status operator()(Ts&&... xs);

  /// The same as raw, for what may be large.
  void block(const void* data, std::size_t size) {
    if (keeper_ != nullptr && outside_ != nullptr && size >= landing::least)
      leave_outside(data, size);
    else
      raw(data, size);
  }

  void raw(const void* data, std::size_t size) {
    if (size == 0)
      return;
    std::memcpy(extend(out_, size), data, size);
  }

  template <class T>
  void put(const T& x) {
    raw(&x, sizeof(T));
  }

  byte_buffer& buffer() { return out_; }

  actor_codec* actors() const { return actors_; }

  void set_actors(actor_codec* actors) { actors_ = actors; }

private:
  void leave_outside(const void* data, std::size_t size);

  byte_buffer& out_;
  actor_codec* actors_;
  std::vector<outside_block>* outside_ = nullptr;
  std::shared_ptr<const void> keeper_;
  std::vector<held_reference_ptr>* references_ = nullptr;
  std::size_t first_reference_ = 0;
};

/// Takes values from bytes. Nothing is allocated for a length that the bytes that are left can't fill.
class reader {
public:
  using result_type = codec_status;
  static constexpr bool reads_state = false;
  static constexpr bool writes_state = true;
  /// How deep classes may lie in each other.
  static constexpr int max_depth = 500;
  /// How many bytes of memory all elements that take no bytes themselves may have: their number is bounded by nothing else.
  static constexpr std::size_t max_empty_elements = std::size_t{1} << 20;

  /// `in` must outlive the reader. Without `actors`, handles can't be read.
  explicit reader(std::span<const std::byte> in, actor_codec* actors = nullptr) : in_(in), actors_(actors) {}

  /// Reads each argument; what a user's `inspect` calls.
  template <class... Ts>
  codec_status operator()(Ts&&... xs);

  /// The next bytes. Throws codec_error if fewer are left.
  std::span<const std::byte> take(std::size_t size) {
    if (size > in_.size())
      fail_short(size, in_.size());
    auto out = in_.first(size);
    in_ = in_.subspan(size);
    return out;
  }

  template <class T>
  T get() {
    T x;
    std::memcpy(&x, take(sizeof(T)).data(), sizeof(T));
    return x;
  }

  /// A number of elements of at least `element_size` bytes each, checked against what is left.
  std::size_t get_length(std::size_t element_size) {
    auto n = get<std::uint64_t>();
    if (n > in_.size() / element_size)
      fail_length(n, element_size, in_.size());
    return static_cast<std::size_t>(n);
  }

  std::size_t left() const { return in_.size(); }

  /// What has come with the bytes, for `referred`. It must outlive the reader.
  void set_references(std::span<const held_reference_ptr> list) {
    references_ = list;
    has_references_ = true;
  }

  /// What a writer's `refer` was given. Throws codec_error if there's no such reference.
  const held_reference_ptr& referred() {
    if (!has_references_)
      held_reference::throw_outside();
    const auto place = get<std::uint32_t>();
    if (place >= references_.size())
      held_reference::throw_no_such(place, references_.size());
    return references_[place];
  }

  // -- blocks that have landed elsewhere ----------------------------------------------------------------------------------

  /// The block that belongs into the bytes lies there already, or is null. It must outlive the reader.
  void set_landed(landing* block) { landed_ = block; }

  /// `in` is only the beginning; so many bytes follow later. The reader stops, by throwing `landing_found`, at the first block
  /// that is large, isn't wholly there, and can lie where it is to end up.
  void seek_landing(std::size_t more) {
    seeks_ = true;
    more_ = more;
  }

  struct landing_found {
    std::unique_ptr<landing> where;
  };

  /// If the next block has landed in a C of `n` elements, moves it to `x` and tells so.
  template <class C>
  bool take_landed(C& x, std::uint64_t n) {
    if (landed_ == nullptr || in_.size() != landed_->behind || n * sizeof(typename C::value_type) != landed_->size
        || landed_->type() != typeid(C))
      return false;
    x = std::move(static_cast<landing_in<C>*>(landed_)->value);
    landed_ = nullptr;
    return true;
  }

  /// For containers of blocks: stops here if their `n` elements are what is sought.
  template <class C>
  void offer_landing(std::uint64_t n) {
    constexpr auto element = sizeof(typename C::value_type);
    if (!seeks_ || n < landing::least / element || n > (in_.size() + more_) / element || n * element <= in_.size())
      return;
    auto where = std::make_unique<landing_in<C>>();
    where->size = static_cast<std::size_t>(n) * element;
    where->behind = in_.size() + more_ - where->size;
    throw landing_found{std::move(where)};
  }

  /// Counts an element of a sequence that took no bytes. Throws codec_error beyond max_empty_elements.
  void count_empty_element(std::size_t size) {
    empty_elements_ += size;
    if (empty_elements_ > max_empty_elements)
      fail_empty();
  }

  /// Throws codec_error if anything is left.
  void expect_end() const {
    if (!in_.empty() || landed_ != nullptr)
      throw codec_error{std::to_string(in_.size() + (landed_ != nullptr ? landed_->size : 0)) + " bytes are left over"};
  }

  actor_codec* actors() const { return actors_; }

  /// Counts how deep the value that is being read lies.
  class depth_guard {
  public:
    explicit depth_guard(reader& r) : depth_(r.depth_) {
      if (++depth_ > max_depth) {
        --depth_;
        throw codec_error{"values lie more than " + std::to_string(max_depth) + " deep in each other"};
      }
    }
    ~depth_guard() { --depth_; }
    depth_guard(const depth_guard&) = delete;
    depth_guard& operator=(const depth_guard&) = delete;

  private:
    int& depth_;
  };

private:
  [[noreturn]] static void fail_short(std::size_t needed, std::size_t left);
  [[noreturn]] static void fail_length(std::uint64_t n, std::size_t element_size, std::size_t left);
  [[noreturn]] static void fail_empty();

  std::span<const std::byte> in_;
  actor_codec* actors_;
  int depth_ = 0;
  std::size_t empty_elements_ = 0; // bytes of memory
  landing* landed_ = nullptr;
  std::span<const held_reference_ptr> references_;
  bool has_references_ = false;
  std::size_t more_ = 0;
  bool seeks_ = false;
};

namespace detail {

template <class T, template <class...> class C>
inline constexpr bool is_instance_of = false;

template <template <class...> class C, class... Ts>
inline constexpr bool is_instance_of<C<Ts...>, C> = true;

template <class T>
struct is_span : std::false_type {};

template <class T, std::size_t N>
struct is_span<std::span<T, N>> : std::true_type {};

template <class T>
struct is_std_array : std::false_type {};

template <class T, std::size_t N>
struct is_std_array<std::array<T, N>> : std::true_type {};

// Holds an address, directly or in a standard wrapper: worth nothing in another process.
template <class T>
struct is_address
  : std::bool_constant<std::is_pointer_v<T> || std::is_member_pointer_v<T> || is_span<T>::value || is_instance_of<T, std::basic_string_view>
                       || is_instance_of<T, std::reference_wrapper> || is_instance_of<T, std::initializer_list>> {};

template <class T>
struct is_address<std::optional<T>> : is_address<T> {};

template <class T, std::size_t N>
struct is_address<std::array<T, N>> : is_address<T> {};

template <class T, std::size_t N>
struct is_address<T[N]> : is_address<T> {};

template <class... Ts>
struct is_address<std::variant<Ts...>> : std::disjunction<is_address<Ts>...> {};

template <class... Ts>
struct is_address<std::tuple<Ts...>> : std::disjunction<is_address<Ts>...> {};

template <class A, class B>
struct is_address<std::pair<A, B>> : std::disjunction<is_address<A>, is_address<B>> {};

template <class T>
concept has_codec = requires(writer& w, reader& r, const T& x, T& y) {
  codec<T>::write(w, x);
  codec<T>::read(r, y);
};

template <class T>
concept has_inspect = (std::is_class_v<T> || std::is_union_v<T>) && requires(writer& w, reader& r, T& x) {
  inspect(w, x);
  inspect(r, x);
};

template <class T>
concept number = (std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, long double>) || std::is_enum_v<T>;

// Moves as one block where many lie side by side.
template <class T>
concept block_element = number<T>
                        || ((std::is_class_v<T> || std::is_union_v<T>)
                            && std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T> && !is_address<T>::value && !has_codec<T>
                            && !is_instance_of<T, std::optional> && !is_instance_of<T, std::variant> && !std::is_empty_v<T>);

template <class T>
concept contiguous = requires(const T& x) {
  { x.data() } -> std::convertible_to<const void*>;
  { x.size() } -> std::convertible_to<std::size_t>;
  *x.data();
};

template <class T>
using element_t = std::remove_cv_t<std::remove_reference_t<decltype(*std::declval<const T&>().data())>>;

template <class T>
concept block = contiguous<T> && block_element<element_t<T>>;

template <class T>
concept sequence = requires(T& x, const T& y) {
  typename T::value_type;
  y.begin();
  y.end();
  y.size();
  x.clear();
};

template <class T>
concept tuple_like = is_instance_of<T, std::pair> || is_instance_of<T, std::tuple>;

template <class T>
concept nothing = std::same_as<T, std::monostate> || std::same_as<T, std::nullptr_t> || std::same_as<T, std::tuple<>>;

// A trivially copyable class that has no inspect: its bytes are its value, once they are known to hold no address. Mutexes and
// atomics count as trivially copyable, but can't be copied at all.
template <class T>
concept plain_class =
  (std::is_class_v<T> || std::is_union_v<T>) && std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T> && !is_address<T>::value;

template <class T>
constexpr bool can_travel();

template <class T>
constexpr bool all_travel_in_tuple = false;

template <class... Ts>
constexpr bool all_travel_in_tuple<std::tuple<Ts...>> = (can_travel<std::remove_cv_t<Ts>>() && ...);

template <class A, class B>
constexpr bool all_travel_in_tuple<std::pair<A, B>> = can_travel<std::remove_cv_t<A>>() && can_travel<std::remove_cv_t<B>>();

template <class... Ts>
constexpr bool all_travel_in_tuple<std::variant<Ts...>> = (can_travel<Ts>() && ...);

template <class T>
constexpr bool can_travel() {
  if constexpr (has_codec<T> || nothing<T> || std::is_arithmetic_v<T> || std::is_enum_v<T>)
    return true;
  else if constexpr (std::is_array_v<T>)
    return can_travel<std::remove_cv_t<std::remove_extent_t<T>>>();
  else if constexpr (is_address<T>::value || std::is_pointer_v<T>)
    return false;
  else if constexpr (tuple_like<T> || is_instance_of<T, std::variant>)
    return all_travel_in_tuple<T>;
  else if constexpr (is_instance_of<T, std::optional>)
    return can_travel<typename T::value_type>();
  else if constexpr (is_std_array<T>::value)
    return can_travel<typename T::value_type>();
  else if constexpr (has_inspect<T>)
    return true;
  else if constexpr (sequence<T>)
    return tuple_like<typename T::value_type> ? all_travel_in_tuple<typename T::value_type>
                                              : can_travel<std::remove_cv_t<typename T::value_type>>();
  else
    return plain_class<T> || is_instance_of<T, std::chrono::time_point>;
}

} // namespace detail

/// @endcond

/// Whether values of this type can be arguments and results, as far as the type tells: a trivially copyable class is refused when a value
/// of it is sent that holds an address.
/// @ingroup data
template <class T>
concept sendable = detail::can_travel<T>();

/// @cond internal

namespace detail {

template <class T>
void write_value(writer& w, const T& x);

template <class T>
void read_value(reader& r, T& x);

void throw_pointer_in_value(const found_pointer& found, std::string_view what);

template <class T>
void refuse_pointers(const T& x) {
  if constexpr (pointer_check_possible<T>) {
    auto bytes = cleared_bytes(x);
    if (auto found = find_pointer(bytes))
      throw_pointer_in_value(*found, "a value");
  }
}

template <class T>
void write_block(writer& w, const T* data, std::size_t n) {
  if constexpr (plain_class<T>)
    if (n > 0)
      refuse_pointers(data[0]);
  w.block(data, n * sizeof(T));
}

// Containers whose memory a block may land in, or be sent from: their bytes are written and read by the codec alone.
template <class C>
concept can_land = block<C> && !has_codec<C> && !has_inspect<C> && (is_instance_of<C, std::vector> || is_instance_of<C, std::basic_string>);

template <class C>
void read_block(reader& r, C& x) {
  using element = element_t<C>;
  if constexpr (can_land<C>) {
    reader ahead = r;
    const auto claimed = ahead.get<std::uint64_t>();
    ahead.offer_landing<C>(claimed);
    if (ahead.take_landed(x, claimed)) {
      r = ahead;
      return;
    }
  }
  auto n = r.get_length(sizeof(element));
  auto in = r.take(n * sizeof(element));
  if constexpr (requires { x.reserve(n); }) {
    if (in.size() >= std::size_t{1} << 22) {
      x.clear();
      x.reserve(n);
      bulk_memory::advise_huge_pages(x.data(), in.size());
    }
  }
  x.resize(n);
  if (n > 0)
    std::memcpy(static_cast<void*>(x.data()), in.data(), in.size());
}

template <class T>
void write_sequence(writer& w, const T& x) {
  w.put(static_cast<std::uint64_t>(x.size()));
  for (auto&& element : x) {
    if constexpr (std::same_as<typename T::value_type, bool>)
      w.put(static_cast<std::uint8_t>(element ? 1 : 0));
    else
      write_value(w, element);
  }
}

template <class T>
struct mutable_element {
  using type = T;
};

template <class A, class B>
struct mutable_element<std::pair<A, B>> {
  using type = std::pair<std::remove_const_t<A>, B>;
};

template <class T>
void read_sequence(reader& r, T& x) {
  using element = typename mutable_element<typename T::value_type>::type;
  auto n = r.get<std::uint64_t>();
  // elements without content take no bytes, and may be more than are left
  if (n > r.left() && n > reader::max_empty_elements)
    throw codec_error{"a sequence claims " + std::to_string(n) + " elements, " + std::to_string(r.left()) + " bytes are left"};
  x.clear();
  for (std::uint64_t i = 0; i < n; ++i) {
    auto left = r.left();
    element e{};
    read_value(r, e);
    if (r.left() == left)
      r.count_empty_element(sizeof(element));
    if constexpr (requires { x.push_back(std::move(e)); })
      x.push_back(std::move(e));
    else
      x.insert(x.end(), std::move(e));
  }
}

template <class T, std::size_t I = 0>
void read_alternative(reader& r, std::size_t index, T& x) {
  if constexpr (I < std::variant_size_v<T>) {
    if (index == I)
      read_value(r, x.template emplace<I>());
    else
      read_alternative<T, I + 1>(r, index, x);
  } else {
    throw codec_error{"alternative " + std::to_string(index) + " of a variant with " + std::to_string(std::variant_size_v<T>)};
  }
}

template <class T>
void write_value(writer& w, const T& x) {
  if constexpr (has_codec<T>) {
    codec<T>::write(w, x);
  } else if constexpr (nothing<T>) {
    // no bytes
  } else if constexpr (std::same_as<T, bool>) {
    w.put(static_cast<std::uint8_t>(x));
  } else if constexpr (std::same_as<T, long double>) {
    // x86 keeps 80 bits in 16 bytes: the rest is whatever was there
    std::array<std::byte, sizeof(x)> raw{};
    std::memcpy(raw.data(), &x, LDBL_MANT_DIG == 64 ? 10 : sizeof(x));
    w.put(raw);
  } else if constexpr (number<T>) {
    w.put(x);
  } else if constexpr (std::is_array_v<T>) {
    if constexpr (number<std::remove_cv_t<std::remove_extent_t<T>>>)
      w.raw(x, sizeof(x));
    else
      for (auto& element : x)
        write_value(w, element);
  } else if constexpr (is_std_array<T>::value) {
    if constexpr (block<T>)
      write_block(w, x.data(), x.size());
    else
      for (auto& element : x)
        write_value(w, element);
  } else if constexpr (tuple_like<T>) {
    std::apply([&](auto&... xs) { (write_value(w, xs), ...); }, x);
  } else if constexpr (is_instance_of<T, std::optional>) {
    w.put(static_cast<std::uint8_t>(x.has_value()));
    if (x)
      write_value(w, *x);
  } else if constexpr (is_instance_of<T, std::variant>) {
    if (x.valueless_by_exception())
      throw codec_error{"a variant without a value"};
    w.put(static_cast<std::uint32_t>(x.index()));
    std::visit([&](auto& alternative) { write_value(w, alternative); }, x);
  } else if constexpr (has_inspect<T>) {
    if (codec_status failed = inspect(w, const_cast<T&>(x))) // CAF's inspect takes what it reads by mutable reference
      throw codec_error{failed.text()};
  } else if constexpr (block<T>) {
    w.put(static_cast<std::uint64_t>(x.size()));
    write_block(w, x.data(), x.size());
  } else if constexpr (sequence<T> || is_span<T>::value) {
    write_sequence(w, x);
  } else {
    // what a user's inspect passes on comes here unchecked
    static_assert(can_travel<T>(), "values of this type can't be sent to another process: give it an inspect(f, x)");
    if constexpr (!is_instance_of<T, std::chrono::time_point> && !is_instance_of<T, std::chrono::duration>)
      refuse_pointers(x);
    w.put(x);
  }
}

template <class T>
void read_value(reader& r, T& x) {
  if constexpr (has_codec<T>) {
    codec<T>::read(r, x);
  } else if constexpr (nothing<T>) {
    // no bytes
  } else if constexpr (std::same_as<T, bool>) {
    x = r.get<std::uint8_t>() != 0;
  } else if constexpr (number<T> || std::same_as<T, long double>) {
    x = r.get<T>();
  } else if constexpr (std::is_array_v<T>) {
    if constexpr (number<std::remove_cv_t<std::remove_extent_t<T>>>)
      std::memcpy(x, r.take(sizeof(x)).data(), sizeof(x));
    else
      for (auto& element : x)
        read_value(r, element);
  } else if constexpr (is_std_array<T>::value) {
    if constexpr (std::tuple_size_v<T> == 0)
      static_cast<void>(x); // its data() is null, which memcpy doesn't take
    else if constexpr (block<T>)
      std::memcpy(static_cast<void*>(x.data()), r.take(sizeof(element_t<T>) * x.size()).data(), sizeof(element_t<T>) * x.size());
    else
      for (auto& element : x)
        read_value(r, element);
  } else if constexpr (tuple_like<T>) {
    std::apply([&](auto&... xs) { (read_value(r, xs), ...); }, x);
  } else if constexpr (is_instance_of<T, std::optional>) {
    if (r.get<std::uint8_t>() != 0)
      read_value(r, x.emplace());
    else
      x.reset();
  } else if constexpr (is_instance_of<T, std::variant>) {
    read_alternative(r, r.get<std::uint32_t>(), x);
  } else if constexpr (has_inspect<T>) {
    reader::depth_guard guard{r};
    if (codec_status failed = inspect(r, x))
      throw codec_error{failed.text()};
  } else if constexpr (block<T>) {
    read_block(r, x);
  } else if constexpr (sequence<T>) {
    reader::depth_guard guard{r};
    read_sequence(r, x);
  } else {
    static_assert(can_travel<T>(), "values of this type can't be received from another process: give it an inspect(f, x)");
    std::memcpy(static_cast<void*>(&x), r.take(sizeof(T)).data(), sizeof(T));
  }
}

// One argument that a user's inspect passes on: annotations say nothing to bytes, callbacks are run.
template <class T>
codec_status write_field(writer& w, T& x) {
  using type = std::remove_cv_t<T>;
  if constexpr (caf::meta::is_save_callback<type>::value)
    return x.fun();
  else if constexpr (!caf::meta::is_annotation<type>::value)
    write_value(w, x);
  return {};
}

template <class T>
codec_status read_field(reader& r, T& x) {
  using type = std::remove_cv_t<T>;
  if constexpr (caf::meta::is_load_callback<type>::value)
    return x.fun();
  else if constexpr (!caf::meta::is_annotation<type>::value)
    read_value(r, const_cast<type&>(x));
  return {};
}

} // namespace detail

template <class... Ts>
codec_status writer::operator()(Ts&&... xs) {
  codec_status status;
  static_cast<void>(((status = detail::write_field(*this, xs), !status) && ...));
  return status;
}

template <class... Ts>
codec_status reader::operator()(Ts&&... xs) {
  codec_status status;
  static_cast<void>(((status = detail::read_field(*this, xs), !status) && ...));
  return status;
}

/// Appends a value. Throws codec_error, or what the type's own inspect throws.
template <class T>
void write(writer& w, const T& x) {
  static_assert(sendable<T>, "values of this type can't be sent to another process: give it an inspect(f, x)");
  detail::write_value(w, x);
}

/// Takes a value. Throws codec_error, or what the type's own inspect throws.
template <class T>
void read(reader& r, T& x) {
  static_assert(sendable<T>, "values of this type can't be received from another process: give it an inspect(f, x)");
  detail::read_value(r, x);
}

/// Takes a value of a type that has a default constructor.
template <class T>
T read(reader& r) {
  T x{};
  read(r, x);
  return x;
}

/// @endcond

} // namespace troupe
