// shuntctl: looks at and changes what pgshunt keeps. README.md lists the commands.

#include <unistd.h>

#include <iostream>
#include <string_view>
#include <vector>

#include "shuntctl/command.h"

int main(int argc, char** argv) {
  using namespace pgshunt::shuntctl;
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const CommandGroup groups[] = {directory_commands()};
  Streams io{std::cout, std::cerr, ::isatty(STDERR_FILENO) == 1};
  return dispatch(groups, words, io);
}
