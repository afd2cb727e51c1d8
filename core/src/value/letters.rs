//! Letters, as the widest collations compare them.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Text without case, accents and characters that collations ignore, and whether
/// all collations agree on it. They disagree on which letters `ß`, `ä` or an
/// unusual letter is equal to.
///
/// Letters are converted through upper case: `ß` matches `SS`, and both sigmas
/// match each other.
pub(super) fn fold(text: &str) -> (String, bool) {
    let mut folded = String::with_capacity(text.len());
    let letters = text
        .nfkd()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkd()
        .filter(|c| !is_combining_mark(*c) && !is_ignored(*c));
    letters.for_each(|letter| push_plain(letter, &mut folded));
    (folded, all_agree(text))
}

/// Ignored ASCII characters: controls that are not white space.
pub(super) fn is_ignored_byte(byte: u8) -> bool {
    matches!(byte, 0..=8 | 0xe..=0x1f | 0x7f)
}

/// Controls, and characters without a shape of their own.
fn is_ignored(letter: char) -> bool {
    match letter {
        '\0'..='\x7f' => is_ignored_byte(letter as u8),
        '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{ad}' | '\u{61c}' => true,
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' => true,
        _ => false,
    }
}

/// The first of ten digits each, in scripts that Unicode does not decompose.
const ZEROS: [u32; 36] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// Appends the letter that a letter is equal to in the widest collation.
fn push_plain(letter: char, out: &mut String) {
    let plain = match letter {
        'a'..='z' | ' ' => letter,
        'ø' => 'o',
        'ł' => 'l',
        'đ' | 'ð' => 'd',
        'ħ' => 'h',
        'ŧ' => 't',
        'æ' => return out.push_str("ae"),
        'œ' => return out.push_str("oe"),
        'þ' => return out.push_str("th"),
        // Hebrew letters for the end of a word precede the others.
        'ך' | 'ם' | 'ן' | 'ף' | 'ץ' => next(letter),
        '\u{30a1}'..='\u{30f6}' => large_kana(shifted(letter, -0x60)),
        '\u{3041}'..='\u{3096}' => large_kana(letter),
        // Older collations do not distinguish these from each other.
        '\u{10000}'.. => '\u{fffd}',
        '\u{660}'..='\u{abf9}' => digit(letter),
        _ => letter,
    };
    out.push(plain);
}

fn shifted(letter: char, by: i32) -> char {
    (letter as u32).checked_add_signed(by).and_then(char::from_u32).unwrap_or(letter)
}

fn next(letter: char) -> char {
    shifted(letter, 1)
}

fn large_kana(letter: char) -> char {
    match letter {
        'ぁ' | 'ぃ' | 'ぅ' | 'ぇ' | 'ぉ' | 'っ' | 'ゃ' | 'ゅ' | 'ょ' | 'ゎ' => {
            next(letter)
        }
        'ゕ' => 'か',
        'ゖ' => 'け',
        _ => letter,
    }
}

fn digit(letter: char) -> char {
    let code = letter as u32;
    let at = ZEROS.partition_point(|zero| *zero <= code);
    let value = at.checked_sub(1).map(|at| code - ZEROS[at]);
    value
        .filter(|value| *value < 10)
        .and_then(|value| char::from_digit(value, 10))
        .unwrap_or(letter)
}

/// Whether all collations agree on what is equal to `text`.
fn all_agree(text: &str) -> bool {
    // Beyond 16 bits, emoji and ideographs are each distinct or all the same.
    // Other letters are also equal to some below.
    let is_plain = |c| matches!(c, '\0'..='\u{ffff}' | '\u{1f000}'..='\u{1faff}' | '\u{20000}'..='\u{2f7ff}' | '\u{30000}'..='\u{3ffff}');
    let is_unchanged = |c: char| c <= '\u{ffff}' || c.nfkd().eq([c]);
    if !text.chars().all(|c| is_plain(c) && is_unchanged(c)) {
        return false;
    }
    let mut base = ' ';
    for letter in text.nfkd() {
        if is_combining_mark(letter) {
            // `ä` is `a`, `ae` or `æ`, `å` is `a` or `aa`, `ü` is `u`, `ue` or `y`.
            let is_umlaut = match letter {
                '\u{308}' => matches!(base, 'a' | 'o' | 'u' | 'A' | 'O' | 'U'),
                '\u{30a}' => matches!(base, 'a' | 'A'),
                '\u{30b}' => matches!(base, 'u' | 'U'),
                _ => false,
            };
            if is_umlaut {
                return false;
            }
        } else if is_unusual(letter) {
            return false;
        } else {
            base = letter;
        }
    }
    true
}

/// Letters that some collation treats as equal to others, and not every collation
/// to the same ones: those beyond the usual alphabets that Unicode does not
/// decompose.
fn is_unusual(letter: char) -> bool {
    match letter {
        'Ø' | 'ø' | 'Ł' | 'ł' | 'Đ' | 'đ' | 'Ð' | 'ð' | 'Ħ' | 'ħ' | 'Ŧ' | 'ŧ' | 'Þ' | 'þ' | 'ı'
        | '×' | '÷' | 'Ґ' | 'ґ' => false,
        // Latin.
        '\u{c0}'..='\u{2af}' | '\u{1d00}'..='\u{1dbf}' | '\u{1e00}'..='\u{1eff}' => true,
        '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{ab30}'..='\u{abbf}' => true,
        // Cyrillic, Arabic, Georgian and Cherokee.
        '\u{460}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => true,
        '\u{640}' | '\u{66e}'..='\u{6d3}' | '\u{6ee}' | '\u{6ef}' | '\u{6fa}'..='\u{6ff}' => true,
        '\u{750}'..='\u{77f}' | '\u{870}'..='\u{8ff}' => true,
        '\u{10a0}'..='\u{10cf}' | '\u{2d00}'..='\u{2d2f}' | '\u{13a0}'..='\u{13ff}' => true,
        // Digits in circles, radicals and strokes, small kana of Ainu.
        '\u{24eb}'..='\u{24ff}' | '\u{2776}'..='\u{2793}' | '\u{3248}'..='\u{324f}' => true,
        '\u{2e80}'..='\u{2eff}' | '\u{31c0}'..='\u{31ff}' => true,
        _ => false,
    }
}
