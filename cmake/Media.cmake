# The libraries that src/media decodes with: target culet_media_libraries.
#
# Each line: header, library. pkg-config is not asked, so that a build needs no more packages.
set(culet_media_headers libavformat/avformat.h libavcodec/avcodec.h libswscale/swscale.h
    libswresample/swresample.h libavutil/avutil.h jpeglib.h png.h webp/decode.h webp/demux.h)
set(CULET_MEDIA_LIBRARY_NAMES avformat avcodec swscale swresample avutil jpeg png webp webpdemux)

add_library(culet_media_libraries INTERFACE)
set(CULET_MEDIA_LIBRARY_PATHS "")
set(culet_media_missing "")
foreach(header name IN ZIP_LISTS culet_media_headers CULET_MEDIA_LIBRARY_NAMES)
  find_path(CULET_MEDIA_INCLUDE_${name} ${header})
  find_library(CULET_MEDIA_LIBRARY_${name} ${name})
  mark_as_advanced(CULET_MEDIA_INCLUDE_${name} CULET_MEDIA_LIBRARY_${name})
  if(NOT CULET_MEDIA_INCLUDE_${name} OR NOT CULET_MEDIA_LIBRARY_${name})
    list(APPEND culet_media_missing lib${name})
    continue()
  endif()
  target_include_directories(culet_media_libraries SYSTEM INTERFACE ${CULET_MEDIA_INCLUDE_${name}})
  list(APPEND CULET_MEDIA_LIBRARY_PATHS ${CULET_MEDIA_LIBRARY_${name}})
endforeach()
if(culet_media_missing)
  list(JOIN culet_media_missing ", " culet_media_missing)
  message(FATAL_ERROR "culet decodes pictures, sounds and videos with libraries of which these, or their "
    "headers, are not installed: ${culet_media_missing}. On Debian and Ubuntu, tools/install_deps.sh build "
    "installs them; elsewhere install FFmpeg 5.1 or newer, libjpeg, libpng and libwebp with their headers.")
endif()
target_link_libraries(culet_media_libraries INTERFACE ${CULET_MEDIA_LIBRARY_PATHS})

# libavcodec 59.37 is FFmpeg 5.1's: the first with channel layouts as they are used here.
file(STRINGS ${CULET_MEDIA_INCLUDE_avcodec}/libavcodec/version_major.h culet_avcodec_major
     REGEX "define LIBAVCODEC_VERSION_MAJOR")
string(REGEX MATCH "[0-9]+" culet_avcodec_major "${culet_avcodec_major}")
if(culet_avcodec_major LESS 59)
  message(FATAL_ERROR "culet needs FFmpeg 5.1 or newer; libavcodec here is ${culet_avcodec_major}, that of 5.1 is 59.")
endif()
