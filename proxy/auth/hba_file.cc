#include "proxy/auth/hba_file.h"

#include <filesystem>
#include <optional>
#include <span>

#include "proxy/auth/ip_address.h"
#include "proxy/config/names.h"

namespace pgshunt {
namespace {

constexpr std::string_view kBlank = " \t\r\v\f";
constexpr int kMaxDepth = 10;  // PostgreSQL's CONF_FILE_MAX_DEPTH

struct Token {
  std::string text;
  bool quoted = false;  // began with a quote: keywords lose their meaning

  bool is(std::string_view keyword) const { return !quoted && text == keyword; }
};
using Field = std::vector<Token>;

// One logical line, cut as PostgreSQL's next_token() and next_field_expand() do: blanks separate
// fields, a comma right behind a token continues its field.
class LineLexer {
 public:
  explicit LineLexer(std::string_view line) : line_(line) {}

  // Fields up to the comment or the end. False: a quote is left open.
  bool split(std::vector<Field>& fields) {
    Token token;
    bool comma = false;
    Field field;
    while (next(token, comma)) {
      field.push_back(std::move(token));
      if (comma) continue;
      fields.push_back(std::move(field));
      field.clear();
    }
    if (!field.empty()) fields.push_back(std::move(field));
    return !open_quote_;
  }

 private:
  bool next(Token& token, bool& comma) {
    token = {};
    comma = false;
    while (at_ < line_.size() && (blank(line_[at_]) || line_[at_] == ',')) ++at_;
    if (at_ == line_.size() || line_[at_] == '#') return false;
    token.quoted = line_[at_] == '"';
    bool inside = false;
    for (; at_ < line_.size(); ++at_) {
      const char c = line_[at_];
      if (c == '"') {
        if (inside && at_ + 1 < line_.size() && line_[at_ + 1] == '"') {
          token.text += '"';
          ++at_;
        } else {
          inside = !inside;
        }
      } else if (!inside && (blank(c) || c == ',' || c == '#')) {
        break;
      } else {
        token.text += c;
      }
    }
    open_quote_ = inside;
    if (at_ < line_.size() && line_[at_] == ',') {
      comma = true;
      ++at_;
    }
    return true;
  }

  static bool blank(char c) { return kBlank.find(c) != std::string_view::npos; }

