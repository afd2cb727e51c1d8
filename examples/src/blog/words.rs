//! Dates and numbers in words.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `2026-03-09`, with or without a time behind it, as `9 March 2026`.
pub(crate) fn date(text: &str) -> String {
    let day = text.get(8..10).and_then(|day| day.parse::<u8>().ok());
    match day {
        Some(day) => format!("{day} {}", month(text)),
        None => text.to_owned(),
    }
}

/// `2026-03`, with or without more behind it, as `March 2026`.
pub(crate) fn month(text: &str) -> String {
    let number = text.get(5..7).and_then(|month| month.parse::<usize>().ok());
    let name = number.and_then(|number| MONTHS.get(number.checked_sub(1)?));
    match (name, text.get(..4)) {
        (Some(name), Some(year)) => format!("{name} {year}"),
        _ => text.to_owned(),
    }
}

/// `3 articles`, and `1 article`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(count))
}

/// `12,345`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_words() {
        assert_eq!(date("2026-03-09"), "9 March 2026");
        assert_eq!(date("2026-12-31 10:00:00"), "31 December 2026");
        assert_eq!(month("2026-01"), "January 2026");
        assert_eq!(date("soon"), "soon");
        assert_eq!(month("2026-00"), "2026-00");
    }

    #[test]
    fn numbers_in_groups() {
        assert_eq!(plural(1, "word"), "1 word");
        assert_eq!(plural(1234567, "word"), "1,234,567 words");
        assert_eq!(plural(100, "word"), "100 words");
    }
}
