# Libraries, headers and the CMake package of an installed troupe.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/troupe")
set(header_dir "${CMAKE_INSTALL_INCLUDEDIR}/troupe")

get_property(libraries GLOBAL PROPERTY TROUPE_LIBRARIES)
install(TARGETS troupe ${libraries} EXPORT troupe-targets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
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
  DESTINATION "${package_dir}")
