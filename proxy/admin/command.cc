#include "proxy/admin/command.h"

#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <vector>

namespace pgshunt {
namespace {

constexpr std::string_view kHelpHint = "SHOW HELP lists the commands.";

struct Token {
  std::string text;
  bool quoted = false;  // never a keyword
};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_punctuation(char c) { return c == ';' || c == '=' || c == ',' || c == '(' || c == ')'; }

Error syntax_error(std::string message) {
  return {sqlstate::kSyntaxError, std::move(message), std::string(kHelpHint)};
}

// Words, quoted names and strings, punctuation; comments are left out.
Result<std::vector<Token>> tokenize(std::string_view text) {
  std::vector<Token> tokens;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (is_space(c)) {
      ++at;
    } else if (text.substr(at).starts_with("--")) {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.substr(at).starts_with("/*")) {
      const std::size_t end = text.find("*/", at + 2);
      if (end == text.npos) return syntax_error("unterminated comment");
      at = end + 2;
    } else if (c == '"' || c == '\'') {
      Token token{{}, true};
      for (++at;; ++at) {
        if (at == text.size()) return syntax_error("unterminated quoted name");
        if (text[at] == c) {
          if (at + 1 == text.size() || text[at + 1] != c) break;
          ++at;
        }
        token.text.push_back(text[at]);
      }
      ++at;
      tokens.push_back(std::move(token));
    } else if (is_punctuation(c)) {
      tokens.push_back({std::string(1, c), false});
      ++at;
    } else {
      const std::size_t begin = at;
      while (at < text.size() && !is_space(text[at]) && !is_punctuation(text[at])) ++at;
      tokens.push_back({std::string(text.substr(begin, at - begin)), false});
    }
  }
  while (!tokens.empty() && !tokens.back().quoted && tokens.back().text == ";") tokens.pop_back();
  return tokens;
}

// The command's words after the first, as the parsers below take them one by one.
class Words {
 public:
  explicit Words(const std::vector<Token>& tokens) : tokens_(tokens) {}

  bool done() const { return at_ >= tokens_.size(); }
  // The next word in capitals, empty at the end or if it is quoted.
  std::string keyword() {
    if (done() || tokens_[at_].quoted) return {};
    return upper(tokens_[at_++].text);
  }
  std::optional<std::string> name() {
    if (done()) return std::nullopt;
    const Token& token = tokens_[at_];
    if (!token.quoted && token.text.size() == 1 && is_punctuation(token.text[0])) {
      return std::nullopt;
    }
    ++at_;
    return token.text;
  }

 private:
  const std::vector<Token>& tokens_;
  std::size_t at_ = 1;
};

Error refusal(std::string message, std::string hint) {
  return {sqlstate::kFeatureNotSupported, std::move(message), std::move(hint)};
}

Result<AdminCommand> parse_show(Words& words) {
  const std::string topic = words.keyword();
  AdminCommand command;
  command.verb = AdminVerb::kShow;
  if (topic.empty() || topic == "HELP") {
    command.verb = AdminVerb::kHelp;
    return command;
  }
  if (topic == "FDS") {
    return refusal("SHOW FDS is not supported: descriptors are not handed to other processes",
                   "SHOW SOCKETS lists the connections.");
  }
  const auto names = show_topic_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != topic) continue;
    command.topic = static_cast<ShowTopic>(i);
    return command;
  }
  return syntax_error("unknown topic of SHOW: \"" + topic + "\"");
}

Result<AdminCommand> with_optional_database(AdminVerb verb, Words& words) {
  AdminCommand command;
  command.verb = verb;
  command.name = words.name().value_or("");
  return command;
}

Result<AdminCommand> with_database(AdminVerb verb, const std::string& word, Words& words) {
  auto database = words.name();
  if (!database || database->empty()) return syntax_error(word + " needs a database's name");
  AdminCommand command;
  command.verb = verb;
  command.name = std::move(*database);
  return command;
}

Result<AdminCommand> parse_refresh(Words& words) {
  if (words.keyword() != "CATALOG") return syntax_error("REFRESH takes CATALOG [database]");
  return with_optional_database(AdminVerb::kRefreshCatalog, words);
}

Result<AdminCommand> parse_spread(Words& words) {
  if (words.keyword() != "SEQUENCES") return syntax_error("SPREAD takes SEQUENCES database");
  return with_database(AdminVerb::kSpreadSequences, "SPREAD SEQUENCES", words);
}

