// Dates and times in ISO form: "2024-02-29 13:14:15.123456+01:30", "0044-03-15 BC", "infinity".
#include "protocol/value_text.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kDatetimeFieldOverflow{"22008"};
constexpr std::string_view kIsoHint =
    "Write it as YYYY-MM-DD HH:MM:SS with up to six fractional digits (DateStyle ISO).";

// utils/timestamp.h: Julian day 0, and the first instants behind the ends.
constexpr std::int64_t kMinDate = -2451545;
constexpr std::int64_t kEndDate = 2147483494 - 2451545;
constexpr std::int64_t kMinTimestamp = kMinDate * kMicrosecondsPerDay;
constexpr std::int64_t kEndTimestampDate = 106751983;
constexpr std::int64_t kEndTimestamp = kEndTimestampDate * kMicrosecondsPerDay;

constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;

Error field_out_of_range(std::string_view text) {
  return {kDatetimeFieldOverflow,
          "date/time field value out of range: \"" + std::string(text.substr(0, 64)) + "\"",
          {}};
}

// A cursor over the text. Failure is sticky: read on, ask at the end.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : rest_(text) {}

  bool accept(std::string_view literal) {
    if (!ok_ || !rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }
  void expect(std::string_view literal) {
    if (!accept(literal)) ok_ = false;
  }
  int number(std::size_t least_digits, std::size_t most_digits) {
    int value = 0;
    std::size_t digits = 0;
    while (digits < most_digits && next_is_digit()) {
      value = value * 10 + (rest_[0] - '0');
      rest_.remove_prefix(1);
      ++digits;
    }
    if (digits < least_digits) ok_ = false;
    return value;
  }
  // What follows a decimal point, in microseconds.
  std::int64_t fraction() {
    std::int64_t value = 0;
    std::size_t digits = 0;
    for (; digits < 6 && next_is_digit(); ++digits) {
      value = value * 10 + (rest_[0] - '0');
      rest_.remove_prefix(1);
    }
    if (digits == 0) ok_ = false;
    for (; digits < 6; ++digits) value *= 10;
    return value;
  }
  bool next_is_digit() const { return ok_ && !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; }
  bool finished() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

struct CalendarDate {
  int year = 0;
  int month = 0;
  int day = 0;
};

// Not yet known to be a day of the calendar.
CalendarDate read_date(FieldReader& in) {
  CalendarDate date;
  date.year = in.number(4, 7);
  in.expect("-");
  date.month = in.number(2, 2);
  in.expect("-");
  date.day = in.number(2, 2);
  return date;
}

bool is_leap_year(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

// Days since 2000-01-01, if there is such a day. Year 0 is 1 BC here.
bool to_days(CalendarDate date, bool bc, std::int64_t& days) {
  static constexpr int kMonthDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (date.year == 0 || date.month < 1 || date.month > 12 || date.day < 1) return false;
  if (bc) date.year = 1 - date.year;
  const int last = kMonthDays[date.month - 1] + (date.month == 2 && is_leap_year(date.year));
  if (date.day > last) return false;
  // Years begin in March, so that the leap day is the last; eras of 400 years are all alike.
  const std::int64_t year = std::int64_t{date.year} - (date.month <= 2);
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month = (date.month + 9) % 12;
  const std::int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  constexpr std::int64_t kDaysPerEra = 146097;
  constexpr std::int64_t kEpoch = 730425;  // 2000-01-01, counted from 0000-03-01
  days = era * kDaysPerEra + day_of_era - kEpoch;
  return true;
}

struct TimeOfDay {
  int hour = 0;
  int minute = 0;
  int second = 0;
  std::int64_t fraction = 0;
};

TimeOfDay read_time(FieldReader& in) {
  TimeOfDay time;
  time.hour = in.number(2, 2);
  in.expect(":");
  time.minute = in.number(2, 2);
  if (in.accept(":")) {
    time.second = in.number(2, 2);
    if (in.accept(".")) time.fraction = in.fraction();
  }
  return time;
}

// A leap second is taken for the next minute, as the server does.
bool to_microseconds(const TimeOfDay& time, std::int64_t& out) {
  if (time.hour > 24 || time.minute > 59 || time.second > 60) return false;
  out =
      ((time.hour * 60 + time.minute) * 60 + time.second) * kMicrosecondsPerSecond + time.fraction;
  return out <= kMicrosecondsPerDay;
}

// Seconds east of Greenwich: Z, +01, +01:30, +0130, -00:01:15.
std::int64_t read_offset(FieldReader& in, bool& valid) {
  if (in.accept("Z") || in.accept("z")) return 0;
  const bool west = in.accept("-");
  if (!west) in.expect("+");
  const int hours = in.number(2, 2);
  int minutes = 0;
  int seconds = 0;
  if (in.accept(":")) {
    minutes = in.number(2, 2);
    if (in.accept(":")) seconds = in.number(2, 2);
  } else if (in.next_is_digit()) {
    minutes = in.number(2, 2);
  }
  valid = hours <= 15 && minutes <= 59 && seconds <= 59;  // MAX_TZDISP_HOUR
  const std::int64_t offset = (hours * 60 + minutes) * 60 + seconds;
  return west ? -offset : offset;
}

// 1 and -1 for the infinities, else 0.
int infinity_sign(std::string_view text) {
  if (equals_ignoring_case(text, "infinity") || equals_ignoring_case(text, "+infinity")) return 1;
  return equals_ignoring_case(text, "-infinity") ? -1 : 0;
}

// The era stands last, behind the offset.
bool take_bc(std::string_view& text) {
  if (!text.ends_with(" BC")) return false;
  text.remove_suffix(3);
  return true;
}

enum class Zone : std::uint8_t { kNone, kRequired };

Result<std::int64_t> parse_instant(std::string_view text, std::string_view type, Zone zone) {
  std::string_view trimmed = trim_space(text);
  if (const int sign = infinity_sign(trimmed); sign != 0) {
    return sign > 0 ? kTimestampInfinity : kTimestampMinusInfinity;
  }
  const bool bc = take_bc(trimmed);
  FieldReader in(trimmed);
  const CalendarDate date = read_date(in);
  TimeOfDay time;
  std::int64_t offset = 0;
  bool offset_valid = true;
  if (in.accept("T") || in.accept(" ")) {
    time = read_time(in);
    if (zone == Zone::kRequired) offset = read_offset(in, offset_valid);
  } else if (zone == Zone::kRequired) {
    in.expect(" ");
  }
  if (!in.finished()) {
    return unsupported_text(type, text,
                            zone == Zone::kRequired
                                ? "Write it as YYYY-MM-DD HH:MM:SS+HH:MM, with its "
                                  "offset from UTC (DateStyle ISO)."
                                : kIsoHint);
  }
  std::int64_t days = 0;
  std::int64_t of_day = 0;
  if (!offset_valid || !to_days(date, bc, days) || !to_microseconds(time, of_day)) {
    return field_out_of_range(text);
  }
  // A day beyond the range on either side: the offset may bring the instant back. Farther out the
  // product would overflow.
  if (days < kMinDate - 1 || days > kEndTimestampDate) return field_out_of_range(text);
  const std::int64_t instant =
      days * kMicrosecondsPerDay + of_day - offset * kMicrosecondsPerSecond;
  if (instant < kMinTimestamp || instant >= kEndTimestamp) return field_out_of_range(text);
  return instant;
}

}  // namespace

bool is_valid_date(std::int64_t days) {
  return days == kDateInfinity || days == kDateMinusInfinity ||
         (days >= kMinDate && days < kEndDate);
}

bool is_valid_timestamp(std::int64_t microseconds) {
  return microseconds == kTimestampInfinity || microseconds == kTimestampMinusInfinity ||
         (microseconds >= kMinTimestamp && microseconds < kEndTimestamp);
}

Result<std::int64_t> parse_date(std::string_view text) {
  std::string_view trimmed = trim_space(text);
  if (const int sign = infinity_sign(trimmed); sign != 0) {
    return sign > 0 ? kDateInfinity : kDateMinusInfinity;
  }
  const bool bc = take_bc(trimmed);
  FieldReader in(trimmed);
  const CalendarDate date = read_date(in);
  if (!in.finished()) return unsupported_text("date", text, "Write it as YYYY-MM-DD.");
  std::int64_t days = 0;
  if (!to_days(date, bc, days) || days < kMinDate || days >= kEndDate) {
    return field_out_of_range(text);
  }
  return days;
}

Result<std::int64_t> parse_timestamp(std::string_view text) {
  return parse_instant(text, "timestamp", Zone::kNone);
}

Result<std::int64_t> parse_timestamptz(std::string_view text) {
  return parse_instant(text, "timestamp with time zone", Zone::kRequired);
}

Result<std::int64_t> parse_time(std::string_view text) {
  FieldReader in(trim_space(text));
  const TimeOfDay time = read_time(in);
  if (!in.finished()) return unsupported_text("time", text, "Write it as HH:MM:SS.");
  std::int64_t of_day = 0;
  if (!to_microseconds(time, of_day)) return field_out_of_range(text);
  return of_day;
}

}  // namespace pgshunt
