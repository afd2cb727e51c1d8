//! The tags in the language of Tera.

use std::cell::RefCell;

use cacheops::template::{Assignments, Dialect, OpenTag, Reference, Syntax, TagKind, Trim};

use crate::names::{BEGIN, BEGIN_CUSTOM, FILL, HIT, PAGE, STORE, VARIABLE};

/// Writes, for a tag of number `first_tag + index`,
///
/// ```jinja
/// {% if 7 | _cacheops_begin(…) %}{% set _cacheops_7 = _cacheops_fill() %}{% filter _cacheops_store(fill=_cacheops_7) %}
/// body
/// {% endfilter %}{% else %}{{ _cacheops_hit() }}{% endif %}
/// ```
///
/// on as many lines as the author had. Neither statement refuses blocks. They
/// give the body no scope either, so the values of what it sets are restored
/// after it: `{% set _cacheops_7_x = x %}` precedes the filter section, and `{%
/// set x = _cacheops_7_x %}` follows it. A hit sets nothing, so it has nothing to
/// restore.
pub(crate) struct Tera<'a> {
    pub(crate) syntax: &'a Syntax,
    pub(crate) first_tag: usize,
    /// The expression for the page, if bodies with blocks need it.
    pub(crate) page: Option<&'a str>,
    /// What is restored after each tag.
    pub(crate) assignments: &'a [Assignments<'a>],
    /// Whether tags whose bodies contain blocks are left out.
    pub(crate) drops_block_tags: bool,
    /// The templates whose names are written with escapes, by the statement
    /// that names them.
    pub(crate) escaped: RefCell<Vec<(Reference, String)>>,
}

impl<'a> Tera<'a> {
    /// For parsing only.
    pub(crate) fn reader(syntax: &'a Syntax) -> Self {
        Tera {
            syntax,
            first_tag: 0,
            page: None,
            assignments: &[],
            drops_block_tags: false,
            escaped: RefCell::default(),
        }
    }

    fn number(&self, tag: &OpenTag<'_>) -> usize {
        self.first_tag + tag.index
    }

    /// The statements that save the variables that a body sets.
    fn kept(&self, tag: &OpenTag<'_>) -> impl Iterator<Item = String> {
        let number = self.number(tag);
        let names = self.assignments.get(tag.index).into_iter().flatten().map(|(name, _)| name);
        names.map(move |name| format!("set {VARIABLE}_{number}_{name} = {name}"))
    }

    /// The statements that restore them.
    fn restored(&self, tag: &OpenTag<'_>) -> Vec<String> {
        let number = self.number(tag);
        let mut statements = Vec::new();
        for (name, how) in self.assignments.get(tag.index).into_iter().flatten() {
            if how.global {
                statements.push(format!("set_global {name} = {VARIABLE}_{number}_{name}"));
            }
            if how.local {
                statements.push(format!("set {name} = {VARIABLE}_{number}_{name}"));
            }
        }
        statements
    }

    /// Whether a tag is replaced only by what its assignments need.
    /// Otherwise, tags inside and after it would see them.
    fn drops(&self, tag: &OpenTag<'_>) -> bool {
        self.drops_block_tags && tag.has_blocks
    }

    /// Writes statements, with the trim markers of the first and the last
    /// one.
    fn statements(&self, statements: &[String], trim: Trim<'_>, out: &mut String) {
        let (start, end) = &self.syntax.block;
        for (at, statement) in statements.iter().enumerate() {
            let left = if at == 0 { trim.left } else { "" };
            let right = if at + 1 == statements.len() { trim.right } else { "" };
            for part in [start, left, " ", statement, " ", right, end] {
                out.push_str(part);
            }
        }
    }
}

fn arguments(tag: &OpenTag<'_>) -> String {
    let mut out = String::new();
    let mut push = |name: &str, expression: &str| {
        let separator = if out.is_empty() { "" } else { ", " };
        for part in [separator, name, "=", expression] {
            out.push_str(part);
        }
    };
    match &tag.kind {
        TagKind::CachedAs(arguments) | TagKind::Cached(arguments) => {
            for (at, expression) in arguments.positional.iter().enumerate() {
                push(&format!("q{at}"), expression);
            }
            let keywords = [
                ("timeout", arguments.timeout),
                ("name", arguments.name),
                ("lock", arguments.lock),
                ("when", arguments.when),
                ("unless", arguments.unless),
            ];
            for (name, expression) in keywords {
                expression.into_iter().for_each(|expression| push(name, expression));
            }
            for (at, expression) in arguments.extra.iter().enumerate() {
                push(&format!("e{at}"), expression);
            }
        }
        TagKind::Custom(arguments) => {
            for (at, argument) in arguments.iter().enumerate() {
                match argument.name {
                    Some(name) => push(name, argument.expression),
                    None => push(&format!("_{at}"), argument.expression),
                }
            }
        }
    }
    out
}

/// The content of a string literal of Tera, if the expression is one.
fn unescaped(expression: &str) -> Option<String> {
    let mut inside = expression.chars();
    let quote = inside.next().filter(|first| matches!(first, '"' | '\'' | '`'))?;
    let mut text = String::new();
    loop {
        text.push(match inside.next()? {
            '\\' => match inside.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            next if next == quote => return inside.as_str().is_empty().then_some(text),
            next => next,
        });
    }
}

impl Dialect for Tera<'_> {
    fn open(&self, tag: &OpenTag<'_>, out: &mut String) {
        let number = self.number(tag);
        let mut statements = Vec::new();
        if self.drops(tag) {
            let lines = "\n".repeat(tag.text.matches('\n').count());
            statements.push(format!("if true{lines}"));
            statements.extend(self.kept(tag));
            return self.statements(&statements, tag.trim, out);
        }
        let begin = if matches!(tag.kind, TagKind::Custom(_)) { BEGIN_CUSTOM } else { BEGIN };
        let arguments = arguments(tag);
        let lines = tag.lines_beyond(&arguments);
        statements.push(format!("if {number} | {begin}({arguments}){lines}"));
        statements.extend(self.kept(tag));
        statements.push(format!("set {VARIABLE}_{number} = {FILL}()"));
        statements.push(format!("filter {STORE}(fill={VARIABLE}_{number})"));
        self.statements(&statements, tag.trim, out);
    }

    fn close(&self, tag: &OpenTag<'_>, trim: Trim<'_>, out: &mut String) {
        let last = "endif".to_owned();
        let mut first = self.restored(tag);
        if self.drops(tag) {
            first.push(last);
            return self.statements(&first, trim, out);
        }
        first.insert(0, "endfilter".to_owned());
        first.push("else".to_owned());
        self.statements(&first, Trim { right: "", ..trim }, out);
        let (start, end) = &self.syntax.variable;
        for part in [start, " ", HIT, "() ", end] {
            out.push_str(part);
        }
        self.statements(&[last], Trim { left: "", ..trim }, out);
    }

    fn reference(&self, reference: Reference, expression: &str, out: &mut String) {
        // Other expressions than names are the engine's to refuse.
        if let Some(name) = unescaped(expression).filter(|_| expression.contains('\\')) {
            self.escaped.borrow_mut().push((reference, name));
        }
        out.push_str(expression);
    }

    fn prelude(&self, out: &mut String) {
        let Some(page) = self.page else { return };
        let statements = [
            format!("block {VARIABLE}"),
            format!("set {PAGE} = \"{page}\""),
            "endblock".to_owned(),
        ];
        self.statements(
            &statements,
            Trim { left: "", right: "", is_line: false, line_end: "" },
            out,
        );
    }
}
