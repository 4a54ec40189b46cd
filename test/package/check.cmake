# Builds the consumer beside this file in one of the ways in which a project can use troupe, and runs it.
#   cmake -D FORM=… -D WORK=<folder of its own> [-D BUILD_DIR=… -D COMPILER=…] -P check.cmake
# FORM:
#   installed     finds the installed package of the build in BUILD_DIR
#   pkg-config    the same, without CMake
#   subdirectory  has the sources in its tree
#   fetched       fetches them
#   shared        builds and installs shared libraries, and uses these
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH test_dir)
cmake_path(GET test_dir PARENT_PATH source)
file(REMOVE_RECURSE "${WORK}")
set(prefix "${WORK}/prefix")
if(NOT COMPILER)
  set(COMPILER c++)
endif()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(run_consumer program)
  execute_process(COMMAND "${program}" -p 2 OUTPUT_VARIABLE out COMMAND_ERROR_IS_FATAL ANY)
  if(NOT out STREQUAL "42, MPI 3 or later\n")
    message(FATAL_ERROR "${program} -p 2 printed '${out}'")
  endif()
endfunction()

function(build_consumer folder)
  run(${CMAKE_COMMAND} -S "${CMAKE_CURRENT_LIST_DIR}/${folder}" -B "${WORK}/build" -G Ninja
    -D "CMAKE_CXX_COMPILER=${COMPILER}" -D "TROUPE_SOURCE=${source}" ${ARGN})
  run(${CMAKE_COMMAND} --build "${WORK}/build")
  run_consumer("${WORK}/build/consumer")
endfunction()

# What else an installation has.
function(check_installation)
  foreach(file IN ITEMS bin/troupe share/man/man1/troupe.1 share/man/man7/troupe-options.7 share/doc/troupe/troupe.ini)
    if(NOT EXISTS "${prefix}/${file}")
      message(FATAL_ERROR "not installed: ${prefix}/${file}")
    endif()
  endforeach()
  execute_process(COMMAND "${prefix}/bin/troupe" --version OUTPUT_VARIABLE out COMMAND_ERROR_IS_FATAL ANY)
  if(NOT out MATCHES "[0-9]+\\.[0-9]+\\.[0-9]+")
    message(FATAL_ERROR "troupe --version printed '${out}'")
  endif()
endfunction()

if(FORM STREQUAL "installed")
  run(${CMAKE_COMMAND} --install "${BUILD_DIR}" --prefix "${prefix}")
  check_installation()
  build_consumer(installed -D "CMAKE_PREFIX_PATH=${prefix}")
elseif(FORM STREQUAL "pkg-config")
  run(${CMAKE_COMMAND} --install "${BUILD_DIR}" --prefix "${prefix}")
  file(GLOB_RECURSE pc "${prefix}/troupe.pc")
  cmake_path(GET pc PARENT_PATH folder)
  set(ENV{PKG_CONFIG_PATH} "${folder}")
  execute_process(COMMAND pkg-config --cflags --libs troupe OUTPUT_VARIABLE flags
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${COMPILER} -std=c++20 "${CMAKE_CURRENT_LIST_DIR}/consumer.cpp" -o "${WORK}/consumer" ${flags})
  run_consumer("${WORK}/consumer")
elseif(FORM STREQUAL "subdirectory" OR FORM STREQUAL "fetched")
  build_consumer(${FORM})
elseif(FORM STREQUAL "shared")
  run(${CMAKE_COMMAND} -S "${source}" -B "${WORK}/troupe" -G Ninja -D "CMAKE_CXX_COMPILER=${COMPILER}"
    -D CMAKE_BUILD_TYPE=Release -D BUILD_SHARED_LIBS=ON -D TROUPE_TESTS=OFF)
  run(${CMAKE_COMMAND} --build "${WORK}/troupe")
  run(${CMAKE_COMMAND} --install "${WORK}/troupe" --prefix "${prefix}")
  check_installation()
  build_consumer(installed -D "CMAKE_PREFIX_PATH=${prefix}")
else()
  message(FATAL_ERROR "FORM '${FORM}' is none of installed, pkg-config, subdirectory, fetched, shared")
endif()
