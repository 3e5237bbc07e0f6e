#include "shuntctl/command.h"

#include <algorithm>

namespace pgshunt::shuntctl {
namespace {

void print_help(std::span<const CommandGroup> groups, std::ostream& out) {
  out << "shuntctl <group> <command> [options]\n\n";
  for (const CommandGroup& group : groups) {
    out << group.name << ": " << group.summary << "\n";
    for (const Command& command : group.commands) {
      std::string name = "  " + std::string(group.name) + " " + std::string(command.name);
      name.resize(std::max<std::size_t>(name.size() + 2, 24), ' ');
      out << name << command.summary << "\n";
    }
  }
  out << "\n\"shuntctl <group> <command> --help\" tells the options of a command.\n"
         "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no such key.\n";
}

void print_help(const CommandGroup& group, const Command& command, std::ostream& out) {
  out << "shuntctl " << group.name << " " << command.name << " " << command.synopsis << "\n\n"
      << command.summary << "\n\n"
      << command.details << "\n  --json             answers as JSON, for programs\n";
}

int usage(const std::string& what, Streams& io) {
  io.err << "shuntctl: " << what << "\n\"shuntctl --help\" lists the commands.\n";
  return kUsage;
}

bool wants_help(std::span<const std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [](std::string_view word) { return word == "--help" || word == "-h"; });
}

int run(const CommandGroup& group, const Command& command, std::span<const std::string_view> words,
        Streams& io) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--") {
      arguments.words.insert(arguments.words.end(), words.begin() + static_cast<long>(i) + 1,
                             words.end());
      break;
    }
    if (!word.starts_with("--")) {
      arguments.words.emplace_back(word);
    } else if (word == "--json") {
      arguments.json = true;
    } else if (word == "--directory" || std::find(command.options.begin(), command.options.end(),
                                                  word) != command.options.end()) {
      if (i + 1 == words.size()) return usage(std::string(word) + " needs a value", io);
      arguments.options[std::string(word)].emplace_back(words[++i]);
    } else {
      return usage("unknown option " + std::string(word) + " of " + std::string(group.name) + " " +
                       std::string(command.name),
                   io);
    }
  }
  if (arguments.words.size() < command.least_words || arguments.words.size() > command.most_words ||
      !arguments.has("--directory")) {
    return usage("it is: shuntctl " + std::string(group.name) + " " + std::string(command.name) +
                     " " + std::string(command.synopsis),
                 io);
  }
  return command.run(arguments, io);
}

}  // namespace

std::string Arguments::get(const std::string& name, const std::string& fallback) const {
  const auto found = options.find(name);
  return found == options.end() ? fallback : found->second.back();
}

int report(const Error& error, Streams& io) {
  io.err << "shuntctl: " << error.message << "\n";
  if (!error.hint.empty()) io.err << error.hint << "\n";
  return error.code == sqlstate::kSyntaxError ? kUsage : kFailed;
}

int dispatch(std::span<const CommandGroup> groups, std::span<const std::string_view> words,
             Streams& io) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_help(groups, words.empty() ? io.err : io.out);
    return words.empty() ? kUsage : kDone;
  }
  for (const CommandGroup& group : groups) {
    if (group.name != words[0]) continue;
    if (words.size() < 2 || words[1] == "--help" || words[1] == "-h") {
      print_help({&group, 1}, io.out);
      return words.size() < 2 ? kUsage : kDone;
    }
    for (const Command& command : group.commands) {
      if (command.name != words[1]) continue;
      if (wants_help(words.subspan(2))) {
        print_help(group, command, io.out);
        return kDone;
      }
      return run(group, command, words.subspan(2), io);
    }
    return usage("unknown command " + std::string(group.name) + " " + std::string(words[1]), io);
  }
  return usage("unknown group " + std::string(words[0]), io);
}

}  // namespace pgshunt::shuntctl
