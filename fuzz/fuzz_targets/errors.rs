//! The retelling of errors on whatever words a visitor brings into one: it
//! never panics, loses none of the words' neighbours, and shows nothing of the
//! rewriting.
//!
//! `cargo fuzz run errors --sanitizer none`, or without instrumentation
//! `cargo run -p cacheops-fuzz --bin errors -- -runs=100000`.
#![no_main]

use std::sync::OnceLock;

use cacheops::Cacheops;
use libfuzzer_sys::fuzz_target;
use minijinja::{Environment, ErrorKind};
use tera::{Context, Error, Tera, TeraResult};

/// Behind a tag, so that lines and columns are not those of the author.
const PAGE: &str = "\u{e9}\t{% cached extra=1 %}\n{{ fail(words=words) }}\n{% endcached %}\u{e9}";

fuzz_target!(|data: &[u8]| {
    let words = String::from_utf8_lossy(data);
    in_tera(&words);
    in_minijinja(&words);
});

fn in_tera(words: &str) {
    static ENGINE: OnceLock<(Tera, tera_cacheops::Tags)> = OnceLock::new();
    let (tera, tags) = ENGINE.get_or_init(|| {
        let mut tera = Tera::default();
        tera.register_function("fail", |kwargs: tera::Kwargs, _: &tera::State| {
            Err::<bool, _>(Error::message(kwargs.must_get::<String>("words")?))
        });
        let tags = tera_cacheops::Tags::install(&mut tera, &Cacheops::in_memory());
        tags.add_template(&mut tera, "page", PAGE).expect("a page");
        (tera, tags)
    });
    let mut context = Context::new();
    context.insert("words", words);
    let fails = |page: TeraResult<String>| page.expect_err("the page fails");
    let raw = fails(tera.render("page", &context));
    let told = fails(tags.render(tera, "page", &context));
    assert_eq!(tags.author_error(raw).to_string(), told.to_string());
    assert!(told.to_string().contains("page:2:4"), "{told}");
    assert!(words.contains("_cacheops") || !told.to_string().contains("_cacheops"), "{told}");
    assert!(tags.explain(&told).starts_with(&told.to_string()));
    let _ = tags.explain(&Error::chain("words", Error::message(words)));
    let _ = tags.author_error(Error::message(words));
}

fn in_minijinja(words: &str) {
    static ENGINE: OnceLock<(Environment<'static>, minijinja_cacheops::Tags)> = OnceLock::new();
    let (env, tags) = ENGINE.get_or_init(|| {
        let mut env = Environment::new();
        env.set_debug(true);
        env.add_function("fail", |kwargs: minijinja::value::Kwargs| {
            let words = kwargs.get::<String>("words")?;
            Err::<bool, _>(minijinja::Error::new(ErrorKind::InvalidOperation, words))
        });
        let tags = minijinja_cacheops::Tags::install(&mut env, &Cacheops::in_memory());
        tags.add_template(&mut env, "page", PAGE).expect("a page");
        (env, tags)
    });
    let page = env.get_template("page").expect("it is there");
    let error = page.render(minijinja::context!(words)).expect_err("the page fails");
    let told = tags.explain(&error);
    assert!(told.contains("    2 > {{ fail(words=words) }}"), "{told}");
    assert!(words.contains("_cacheops") || !told.contains("_cacheops"), "{told}");
    // As the name of a template, and in its place.
    let _ = tags.rewrite(env.syntax(), words, words);
}
