#include "troupe/actors/array_index.hpp"

#include "troupe/transport/element_id.hpp"
#include "troupe/transport/error.hpp"

namespace troupe {

namespace {

std::string joined(const auto& numbers, const char* between) {
  std::string out;
  for (auto n : numbers)
    out += (out.empty() ? "" : between) + std::to_string(n);
  return out;
}

} // namespace

array_extents::array_extents(const std::array<std::int64_t, most_dimensions>& sizes, std::size_t dimensions) : dimensions_(dimensions) {
  std::string given;
  bool positive = true;
  std::size_t all = 1;
  bool small = true;
  for (std::size_t d = 0; d < dimensions; ++d) {
    given += (d == 0 ? "" : " x ") + std::to_string(sizes[d]);
    positive = positive && sizes[d] > 0;
    sizes_[d] = static_cast<std::size_t>(sizes[d]);
    small = small && positive && sizes_[d] <= element_id::most_elements / all;
    all *= small ? sizes_[d] : 1;
  }
  if (!positive)
    throw usage_error{"an array of " + given + " elements: there must be at least one in each dimension"};
  if (!small)
    throw usage_error{"an array of " + given + " elements: there can be " + std::to_string(element_id::most_elements) + " at most"};
}

std::string to_string(const array_extents& x) { return joined(x, " x "); }

array_index array_index::at(std::size_t position, const array_extents& extents) {
  array_index out;
  out.dimensions_ = extents.size();
  out.position_ = position;
  for (auto d = extents.size(); d-- > 0;) {
    out.at_[d] = static_cast<std::int64_t>(position % extents[d]);
    position /= extents[d];
  }
  return out;
}

std::size_t array_index::position_in(const array_extents& extents) const {
  if (dimensions_ == 1) {
    if (at_[0] >= 0 && static_cast<std::size_t>(at_[0]) < extents)
      return static_cast<std::size_t>(at_[0]);
    throw usage_error{"index " + to_string(*this) + " of an array of " + to_string(extents) + " elements: there are 0 to "
                      + std::to_string(extents - 1)};
  }
  if (dimensions_ != extents.size())
    throw usage_error{"index " + to_string(*this) + " of an array of " + to_string(extents) + " elements: it has "
                      + std::to_string(dimensions_) + " dimensions, the array " + std::to_string(extents.size())};
  std::size_t position = 0;
  for (std::size_t d = 0; d < dimensions_; ++d) {
    if (at_[d] < 0 || static_cast<std::size_t>(at_[d]) >= extents[d])
      throw usage_error{"index " + to_string(*this) + " of an array of " + to_string(extents) + " elements: number " + std::to_string(d + 1)
                        + " must be 0 to " + std::to_string(extents[d] - 1)};
    position = position * extents[d] + static_cast<std::size_t>(at_[d]);
  }
  return position;
}

std::size_t array_index::throw_no_number() const {
  throw usage_error{"index " + to_string(*this) + " is no number: which one depends on an array's extents"};
}

std::string to_string(const array_index& x) { return x.size() == 1 ? joined(x, "") : "(" + joined(x, ", ") + ")"; }

} // namespace troupe
