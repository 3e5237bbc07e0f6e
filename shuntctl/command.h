// Commands of shuntctl: a table of words, what each takes, and the function that runs it. A new
// command is one more line in the table of its group, or a new group in main.cc.
#pragma once

#include <map>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"

namespace pgshunt::shuntctl {

// Scripts rely on these.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,    // an error, told on standard error
  kUsage = 2,     // the command line is wrong
  kNotFound = 3,  // get, delete: there is no such key
};

struct Arguments {
  std::vector<std::string> words;                           // positional
  std::map<std::string, std::vector<std::string>> options;  // "--name value", may be repeated
  bool json = false;

  bool has(const std::string& name) const { return options.contains(name); }
  // The last one given, or `fallback`.
  std::string get(const std::string& name, const std::string& fallback = {}) const;
};

struct Streams {
  std::ostream& out;
  std::ostream& err;
  bool progress = false;  // standard error is a terminal
};

using Run = int (*)(const Arguments& arguments, Streams& io);

struct Command {
  std::string_view name;
  std::string_view synopsis;  // behind the name
  std::string_view summary;
  std::string_view details;
  std::vector<std::string_view> options;  // that take a value, "--directory" and "--json" apart
  std::size_t least_words = 0;
  std::size_t most_words = 0;
  Run run = nullptr;
};

struct CommandGroup {
  std::string_view name;
  std::string_view summary;
  std::span<const Command> commands;
};

// Finds the command and runs it, or prints help or what is wrong. Returns an ExitCode.
int dispatch(std::span<const CommandGroup> groups, std::span<const std::string_view> words,
             Streams& io);

CommandGroup directory_commands();

// Prints an Error the way all commands do. Returns kUsage for a syntax error, which only the
// command line has, kFailed for others.
int report(const Error& error, Streams& io);

}  // namespace pgshunt::shuntctl
