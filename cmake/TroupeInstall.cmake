# Libraries, headers, the `troupe` command, man pages, and the files by which CMake and pkg-config find them.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/troupe")
set(header_dir "${CMAKE_INSTALL_INCLUDEDIR}/troupe")

get_property(libraries GLOBAL PROPERTY TROUPE_LIBRARIES)
install(TARGETS troupe ${libraries} EXPORT troupe-targets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(TARGET troupe_command)
  file(RELATIVE_PATH to_libraries "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
  set_target_properties(troupe_command PROPERTIES INSTALL_RPATH "$ORIGIN/${to_libraries}")
  install(TARGETS troupe_command RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(EXPORT troupe-targets NAMESPACE troupe:: DESTINATION "${package_dir}")

# The umbrella headers exist once, one level up.
list(TRANSFORM TROUPE_UMBRELLA_HEADERS PREPEND "${PROJECT_SOURCE_DIR}/managers/" OUTPUT_VARIABLE umbrella_headers)
set(not_in_managers)
foreach(header IN LISTS umbrella_headers)
  list(APPEND not_in_managers PATTERN "${header}" EXCLUDE)
endforeach()
install(DIRECTORY transport actors DESTINATION "${header_dir}" FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY managers DESTINATION "${header_dir}" FILES_MATCHING PATTERN "*.hpp" ${not_in_managers})
install(FILES ${umbrella_headers} DESTINATION "${header_dir}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/troupe-config.cmake.in"
  "${PROJECT_BINARY_DIR}/troupe-config.cmake" INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/troupe-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/troupe-config.cmake"
  "${PROJECT_BINARY_DIR}/troupe-config-version.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindCAF.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/TroupeMPI.cmake"
  DESTINATION "${package_dir}")

install(FILES "${PROJECT_SOURCE_DIR}/docs/man/troupe.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES "${PROJECT_SOURCE_DIR}/docs/man/troupe-options.7" DESTINATION "${CMAKE_INSTALL_MANDIR}/man7")
install(FILES LICENSE README.md CHANGELOG.md docs/troupe.ini DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# pkg-config: what CMake found, as flags. The prefix is where the file lies, so that --prefix works at installation.
file(RELATIVE_PATH TROUPE_PC_PREFIX
  "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" TROUPE_PC_PREFIX "${TROUPE_PC_PREFIX}")
list(TRANSFORM MPI_CXX_COMPILER_INCLUDE_DIRS PREPEND "-I" OUTPUT_VARIABLE cflags)
foreach(definition IN LISTS MPI_CXX_COMPILE_DEFINITIONS)
  list(APPEND cflags "-D${definition}")
endforeach()
list(JOIN cflags " " TROUPE_PC_CFLAGS)
set(libs -ltroupe_managers -ltroupe_actors -ltroupe_transport -ltroupe_core
  "${CAF_CORE_LIBRARY}" ${MPI_CXX_LIBRARIES} -pthread -rdynamic -Wl,--build-id)
if(BUILD_SHARED_LIBS)
  list(PREPEND libs "-Wl,-rpath,\${libdir}")
endif()
list(JOIN libs " " TROUPE_PC_LIBS)
configure_file("${PROJECT_SOURCE_DIR}/cmake/troupe.pc.in" "${PROJECT_BINARY_DIR}/troupe.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/troupe.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
