#pragma once

#include "troupe/transport/frame.hpp"

#include <caf/mailbox_element.hpp>
#include <caf/message.hpp>

#include <memory>
#include <utility>

namespace troupe {

/// A message to all elements of an array, as it lies in the mailbox of one: they share its content, and its sender's credit, which is given back when all have handled it.
class array_message final : public caf::mailbox_element {
public:
  array_message(caf::strong_actor_ptr from, caf::message_id id, caf::message what, std::shared_ptr<credit> paid)
    : caf::mailbox_element(std::move(from), id, {}), what_(std::move(what)), paid_(std::move(paid)) {}

  caf::type_erased_tuple& content() override { return what_; }
  const caf::type_erased_tuple& content() const override { return what_.content(); }
  caf::message move_content_to_message() override { return std::move(what_); }
  caf::message copy_content_to_message() const override { return what_; }

private:
  caf::message what_;
  std::shared_ptr<credit> paid_;
};

} // namespace troupe
