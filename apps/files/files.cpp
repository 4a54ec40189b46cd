#include "files/files.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include <cairo.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace files {

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

} // namespace

void write_file(const std::filesystem::path& file, std::string_view content) {
  struct ::stat there{};
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

std::string png_of(cairo_surface_t* picture) {
  std::string bytes;
  const auto append = [](void* to, const unsigned char* data, unsigned n) {
    static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), n);
    return CAIRO_STATUS_SUCCESS;
  };
  const auto status = cairo_surface_write_to_png_stream(picture, append, &bytes);
  if (status != CAIRO_STATUS_SUCCESS)
    throw std::runtime_error(std::string{"cannot make a PNG: "} + cairo_status_to_string(status));
  return bytes;
}

} // namespace files
