# The functions that make troupe's targets.

# troupe_library(<name> SOURCES … LINK … [PCH target]): the target troupe_<name>, alias troupe::<name>. Without
# sources it is a library of headers.
function(troupe_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PCH" "SOURCES;LINK")
  set(target troupe_${name})
  if(arg_SOURCES)
    set(scope PUBLIC)
    add_library(${target} ${arg_SOURCES})
    set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION}
      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} INSTALL_RPATH "$ORIGIN")
    if(arg_PCH)
      troupe_use_pch(${target} ${arg_PCH})
    endif()
  else()
    set(scope INTERFACE)
    add_library(${target} INTERFACE)
  endif()
  add_library(troupe::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope}
    "$<BUILD_INTERFACE:${TROUPE_INCLUDE_DIR}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_link_libraries(${target} ${scope} ${arg_LINK})
  set_property(GLOBAL APPEND PROPERTY TROUPE_LIBRARIES ${target})
endfunction()

# troupe_precompiled(<target> LINK … [OPTIONS …] [HEADERS …]): a target that owns a precompiled header of CAF, of the
# standard library's larger headers and of HEADERS; others, compiled with the same OPTIONS, use it through
# troupe_use_pch.
function(troupe_precompiled target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;OPTIONS;HEADERS")
  set(source "${PROJECT_BINARY_DIR}/generated/${target}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT "// Owns a precompiled header.\n")
  add_library(${target} OBJECT "${source}")
  target_link_libraries(${target} PRIVATE ${arg_LINK})
  target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstddef> <cstdint> <deque> <functional> <map>
    <memory> <mutex> <optional> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
    <caf/all.hpp> ${arg_HEADERS})
endfunction()

# A shared library's code is compiled with -fPIC, which a header precompiled without it does not serve: then each
# target precompiles its own.
function(troupe_use_pch target owner)
  if(BUILD_SHARED_LIBS)
    get_target_property(headers ${owner} PRECOMPILE_HEADERS)
    target_precompile_headers(${target} PRIVATE ${headers})
  else()
    target_precompile_headers(${target} REUSE_FROM ${owner})
  endif()
endfunction()

# troupe_app(<name> SOURCES … [LINK …]): a program on the public headers. No precompiled header: what an example
# includes must be what its reader has to include.
function(troupe_app name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE troupe::troupe ${arg_LINK})
endfunction()

# Precompiled headers reach ccache only with this sloppiness (ccache's manual, "Precompiled headers"). What was compiled in one clone
# serves the next, whatever folder that is in.
macro(troupe_use_ccache)
  find_program(TROUPE_CCACHE ccache)
  if(TROUPE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_NOHASHDIR=1
        "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" "${TROUPE_CCACHE}")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      add_compile_options(-fpch-preprocess)
    else()
      add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
    endif()
  endif()
endmacro()
