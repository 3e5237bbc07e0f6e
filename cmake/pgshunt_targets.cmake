# pgshunt_library(<folder> <libraries>...): the target pgshunt_<folder> from every .cc below the
# folder but its main.cc. A folder without sources yet is an interface target, so that others may
# name it already.
function(pgshunt_library folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cc)
  list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/${folder}/main.cc)
  if(sources)
    add_library(pgshunt_${folder} STATIC ${sources})
    target_link_libraries(pgshunt_${folder} PUBLIC ${ARGN} PRIVATE pgshunt_flags)
    target_include_directories(pgshunt_${folder} PUBLIC ${PROJECT_SOURCE_DIR})
  else()
    add_library(pgshunt_${folder} INTERFACE)
    target_link_libraries(pgshunt_${folder} INTERFACE ${ARGN})
  endif()
endfunction()

# pgshunt_tests(<folder> <library>): the binary <folder>_tests from tests/<folder>/**/*_test.cc and
# every other .cc beside them. One ctest entry a binary, not one a case: starting a sanitizer build
# hundreds of times costs more than running it. The XML beside it lets ./dev count the cases.
function(pgshunt_tests folder library)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*.cc)
  if(NOT sources)
    return()
  endif()
  set(name ${folder}_tests)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE pgshunt_test_support ${library} pgshunt_flags)
  add_test(NAME ${name}
           COMMAND ${name} --gtest_output=xml:${PROJECT_BINARY_DIR}/results/${name}.xml
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

# pgshunt_fuzz(<source>): the binary <name>_fuzz. With libFuzzer in the build it fuzzes; otherwise
# it is linked with replay_main.cc and ctest replays tests/fuzz/corpus/<name>.
function(pgshunt_fuzz source)
  get_filename_component(target ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name ${target})
  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE pgshunt_proxy pgshunt_flags)
  add_dependencies(fuzzers ${target})
  if(PGSHUNT_SANITIZE STREQUAL "fuzzer")
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME ${target}
             COMMAND ${target} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  endif()
endfunction()
