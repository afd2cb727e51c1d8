//! The scanner on whatever text. It never panics, text without tags comes out
//! byte for byte but for what begins a page, and whatever the engine took before
//! it takes after.
//!
//! `cargo fuzz run scanner --sanitizer none`, or without instrumentation
//! `cargo run -p cacheops-fuzz --bin scanner -- -runs=100000`.
#![no_main]

use cacheops::Cacheops;
use libfuzzer_sys::fuzz_target;
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja_cacheops::Tags;
use tera::Tera;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(source) = std::str::from_utf8(rest) else { return };
    in_tera(source);
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(first & 1 != 0).lstrip_blocks(first & 2 != 0);
    if first & 4 != 0 {
        builder.block_delimiters("<%", "%>").variable_delimiters("<<", ">>");
    }
    if first & 8 != 0 {
        builder.line_statement_prefix("%%").line_comment_prefix("##");
    }
    let syntax = builder.build().expect("valid delimiters");
    let mut env = Environment::new();
    env.set_syntax(syntax.clone());
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let rewritten = tags.rewrite(&syntax, "t", source);
    // Names of the plugin are refused as well.
    let has_tags = ["cached", "_cacheops"].iter().any(|s| source.contains(s));
    let is_traced = ["include", "import", "from", "extends", "macro", "call"]
        .iter()
        .any(|s| source.contains(s));
    if !has_tags {
        let rewritten = rewritten.as_ref().expect("without tags nothing is wrong with them");
        if !is_traced {
            let block = if first & 4 == 0 { ("{%", "%}") } else { ("<%", "%>") };
            assert_eq!(without_beginnings(rewritten, block), source, "{rewritten}");
        }
        // What the engine reads, it reads after the rewriting too.
        let before = env.template_from_named_str("t", source).map(drop).is_ok();
        let after = env.template_from_named_str("t", rewritten).map(drop).is_ok();
        assert_eq!(before, after, "{rewritten}");
    }
    if let Ok(rewritten) = rewritten {
        assert!(rewritten.matches('\n').count() <= source.matches('\n').count());
        let _ = env.template_from_named_str("t", &rewritten);
    }
});

/// Takes out the statements that MiniJinja's plugin writes before the first
/// piece of a source and of each block.
fn without_beginnings(mut rest: &str, (start, end): (&str, &str)) -> String {
    let mut out = String::new();
    while let Some(at) = rest.find("|_cacheops_page(") {
        let begin = rest[..at].rfind(start).expect("a statement has a beginning");
        let endif = at + rest[at..].find("endif ").expect("an `if` has an end");
        let (last, behind) = rest[endif..].split_once(end).expect("a statement has an end");
        out.push_str(&rest[..begin]);
        // In the place of a line statement, a carriage return ends the line.
        let is_line = last.ends_with('-');
        rest = if is_line { behind.strip_prefix('\r').expect("a line's end") } else { behind };
    }
    out + rest
}

fn in_tera(source: &str) {
    let mut tera = Tera::default();
    let tags = tera_cacheops::Tags::install(&mut tera, &Cacheops::in_memory());
    if !["cached", "_cacheops"].iter().any(|s| source.contains(s)) {
        let rewritten = tags.rewrite(&tera, source).expect("without tags nothing is wrong");
        assert_eq!(rewritten, source);
    }
    let before = tera.clone().add_raw_template("t", source);
    match tags.add_template(&mut tera, "t", source) {
        Ok(()) => {}
        Err(error) => {
            let is_quoted = source.contains("_cacheops");
            assert!(is_quoted || before.is_err(), "{error}");
            // Unless the author wrote so, nothing of the rewriting shows.
            assert!(is_quoted || !error.to_string().contains("_cacheops"), "{error}");
        }
    }
}
