//! Dates and times in text, in the order year, month, day.
//!
//! Databases and libraries print one instant in many ways (`T` or a space, `Z` or
//! `+00:00`, three digits of a second or nine, a zone). They accept a number of 8
//! or 14 digits for it, and drop the time if a column holds a date. So an instant
//! is normalized to the number of its day in UTC, `20260309`, and a time of day
//! to `93000`. No calendar library is needed: a date is a number of days.

use std::fmt::Write;

/// Appends the normalized form of a date, a date with time, or a time of day;
/// nothing if `text` is none of these. Returns false if one form cannot represent
/// it.
pub(super) fn spell(text: &str, out: &mut String) -> Option<bool> {
    if text.len() < 4 || !text.as_bytes().iter().any(u8::is_ascii_digit) || !text.is_ascii() {
        return None;
    }
    spell_instant(text, out).or_else(|| spell_time(text, out))
}

/// The date of a whole number of 14 digits that is a date with time.
pub(super) fn date_of(number: u64) -> Option<u64> {
    let (date, time) = (number / 1_000_000, number % 1_000_000);
    let is_date = matches!(date / 100 % 100, 1..=12) && matches!(date % 100, 1..=31);
    let is_time = time < 240_000 && time / 100 % 100 < 60 && time % 100 < 60;
    let has_14_digits = (10_000_000..100_000_000).contains(&date);
    (has_14_digits && is_date && is_time).then_some(date)
}

const DAY: i64 = 86_400;

/// A text without a zone counts as UTC.
fn spell_instant(text: &str, out: &mut String) -> Option<bool> {
    let (text, before_christ) = without_era(text);
    let mut cursor = Cursor(text.as_bytes());
    let (year, rest) = cursor.year_and_more()?;
    let day = match rest {
        Rest::Date(month, day) => {
            days_from_civil(if before_christ { 1 - year } else { year }, month, day)
        }
        Rest::DayOfYear(day) => days_from_civil(year, 1, 1) + day - 1,
    };
    let mut stands = true;
    let mut utc = day * DAY;
    if !cursor.is_empty() {
        if !(cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ')) {
            return None;
        }
        cursor.blanks();
        let clock = if cursor.digits() > 2 { cursor.digits_of_clock() } else { cursor.clock(24) }?;
        let offset = cursor.zone()?;
        let written = utc + clock.seconds;
        utc = written - offset;
        // A date column takes the day that is written, and a time column
        // may round up to the next one.
        let rounds = |at: i64| clock.rounds_up && at.rem_euclid(DAY) == DAY - 1;
        stands = written.div_euclid(DAY) == day
            && utc.div_euclid(DAY) == day
            && !rounds(written)
            && !rounds(utc)
            && !clock.is_odd;
    }
    let _ = match civil_from_days(utc.div_euclid(DAY)) {
        (year @ 1000..=9999, month, day) => write!(out, "{year}{month:02}{day:02}"),
        (year, month, day) => write!(out, "t{year}-{month}-{day}"),
    };
    Some(stands)
}

fn spell_time(text: &str, out: &mut String) -> Option<bool> {
    let negative = text.starts_with('-');
    let mut cursor = Cursor(text.strip_prefix('-').unwrap_or(text).as_bytes());
    let clock = cursor.clock(i64::MAX)?;
    let offset = cursor.zone()?;
    let time = clock.seconds - offset;
    let _ = write!(out, "{}", time / 3600 * 10_000 + time / 60 % 60 * 100 + time % 60);
    // An interval has other units, and a zone may be dropped.
    Some(!negative && offset == 0 && !clock.rounds_up && !clock.is_odd && time < DAY)
}

/// PostgreSQL's `BC`, where the year number is one less.
fn without_era(text: &str) -> (&str, bool) {
    let era = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at));
    match era {
        Some((bare, era)) if era.eq_ignore_ascii_case(" bc") => (bare, true),
        Some((bare, era)) if era.eq_ignore_ascii_case(" ad") => (bare, false),
        _ => (text, false),
    }
}

