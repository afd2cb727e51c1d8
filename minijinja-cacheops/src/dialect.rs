//! The tags in the language of MiniJinja.

use cacheops::FragmentKey;
use cacheops::template::{DefinedMacro, Dialect, OpenTag, Reference, Rules, Syntax, TagKind, Trim};
use minijinja::syntax::SyntaxConfig;

/// The filter that looks a fragment up, for the tags of the library.
pub(crate) const BEGIN: &str = "_cacheops_begin";
/// The same for custom tags.
pub(crate) const BEGIN_CUSTOM: &str = "_cacheops_begin_custom";
/// The filter that stores what a body rendered.
pub(crate) const STORE: &str = "_cacheops_store";
/// The filter that records which source begins. It begins a rendering, if no tag
/// has begun it.
pub(crate) const PAGE: &str = "_cacheops_page";
/// Its argument is the sum of these.
pub(crate) const HAS_MACROS: u8 = 1;
pub(crate) const IN_BLOCK: u8 = 2;
/// The filter that records that a source which extends another has run to its
/// end.
pub(crate) const EXTENDED: &str = "_cacheops_extended";
/// The filter that prints a fragment.
pub(crate) const PRINT: &str = "_cacheops_print";
/// The filter that copies a namespace before a body assigns to it.
pub(crate) const COPY: &str = "_cacheops_copy";
/// The filter that returns the tags of the environment.
pub(crate) const INSTALLED: &str = "_cacheops_installed";
/// The filter that refuses a caller inside a body.
pub(crate) const CALLER: &str = "_cacheops_caller";
/// The filter that traces a macro.
pub(crate) const MACRO: &str = "_cacheops_macro";
/// The filter that traces a `caller` that something else gets.
pub(crate) const HAND_ON: &str = "_cacheops_hand_on";
/// The filters that record which template is used.
pub(crate) const USES: &str = "_cacheops_uses";
pub(crate) const IMPORTS: &str = "_cacheops_imports";
pub(crate) const IMPORTS_PLAINLY: &str = "_cacheops_imports_plainly";
pub(crate) const EXTENDS: &str = "_cacheops_extends";

/// The variable that holds the fragment, in a scope around the body: what the
/// body sets ends with it.
pub(crate) const FRAGMENT: &str = "_cacheops";

/// Writes, for a tag of number `first_tag + index`,
///
/// ```jinja
/// {% with _cacheops = 7|_cacheops_begin(…) %}{% if _cacheops %}{% set _cacheops|_cacheops_store(_cacheops) %}
/// body
/// {% endset %}{% endif %}{% autoescape false %}{{ _cacheops|_cacheops_print }}{% endautoescape %}{% endwith %}
/// ```
///
/// and, before anything else in the source and in each block, `{% if
/// 0|_cacheops_page('digest') %}{% endif %}`, on as many lines as the author had.
/// The number tells whether there are macros, and whether this is a block. The
/// digest represents the source. The tags become filters, because no variable can
/// hide a filter. A hit and a miss print with the same statement, so they cannot
/// differ, and nothing else prints. While there is a body to run, the variable
/// holds a number; after that, it holds what is printed. Blocks, `super()`,
/// includes and loops work inside the body as anywhere.
pub(crate) struct MiniJinja<'a> {
    pub(crate) syntax: &'a Syntax,
    pub(crate) first_tag: usize,
    /// Represents the source.
    pub(crate) digest: FragmentKey,
}

impl MiniJinja<'_> {
    fn statement(&self, out: &mut String, content: &str) {
        self.delimited(out, "", content, "");
    }

    fn delimited(&self, out: &mut String, left: &str, content: &str, right: &str) {
        let (start, end) = &self.syntax.block;
        for part in [start, left, " ", content, " ", right, end] {
            out.push_str(part);
        }
    }

    /// The last two of several statements that replace one. The replacement
    /// of a line statement ends as a line statement, so that whatever is in
    /// the next line is at its beginning. It begins after a carriage return,
    /// which the engine considers the end of a line and does not count, and
    /// which the previous statement removes from the text.
    fn last_two(&self, out: &mut String, first: &str, last: &str, trim: Trim<'_>) {
        match self.syntax.line_statement.as_deref().filter(|_| trim.is_line) {
            Some(prefix) => {
                self.delimited(out, "", first, "-");
                for part in ["\r", prefix, " ", last, trim.line_end] {
                    out.push_str(part);
                }
            }
            None => {
                self.statement(out, first);
                self.delimited(out, "", last, trim.right);
            }
        }
    }

    fn page(&self, trim: Trim<'_>, of: u8, out: &mut String) {
        let digest = &self.digest;
        self.delimited(out, trim.left, &format!("if {of}|{PAGE}('{digest}')"), "");
        self.delimited(out, "", "endif", if trim.is_line { "-" } else { "" });
        out.push_str(if trim.is_line { "\r" } else { "" });
    }

    fn arguments(tag: &OpenTag<'_>, out: &mut String) {
        let mut separator = "";
        let mut push = |parts: &[&str]| {
            out.push_str(separator);
            parts.iter().for_each(|part| out.push_str(part));
            separator = ", ";
        };
        match &tag.kind {
            TagKind::CachedAs(arguments) | TagKind::Cached(arguments) => {
                let extra = arguments.extra.iter().copied();
                let keywords = [
                    arguments.timeout,
                    arguments.name,
                    arguments.lock,
                    arguments.when,
                    arguments.unless,
                ];
                let all = arguments.positional.iter().copied();
                all.chain(keywords.into_iter().flatten()).chain(extra).for_each(|e| push(&[e]));
            }
            TagKind::Custom(arguments) => {
                for argument in arguments {
                    match argument.name {
                        Some(name) => push(&[name, "=", argument.expression]),
                        None => push(&[argument.expression]),
                    }
                }
            }
        }
    }
}