Result<AdminCommand> parse_kill_client(Words& words) {
  AdminCommand command;
  command.verb = AdminVerb::kKillClient;
  const std::string text = words.name().value_or("");
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), command.client);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return Error{sqlstate::kSyntaxError, "KILL_CLIENT needs a client's number",
                 "It is the column \"id\" of SHOW CLIENTS."};
  }
  return command;
}

Result<AdminCommand> parse_shutdown(Words& words) {
  AdminCommand command;
  command.verb = AdminVerb::kShutdown;
  if (words.done()) return command;
  const std::string when = words.keyword();
  if (when == "WAIT_FOR_SERVERS") {
    command.when = ShutdownWhen::kServersFree;
  } else if (when == "WAIT_FOR_CLIENTS") {
    command.when = ShutdownWhen::kClientsGone;
  } else {
    return syntax_error("SHUTDOWN takes nothing, WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS");
  }
  return command;
}

// Drivers announce themselves with these; everything else is the configuration's.
Result<AdminCommand> parse_set(Words& words) {
  constexpr std::array<std::string_view, 9> kOfDrivers = {
      "APPLICATION_NAME",   "CLIENT_ENCODING", "NAMES",    "DATESTYLE",
      "EXTRA_FLOAT_DIGITS", "INTERVALSTYLE",   "TIMEZONE", "STANDARD_CONFORMING_STRINGS",
      "STATEMENT_TIMEOUT"};
  std::string key = words.keyword();
  if (key == "SESSION" || key == "LOCAL") key = words.keyword();
  for (const std::string_view name : kOfDrivers) {
    if (name != key) continue;
    AdminCommand command;
    command.verb = AdminVerb::kSetDriverSetting;
    while (!words.done()) {
      if (!words.name()) words.keyword();
    }
    return command;
  }
  return refusal("settings cannot be changed from the console",
                 "Edit the configuration file, then RELOAD.");
}

// DEALLOCATE [PREPARE] name | ALL, DISCARD ALL.
Result<AdminCommand> parse_deallocate(const std::string& verb, Words& words) {
  AdminCommand command;
  command.verb = AdminVerb::kDeallocate;
  const auto word = words.name();
  const bool prepare = word && upper(*word) == "PREPARE";
  command.name = (prepare ? words.name() : word).value_or("");
  const bool all = upper(command.name) == "ALL";
  if (command.name.empty() || (verb == "DISCARD" && !all)) {
    return syntax_error(verb == "DISCARD" ? "only DISCARD ALL is known"
                                          : "DEALLOCATE needs a name or ALL");
  }
  if (all) command.name.clear();
  return command;
}

Result<AdminCommand> simple(AdminVerb verb) {
  AdminCommand command;
  command.verb = verb;
  return command;
}

Result<AdminCommand> transaction_word(AdminVerb verb, Words& words) {
  while (!words.done()) {
    if (!words.name()) words.keyword();
  }
  return simple(verb);
}

Result<AdminCommand> parse_words(const std::string& verb, Words& words) {
  if (verb == "SHOW") return parse_show(words);
  if (verb == "PAUSE") return with_optional_database(AdminVerb::kPause, words);
  if (verb == "RESUME") return with_optional_database(AdminVerb::kResume, words);
  if (verb == "RECONNECT") return with_optional_database(AdminVerb::kReconnect, words);
  if (verb == "KILL") return with_optional_database(AdminVerb::kKill, words);
  if (verb == "WAIT_CLOSE") return with_optional_database(AdminVerb::kWaitClose, words);
  if (verb == "DISABLE") return with_database(AdminVerb::kDisable, verb, words);
  if (verb == "ENABLE") return with_database(AdminVerb::kEnable, verb, words);
  if (verb == "KILL_CLIENT") return parse_kill_client(words);
  if (verb == "SHUTDOWN") return parse_shutdown(words);
  if (verb == "REFRESH") return parse_refresh(words);
  if (verb == "SPREAD") return parse_spread(words);
  if (verb == "RELOAD") return simple(AdminVerb::kReload);
  if (verb == "SET") return parse_set(words);
  if (verb == "DEALLOCATE" || verb == "DISCARD") return parse_deallocate(verb, words);
  if (verb == "BEGIN" || verb == "START") return transaction_word(AdminVerb::kBegin, words);
  if (verb == "COMMIT" || verb == "END") return transaction_word(AdminVerb::kCommit, words);
  if (verb == "ROLLBACK" || verb == "ABORT") return transaction_word(AdminVerb::kRollback, words);
  if (verb == "SUSPEND") {
    return refusal("SUSPEND is not supported: it exists to hand sockets to a new process",
                   "PAUSE stops the use of servers, SHUTDOWN WAIT_FOR_SERVERS drains.");
  }
  return syntax_error("unknown command: \"" + verb + "\"");
}

}  // namespace

