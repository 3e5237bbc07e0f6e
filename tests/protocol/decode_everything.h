// Runs every message decoder over a body and walks everything it returned, for the tests and fuzz
// targets that ask one thing only: can any bytes make a decoder, or a view it made, misbehave?
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "protocol/startup.h"

namespace pgshunt::test {

// Reads every byte it is shown, so that a view past its buffer is seen by AddressSanitizer.
class Reader {
 public:
  void see(std::string_view bytes) {
    for (const char c : bytes) sum_ += static_cast<unsigned char>(c);
  }
  void see(std::uint64_t number) { sum_ += number; }
  void see(const WireValue& value) {
    if (!value.is_null) see(value.bytes);
  }
  void see(const ValueList& list) {
    std::size_t count = 0;
    for (const WireValue value : list) {
      see(value);
      ++count;
    }
    if (count != list.size()) __builtin_trap();
    see(list.at(list.size()));
  }
  void see(const FormatList& list) {
    for (std::size_t i = 0; i <= list.size(); ++i) see(std::uint64_t{list.of(i)});
  }
  void see(const OidList& list) {
    for (std::size_t i = 0; i <= list.size(); ++i) see(std::uint64_t{list.of(i)});
  }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0;
};

// `bytes` in a heap block of exactly their size.
class ExactCopy {
 public:
  explicit ExactCopy(std::string_view bytes)
      : copy_(std::make_unique<char[]>(bytes.size())), size_(bytes.size()) {
    bytes.copy(copy_.get(), bytes.size());
  }
  std::string_view view() const { return {copy_.get(), size_}; }

 private:
  std::unique_ptr<char[]> copy_;
  std::size_t size_;
};

inline std::uint64_t decode_frontend_body(std::string_view body) {
  Reader reader;
  if (auto m = decode_query(body)) reader.see(*m);
  if (auto m = decode_parse(body)) {
    reader.see(m->statement);
    reader.see(m->sql);
    reader.see(m->types);
    std::string out;
    append_parse_renamed(out, *m, "renamed");
    auto again = decode_parse(std::string_view(out).substr(kFrameHeaderSize));
    if (!again || again->sql != m->sql || again->types.raw() != m->types.raw()) __builtin_trap();
  }
  if (auto m = decode_bind(body)) {
    reader.see(m->portal);
    reader.see(m->statement);
    reader.see(m->formats);
    reader.see(m->values);
    reader.see(m->result_formats);
    std::string out;
    append_bind_renamed(out, *m, "renamed");
    auto again = decode_bind(std::string_view(out).substr(kFrameHeaderSize));
    if (!again || again->portal != m->portal || again->after_names != m->after_names) {
      __builtin_trap();
    }
  }
  if (auto m = decode_describe(body)) reader.see(m->name);
  if (auto m = decode_close(body)) reader.see(m->name);
  if (auto m = decode_execute(body)) reader.see(m->portal);
  if (auto m = decode_function_call(body)) {
    reader.see(m->formats);
    reader.see(m->arguments);
  }
  if (auto m = decode_copy_fail(body)) reader.see(*m);
  if (auto m = decode_password(body)) reader.see(*m);
  if (auto m = decode_sasl_initial_response(body)) {
    reader.see(m->mechanism);
    reader.see(m->response);
  }
  return reader.sum();
}

inline std::uint64_t decode_backend_body(std::string_view body) {
  Reader reader;
  if (auto m = decode_authentication(body)) {
    reader.see(m->data);
    reader.see(authentication_name(m->code));
    reader.see(std::uint64_t{m->offers("SCRAM-SHA-256")});
  }
  if (auto m = decode_parameter_status(body)) {
    reader.see(m->name);
    reader.see(m->value);
  }
  if (auto m = decode_backend_key_data(body)) reader.see(m->key);
  (void)decode_ready_for_query(body);
  if (auto m = decode_row_description(body)) {
    std::size_t count = 0;
    for (const FieldDescription field : *m) {
      reader.see(field.name);
      reader.see(std::uint64_t{field.format});
      ++count;
    }
    if (count != m->size()) __builtin_trap();
    std::string out;
    if (!cut_row_description(body, 2, out)) __builtin_trap();
    if (!decode_row_description(std::string_view(out).substr(kFrameHeaderSize))) __builtin_trap();
  }
  if (auto m = decode_data_row(body)) {
    reader.see(*m);
    std::string out;
    if (!cut_data_row(body, 2, out)) __builtin_trap();
    if (!decode_data_row(std::string_view(out).substr(kFrameHeaderSize))) __builtin_trap();
  }
  if (auto m = decode_parameter_description(body)) reader.see(*m);
  if (auto m = decode_copy_response(body)) reader.see(m->column_formats);
  if (auto m = decode_function_call_response(body)) reader.see(*m);
  if (auto m = decode_command_complete(body)) {
    const CommandTag tag = parse_command_tag(*m);
    reader.see(tag.command);
  }
  if (auto m = decode_notification(body)) {
    reader.see(m->channel);
    reader.see(m->payload);
  }
  if (auto m = decode_error_response(body)) {
    reader.see(m->severity());
    reader.see(m->message());
    reader.see(m->field('\0'));
    reader.see(m->sqlstate().view());
    reader.see(m->to_error().message);
  }
  if (auto m = decode_negotiate_protocol_version(body)) reader.see(m->options);
  return reader.sum();
}

inline std::uint64_t decode_startup_bytes(std::string_view bytes) {
  Reader reader;
  auto packet = decode_startup(bytes);
  if (!packet) return 0;
  if (packet->size > bytes.size()) __builtin_trap();
  reader.see(packet->cancel.key);
  for (const auto& [name, value] : packet->startup) {
    reader.see(name);
    reader.see(value);
    reader.see(packet->startup.value(name));
  }
  if (packet->kind == StartupKind::kStartup) {
    (void)check_startup_user(packet->startup);
    (void)parse_startup_options(packet->startup.value("options"));
    std::string out;
    append_negotiate_protocol_version(out, packet->startup);
    if (!decode_negotiate_protocol_version(std::string_view(out).substr(kFrameHeaderSize))) {
      __builtin_trap();
    }
  }
  return reader.sum();
}

}  // namespace pgshunt::test
