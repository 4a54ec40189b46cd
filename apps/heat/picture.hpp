#pragma once

#include "heat/problem.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace heat {

class tile;

/// The values of a part's pixels, row by row. A picture has a pixel for each cell, or 1024 × 1024, each with the value of the cell in its middle: parts of
/// a field are sampled where they are, any division of it gives the same picture, and what travels is small.
std::vector<float> sample(const tile& part, std::int64_t size);

/// A picture of a field of size × size cells, whose values are 0 to 1.
class picture {
public:
  explicit picture(std::int64_t size);

  /// What `sample` gave for a tile with these cells. Throws std::logic_error if it isn't as long as that.
  void put(const area& where, const std::vector<float>& values);

  /// Pixels of the whole image: those of the field, enlarged to about 512 if they are fewer, with a scale and a caption beside them.
  int width() const;
  int height() const;

  /// The bytes of a PNG file. Throws std::runtime_error.
  std::string png(const std::string& caption) const;

private:
  int side() const; // of the field

  std::int64_t size_;
  std::int64_t pixels_; // across and down
  std::vector<std::uint32_t> colours_;
};

} // namespace heat