Result<AdminCommand> parse_admin_command(std::string_view text) {
  const auto tokens = tokenize(text);
  if (!tokens) return tokens.error();
  if (tokens->empty()) return AdminCommand{};
  if (tokens->front().quoted) return syntax_error("a command must begin with a word");
  Words words(*tokens);
  Result<AdminCommand> command = parse_words(upper(tokens->front().text), words);
  if (command && !words.done()) {
    return syntax_error("the command goes on where it should end");
  }
  return command;
}

std::string_view AdminCommand::tag() const {
  switch (verb) {
    case AdminVerb::kEmpty:
      return "";
    case AdminVerb::kShow:
    case AdminVerb::kHelp:
      return "SHOW";
    case AdminVerb::kPause:
      return "PAUSE";
    case AdminVerb::kResume:
      return "RESUME";
    case AdminVerb::kReload:
      return "RELOAD";
    case AdminVerb::kRefreshCatalog:
      return "REFRESH CATALOG";
    case AdminVerb::kSpreadSequences:
      return "SPREAD SEQUENCES";
    case AdminVerb::kReconnect:
      return "RECONNECT";
    case AdminVerb::kKill:
      return "KILL";
    case AdminVerb::kKillClient:
      return "KILL_CLIENT";
    case AdminVerb::kDisable:
      return "DISABLE";
    case AdminVerb::kEnable:
      return "ENABLE";
    case AdminVerb::kWaitClose:
      return "WAIT_CLOSE";
    case AdminVerb::kShutdown:
      return "SHUTDOWN";
    case AdminVerb::kBegin:
      return "BEGIN";
    case AdminVerb::kCommit:
      return "COMMIT";
    case AdminVerb::kRollback:
      return "ROLLBACK";
    case AdminVerb::kSetDriverSetting:
      return "SET";
    case AdminVerb::kDeallocate:
      return "DEALLOCATE";
  }
  return "";
}

std::string AdminCommand::text() const {
  std::string out(tag());
  if (!name.empty()) out += " " + name;
  if (verb == AdminVerb::kKillClient) out += " " + std::to_string(client);
  if (when == ShutdownWhen::kServersFree) out += " WAIT_FOR_SERVERS";
  if (when == ShutdownWhen::kClientsGone) out += " WAIT_FOR_CLIENTS";
  return out;
}

bool AdminCommand::only_shows() const {
  switch (verb) {
    case AdminVerb::kEmpty:
    case AdminVerb::kShow:
    case AdminVerb::kHelp:
    case AdminVerb::kBegin:
    case AdminVerb::kCommit:
    case AdminVerb::kRollback:
    case AdminVerb::kSetDriverSetting:
    case AdminVerb::kDeallocate:
      return true;
    default:
      return false;
  }
}

std::string_view admin_help() {
  return "\n\tSHOW HELP|POOLS|CLIENTS|SERVERS|DATABASES|USERS|CONFIG|VERSION|STATE\n"
         "\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS|LISTS|MEM|SOCKETS|ACTIVE_SOCKETS\n"
         "\tSHOW DNS_HOSTS|DNS_ZONES\n"
         "\tSHOW SHARDS|KEYSPACES|TABLES|DRIFT|TRANSACTIONS|PINS\n"
         "\tPAUSE [database]\n"
         "\tRESUME [database]\n"
         "\tRELOAD\n"
         "\tREFRESH CATALOG [database]\n"
         "\tSPREAD SEQUENCES database\n"
         "\tRECONNECT [database]\n"
         "\tWAIT_CLOSE [database]\n"
         "\tKILL [database]\n"
         "\tKILL_CLIENT id\n"
         "\tDISABLE database\n"
         "\tENABLE database\n"
         "\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]\n";
}

}  // namespace pgshunt