  std::string_view line_;
  std::size_t at_ = 0;
  bool open_quote_ = false;
};

// The name `text` and nothing else, for matching: a quoted word that would mean something
// special is passed on as a regular expression.
std::string literal_name(const std::string& text) {
  std::string out = "/^";
  for (const char c : text) {
    if (std::string_view(".[]{}()*+?|^$\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out + "$";
}

std::string join_path(const std::string& beside, const std::string& path) {
  return (std::filesystem::path(beside).parent_path() / path).string();
}

// Calls `line(number, text)` for every logical line of a file; a backslash at the end continues it.
template <class Line>
void each_line(std::string_view text, const Line& line) {
  std::uint32_t number = 0;
  std::uint32_t first = 1;
  std::string logical;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view physical = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (physical.ends_with('\r')) physical.remove_suffix(1);
    if (logical.empty()) first = number;
    logical += physical;
    if (logical.ends_with('\\')) {
      logical.pop_back();
      if (!text.empty()) continue;
    }
    line(first, logical);
    logical.clear();
  }
}

class HbaParser {
 public:
  HbaParser(const FileReader& read_file, HbaFile& out) : read_file_(read_file), out_(out) {}

  void read(std::string_view text, const std::string& file, int depth) {
    each_line(text, [&](std::uint32_t number, const std::string& line) {
      file_ = file;
      line_ = number;
      std::vector<Field> fields;
      if (!LineLexer(line).split(fields)) {
        complain("a quote is not closed");
      } else if (!fields.empty() && !read_include(fields, depth)) {
        read_rule(fields);
      }
    });
  }

 private:
  void complain(std::string problem) {
    out_.issues.push_back({file_, line_, {}, std::move(problem)});
  }

  // False: the line is no include.
  bool read_include(const std::vector<Field>& fields, int depth) {
    const Token& word = fields[0][0];
    if (word.is("include_dir")) {
      complain("include_dir is not supported, name the files with include");
      return true;
    }
    const bool optional = word.is("include_if_exists");
    if (!optional && !word.is("include")) return false;
    if (fields.size() != 2 || fields[1].size() != 1) {
      complain(word.text + " wants one file name");
    } else if (depth == kMaxDepth) {
      complain("files include each other too deeply");
    } else {
      const std::string path = join_path(file_, fields[1][0].text);
      if (const Result<std::string> text = read_file_(path); text) {
        read(*text, path, depth + 1);
      } else if (!optional) {
        complain("could not read \"" + path + "\": " + text.error().message);
      }
    }
    return true;
  }

  void read_rule(const std::vector<Field>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i != 1 && i != 2 && fields[i].size() > 1) return complain("only names may be lists");
    }
    HbaRule rule;
    rule.origin = file_ + ":" + std::to_string(line_);
    if (!read_connection(fields[0][0].text, rule)) return;
    std::span<const Field> rest = std::span(fields).subspan(1);
    const bool local = rule.connection == HbaRule::Connection::kLocal;
    if (rest.size() < (local ? 3u : 4u)) {
      return complain(local ? "is too short, expected: local DATABASE USER METHOD"
                            : "is too short, expected: " + fields[0][0].text +
                                  " DATABASE USER ADDRESS METHOD");
    }
    if (!read_names(rest[0], true, rule.databases) || !read_names(rest[1], false, rule.users)) {
      return;
    }
    rest = rest.subspan(2);
    if (!local && !read_address(rest, rule)) return;
    if (!read_method(rest, rule)) return;
    if (rule.databases.empty()) return;  // only "replication"
    out_.rules.push_back(std::move(rule));
  }

  bool read_connection(const std::string& type, HbaRule& rule) {
    if (type == "local") {
      rule.connection = HbaRule::Connection::kLocal;
    } else if (type == "host" || type == "hostnogssenc") {
      rule.connection = HbaRule::Connection::kHost;
    } else if (type == "hostssl") {
      rule.connection = HbaRule::Connection::kHostSsl;
    } else if (type == "hostnossl") {
      rule.connection = HbaRule::Connection::kHostNoSsl;
    } else {
      complain("connection type \"" + type +
               "\" is not supported, expected local, host, hostssl or hostnossl");
      return false;
    }
    return true;
  }

  bool read_names(const Field& field, bool databases, std::vector<std::string>& out,
                  int depth = 0) {
    for (const Token& token : field) {
      const bool special = token.text == "all" || token.text == "sameuser";
      const bool role = token.text == "samerole" || token.text == "samegroup";
      if (token.text.empty()) {
        complain("a name is empty");
        return false;
      }
      if (token.quoted) {
        out.push_back(special ? literal_name(token.text) : token.text);
      } else if (token.text[0] == '@' && token.text.size() > 1) {
        if (!read_name_file(token.text.substr(1), databases, out, depth)) return false;
      } else if (token.text[0] == '+' || (databases && role)) {
        complain("\"" + token.text + "\" asks for membership in a role, which is not supported");
        return false;
      } else if (!(databases && token.text == "replication")) {
        out.push_back(token.text);
      }
    }
    return true;
  }

  bool read_name_file(const std::string& name, bool databases, std::vector<std::string>& out,
                      int depth) {
    const std::string path = join_path(file_, name);
    if (depth == kMaxDepth) {
      complain("files include each other too deeply");
      return false;
    }
    const Result<std::string> text = read_file_(path);
    if (!text) {
      complain("could not read \"" + path + "\": " + text.error().message);
      return false;
    }
    bool good = true;
    each_line(*text, [&](std::uint32_t, const std::string& line) {
      std::vector<Field> fields;
      if (!LineLexer(line).split(fields)) {
        complain("a quote is not closed in \"" + path + "\"");
        good = false;
      }
      for (const Field& field : fields) {
        good = good && read_names(field, databases, out, depth + 1);
      }
    });
    return good;
  }

  // Takes one field, or two where the mask stands apart.
  bool read_address(std::span<const Field>& rest, HbaRule& rule) {
    rule.address = rest[0][0].text;
    rest = rest.subspan(1);
    IpAddress address;
    IpAddress mask;
    if (!IpAddress::parse(rule.address, address)) return true;  // Hba::check() judges it
    if (!IpAddress::parse(rest[0][0].text, mask)) {
      complain("address \"" + rule.address + "\" has no mask, expected " + rule.address + "/" +
               std::to_string(address.bit_count()) + " for one address");
      return false;
    }
    IpNetwork network;
    if (!IpNetwork::from_mask(address, mask, network)) {
      complain("mask \"" + rest[0][0].text + "\" does not fit address \"" + rule.address + "\"");
      return false;
    }
    rule.address = network.to_string();
    rest = rest.subspan(1);
    return true;
  }

  bool read_method(std::span<const Field> rest, HbaRule& rule) {
    if (rest.empty()) {
      complain("has no method");
      return false;
    }
    const std::string& name = rest[0][0].text;
    const std::optional<AuthMethod> method = value_named<AuthMethod>(name);
    if (!method) {
      complain("method \"" + name +
               "\" is not supported, expected trust, reject, password, md5, scram-sha-256 or cert");
      return false;
    }
    rule.method = *method;
    if (rule.method == AuthMethod::kCert && rule.connection != HbaRule::Connection::kHostSsl) {
      complain("method cert is only for hostssl");
      return false;
    }
    for (const Field& field : rest.subspan(1)) {
      if (!read_option(field[0].text, rule)) return false;
    }
    return true;
  }

  bool read_option(const std::string& option, HbaRule& rule) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos) {
      complain("\"" + option + "\" is no option, expected NAME=VALUE");
      return false;
    }
    const std::string name = option.substr(0, equals);
    const std::string value = option.substr(equals + 1);
    if (name == "map") {
      // Here it names a map of pg_ident.conf, which is another thing than our own option.
      complain("user name maps are not supported");
      return false;
    }
    if (name == "clientname" && value == "CN") return true;  // the default
    rule.options[name] = value;
    return true;
  }

  const FileReader& read_file_;
  HbaFile& out_;
  std::string file_;  // where the line being read stands
  std::uint32_t line_ = 0;
};

}  // namespace

HbaFile parse_hba(std::string_view text, const std::string& file, const FileReader& read_file) {
  HbaFile out;
  HbaParser(read_file, out).read(text, file, 0);
  return out;
}

}  // namespace pgshunt
