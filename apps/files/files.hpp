#pragma once

#include <filesystem>
#include <string>
#include <string_view>

typedef struct _cairo_surface cairo_surface_t;

/// What applications write.
namespace files {

/// Makes `content` the whole content of `file`. A reader finds the old content or the new one, never a part:
/// it goes to a file beside it first, which is renamed, and which is gone when that fails. What is there but
/// no regular file (/dev/stdout, a pipe) is written to directly. Throws std::system_error, with the name and
/// the system's reason.
void write_file(const std::filesystem::path& file, std::string_view content);

/// Makes `folder` if there is none. Throws std::system_error when it can't be made or files can't be made in
/// it.
void require_folder(const std::filesystem::path& folder);

/// The bytes of a PNG file. Throws std::runtime_error when cairo fails, or has failed to draw it.
std::string png_of(cairo_surface_t* picture);

} // namespace files
