//! What random pages are made of.

use std::fmt;

/// How an environment reads and prints.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) debug: bool,
    pub(super) trim: bool,
    pub(super) lstrip: bool,
    pub(super) line_prefix: Option<&'static str>,
    pub(super) angle: bool,
    pub(super) undefined: usize,
    pub(super) escaping: usize,
    pub(super) brackets: bool,
}

/// A set of templates; `page` is the one that is rendered.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) seed: u64,
    pub(super) style: Style,
    /// With marks in the places of tags.
    sources: Vec<(String, String)>,
}

/// What stands in place of the beginning of a tag, of its arguments' end, and
/// of its end, in a statement.
const TAG: char = '\u{1}';
const ARGUMENTS_END: char = '\u{2}';
const END: &str = "\u{3}";

/// A small generator, the same on all machines.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// The variables that can be seen at a place.
#[derive(Clone, Default)]
struct Scope {
    rows: Vec<String>,
    texts: Vec<String>,
    plain: Vec<String>,
    /// Whether it is in a macro, which holds no blocks.
    in_macro: bool,
    in_loop: bool,
    in_tag: bool,
}

struct Writer {
    dice: Dice,
    out: String,
    line_prefix: Option<&'static str>,
    count: usize,
    macros: usize,
    parts: usize,
    tags: usize,
    blocks: Vec<String>,
}

const SOURCES: [&str; 14] = [
    "rows()",
    "rows() if c.id != 2",
    "rows()|sort(attribute='text')",
    "rows()|list",
    "rows()|reverse",
    "rows()|selectattr('id')",
    "rows()|batch(2)|first",
    "rows()[1:]",
    "got()",
    "got()|reverse",
    "[one(1), one(3)]",
    "(rows()|groupby('id'))[1].list",
    "rows()|slice(2)|last",
    "got()|rejectattr('id', 'eq', 1)",
];

const ROWS: [&str; 6] = [
    "rows()|first",
    "rows()[1]",
    "got()|last",
    "one(2)",
    "rows()|last",
    "(got()|batch(2)|first)[0]",
];

const TEXTS: [&str; 5] = [
    "rows()|map(attribute='text')|join",
    "got()|map(attribute='text')|first",
    "one(1).text",
    "rows()|length ~ ''",
    "rows()|sum(attribute='id') ~ (rows()|first).text",
];

impl Writer {
    fn statement(&mut self, content: &str) {
        if let Some(prefix) = self.line_prefix
            && self.dice.one_in(2)
        {
            // Where a line begins already, sometimes without another end.
            let is_begun = self.out.ends_with('\n') && !self.dice.one_in(4);
            let indent = self.dice.pick(&["", "  "]);
            let end = self.dice.pick(&["\n", "\n", " \n"]);
            let before = if is_begun { "" } else { "\n" };
            self.out += &format!("{before}{indent}{prefix} {content}{end}");
            return;
        }
        let edge = |dice: &mut Dice| ["", "", "", "", "-", "+"][dice.below(6)];
        let (left, right) = (edge(&mut self.dice), edge(&mut self.dice));
        self.out += &format!("{{%{left} {content} {right}%}}");
    }

    fn expression(&mut self, content: &str) {
        let left = ["", "", "", "-"][self.dice.below(4)];
        self.out += &format!("{{{{{left} {content} }}}}");
    }

    fn body(&mut self, scope: &Scope, depth: usize) {
        let mut scope = scope.clone();
        for _ in 0..1 + self.dice.below(3) {
            self.something(&mut scope, depth);
        }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.count += 1;
        format!("{prefix}{}", self.count)
    }

    fn something(&mut self, scope: &mut Scope, depth: usize) {
        if depth == 0 {
            return self.leaf(scope);
        }
        match self.dice.below(17) {
            0..=3 => self.tag(scope, depth),
            4..=6 => self.repeat(scope, depth),
            7 => self.choice(scope, depth),
            8 | 9 => self.set(scope, depth),
            10 => self.with(scope, depth),
            11 => self.wrapped(scope, depth),
            12 => self.block(scope, depth),
            13 => self.use_macro(scope, depth),
            14 if self.parts > 0 => {
                let part = self.dice.below(self.parts);
                let name = ["'part{}'", "['none', 'part{}']", "'part' ~ {}"][self.dice.below(3)];
                self.statement(&format!("include {}", name.replace("{}", &part.to_string())));
            }
            _ => self.leaf(scope),
        }
    }

    fn leaf(&mut self, scope: &Scope) {
        match self.dice.below(10) {
            0..=2 => self.expression("at()"),
            3 => self.out += self.dice.pick(&["\n", "  ", "text\n", "\n  \n", "&lt; "]),
            4 => self.out += self.dice.pick(&["{# cached #}", "{% raw %}{% cached %}{% endraw %}"]),
            5 => self.expression("nothing|default('d')"),
            6 => self.expression("s"),
            _ => self.show(scope),
        }
    }

