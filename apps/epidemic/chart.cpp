#include "epidemic/chart.hpp"

#include "epidemic/output.hpp"
#include "files/files.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>

#include <cairo.h>

namespace epidemic {

namespace {

constexpr int width = 1200;
constexpr int height = 750;

struct colour {
  double red, green, blue;
};

constexpr colour ink{0.13, 0.15, 0.18};
constexpr colour faint_ink{0.40, 0.43, 0.47};
constexpr colour grid{0.90, 0.91, 0.92};

struct curve {
  const char* name;
  std::int64_t counts::* value;
  colour paint;
};

/// The colours tell each other apart for colour-blind readers too (M. Okabe and K. Ito, "Color universal
/// design", 2008).
constexpr curve curves[] = {
  {"Susceptible", &counts::s, {0.00, 0.45, 0.70}},
  {"Exposed", &counts::e, {0.80, 0.47, 0.65}},
  {"Infectious", &counts::i, {0.84, 0.37, 0.00}},
  {"Removed", &counts::r, {0.00, 0.62, 0.45}},
};

enum class align { left, centre, right };

/// A number as a person writes it: without zeros at the end.
std::string plain(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

class picture {
public:
  picture(const trajectory& t, const scenario& s)
    : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height), cairo_surface_destroy),
      cairo_(cairo_create(surface_.get()), cairo_destroy),
      scenario_(s),
      days_(std::max<std::uint32_t>(t.days(), 1)) {
    for (std::uint32_t day = 0; day <= t.days(); ++day)
      totals_.push_back(t.total(day));
    const double people = static_cast<double>(totals_.front().people());
    step_ = tick_step(people, 8);
    top_value_ = std::ceil(people / step_) * step_;
    summary_ = summarize(t);
  }

  std::string draw() {
    set(colour{1, 1, 1});
    cairo_paint(c());
    draw_titles();
    draw_axes();
    for (const auto& k : curves)
      draw_curve(k);
    draw_peak();
    draw_legend();
    return png();
  }

private:
  static constexpr double left = 100, right = width - 40, top = 145, bottom = height - 75;
  static constexpr double legend_y = 118;

  cairo_t* c() const { return cairo_.get(); }
  double x(double day) const { return left + (right - left) * day / days_; }
  double y(double people) const { return bottom - (bottom - top) * people / top_value_; }

  void set(const colour& k, double alpha = 1) { cairo_set_source_rgba(c(), k.red, k.green, k.blue, alpha); }

