//! What MiniJinja gets instead of the tags.

use cacheops::template::{Dialect, Edges, OpenTag, Syntax, TagKind};

/// The filter that looks a fragment up, for the tags of the library.
pub(crate) const BEGIN: &str = "_cacheops_begin";
/// The same for tags of the application's own.
pub(crate) const BEGIN_CUSTOM: &str = "_cacheops_begin_custom";
/// The filter that stores what a body rendered.
pub(crate) const STORE: &str = "_cacheops_store";
/// The filter that copies a namespace before a body assigns to it.
pub(crate) const COPY: &str = "_cacheops_copy";
/// The filters that note which template is used.
pub(crate) const USES: &str = "_cacheops_uses";
pub(crate) const IMPORTS: &str = "_cacheops_imports";
pub(crate) const EXTENDS: &str = "_cacheops_extends";

/// The variable that holds the fragment, in a scope of its own around the
/// body: what the body sets ends with it.
const FRAGMENT: &str = "_cacheops";

/// Writes, for a tag of number `first_tag + index`,
///
/// ```jinja
/// {% with _cacheops = 7|_cacheops_begin(…) %}{% if _cacheops %}{% filter _cacheops_store(_cacheops) %}
/// body
/// {% endfilter %}{% endif %}{% autoescape false %}{{ _cacheops }}{% endautoescape %}{% endwith %}
/// ```
///
/// on as many lines as the author had. Filters, since no variable hides one;
/// hit and miss print by the same statement, so they cannot differ. Within the
/// body blocks, `super()`, includes and loops work as anywhere.
pub(crate) struct MiniJinja<'a> {
    pub(crate) syntax: &'a Syntax,
    pub(crate) first_tag: usize,
}

impl MiniJinja<'_> {
    fn statement(&self, out: &mut String, content: &str) {
        let (start, end) = &self.syntax.block;
        for part in [start, " ", content, " ", end] {
            out.push_str(part);
        }
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
                let keywords = [arguments.timeout, arguments.name, arguments.lock];
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
        let (start, end) = &self.syntax.block;
        let begin = if matches!(tag.kind, TagKind::Custom(_)) { BEGIN_CUSTOM } else { BEGIN };
        let number = (self.first_tag + tag.index).to_string();
        for part in [start, tag.edges.left, " with ", FRAGMENT, " = ", &number, "|", begin, "("] {
            out.push_str(part);
        }
        let written = out.len();
        Self::arguments(tag, out);
        let lines = tag.lines_beyond(&out[written..]);
        for part in [")", &lines, " ", end.as_str()] {
            out.push_str(part);
        }
        self.statement(out, &format!("if {FRAGMENT}"));
        for name in &tag.assigns {
            self.statement(out, &format!("set {name} = {name}|{COPY}"));
        }
        let filter = format!(" filter {STORE}({FRAGMENT}) ");
        for part in [start, filter.as_str(), tag.edges.line_end, tag.edges.right, end] {
            out.push_str(part);
        }
    }

    fn close(&self, _tag: &OpenTag<'_>, edges: Edges<'_>, out: &mut String) {
        let (start, end) = &self.syntax.block;
        for part in [start, edges.left, " endfilter ", end] {
            out.push_str(part);
        }
        self.statement(out, "endif");
        self.statement(out, "autoescape false");
        for part in [&self.syntax.variable.0, " ", FRAGMENT, " ", &self.syntax.variable.1] {
            out.push_str(part);
        }
        self.statement(out, "endautoescape");
        for part in [start, " endwith ", edges.line_end, edges.right, end] {
            out.push_str(part);
        }
    }

    fn reference(&self, statement: &str, expression: &str, out: &mut String) {
        let filter = match statement {
            "extends" => EXTENDS,
            "import" | "from" => IMPORTS,
            _ => USES,
        };
        for part in ["(", expression, ")|", filter] {
            out.push_str(part);
        }
    }
}
