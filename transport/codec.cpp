#include "troupe/transport/codec.hpp"

#include <cstdint>

namespace troupe {

void reader::fail_short(std::size_t needed, std::size_t left) {
  throw codec_error{"a value needs " + std::to_string(needed) + " bytes, " + std::to_string(left) + " are left"};
}

void reader::fail_length(std::uint64_t n, std::size_t element_size, std::size_t left) {
  throw codec_error{"a block claims " + std::to_string(n) + " elements of " + std::to_string(element_size) + " bytes, "
                    + std::to_string(left) + " bytes are left"};
}

void reader::fail_empty() {
  throw codec_error{"elements that take no bytes would take more than " + std::to_string(max_empty_elements) + " bytes of memory"};
}

namespace detail {

void throw_pointer_in_value(const found_pointer& found, std::string_view what) {
  throw codec_error{std::string{what} + " holds an address of this process (in its " + found.region + ") at byte "
                    + std::to_string(found.offset)
                    + ", which means nothing elsewhere: give the type an inspect(f, x), or "
                      "send what the address points to"};
}

} // namespace detail

writer::element::element(writer& w) : writer_(w), at_(w.out_.size()), outside_(w.outside_ == nullptr ? 0 : w.outside_->size()) {
  w.first_reference_ = w.references_ == nullptr ? 0 : w.references_->size();
  w.put(std::uint64_t{0});
  w.put(std::uint32_t{0});
}

writer::element::~element() {
  std::uint64_t size = writer_.out_.size() - at_ - header;
  if (writer_.outside_ != nullptr)
    for (auto i = outside_; i < writer_.outside_->size(); ++i)
      size += (*writer_.outside_)[i].bytes.size();
  const auto count =
    static_cast<std::uint32_t>(writer_.references_ == nullptr ? 0 : writer_.references_->size() - writer_.first_reference_);
  std::memcpy(writer_.out_.data() + at_, &size, sizeof size);
  std::memcpy(writer_.out_.data() + at_ + sizeof size, &count, sizeof count);
  writer_.first_reference_ = 0;
}

void writer::carry(held_reference_ptr to) {
  if (references_ == nullptr)
    held_reference::throw_outside();
  references_->push_back(std::move(to));
}

void writer::refer(held_reference_ptr to) {
  if (references_ == nullptr)
    held_reference::throw_outside();
  put(static_cast<std::uint32_t>(references_->size() - first_reference_));
  references_->push_back(std::move(to));
}

void writer::leave_outside(const void* data, std::size_t size) {
  outside_->push_back({out_.size(), {static_cast<const std::byte*>(data), size}, keeper_});
}

} // namespace troupe
