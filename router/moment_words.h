// Words that mean a different moment on every server: now, today, tomorrow, yesterday.
#pragma once

#include <string_view>

namespace pgshunt {

// Could `text`, read as a date or time, be one of those words, perhaps with a time of day or a zone
// beside it? A statement run on several shards must not carry it: each would read its own clock.
// Prose of more than a few words is not taken for a date.
bool names_a_moment(std::string_view text);

// Could any literal of a statement be such a text? A quick no for most; escapes count as a yes.
bool mentions_moment(std::string_view statement);

}  // namespace pgshunt
