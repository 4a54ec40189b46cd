#include "troupe/transport/received_message.hpp"

#include <caf/all.hpp>

#include <cstring>
#include <new>

namespace troupe {

namespace {

constexpr std::size_t aligned(std::size_t offset, std::size_t alignment) { return (offset + alignment - 1) / alignment * alignment; }

} // namespace

caf::mailbox_element_ptr received_message::read(reader& in, const std::vector<const message_type*>& types) {
  static_assert(alignof(element) <= alignof(received_message));
  const auto n = in.get<std::uint16_t>();
  const auto numbers = in.take(std::size_t{n} * sizeof(std::uint16_t));
  const auto type_of = [&](std::uint16_t i) -> const message_type& {
    std::uint16_t number;
    std::memcpy(&number, numbers.data() + i * sizeof number, sizeof number);
    return message_type_at(number, types);
  };
  auto end = sizeof(received_message) + n * sizeof(element);
  for (std::uint16_t i = 0; i < n; ++i)
    end = aligned(end, type_of(i).alignment) + type_of(i).size;
  auto made = new (end - sizeof(received_message)) received_message;
  caf::mailbox_element_ptr owned{made};
  end = sizeof(received_message) + n * sizeof(element);
  for (std::uint16_t i = 0; i < n; ++i) {
    auto& type = type_of(i);
    const auto begin = aligned(end, type.alignment);
    const auto where = reinterpret_cast<std::byte*>(made) + begin;
    type.read(in, where);
    ::new (made->elements() + i) element{&type, where};
    made->token_ = caf::add_to_type_token(made->token_, type.rtti.first);
    made->size_ = static_cast<std::uint16_t>(i + 1);
    end = begin + type.size;
  }
  in.expect_end();
  return owned;
}

namespace {

template <class Value>
caf::message message_of(std::uint16_t size, Value value) {
  std::vector<caf::type_erased_value_ptr> all;
  all.reserve(size);
  for (std::uint16_t i = 0; i < size; ++i)
    all.push_back(value(i));
  return make_message_of(std::move(all));
}

} // namespace

received_message::~received_message() {
  for (std::uint16_t i = 0; i < size_; ++i)
    elements()[i].type->destroy(elements()[i].value);
}

caf::message received_message::move_content_to_message() {
  return message_of(size_, [this](std::uint16_t i) { return elements()[i].type->take(elements()[i].value); });
}

caf::message received_message::copy_content_to_message() const {
  return message_of(size_, [this](std::uint16_t i) { return copy(i); });
}

caf::error received_message::load(std::size_t, caf::deserializer&) {
  return caf::sec::invalid_argument; // nobody writes over a message
}

} // namespace troupe
