//! Dates and times in text, brought to UTC and whole seconds.
//!
//! Databases and libraries print one instant in many ways (`T` or a blank,
//! `Z` or `+00:00`, three digits of a second or nine, a zone). No calendar
//! library: a date is a number of days, and everything else is an offset.

use std::fmt::Write;

/// Appends the spelling of a date, a date with time, or a time of day; nothing
/// if `text` is none. False where one spelling cannot stand for it.
pub(crate) fn spell(text: &str, out: &mut String) -> Option<bool> {
    if text.len() < 4 || !text.is_ascii() {
        return None;
    }
    let Moment { seconds, stands } = instant(text).or_else(|| time_of_day(text))?;
    let _ = write!(out, "t{seconds}");
    Some(stands)
}

/// A moment, in whole seconds.
struct Moment {
    seconds: i64,
    /// False from half a second on, which a column may round up to the next
    /// one, and for hours that a span of time has and no day.
    stands: bool,
}

/// Seconds since 1970 in UTC; a text without a zone counts as UTC.
fn instant(text: &str) -> Option<Moment> {
    let mut cursor = Cursor(text.as_bytes());
    let negative = cursor.eat(b'-');
    let explicit_plus = !negative && cursor.eat(b'+');
    let year = cursor.number(4, if negative || explicit_plus { 6 } else { 4 })?;
    let year = if negative { -year } else { year };
    cursor.expect(b'-')?;
    let month = cursor.number(1, 2).filter(|m| (1..=12).contains(m))?;
    cursor.expect(b'-')?;
    let day = cursor.number(1, 2).filter(|d| (1..=31).contains(d))?;
    let midnight = days_from_civil(year, month, day) * 86_400;
    if cursor.is_empty() {
        return Some(Moment { seconds: midnight, stands: true });
    }
    if !(cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ')) {
        return None;
    }
    let time = cursor.clock(24)?;
    let moment = cursor.zoned(time)?;
    Some(Moment { seconds: midnight + moment.seconds, ..moment })
}

fn time_of_day(text: &str) -> Option<Moment> {
    let negative = text.starts_with('-');
    let mut cursor = Cursor(text.strip_prefix('-').unwrap_or(text).as_bytes());
    let time = cursor.clock(i64::MAX)?;
    let is_span = negative || time.seconds >= 86_400;
    let moment = cursor.zoned(time)?;
    Some(Moment { stands: moment.stands && !is_span, ..moment })
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, by
/// counting eras of 400 years from March on.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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

    fn blanks(&mut self) {
        while self.eat(b' ') {}
    }

    /// A number of `min` to `max` digits.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if digits < min {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    }

    /// The digits of a part of a second: at least one.
    fn fraction(&mut self) -> Option<()> {
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        self.0 = &self.0[digits..];
        (digits > 0).then_some(())
    }

    /// `h:mm`, with seconds and a fraction of them or without.
    fn clock(&mut self, most_hours: i64) -> Option<Moment> {
        let hours = self.number(1, 6).filter(|h| *h <= most_hours)?;
        self.expect(b':')?;
        let minutes = self.number(2, 2).filter(|m| *m <= 59)?;
        let mut seconds = 0;
        let mut stands = true;
        if self.eat(b':') {
            seconds = self.number(2, 2).filter(|s| *s <= 60)?;
            if self.eat(b'.') || self.eat(b',') {
                stands = self.0.first().is_none_or(|digit| *digit < b'5');
                self.fraction()?;
            }
        }
        Some(Moment { seconds: hours * 3600 + minutes * 60 + seconds, stands })
    }

    /// The zone behind a time, up to the end.
    fn zoned(&mut self, time: Moment) -> Option<Moment> {
        self.blanks();
        let offset = self.offset()?;
        self.annotation();
        self.is_empty().then_some(Moment { seconds: time.seconds - offset, ..time })
    }

    /// Seconds east of UTC; nothing counts as UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.0.first() {
            None | Some(b'[') => return Some(0),
            Some(b'Z' | b'z') => {
                self.0 = &self.0[1..];
                return Some(0);
            }
            Some(b'U') if self.0.starts_with(b"UTC") => {
                self.0 = &self.0[3..];
                return Some(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(_) => return None,
        };
        self.0 = &self.0[1..];
        let mut seconds = self.number(2, 2)? * 3600;
        if self.eat(b':') || self.0.first().is_some_and(u8::is_ascii_digit) {
            seconds += self.number(2, 2)? * 60;
            if self.eat(b':') {
                seconds += self.number(2, 2)?;
            }
        }
        Some(sign * seconds)
    }

    /// RFC 9557's `[Europe/Berlin]` behind the offset, which decides nothing.
    fn annotation(&mut self) {
        if self.0.first() == Some(&b'[') && self.0.last() == Some(&b']') {
            self.0 = &[];
        }
    }
}
