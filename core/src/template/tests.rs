//! The scanner on whatever text: what the fuzz target checks, by chance.

use proptest::prelude::*;

use super::super::{Dialect, OpenTag, Reference, Rules, Syntax, TagKind, Trim, rewrite};

/// Keeps the lines of what it replaces, and marks where tags were.
struct Lines;

impl Dialect for Lines {
    fn open(&self, tag: &OpenTag<'_>, out: &mut String) {
        out.push_str("[open");
        out.extend(tag.text.chars().filter(|c| *c == '\n'));
        out.push_str(if tag.text.contains('\n') { "" } else { tag.trim.line_end });
        out.push(']');
    }

    fn close(&self, _tag: &OpenTag<'_>, trim: Trim<'_>, out: &mut String) {
        out.push_str("[close");
        out.push_str(trim.line_end);
        out.push(']');
    }

    fn reference(&self, _reference: Reference, expression: &str, out: &mut String) {
        out.push_str(expression);
    }
}

fn syntaxes() -> [Syntax; 4] {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let angle = Syntax {
        block: pair("<%", "%>"),
        variable: pair("<<", ">>"),
        comment: pair("<#", "#>"),
        ..Syntax::default()
    };
    let lines = Syntax {
        line_statement: Some("%%".to_owned()),
        line_comment: Some("##".to_owned()),
        ..Syntax::default()
    };
    let rules = Rules {
        balanced: false,
        plus_trim: false,
        backticks: true,
        components: true,
        ..Rules::default()
    };
    let components = Syntax { rules, ..Syntax::default() };
    [Syntax::default(), angle, lines, components]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// Text without tags comes out byte for byte, and nothing panics.
    #[test]
    fn text_without_tags_passes(source in "([a-z \n\r\"'`\\\\(){}\\[\\]<>%#=,.|+-]|\\{%|%\\}|\\{\\{|\\}\\}|raw|endraw|ä|🐍){0,60}") {
        for syntax in syntaxes() {
            let done = rewrite(&source, &syntax, &[], &Lines).unwrap();
            prop_assert_eq!(&done.source, &source);
        }
    }

    /// With tags, nothing panics, and every line stays the line it was.
    #[test]
    fn lines_stay(source in "([a-z \n\"'(),=-]|\\{% ?-?|%\\}|cached |cached_as |endcached |endcached_as |for |endfor |include |\\{%cached%\\}|\\{%endcached%\\}|\\{#|#\\}|component |endcomponent |<card|</card>|body|set x|set_global x|block |else ){0,60}") {
        for syntax in syntaxes() {
            if let Ok(done) = rewrite(&source, &syntax, &[], &Lines) {
                let lines = |text: &str| text.matches('\n').count();
                prop_assert!(lines(&done.source) <= lines(&source));
            }
        }
    }
}

fn arguments(source: &str) -> String {
    let source = format!("{{% cached_as {source} %}}{{% endcached_as %}}");
    match rewrite(&source, &Syntax::default(), &[], &Lines) {
        Ok(done) => match &done.tags[0].kind {
            TagKind::CachedAs(arguments) => format!(
                "{:?} {:?} {:?} {:?} {:?}",
                arguments.positional,
                arguments.timeout,
                arguments.name,
                arguments.extra,
                arguments.lock
            ),
            other => format!("{other:?}"),
        },
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_two_call_forms() {
    assert_eq!(arguments("a, b, extra=x"), r#"["a", "b"] None None ["x"] None"#);
    assert_eq!(arguments("a 60 'n'"), r#"["a"] Some("60") Some("'n'") [] None"#);
    assert_eq!(
        arguments("a.b[1]|f(2, 3) none \"n\" (x) [y] {\"z\": 1} -1"),
        r#"["a.b[1]|f(2, 3)"] Some("none") Some("\"n\"") ["(x)", "[y]", "{\"z\": 1}", "-1"] None"#
    );
    assert_eq!(
        arguments("a if b else c 1.5 n x is divisibleby 3 y not in z not w"),
        r#"["a if b else c"] Some("1.5") Some("n") ["x is divisibleby 3", "y not in z", "not w"] None"#
    );
    assert_eq!(
        arguments("a == b, timeout=1 // 2, lock=x"),
        r#"["a == b"] Some("1 // 2") None [] Some("x")"#
    );
    assert_eq!(arguments("f(a b)"), r#"["f(a b)"] None None [] None"#);
}

/// What loops do with names is kept once, and not with each tag.
#[test]
fn what_is_kept_grows_with_the_source() {
    let rules = Rules { components: true, ..Rules::default() };
    let syntax = Syntax { rules, ..Syntax::default() };
    let kept = |count: usize| {
        let tag = |n| {
            format!(
                "{{% set v{n:03} = 1 %}}{{% cached %}}x{{% endcached %}}{{% set_global w{n:03} = 1 %}}{{{{ super() }}}}"
            )
        };
        let source = (0..count).map(tag).collect::<String>();
        let source = format!("{{% for i in l %}}{source}{{% endfor %}}");
        format!("{:?}", rewrite(&source, &syntax, &[], &Lines).unwrap()).len()
    };
    assert!(kept(400) < 5 * kept(100), "{} {}", kept(400), kept(100));
}