  void font(double size, bool bold = false) {
    cairo_select_font_face(c(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c(), size);
  }

  double text_width(const std::string& text) {
    cairo_text_extents_t extents;
    cairo_text_extents(c(), text.c_str(), &extents);
    return extents.x_advance;
  }

  void write(double at_x, double at_y, const std::string& text, align a = align::left) {
    const double shift = a == align::left ? 0 : a == align::centre ? 0.5 : 1;
    cairo_move_to(c(), at_x - shift * text_width(text), at_y);
    cairo_show_text(c(), text.c_str());
    cairo_new_path(c()); // the text's end would be the start of the next line
  }

  void line(double x1, double y1, double x2, double y2, double thickness) {
    cairo_set_line_width(c(), thickness);
    cairo_move_to(c(), x1, y1);
    cairo_line_to(c(), x2, y2);
    cairo_stroke(c());
  }

  void draw_titles() {
    const auto& given = scenario_.given;
    const auto places = scenario_.places.size();
    set(ink);
    font(25, true);
    write(left, 48,
          "SEIR epidemic among " + grouped(totals_.front().people()) + " people in " + std::to_string(places)
            + (places == 1 ? " place" : " places"));
    set(faint_ink);
    const std::string text = "R0 " + plain(given.r0) + "  ·  incubation " + plain(given.incubation) + " days  ·  infectious "
                             + plain(given.infectious) + " days  ·  " + plain(100 * given.travel)
                             + " % travel each day  ·  day 0: " + grouped(given.first_count) + " infectious in " + given.first_case
                             + "  ·  seed " + std::to_string(given.seed);
    font(16); // or smaller, where that is too wide
    font(std::min(16.0, 16 * (right - left) / text_width(text)));
    write(left, 77, text);
  }

  void draw_axes() {
    font(15);
    for (int i = 0; i * step_ <= top_value_ * 1.0001; ++i) {
      const double at = std::round(y(i * step_)) + 0.5;
      set(grid);
      line(left, at, right, at, 1);
      set(faint_ink);
      write(left - 12, at + 5, people_label(i * step_), align::right);
    }
    const double day_step = std::max(tick_step(days_, 12), 1.0);
    for (int i = 0; i * day_step <= days_ * 1.0001; ++i) {
      const double at = std::round(x(i * day_step)) + 0.5;
      set(grid);
      line(at, top, at, bottom, 1);
      set(ink);
      line(at, bottom, at, bottom + 6, 1);
      set(faint_ink);
      write(at, bottom + 25, plain_day(i * day_step), align::centre);
    }
    set(ink);
    line(left, bottom + 0.5, right, bottom + 0.5, 1.5);
    line(left + 0.5, top, left + 0.5, bottom, 1.5);
    font(16);
    write((left + right) / 2, bottom + 55, "day", align::centre);
    cairo_save(c());
    cairo_translate(c(), 30, (top + bottom) / 2);
    cairo_rotate(c(), -std::acos(0.0));
    write(0, 0, "people", align::centre);
    cairo_restore(c());
  }

  static std::string plain_day(double day) { return std::to_string(std::lround(day)); }

  void draw_curve(const curve& k) {
    set(k.paint);
    cairo_set_line_width(c(), 3);
    cairo_set_line_join(c(), CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(c(), CAIRO_LINE_CAP_ROUND);
    for (std::size_t day = 0; day < totals_.size(); ++day)
      cairo_line_to(c(), x(static_cast<double>(day)), y(static_cast<double>(totals_[day].*k.value)));
    cairo_stroke(c());
  }

  void draw_peak() {
    const double at_x = x(summary_.peak_day);
    const double at_y = y(static_cast<double>(summary_.peak));
    const colour& paint = curves[2].paint;
    set(paint, 0.55);
    const double dashes[] = {5, 5};
    cairo_set_dash(c(), dashes, 2, 0);
    line(at_x, at_y, at_x, bottom, 1.5);
    cairo_set_dash(c(), nullptr, 0, 0);
    set(paint);
    cairo_arc(c(), at_x, at_y, 5, 0, 4 * std::acos(0.0));
    cairo_fill(c());
    font(16, true);
    write(right, legend_y,
          "● peak: " + people_label(static_cast<double>(summary_.peak)) + " infectious on day " + std::to_string(summary_.peak_day),
          align::right);
  }

  /// In a row above the curves, where it hides none of them.
  void draw_legend() {
    font(16);
    double at = left;
    for (const auto& k : curves) {
      set(k.paint);
      cairo_set_line_cap(c(), CAIRO_LINE_CAP_ROUND);
      line(at + 2, legend_y - 5, at + 30, legend_y - 5, 4);
      set(ink);
      write(at + 40, legend_y, k.name);
      at += 40 + text_width(k.name) + 36;
    }
  }

  std::string png() {
    if (const auto status = cairo_status(c()); status != CAIRO_STATUS_SUCCESS)
      throw std::runtime_error(std::string{"cannot draw the chart: "} + cairo_status_to_string(status));
    return files::png_of(surface_.get());
  }

  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> cairo_;
  const scenario& scenario_;
  double days_;
  std::vector<counts> totals_; // by day
  double step_ = 1;            // people between two ticks
  double top_value_ = 1;       // people at the top of the chart
  summary summary_;
};

} // namespace

std::string draw_chart(const trajectory& t, const scenario& s) { return picture{t, s}.draw(); }

double tick_step(double most, int ticks) {
  const double least = most / ticks;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (power * factor >= least * 0.999999)
      return power * factor;
  }
  return power * 10;
}

std::string people_label(double people) {
  if (people >= 1e9)
    return plain(people / 1e9) + "G";
  if (people >= 1e6)
    return plain(people / 1e6) + "M";
  if (people >= 1e3)
    return plain(people / 1e3) + "k";
  return plain(people);
}

} // namespace epidemic