    fn show(&mut self, scope: &Scope) {
        let rows = scope.rows.iter().map(|name| format!("{name}.text"));
        let all: Vec<String> = rows.chain(scope.texts.clone()).chain(scope.plain.clone()).collect();
        match all.len() {
            0 => self.expression("n"),
            count => {
                let shown = all[self.dice.below(count)].clone();
                self.expression(&shown);
            }
        }
    }

    /// A tag that says all that its body can show.
    fn tag(&mut self, scope: &Scope, depth: usize) {
        let mut scope = Scope { in_tag: true, ..scope.clone() };
        let mut extra: Vec<String> = vec!["n".into(), "s".into()];
        extra.extend(scope.plain.iter().cloned());
        self.tags += 1;
        let mut arguments = format!("extra=[{}, {}]", self.tags, extra.join(", "));
        let kind = match (&scope.rows[..], &scope.texts[..]) {
            (_, []) if self.dice.one_in(4) => {
                // What it shows, it reads by itself.
                scope.rows.clear();
                "cached"
            }
            ([.., last], _) if self.dice.one_in(2) => {
                arguments = format!("queryset('rows', id={last}.id), {arguments}");
                arguments += &format!(", name='r' ~ {last}.id");
                scope.rows = vec![last.clone()];
                scope.texts.clear();
                "cached_as"
            }
            _ => {
                arguments = format!("'rows', {arguments}");
                // Which row it is, is not in the queryset.
                let ids: Vec<String> = scope.rows.iter().map(|row| format!("{row}.id")).collect();
                if !ids.is_empty() {
                    arguments =
                        arguments.replacen("extra=[", &format!("extra=[{}, ", ids.join(", ")), 1);
                }
                "cached_as"
            }
        };
        self.statement(&format!("{TAG}{kind} {arguments}{ARGUMENTS_END}"));
        self.body(&scope, depth - 1);
        self.statement(&format!("{END}{kind}{END}"));
    }

    fn repeat(&mut self, scope: &Scope, depth: usize) {
        let mut inner = scope.clone();
        inner.in_loop = true;
        let name = self.name("c");
        let source = self.dice.pick(&SOURCES).replace("c.id", &format!("{name}.id"));
        self.statement(&format!("for {name} in {source}"));
        inner.rows.push(name);
        self.body(&inner, depth - 1);
        if self.dice.one_in(4) {
            self.statement("else");
            self.leaf(scope);
        }
        self.statement("endfor");
    }

    fn choice(&mut self, scope: &Scope, depth: usize) {
        let condition = self.dice.pick(&["n", "n == 8", "nothing is defined", "s == 'a&b'"]);
        self.statement(&format!("if {condition}"));
        self.body(scope, depth - 1);
        self.statement("else");
        self.leaf(scope);
        self.statement("endif");
    }

    fn set(&mut self, scope: &mut Scope, depth: usize) {
        match self.dice.below(5) {
            0 | 1 => {
                let name = self.name("r");
                let row = self.dice.pick(&ROWS);
                self.statement(&format!("set {name} = {row}"));
                scope.rows.push(name);
            }
            2 => {
                let name = self.name("t");
                let text = self.dice.pick(&TEXTS);
                self.statement(&format!("set {name} = {text}"));
                scope.texts.push(name);
            }
            3 => {
                let (name, held) = (self.name("ns"), self.name("h"));
                let row = self.dice.pick(&ROWS);
                self.statement(&format!("set {name} = namespace()"));
                self.statement(&format!("set {name}.row = {row}"));
                self.statement(&format!("set {held} = {name}.row"));
                scope.rows.push(held);
            }
            _ => {
                let name = self.name("t");
                self.statement(&format!("set {name}"));
                self.body(scope, depth - 1);
                self.statement("endset");
                scope.texts.push(name);
            }
        }
    }

    fn with(&mut self, scope: &Scope, depth: usize) {
        let mut inner = scope.clone();
        let (row, plain) = (self.name("w"), self.name("p"));
        let from = self.dice.pick(&ROWS);
        self.statement(&format!("with {row} = {from}, {plain} = {}", self.count));
        inner.rows.push(row);
        inner.plain.push(plain);
        self.body(&inner, depth - 1);
        self.statement("endwith");
    }

    fn wrapped(&mut self, scope: &Scope, depth: usize) {
        let (begin, end) = [
            ("filter upper", "endfilter"),
            ("autoescape false", "endautoescape"),
            ("autoescape true", "endautoescape"),
        ][self.dice.below(3)];
        self.statement(begin);
        self.body(scope, depth - 1);
        self.statement(end);
    }

