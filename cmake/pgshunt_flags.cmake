# Every compiler and linker flag, in one interface target: pgshunt_flags.
#
# PGSHUNT_SANITIZE picks a kind of build (the presets set it):
#   ""        release
#   address   AddressSanitizer + UndefinedBehaviorSanitizer + libstdc++'s assertions
#   thread    ThreadSanitizer
#   fuzzer    address, with libFuzzer's coverage; needs clang
set(PGSHUNT_SANITIZE "" CACHE STRING "'', address, thread or fuzzer")
set_property(CACHE PGSHUNT_SANITIZE PROPERTY STRINGS "" address thread fuzzer)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Asserts stay on in every build: a proxy whose invariants are broken may hand one client's rows to
# another, and that is worse than a crash. -g1 gives backtraces and profiles with line numbers at a
# third of the size.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# Under AddressSanitizer and UBSan -O1 takes twice as long to compile as -Og and saves less than that
# when the tests run; ThreadSanitizer's tests gain more from -O1.
if(PGSHUNT_SANITIZE STREQUAL "thread")
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")
else()
  set(CMAKE_CXX_FLAGS_DEBUG "-Og -g1 -fno-omit-frame-pointer")
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

add_library(pgshunt_flags INTERFACE)
target_include_directories(pgshunt_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(pgshunt_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
target_compile_definitions(pgshunt_flags INTERFACE PGSHUNT_VERSION="${PROJECT_VERSION}")

# g++ is the compiler of record; clang builds only the fuzz targets and feeds clang-tidy, and its
# own set of warnings must not break those.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(pgshunt_flags INTERFACE -Werror)
endif()

target_link_options(pgshunt_flags INTERFACE -Wl,--as-needed)
find_program(MOLD mold)
if(MOLD)
  target_link_options(pgshunt_flags INTERFACE -fuse-ld=mold)
endif()

if(PGSHUNT_SANITIZE STREQUAL "")
  # Hardening whose cost does not show in a query: checked libc calls, no executable or writable
  # tables, stack probes.
  target_compile_options(pgshunt_flags INTERFACE
    -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection)
  target_link_options(pgshunt_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
else()
  set(sanitizers_address address,undefined)
  set(sanitizers_thread thread)
  set(sanitizers_fuzzer fuzzer-no-link,address,undefined)
  set(sanitizers ${sanitizers_${PGSHUNT_SANITIZE}})
  target_compile_options(pgshunt_flags INTERFACE
    -fsanitize=${sanitizers} -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS)
  target_link_options(pgshunt_flags INTERFACE -fsanitize=${sanitizers})
endif()
