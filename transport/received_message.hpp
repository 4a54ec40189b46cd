#pragma once

#include "troupe/transport/frame.hpp"
#include "troupe/transport/message_types.hpp"

#include <caf/mailbox_element.hpp>

#include <cstdint>
#include <vector>

namespace troupe {

/// A message from another process, as it lies in a mailbox: its elements stand behind it in the same memory, and its
/// sender's credit is given back when its receiver has handled it.
class received_message final : public caf::mailbox_element, public caf::type_erased_tuple {
public:
  /// Reads the elements that write_elements has written, by the writer's numbers, to the end of `in`. Throws what reading
  /// throws.
  static caf::mailbox_element_ptr read(reader& in, const std::vector<const message_type*>& types);

  ~received_message() override;

  credit paid;

  // caf::mailbox_element
  caf::type_erased_tuple& content() override { return *this; }
  const caf::type_erased_tuple& content() const override { return *this; }
  caf::message move_content_to_message() override;
  caf::message copy_content_to_message() const override;

  // caf::type_erased_tuple
  void* get_mutable(std::size_t i) override { return elements()[i].value; }
  const void* get(std::size_t i) const noexcept override { return elements()[i].value; }
  std::size_t size() const noexcept override { return size_; }
  std::uint32_t type_token() const noexcept override { return token_; }
  caf::rtti_pair type(std::size_t i) const noexcept override { return elements()[i].type->rtti; }
  std::string stringify(std::size_t i) const override { return copy(i)->stringify(); }
  caf::type_erased_value_ptr copy(std::size_t i) const override { return elements()[i].type->copy(elements()[i].value); }
  caf::error load(std::size_t i, caf::deserializer& source) override;
  caf::error save(std::size_t i, caf::serializer& sink) const override { return copy(i)->save(sink); }

  void operator delete(void* memory) { ::operator delete(memory); }

private:
  struct element {
    const message_type* type;
    void* value;
  };

  received_message() = default;
  void* operator new(std::size_t size, std::size_t behind) { return ::operator new(size + behind); }
  void operator delete(void* memory, std::size_t) { ::operator delete(memory); }

  element* elements() { return reinterpret_cast<element*>(this + 1); }
  const element* elements() const { return reinterpret_cast<const element*>(this + 1); }

  std::uint32_t token_ = 0xFFFFFFFF;
  std::uint16_t size_ = 0; // elements that have been read
};

} // namespace troupe
