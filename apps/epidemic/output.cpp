#include "epidemic/output.hpp"

#include <cerrno>
#include <charconv>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace epidemic {

namespace {

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& file, int error) {
  throw std::system_error(error, std::generic_category(), what + ' ' + file.string());
}

/// Writes and closes `fd`; 0 or the error.
int write_and_close(int fd, std::string_view content, bool sync) {
  int error = 0;
  while (!content.empty() && error == 0) {
    const auto n = ::write(fd, content.data(), content.size());
    if (n >= 0)
      content.remove_prefix(static_cast<std::size_t>(n));
    else if (errno != EINTR)
      error = errno;
  }
  if (error == 0 && sync && ::fsync(fd) != 0)
    error = errno;
  if (::close(fd) != 0 && error == 0)
    error = errno;
  return error;
}

void append(std::string& out, std::int64_t n) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void append_line(std::string& out, std::uint32_t day, std::string_view place, const counts& now,
                 const counts& before) {
  append(out, day);
  out += ',';
  out += place;
  for (const auto n : {now.s, now.e, now.i, now.r, now.i + now.r - before.i - before.r}) {
    out += ',';
    append(out, n);
  }
  out += '\n';
}

} // namespace

void write_file(const std::filesystem::path& file, std::string_view content) {
  struct ::stat there {};
  if (::stat(file.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (const int error = fd < 0 ? errno : write_and_close(fd, content, false))
      fail("cannot write", file, error);
    return;
  }
  const auto beside = file.string() + '.' + std::to_string(::getpid()) + ".tmp";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    fail("cannot write", file, errno);
  int error = write_and_close(fd, content, true);
  if (error == 0 && ::rename(beside.c_str(), file.c_str()) != 0)
    error = errno;
  if (error != 0) {
    ::unlink(beside.c_str());
    fail("cannot write", file, error);
  }
}

void require_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail("cannot make the folder", folder, error.value());
  if (!std::filesystem::is_directory(folder))
    fail("cannot write into", folder, ENOTDIR);
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    fail("cannot write into", folder, errno);
}

std::string to_csv(const trajectory& t, const scenario& s) {
  std::string out = "day,place,S,E,I,R,new_cases\n";
  counts total_before;
  for (std::uint32_t day = 0; day <= t.days(); ++day) {
    for (std::size_t p = 0; p < t.places(); ++p)
      append_line(out, day, s.places[p].code, t.at(day, p), day == 0 ? counts{} : t.at(day - 1, p));
    const counts total = t.total(day);
    append_line(out, day, "total", total, total_before);
    total_before = total;
  }
  return out;
}

std::string grouped(std::int64_t n) {
  std::string digits = std::to_string(n);
  const std::ptrdiff_t first = n < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ' ');
  return digits;
}

summary summarize(const trajectory& t) {
  summary result;
  for (std::uint32_t day = 0; day <= t.days(); ++day) {
    const counts total = t.total(day);
    if (total.i > result.peak) {
      result.peak = total.i;
      result.peak_day = day;
    }
    result.people = total.people();
    result.ever_infected = total.people() - total.s;
  }
  return result;
}

} // namespace epidemic
