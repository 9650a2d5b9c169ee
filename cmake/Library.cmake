# The libraries for other programs, libculet.a and libculet.so, and what `cmake --install` lays down.
# Both are made of the rooms' objects as they are: nothing is compiled for them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(culet_objects "")
foreach(room base checkpoint hub text media ops model runtime api capi)
  if(TARGET culet_${room})
    list(APPEND culet_objects $<TARGET_OBJECTS:culet_${room}>)
  endif()
endforeach()

# culet_library(TARGET KIND EXPORT_NAME): both are called libculet on disk.
function(culet_library target kind export_name)
  add_library(${target} ${kind} ${culet_objects})
  add_library(culet::${export_name} ALIAS ${target})
  target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                 $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE Threads::Threads CURL::libcurl OpenSSL::Crypto)
  # Where they lie is this machine's affair: an installed archive asks for them by name.
  target_link_libraries(${target} PRIVATE "$<BUILD_INTERFACE:${CULET_MEDIA_LIBRARY_PATHS}>"
                                          "$<INSTALL_INTERFACE:${CULET_MEDIA_LIBRARY_NAMES}>")
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME culet EXPORT_NAME ${export_name} LINKER_LANGUAGE CXX
    ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
endfunction()
culet_library(culet_static STATIC culet_static)
culet_library(culet_shared SHARED culet)

# Before 1.0 a minor version may change the interface, so it is part of the name that programs ask for.
set_target_properties(culet_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
target_link_options(culet_shared PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)
if(NOT CULET_SANITIZE)  # whose own functions the program brings
  target_link_options(culet_shared PRIVATE LINKER:-z,defs)
endif()

# ---- what is installed ----

set(culet_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/culet)
set(culet_models_dir ${CMAKE_INSTALL_DATADIR}/culet/models)  # where the command looks, from bin/ on

# Two export sets: who links the shared library needs none of the libraries that it stands on.
install(TARGETS culet_shared EXPORT culet-shared
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(TARGETS culet_static EXPORT culet-static
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        COMPONENT development FILES_MATCHING PATTERN *.h)
foreach(kind shared static)
  install(EXPORT culet-${kind} NAMESPACE culet:: FILE culet-${kind}.cmake
          DESTINATION ${culet_package_dir} COMPONENT development)
endforeach()

set(CULET_INSTALLED_MODELS ${culet_models_dir})
list(TRANSFORM CULET_MEDIA_LIBRARY_NAMES PREPEND "-l" OUTPUT_VARIABLE culet_media_flags)
list(JOIN culet_media_flags " " culet_media_flags)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/culetConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/culetConfig.cmake
  INSTALL_DESTINATION ${culet_package_dir} PATH_VARS CULET_INSTALLED_MODELS)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/culetConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/culetConfig.cmake
              ${PROJECT_BINARY_DIR}/package/culetConfigVersion.cmake
        DESTINATION ${culet_package_dir} COMPONENT development)

# Paths from where the file lies, so that the whole may be moved.
file(RELATIVE_PATH culet_prefix_from_pc /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/culet.pc.in ${PROJECT_BINARY_DIR}/package/culet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/culet.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/pebble DESTINATION ${culet_models_dir} COMPONENT models)
