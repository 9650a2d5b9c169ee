# Every header compiles alone: one generated source a header, which includes it twice (the second
# time shows a missing include guard). Headers named *_inl.h are pieces of one source and exempt.
function(culet_add_header_checks)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
       ${CMAKE_SOURCE_DIR}/include/*.h ${CMAKE_SOURCE_DIR}/src/*.h)
  list(FILTER headers EXCLUDE REGEX "[-_]inl\\.h$")
  set(sources "")
  foreach(header ${headers})
    string(REGEX REPLACE "^(include|src)/" "" include "${header}")
    string(REGEX REPLACE "[^A-Za-z0-9]" "_" name "${header}")
    set(source ${CMAKE_BINARY_DIR}/header_checks/${name}.cc)
    set(text "#include \"${include}\"\n#include \"${include}\"  // guarded\n")
    # Written only where it differs, so that a new configuration compiles nothing again.
    file(GENERATE OUTPUT ${source} CONTENT "${text}")
    list(APPEND sources ${source})
  endforeach()
  add_library(header_checks OBJECT ${sources})
  target_link_libraries(header_checks PRIVATE culet_flags nlohmann_json::nlohmann_json fmt::fmt
                                              culet_media_libraries)
  # Nothing is run: no time for optimising.
  target_compile_options(header_checks PRIVATE -O0)
endfunction()
