#include "router/insert_split.h"

#include <algorithm>
#include <charconv>

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Calls `text(piece)` and `parameter(number from 0)` for what a piece of SQL is made of. It was
// parsed: its parameters' numbers are sound.
template <class OnText, class OnParameter>
void for_each_piece(std::string_view sql, OnText on_text, OnParameter on_parameter) {
  SqlLexer lexer(sql);
  std::size_t copied = 0;
  for (SqlToken token; lexer.next(token);) {
    if (token.kind != TokenKind::kParam) continue;
    std::uint16_t number = 0;
    std::from_chars(sql.data() + token.begin + 1, sql.data() + token.end, number);
    on_text(sql.substr(copied, token.begin - copied));
    on_parameter(static_cast<std::uint16_t>(number - 1));
    copied = token.end;
  }
  on_text(sql.substr(copied));
}

// Rows whose parameters are left out, and what those are.
std::string shape_of(std::string_view row, std::vector<std::uint16_t>& parameters) {
  std::string shape;
  for_each_piece(
      row, [&](std::string_view text) { shape.append(text); },
      [&](std::uint16_t parameter) {
        shape.push_back('$');
        parameters.push_back(parameter);
      });
  return shape;
}

}  // namespace

std::shared_ptr<const InsertSplit> make_insert_split(std::string_view sql, const InsertRows& rows) {
  auto out = std::make_shared<InsertSplit>();
  out->before = rows.before(sql);
  out->behind = rows.behind(sql);
  std::vector<std::uint16_t> used;
  shape_of(out->before, used);
  shape_of(out->behind, used);
  out->uniform = true;
  std::string first;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    out->rows.emplace_back(rows.row(sql, i));
    const std::string shape = shape_of(out->rows.back(), used);
    if (i == 0) first = shape;
    out->uniform &= shape == first;
  }
  std::sort(used.begin(), used.end());
  if (!used.empty()) out->parameters = used.back() + std::size_t{1};
  out->uniform &= std::adjacent_find(used.begin(), used.end()) == used.end();
  return out;
}

InsertPart part_of_insert(const InsertSplit& split, std::span<const std::uint16_t> row_order,
                          std::uint16_t which) {
  InsertPart out;
  std::vector<std::uint16_t> numbers;  // by the client's, from 0: the new one, 0 for none yet
  const auto append = [&](std::string_view sql) {
    for_each_piece(
        sql, [&](std::string_view text) { out.text.append(text); },
        [&](std::uint16_t parameter) {
          if (numbers.size() <= parameter) numbers.resize(parameter + std::size_t{1});
          if (numbers[parameter] == 0) {
            out.parameters.push_back(parameter);
            numbers[parameter] = static_cast<std::uint16_t>(out.parameters.size());
          }
          out.text.append("$").append(std::to_string(numbers[parameter]));
        });
  };
  append(split.before);
  bool begun = false;
  for (std::size_t i = 0; i < row_order.size(); ++i) {
    if (row_order[i] != which) continue;
    if (begun) out.text.append(", ");
    begun = true;
    append(split.rows[i]);
  }
  append(split.behind);
  return out;
}

}  // namespace pgshunt