    fn block(&mut self, scope: &Scope, depth: usize) {
        // A block sees no variables of loops, and shows nothing of its own here.
        if scope.in_macro || scope.in_loop || self.blocks.len() > 3 {
            return self.leaf(scope);
        }
        let name = self.name("b");
        self.statement(&format!("block {name}"));
        self.body(&Scope { in_tag: scope.in_tag, ..Scope::default() }, depth - 1);
        self.statement("endblock");
        self.blocks.push(name);
    }

    fn use_macro(&mut self, scope: &Scope, depth: usize) {
        if self.macros == 0 {
            return self.leaf(scope);
        }
        let number = self.dice.below(self.macros);
        let row = match &scope.rows[..] {
            [.., last] => last.clone(),
            _ => self.dice.pick(&ROWS).to_owned(),
        };
        if self.dice.one_in(3) {
            self.statement(&format!("call wrap({row})"));
            self.body(&Scope { in_macro: true, ..scope.clone() }, depth - 1);
            self.statement("endcall");
        } else {
            self.expression(&format!("m{number}({row})"));
        }
    }

    fn finish(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// Macros, each of which may call those before it.
    fn write_macros(&mut self) {
        self.out += "{% macro wrap(row) %}({{ at() }}{{ row.text }}{{ caller() }}){% endmacro %}";
        for number in 0..2 {
            let scope = Scope { rows: vec!["row".into()], in_macro: true, ..Scope::default() };
            self.statement(&format!("macro m{number}(row, n=7, s='a&b')"));
            self.body(&scope, 2);
            self.statement("endmacro");
            self.macros = number + 1;
        }
    }
}

impl Set {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        let style = Style {
            debug: dice.one_in(2),
            trim: dice.one_in(3),
            lstrip: dice.one_in(3),
            line_prefix: [None, None, Some("#"), Some("%%")][dice.below(4)],
            angle: dice.one_in(4),
            undefined: dice.below(3),
            escaping: dice.below(3),
            brackets: dice.one_in(5),
        };
        let mut writer = Writer {
            dice,
            out: String::new(),
            line_prefix: style.line_prefix,
            count: 0,
            macros: 0,
            parts: 0,
            tags: 0,
            blocks: Vec::new(),
        };
        let mut sources = Vec::new();
        for part in 0..2 {
            writer.body(&Scope { in_macro: true, ..Scope::default() }, 2);
            sources.push((format!("part{part}"), writer.finish()));
            writer.parts = part + 1;
        }
        writer.write_macros();
        writer.body(&Scope::default(), 4);
        writer.body(&Scope::default(), 3);
        sources.push(("base".to_owned(), writer.finish()));
        let blocks = std::mem::take(&mut writer.blocks);
        // A child of it, which fills some of its blocks.
        writer.out += "{% extends 'base' %}";
        writer.macros = 0;
        for name in blocks {
            if writer.dice.one_in(2) {
                writer.statement(&format!("block {name}"));
                if writer.dice.one_in(2) {
                    writer.expression("super()");
                }
                writer.body(&Scope::default(), 2);
                writer.statement("endblock");
            }
        }
        sources.push(("page".to_owned(), writer.finish()));
        Set { seed, style, sources }
    }

    /// The templates, with tags or with neutral blocks in their places.
    pub(super) fn templates(&self, with_tags: bool) -> Vec<(String, String)> {
        let of = |source: &str| {
            let written = tags(source, with_tags);
            if !self.style.angle {
                return written;
            }
            let pairs = [
                ("{%", "<%"),
                ("%}", "%>"),
                ("{{", "<<"),
                ("}}", ">>"),
                ("{#", "<#"),
                ("#}", "#>"),
            ];
            pairs.iter().fold(written, |text, (from, to)| text.replace(from, to))
        };
        self.sources.iter().map(|(name, source)| (name.clone(), of(source))).collect()
    }
}

fn tags(source: &str, with_tags: bool) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(at) = rest.find([TAG, '\u{3}']) {
        out.push_str(&rest[..at]);
        let is_end = rest[at..].starts_with(END);
        let inner = &rest[at + 1..];
        let (inside, behind) =
            inner.split_once(if is_end { '\u{3}' } else { ARGUMENTS_END }).unwrap();
        match (with_tags, is_end) {
            (true, true) => out.push_str(&format!("end{inside}")),
            (true, false) => out.push_str(inside),
            (false, true) => out.push_str("endwith"),
            (false, false) => out.push_str("with"),
        }
        rest = behind;
    }
    out + rest
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.style)?;
        for (name, source) in self.templates(true) {
            writeln!(f, "--- {name}\n{source}")?;
        }
        Ok(())
    }
}
