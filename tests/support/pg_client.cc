#include "tests/support/pg_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

void put16(std::string& out, std::size_t value) {
  char bytes[2];
  store_be16(bytes, static_cast<std::uint16_t>(value));
  out.append(bytes, 2);
}

void put32(std::string& out, std::size_t value) {
  char bytes[4];
  store_be32(bytes, static_cast<std::uint32_t>(value));
  out.append(bytes, 4);
}

void put_string(std::string& out, std::string_view text) {
  out += text;
  out += '\0';
}

void put_message(std::string& out, char type, std::string_view body) {
  out += type;
  put32(out, body.size() + 4);
  out += body;
}

// A field of an ErrorResponse's body.
std::string error_field(std::string_view body, char code) {
  while (!body.empty() && body[0] != '\0') {
    const std::size_t end = body.find('\0');
    if (end == std::string_view::npos) break;
    if (body[0] == code) return std::string(body.substr(1, end - 1));
    body.remove_prefix(end + 1);
  }
  return {};
}

}  // namespace

std::optional<std::string> PgResult::value(std::size_t row, std::size_t column) const {
  const std::string& body = rows.at(row);
  std::size_t at = 2;
  for (;; --column) {
    const std::uint32_t length = load_be32(body.data() + at);
    at += 4;
    if (column == 0) {
      if (length == 0xffffffffu) return std::nullopt;
      return body.substr(at, length);
    }
    if (length != 0xffffffffu) at += length;
  }
}

std::unique_ptr<PgClient> PgClient::connect(const std::string& socket_dir, std::uint16_t port,
                                            const std::string& database, const std::string& user) {
  const std::string path = socket_dir + "/.s.PGSQL." + std::to_string(port);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return nullptr;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::unique_ptr<PgClient> client(new PgClient(fd));
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return nullptr;
  }
  std::string body;
  put32(body, 196608);
  for (const std::string& text : {std::string("user"), user, std::string("database"), database}) {
    put_string(body, text);
  }
  body += '\0';
  std::string startup;
  put32(startup, body.size() + 4);
  startup += body;
  if (!client->send(startup)) return nullptr;
  char type = 0;
  while (client->receive(type, body)) {
    if (type == 'E') return nullptr;
    if (type == 'Z') return client;
  }
  return nullptr;
}

PgClient::~PgClient() { close(fd_); }

bool PgClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool PgClient::receive(char& type, std::string& body) {
  for (;;) {
    const std::string_view in = std::string_view(input_).substr(used_);
    if (in.size() >= 5) {
      const std::size_t size = std::size_t{load_be32(in.data() + 1)} + 1;
      if (in.size() >= size) {
        type = in[0];
        body.assign(in.substr(5, size - 5));
        used_ += size;
        return true;
      }
    }
    input_.erase(0, used_);
    used_ = 0;
    char buffer[65536];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(got));
  }
}

PgResult PgClient::collect(std::string_view copy_input) {
  PgResult out;
  char type = 0;
  std::string body;
  while (receive(type, body)) {
    switch (type) {
      case 'T':
        out.row_description = body;
        break;
      case 'D':
        out.rows.push_back(body);
        break;
      case 'C':
        out.tag.assign(body.c_str());
        break;
      case 'E':
        out.error = error_field(body, 'M');
        out.sqlstate = error_field(body, 'C');
        out.context = error_field(body, 'W');
        break;
      case 'G':
        send(copy_input);
        break;
      case 'd':
        out.copied.push_back(body);
        break;
      case 'Z':
        return out;
      default:
        break;
    }
  }
  if (out.error.empty()) out.error = "the server closed the connection";
  return out;
}

PgResult PgClient::query(std::string_view sql) {
  std::string message;
  std::string body;
  put_string(body, sql);
  put_message(message, 'Q', body);
  send(message);
  return collect();
}

PgResult PgClient::copy_in(std::string_view sql, std::string_view frames, bool fail) {
  std::string message;
  std::string body;
  put_string(body, sql);
  put_message(message, 'Q', body);
  send(message);
  std::string input(frames);
  put_message(input, fail ? 'f' : 'c', fail ? std::string_view("\0", 1) : std::string_view());
  return collect(input);
}

PgResult PgClient::execute(std::string_view sql, const std::vector<Parameter>& parameters,
                           std::uint16_t result_format) {
  std::string parse;
  put_string(parse, "");
  put_string(parse, sql);
  put16(parse, parameters.size());
  for (const Parameter& parameter : parameters) put32(parse, parameter.type);

  std::string bind;
  put_string(bind, "");
  put_string(bind, "");
  put16(bind, parameters.size());
  for (const Parameter& parameter : parameters) put16(bind, parameter.format);
  put16(bind, parameters.size());
  for (const Parameter& parameter : parameters) {
    put32(bind, parameter.value ? parameter.value->size() : 0xffffffffu);
    if (parameter.value) bind += *parameter.value;
  }
  put16(bind, 1);
  put16(bind, result_format);

  std::string execute;
  put_string(execute, "");
  put32(execute, 0);

  std::string message;
  put_message(message, 'P', parse);
  put_message(message, 'B', bind);
  put_message(message, 'D', std::string("P\0", 2));
  put_message(message, 'E', execute);
  put_message(message, 'S', "");
  send(message);
  return collect();
}

}  // namespace pgshunt
