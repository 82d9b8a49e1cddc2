# livecare_fuzzer(NAME SOURCES file... DEPS room...)
# A libFuzzer target, built by the preset fuzz only (clang). NAME ends in _fuzz; beside the source
# a script NAME_seeds.sh may stand, which is given a directory and writes inputs to start from.
# tests/fuzz/run.sh runs all of them.
add_custom_target(fuzzers)

function(livecare_fuzzer name)
  if(NOT LIVECARE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND livecare_)
  add_executable(${name} EXCLUDE_FROM_ALL ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE livecare_flags ${ARG_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
endfunction()