impl Dialect for MiniJinja<'_> {
    fn open(&self, tag: &OpenTag<'_>, out: &mut String) {
        let begin = if matches!(tag.kind, TagKind::Custom(_)) { BEGIN_CUSTOM } else { BEGIN };
        let mut arguments = String::new();
        Self::arguments(tag, &mut arguments);
        let lines = tag.lines_beyond(&arguments);
        let number = self.first_tag + tag.index;
        let with = format!("with {FRAGMENT} = {number}|{begin}({arguments}){lines}");
        self.delimited(out, tag.trim.left, &with, "");
        let mut before = format!("if {FRAGMENT}");
        for name in &tag.mutates {
            let copy = format!("set {name} = {name}|{COPY}");
            self.statement(out, &std::mem::replace(&mut before, copy));
        }
        if tag.may_see_caller {
            let refused = format!("set caller = caller|{CALLER}({number})");
            self.statement(out, &std::mem::replace(&mut before, refused));
        }
        let body = format!("set {FRAGMENT}|{STORE}({FRAGMENT})");
        self.last_two(out, &before, &body, tag.trim);
    }

    fn close(&self, _tag: &OpenTag<'_>, trim: Trim<'_>, out: &mut String) {
        self.delimited(out, trim.left, "endset", "");
        self.statement(out, "endif");
        self.statement(out, "autoescape false");
        let (start, end) = &self.syntax.variable;
        for part in [start, " ", FRAGMENT, "|", PRINT, " ", end] {
            out.push_str(part);
        }
        self.last_two(out, "endautoescape", "endwith", trim);
    }

    fn first(&self, trim: Trim<'_>, has_macros: bool, out: &mut String) {
        self.page(trim, if has_macros { HAS_MACROS } else { 0 }, out);
    }

    fn first_in_block(&self, trim: Trim<'_>, has_macros: bool, out: &mut String) {
        self.page(trim, IN_BLOCK + if has_macros { HAS_MACROS } else { 0 }, out);
    }

    fn macro_end(&self, defined: &DefinedMacro<'_>, is_plain: bool, out: &mut String) {
        let DefinedMacro { name, index, trim } = defined;
        let (source, is_plain) = (&self.digest, u8::from(is_plain));
        let set = format!("set {name} = {name}|{MACRO}('{source}', {index}, {is_plain})");
        match self.syntax.line_statement.as_deref().filter(|_| trim.is_line) {
            Some(prefix) => {
                self.delimited(out, trim.left, "endmacro", "-");
                for part in ["\r", prefix, " ", &set, trim.line_end] {
                    out.push_str(part);
                }
            }
            None => self.delimited(out, "", &set, trim.right),
        }
    }

    fn caller(&self, out: &mut String) {
        for part in ["(caller|", HAND_ON, ")"] {
            out.push_str(part);
        }
    }

    fn last(&self, trim: Trim<'_>, out: &mut String) {
        // Without the end of its line, a line statement goes on.
        out.push_str(if trim.is_line && trim.line_end.is_empty() { "\n" } else { "" });
        self.statement(out, &format!("if 0|{EXTENDED}"));
        self.delimited(out, "", "endif", trim.right);
    }

    fn reference(&self, reference: Reference, expression: &str, out: &mut String) {
        let filter = match reference {
            Reference::Extends => EXTENDS,
            Reference::Import => IMPORTS,
            Reference::PlainImport => IMPORTS_PLAINLY,
            Reference::Include => USES,
        };
        for part in ["(", expression, ")|", filter] {
            out.push_str(part);
        }
    }
}

/// The digest of the source in a rewritten text, if that has a statement or an
/// expression.
pub(crate) fn digest_in(text: &str) -> Option<FragmentKey> {
    const BEFORE: &str = "|_cacheops_page('";
    const DIGITS: usize = 40;
    let start = text.find(BEFORE)? + BEFORE.len();
    text.get(start..start + DIGITS)?.parse().ok()
}

/// How an environment parses its templates.
pub(crate) fn read_syntax(syntax: &SyntaxConfig) -> Syntax {
    let pair = |(start, end): (&str, &str)| (start.to_owned(), end.to_owned());
    Syntax {
        block: pair(syntax.block_delimiters()),
        variable: pair(syntax.variable_delimiters()),
        comment: pair(syntax.comment_delimiters()),
        line_statement: syntax.line_statement_prefix().map(str::to_owned),
        line_comment: syntax.line_comment_prefix().map(str::to_owned),
        whitespace: [syntax.trim_blocks(), syntax.lstrip_blocks(), syntax.keep_trailing_newline()],
        rules: Rules::default(),
    }
}