/// Whether a database could accept `text` as a date or a time although [`spell`]
/// does not: in another order, or with the name of a month or a zone.
pub(super) fn begins_like_one(text: &str) -> bool {
    if let Some(time) = text.strip_prefix(['T', 't'])
        && matches!(Cursor(time.as_bytes()).digits(), 2 | 4 | 6)
    {
        return true;
    }
    let mut cursor = Cursor(text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes());
    let first = cursor.digits();
    cursor.skip(first);
    match first {
        0 => {}
        8 | 14 if cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ') => {
            return cursor.digits() > 0;
        }
        1 | 2 if cursor.eat(b':') => return cursor.digits() == 2,
        // With three digits, only what could be the beginning of an
        // address.
        3 if cursor.0.first() != Some(&b'.') => {}
        1..=6 if cursor.punctuation() && matches!(cursor.digits(), 1..=3) => {
            cursor.skip(cursor.digits());
            if !cursor.punctuation() || cursor.digits() == 0 {
                return false;
            }
            cursor.skip(cursor.digits());
            // A text that continues in a word, such as the name of a
            // page, is not a date.
            return matches!(
                cursor.0.first(),
                None | Some(b' ' | b'+' | b'T' | b't' | b'Z' | b'z' | b':')
            );
        }
        _ => {}
    }
    names_a_day(text)
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const WORDS: [&str; 28] = [
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "sept",
    "september",
    "october",
    "november",
    "december",
    "mon",
    "monday",
    "tue",
    "tuesday",
    "wed",
    "wednesday",
    "thu",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
    "sun",
    "sunday",
    "t",
    "z",
];

const SPECIAL: [&str; 7] = ["now", "today", "tomorrow", "yesterday", "epoch", "allballs", "noon"];

