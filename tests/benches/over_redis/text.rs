//! The text that all libraries cache: byte for byte that of
//! `tests/peers/django_cacheops.py --fragment`.

use std::sync::OnceLock;

const SIZE: usize = 2048;

/// 2 KB of HTML: rows of a list, in words that a linear congruential generator
/// makes up.
pub fn fragment() -> &'static str {
    static FRAGMENT: OnceLock<String> = OnceLock::new();
    FRAGMENT.get_or_init(|| Words::new().html())
}

struct Words {
    seed: u64,
    words: Vec<String>,
}

impl Words {
    fn new() -> Self {
        let mut words = Words { seed: 20_260_101, words: Vec::new() };
        for _ in 0..200 {
            let word = words.word();
            words.words.push(word);
        }
        words
    }

    fn below(&mut self, limit: u64) -> u64 {
        let next = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = next.wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % limit
    }

    fn word(&mut self) -> String {
        let len = 3 + self.below(7);
        let letter = |_| char::from(b"etaoinshrdlucmfwypvbgkjqxz"[self.below(26) as usize]);
        (0..len).map(letter).collect()
    }

    fn text(&mut self, count: usize) -> String {
        let mut word = |_| {
            let n = self.below(200) as usize;
            self.words[n].clone()
        };
        (0..count).map(&mut word).collect::<Vec<String>>().join(" ")
    }

    fn row(&mut self) -> String {
        let id = self.below(1_000_000);
        let (title, author, lead) = (self.text(4), self.text(2), self.text(7));
        format!(
            "<li class=\"article\"><a href=\"/articles/{id}/\">{title}</a><span class=\"author\">{author}</span><p>{lead}</p></li>"
        )
    }

    fn html(mut self) -> String {
        let (mut html, end) = (String::from("<ul class=\"articles\">"), "</ul>");
        let room = SIZE - "<li></li>".len() - end.len();
        loop {
            let row = self.row();
            if html.len() + row.len() > room {
                break;
            }
            html += &row;
        }
        let rest = room - html.len();
        let text = self.text(rest);
        format!("{html}<li>{}</li>{end}", &text[..rest])
    }
}
