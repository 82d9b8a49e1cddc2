find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(GTest REQUIRED)

option(LIVECARE_FUZZ "build the libFuzzer targets (needs clang)" OFF)

add_library(livecare_flags INTERFACE)
target_include_directories(livecare_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(
  livecare_flags
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wnon-virtual-dtor -Woverloaded-virtual
            -Wno-missing-field-initializers
            -Werror -fno-strict-aliasing)

add_custom_target(thread_tests)
add_custom_target(programs)  # without the unit tests

# livecare_room(NAME [THREADS] DEPS room... LIBS library... TEST_DEPS room... TEST_LIBS library...)
# Every *.cc of the folder that is neither a test nor a program (*_main.cc) is the room's library;
# every *_test.cc together is the room's test program.
# THREADS: its tests start threads, so they run under the thread sanitizer as well.
function(livecare_room name)
  cmake_parse_arguments(ARG "THREADS" "" "DEPS;LIBS;TEST_DEPS;TEST_LIBS" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "(_test|_main|_fuzz)\\.cc$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPS PREPEND livecare_)
  list(TRANSFORM ARG_TEST_DEPS PREPEND livecare_)
  if(sources)
    add_library(livecare_${name} STATIC ${sources})
    target_link_libraries(livecare_${name} PUBLIC livecare_flags ${ARG_DEPS} ${ARG_LIBS})
  else()  # headers only
    add_library(livecare_${name} INTERFACE)
    target_link_libraries(livecare_${name} INTERFACE livecare_flags ${ARG_DEPS} ${ARG_LIBS})
  endif()
  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE livecare_${name} ${ARG_TEST_DEPS} ${ARG_TEST_LIBS}
                                               GTest::gmock GTest::gtest_main)
    add_test(NAME ${name}_test COMMAND ${name}_test)
    if(ARG_THREADS)
      set_tests_properties(${name}_test PROPERTIES LABELS threads)
      add_dependencies(thread_tests ${name}_test)
    endif()
  endif()
endfunction()

# livecare_program(NAME MAIN main.cc DEPS room... LIBS library...)
function(livecare_program name)
  cmake_parse_arguments(ARG "" "MAIN" "DEPS;LIBS" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_MAIN})
    message(WARNING "${name}: ${ARG_MAIN} is missing; the program is left out")
    return()
  endif()
  add_executable(${name} ${ARG_MAIN})
  list(TRANSFORM ARG_DEPS PREPEND livecare_)
  target_link_libraries(${name} PRIVATE livecare_flags ${ARG_DEPS} ${ARG_LIBS})
  add_dependencies(programs ${name})
endfunction()
