// The `options` startup parameter: switches of the postgres program, as a server reads them from a
// client (pg_split_opts() in utils/init/postinit.c, process_postgres_switches() in
// tcop/postgres.c).
#include <algorithm>

#include "protocol/startup.h"

namespace pgshunt {
namespace {

// What getopt() and the server make of one letter.
struct Switch {
  char letter;
  bool takes_argument;
  std::string_view setting;  // empty: accepted from a client but without effect
  std::string_view value;    // empty: the switch's argument
};

// -c, --, -d, -f and -t are handled apart. Those that name settings of the whole server (-B, -p
// ...) are passed on too: the server words the refusal.
constexpr Switch kSwitches[] = {
    {'B', true, "shared_buffers", {}},
    {'C', true, {}, {}},
    {'D', true, {}, {}},
    {'E', false, {}, {}},
    {'F', false, "fsync", "false"},
    {'N', true, "max_connections", {}},
    {'O', false, "allow_system_table_mods", "true"},
    {'P', false, "ignore_system_indexes", "true"},
    {'S', true, "work_mem", {}},
    {'T', false, {}, {}},
    {'W', true, "post_auth_delay", {}},
    {'b', false, {}, {}},
    {'e', false, "datestyle", "euro"},
    {'h', true, "listen_addresses", {}},
    {'i', false, "listen_addresses", "*"},
    {'j', false, {}, {}},
    {'k', true, "unix_socket_directories", {}},
    {'l', false, "ssl", "true"},
    {'n', false, {}, {}},
    {'p', true, "port", {}},
    {'r', true, {}, {}},
    {'s', false, "log_statement_stats", "true"},
    {'v', true, {}, {}},
};

bool takes_argument_of_its_own_kind(char letter) {
  return letter == 'c' || letter == '-' || letter == 'd' || letter == 'f' || letter == 't';
}

const Switch* find_switch(char letter) {
  const auto* found = std::find_if(std::begin(kSwitches), std::end(kSwitches),
                                   [letter](const Switch& s) { return s.letter == letter; });
  return found == std::end(kSwitches) ? nullptr : found;
}

// isspace() of the C locale.
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Words between white space; a backslash takes the next character as it is.
std::vector<std::string> split_words(std::string_view options) {
  std::vector<std::string> words;
  std::size_t i = 0;
  for (;;) {
    while (i < options.size() && is_space(options[i])) ++i;
    if (i == options.size()) return words;
    std::string word;
    bool escaped = false;
    for (; i < options.size(); ++i) {
      const char c = options[i];
      if (!escaped && is_space(c)) break;
      if (!escaped && c == '\\') {
        escaped = true;
        continue;
      }
      word.push_back(c);
      escaped = false;
    }
    words.push_back(std::move(word));
  }
}

Error invalid_argument(const std::string& word) {
  return {sqlstate::kSyntaxError, "invalid command-line argument for server process: " + word,
          "Try \"postgres --help\" for more information."};
}

std::string_view planner_method(char letter) {
  switch (letter) {
    case 's':
      return "enable_seqscan";
    case 'i':
      return "enable_indexscan";
    case 'o':
      return "enable_indexonlyscan";
    case 'b':
      return "enable_bitmapscan";
    case 't':
      return "enable_tidscan";
    case 'n':
      return "enable_nestloop";
    case 'm':
      return "enable_mergejoin";
    case 'h':
      return "enable_hashjoin";
    default:
      return {};
  }
}

std::string_view statistics_option(std::string_view argument) {
  if (argument.starts_with("pa")) return "log_parser_stats";
  if (argument.starts_with("pl")) return "log_planner_stats";
  if (argument.starts_with("e")) return "log_executor_stats";
  return {};
}

// Reads the words in getopt()'s manner: letters may be joined, an argument follows its letter
// directly or is the next word, "--" alone ends the switches.
class SwitchReader {
 public:
  explicit SwitchReader(std::vector<std::string> words) : words_(std::move(words)) {}

  Result<std::vector<OptionSetting>> read() {
    for (; word_ < words_.size(); ++word_) {
      const std::string& word = words_[word_];
      if (word == "--") {
        ++word_;
        break;
      }
      // No server takes operands from a client.
      if (word.size() < 2 || word[0] != '-') return invalid_argument(word);
      if (Status s = read_word(); !s) return s.error();
    }
    if (word_ < words_.size()) return invalid_argument(words_[word_]);
    return std::move(settings_);
  }

 private:
  // The switches of words_[word_]; leaves word_ on the last word used.
  Status read_word() {
    const std::size_t first = word_;
    for (std::size_t at = 1; at < words_[first].size(); ++at) {
      const char letter = words_[first][at];
      const Switch* known = find_switch(letter);
      const bool special = takes_argument_of_its_own_kind(letter);
      if (known == nullptr && !special) return invalid_argument(words_[first]);
      if (known != nullptr && !known->takes_argument) {
        add(known->setting, known->value);
        continue;
      }
      std::string_view argument = std::string_view(words_[first]).substr(at + 1);
      if (argument.empty()) {
        if (word_ + 1 == words_.size()) return invalid_argument(words_[first]);
        argument = words_[++word_];
      }
      if (special) return read_special(letter, argument);
      add(known->setting, argument);
      return Ok{};
    }
    return Ok{};
  }

  Status read_special(char letter, std::string_view argument) {
    switch (letter) {
      case 'd':
        add_debug_level(argument);
        return Ok{};
      case 'f': {
        const std::string_view method =
            argument.empty() ? std::string_view{} : planner_method(argument[0]);
        if (method.empty()) return invalid_argument(words_[word_]);
        add(method, "false");
        return Ok{};
      }
      case 't': {
        const std::string_view option = statistics_option(argument);
        if (option.empty()) return invalid_argument(words_[word_]);
        add(option, "true");
        return Ok{};
      }
      default:
        return add_assignment(letter, argument);
    }
  }

  // ParseLongOption(): dashes in a name stand for underscores.
  Status add_assignment(char letter, std::string_view argument) {
    const std::size_t equal = argument.find('=');
    if (equal == std::string_view::npos) {
      const std::string_view prefix = letter == '-' ? "--" : "-c ";
      return Error{sqlstate::kSyntaxError,
                   std::string(prefix) + std::string(argument) + " requires a value",
                   {}};
    }
    std::string name(argument.substr(0, equal));
    std::replace(name.begin(), name.end(), '-', '_');
    settings_.push_back({std::move(name), std::string(argument.substr(equal + 1))});
    return Ok{};
  }

  // set_debug_options() with a client's rights.
  void add_debug_level(std::string_view argument) {
    int level = 0;
    for (const char c : argument) {
      if (c < '0' || c > '9' || level > 99) break;
      level = level * 10 + (c - '0');
    }
    add("log_min_messages", level > 0 ? "debug" + std::to_string(level) : "notice");
    if (level >= 2) add("log_statement", "all");
    if (level >= 3) add("debug_print_parse", "true");
    if (level >= 4) add("debug_print_plan", "true");
    if (level >= 5) add("debug_print_rewritten", "true");
  }

  void add(std::string_view name, std::string_view value) {
    if (!name.empty()) settings_.push_back({std::string(name), std::string(value)});
  }

  std::vector<std::string> words_;
  std::size_t word_ = 0;
  std::vector<OptionSetting> settings_;
};

}  // namespace

Result<std::vector<OptionSetting>> parse_startup_options(std::string_view options) {
  return SwitchReader(split_words(options)).read();
}

}  // namespace pgshunt