/// `9 Mar 2026`, `today`, the day of a Julian date.
fn names_a_day(text: &str) -> bool {
    let is_one_of = |words: &[&str], word: &str| words.iter().any(|w| w.eq_ignore_ascii_case(word));
    if text.len() <= 9 && is_one_of(&SPECIAL, text) {
        return true;
    }
    if text.len() > 64 || !text.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    if let [b'J' | b'j', day @ ..] = text.as_bytes() {
        return day.len() > 4 && day.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    }
    let words = || text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let is_month = |word: &str| is_one_of(&MONTHS, word) || is_one_of(&WORDS[..12], word);
    // Zones have only capitals, or a slash.
    let is_zone = |word: &str| word.len() <= 5 && word.bytes().all(|b| b.is_ascii_uppercase());
    let is_known = |word: &str| {
        is_month(word) || is_one_of(&WORDS, word) || is_one_of(&["am", "pm", "bc", "ad"], word)
    };
    words().any(is_month) && words().all(|w| is_known(w) || is_zone(w) || text.contains('/'))
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, by
/// counting eras of 400 years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// What follows a year.
enum Rest {
    Date(i64, i64),
    DayOfYear(i64),
}

struct Clock {
    seconds: i64,
    /// A fraction of half a second or more, which a column may round up to
    /// the next second.
    rounds_up: bool,
    /// A second 60, which is the next minute or invalid.
    is_odd: bool,
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = self.0.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
        if found {
            self.0 = &self.0[word.len()..];
        }
        found
    }

    fn blanks(&mut self) {
        while self.eat(b' ') {}
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    /// How many digits follow.
    fn digits(&self) -> usize {
        self.0.iter().take_while(|b| b.is_ascii_digit()).count()
    }

    /// A separator of the parts of a date: MySQL accepts any.
    fn punctuation(&mut self) -> bool {
        let found = self.0.first().is_some_and(|b| b.is_ascii_punctuation() && *b != b':');
        self.skip(usize::from(found));
        found
    }

    /// A number of `min` to `max` digits.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.digits().min(max);
        if digits < min {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    }

    /// `2026-03-09`, `2026/3/9`, `20260309`, `2026-068`.
    fn year_and_more(&mut self) -> Option<(i64, Rest)> {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let is_basic = self.digits() == 8;
        let year = self.number(4, if is_basic { 4 } else { 6 })?;
        let year = if negative { -year } else { year };
        if !is_basic && !self.punctuation() {
            return None;
        }
        if !is_basic && self.digits() == 3 {
            let day = self.number(3, 3).filter(|day| (1..=366).contains(day))?;
            return Some((year, Rest::DayOfYear(day)));
        }
        let month = self.number(1, 2).filter(|m| (1..=12).contains(m))?;
        if !is_basic && !self.punctuation() {
            return None;
        }
        let day = self.number(1, 2).filter(|d| (1..=31).contains(d))?;
        Some((year, Rest::Date(month, day)))
    }

    /// `h:mm`, with or without seconds and their fraction, `AM` or `PM`.
    fn clock(&mut self, most_hours: i64) -> Option<Clock> {
        let hours = self.number(1, 6).filter(|h| *h <= most_hours)?;
        self.expect(b':')?;
        let minutes = self.number(2, 2).filter(|m| *m <= 59)?;
        let seconds = if self.eat(b':') { self.number(2, 2)? } else { 0 };
        self.clock_of(hours, minutes, seconds)
    }

    /// `093000` and `0930`.
    fn digits_of_clock(&mut self) -> Option<Clock> {
        let has_seconds = self.digits() == 6;
        let hours = self.number(2, 2).filter(|h| *h <= 24)?;
        let minutes = self.number(2, 2).filter(|m| *m <= 59)?;
        let seconds = if has_seconds { self.number(2, 2)? } else { 0 };
        self.clock_of(hours, minutes, seconds)
    }

    fn clock_of(&mut self, mut hours: i64, minutes: i64, seconds: i64) -> Option<Clock> {
        if seconds > 60 {
            return None;
        }
        let mut rounds_up = false;
        if self.eat(b'.') || self.eat(b',') {
            rounds_up = self.0.first().is_some_and(|digit| *digit >= b'5');
            let digits = self.digits();
            self.skip(digits);
            (digits > 0).then_some(())?;
        }
        self.blanks();
        let afternoon = self.eat_word(b"pm");
        if afternoon || self.eat_word(b"am") {
            (1..=12).contains(&hours).then_some(())?;
            hours = hours % 12 + if afternoon { 12 } else { 0 };
        }
        Some(Clock {
            seconds: hours * 3600 + minutes * 60 + seconds,
            rounds_up,
            is_odd: seconds == 60,
        })
    }

    /// Seconds east of UTC of the zone after a time, up to the end. No zone
    /// counts as UTC.
    fn zone(&mut self) -> Option<i64> {
        self.blanks();
        let offset = self.offset()?;
        // RFC 9557's `[Europe/Berlin]` after the offset does not matter.
        if self.0.first() == Some(&b'[') && self.0.last() == Some(&b']') {
            self.0 = &[];
        }
        self.is_empty().then_some(offset)
    }

    fn offset(&mut self) -> Option<i64> {
        if self.is_empty() || self.0.first() == Some(&b'[') {
            return Some(0);
        }
        if [&b"utc"[..], b"gmt", b"zulu", b"z"].iter().any(|zone| self.eat_word(zone)) {
            return Some(0);
        }
        let sign = if self.eat(b'-') { -1 } else { 1 };
        if sign == 1 {
            self.expect(b'+')?;
        }
        let mut seconds = self.number(1, 2)? * 3600;
        if self.eat(b':') || self.digits() > 0 {
            seconds += self.number(2, 2)? * 60;
            if self.eat(b':') {
                seconds += self.number(2, 2)?;
            }
        }
        Some(sign * seconds)
    }
}
