//! What errors of rendering tell, and what they carry.

use std::error::Error as StdError;
use std::fmt;

use cacheops::{Cacheops, ErrorKind, Profile};
use tera::{Context, Error, Kwargs, State, Tera, context};
use tera_cacheops::{Caching, Tags, lazy};

#[derive(Debug)]
struct Broken(u8);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken {}", self.0)
    }
}

impl StdError for Broken {}

/// The first cause of a type.
fn cause<T: StdError + 'static>(error: &Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        match cause.downcast_ref::<T>() {
            Some(found) => return Some(found),
            None => next = cause.source(),
        }
    }
    None
}

/// An argument without a keyword stands before those with one.
#[test]
fn wrong_arguments_of_custom_tags_are_errors() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.decorator_tag("menu", |call| {
        let _ = (call.keyword("a"), call.keyword("_7"));
        Ok(Caching::cached())
    })
    .unwrap();
    let mut refusal = |source: &str| {
        let error = tags.add_template(&mut tera, "page", source).err()?.to_string();
        Some(error.lines().take(2).collect::<Vec<_>>().join("\n"))
    };
    for (tag, why) in [
        ("{% menu a=1, n %}", "`n` follows a keyword argument: arguments without one come first"),
        (
            "{% menu n, a=1, n + 1, %}",
            "`n + 1` follows a keyword argument: arguments without one come first",
        ),
        ("{% menu a=1, a=2 %}", "`a` is given twice"),
        ("{% menu _7=1 %}", "`_7=…`: a keyword that is a number is kept for arguments without one"),
    ] {
        let expected = format!("error: `{tag}`: {why}\n --> page:2:2");
        assert_eq!(refusal(&format!("\n {tag}x{{% endmenu %}}")), Some(expected));
    }
    for tag in
        ["{% menu n, 2, a=1 %}", "{% menu 1 2 3 %}", "{% menu a=range(end=1) %}", "{% menu _a=1 %}"]
    {
        assert_eq!(refusal(&format!("{tag}{{% endmenu %}}")), None);
    }
}

/// A query that failed and was swallowed is not the cause of what fails later.
#[test]
fn the_error_of_a_query_is_a_source() {
    let cache = Cacheops::in_memory();
    let mut inner = Tera::default();
    let inner_tags = Tags::install(&mut inner, &cache);
    inner_tags.add_template(&mut inner, "inner", "{{ a | rows | join }}").unwrap();
    let rows = |n| lazy(&cache, "rows", move || Err::<Vec<u8>, _>(Broken(n)));
    let failing = rows(1);
    let mut tera = Tera::default();
    tera.register_function("swallow", move |_: Kwargs, _: &State| {
        inner.render("inner", &context!(a => &failing)).unwrap_or_default()
    });
    let tags = Tags::install(&mut tera, &cache);
    let mut render = |source: &str| {
        tags.add_template(&mut tera, "page", source).unwrap();
        let b = rows(2);
        tags.render(&tera, "page", &context!(b => &b)).unwrap_err()
    };
    let error = render("{{ swallow() }}{{ gone }}");
    assert!(error.to_string().contains("Variable `gone`"), "{error}");
    assert!(error.source().is_none(), "{:?}", error.source());
    let error = render("{{ swallow() }}{{ throw(message='no') }}");
    assert!(error.source().is_none(), "{:?}", error.source());
    let error = render("{{ b | rows }}");
    assert_eq!(cause::<Broken>(&error).unwrap().0, 2);
    let error = render("{{ swallow() }}{% cached %}{{ b | rows }}{% endcached %}");
    assert_eq!(cause::<Broken>(&error).unwrap().0, 2);
    // Nothing is left for the next rendering.
    assert!(render("{{ gone }}").source().is_none());
}

/// The error of a tag's function, with what it was made of.
#[test]
fn the_error_of_a_custom_tag_is_a_source() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.decorator_tag("menu", |_| Err(Error::chain("no menu today", Broken(3)))).unwrap();
    tags.decorator_tag("plain", |_| Err(Error::message("nothing behind it"))).unwrap();
    tags.add_template(&mut tera, "page", "{% menu %}{% endmenu %}").unwrap();
    let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
    assert!(error.to_string().contains("no menu today"), "{error}");
    assert!(!error.to_string().contains("_cacheops"), "{error}");
    assert_eq!(cause::<Broken>(&error).unwrap().0, 3);
    assert!(tags.explain(&error).ends_with("\ncaused by: broken 3"), "{}", tags.explain(&error));
    tags.add_template(&mut tera, "page", "{% plain %}{% endplain %}").unwrap();
    let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
    assert!(error.source().is_none());
}

/// An error of the cache keeps its kind.
#[test]
fn the_error_of_the_cache_is_a_source() {
    let cache = Cacheops::builder().profile("known", Profile::new()).build().unwrap();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    tags.add_template(&mut tera, "page", "{% cached_as 'unknown' %}{% endcached_as %}").unwrap();
    let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
    assert!(error.to_string().contains("no profile"), "{error}");
    assert_eq!(cause::<cacheops::Error>(&error).unwrap().kind(), ErrorKind::NoProfile);
    tags.add_template(&mut tera, "page", "{{ a | rows }}").unwrap();
    let a = lazy(&cache, "unknown", || Ok::<Vec<u8>, Error>(Vec::new()));
    let error = tags.render(&tera, "page", &context!(a => &a)).unwrap_err();
    assert_eq!(cause::<cacheops::Error>(&error).unwrap().kind(), ErrorKind::NoProfile);
}

/// What Tera says by itself has the rewritten line; mended, it is the author's.
#[test]
fn errors_of_teras_own_methods_are_translated() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    let source = "{% component Card(x) %}\n{% cached extra=y %}{{ x }}{% endcached %}{% endcomponent Card %}";
    tags.add_template(&mut tera, "c", source).unwrap();
    tags.add_template(&mut tera, "page", "{% cached %}{{ <Card x={1} /> }}{% endcached %}")
        .unwrap();
    let ours = tags.render(&tera, "page", &Context::new()).unwrap_err();
    let raw = tera.render("page", &Context::new()).unwrap_err();
    assert!(raw.to_string().contains("_cacheops"));
    assert_eq!(tags.explain(&raw), tags.explain(&ours));
    let expected = "\
error: `{% cached extra=y %}`: `extra` is undefined: fragments would be shared that should differ; give it a value, or `none` to mean that
 --> c:2:1
  |
2 | {% cached extra=y %}{{ x }}{% endcached %}{% endcomponent Card %}
  | ^^^^^^^^^^^^^^^^^^^^

note: called from page:1:16
  |
1 | {% cached %}{{ <Card x={1} /> }}{% endcached %}
  |                ^^^^^^^^^^^^^^";
    assert_eq!(tags.author_error(raw).to_string(), expected);
}

/// What came past the plugin is told with a place, and with what to do.
#[test]
fn places_in_templates_without_the_plugin_stay() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tera.add_raw_template("raw", "r").unwrap();
    let source = "\n {% cached %}{% include 'raw' %}{% endcached %}";
    let error = tags.add_template(&mut tera, "page", source).unwrap_err().to_string();
    let expected = "\
error: `{% cached %}`: this template uses `raw`, which was not loaded through `Tags`, so the key would not cover it: add it with `Tags::add_template` or another method of `Tags`
 --> page:2:2";
    assert!(error.starts_with(expected), "{error}");
}

/// A tag where Tera takes none: its error speaks of what the author wrote.
#[test]
fn tags_where_none_can_be_are_refused() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.add_template(&mut tera, "base", "{% block b %}{% endblock %}").unwrap();
    for source in [
        "{% extends 'base' %}\n{% cached %}x{% endcached %}",
        "{% cached %}{% endcached %}{% extends 'base' %}",
        "{% cached %}{% component C() %}{% endcomponent C %}{% component C() %}{% endcomponent C %}{% endcached %}",
        "{% for i in [1] %}{% cached %}{% block b %}{% endblock %}{% endcached %}{% endfor %}",
        "{% cached %}{% set loop = 1 %}{% endcached %}",
        "{% cached %}{{ 1body }}{% endcached %}",
        "{% cached extra=1 2 %}{% endcached %}",
        "{% cached extra=(1 %}{% endcached %}",
    ] {
        let error = tags.add_template(&mut tera, "page", source).expect_err(source).to_string();
        assert!(!error.contains("_cacheops") && error.contains("--> page:"), "{source}: {error}");
    }
}

/// A writer that fails in the middle of a page.
#[test]
fn an_error_of_the_writer_is_a_source() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    let source =
        "a{% cached %}bc{% cached %}d{% endcached %}{% endcached %}e{% cached %}f{% endcached %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    for room in [0, 1, 3, 4, 5] {
        cache.invalidate_all().unwrap();
        let error = tags.render_to(&tera, "page", &Context::new(), Full(room)).unwrap_err();
        assert_eq!(*error.kind(), tera::ErrorKind::Io(std::io::ErrorKind::StorageFull));
        assert!(cause::<std::io::Error>(&error).is_some());
        assert!(!cache.is_filling());
        assert!(tera.render_to("page", &Context::new(), Full(room)).is_err());
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "abcdef");
    }
}

/// `else` of a statement around a tag that is not closed.
#[test]
fn a_branch_across_a_tag_is_refused() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    for (branch, name) in [("{% else %}", "else"), ("{%- elif b -%}", "elif")] {
        let source =
            format!("\n{{% if a %}}{{% cached %}}x\n {branch}y{{% endcached %}}{{% endif %}}");
        let error = tags.add_template(&mut tera, "page", source).unwrap_err().to_string();
        let expected = format!(
            "error: `{name}` comes while `{{% cached %}}` of line 2 is still open: close that first by `endcached`\n --> page:3:"
        );
        assert!(error.starts_with(&expected), "{error}");
    }
    let fine = "{% cached %}{% if a %}x{% elif b %}y{% else %}z{% endif %}{% for i in [] %}{% else %}e{% endfor %}{% endcached %}";
    tags.add_template(&mut tera, "page", fine).unwrap();
}

/// Words of a visitor in an error, that look like a place.
#[test]
fn words_that_look_like_places_stay() {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    let source = "\u{e9}\t{% cached extra=1 %}\n{{ throw(message=words) }}\n{% endcached %}\u{e9}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let told = |words: &str| {
        let raw = tera.render("page", &context!(words => words)).unwrap_err();
        let error = tags.render(&tera, "page", &context!(words => words)).unwrap_err();
        assert_eq!(error.to_string(), tags.author_error(raw).to_string());
        let _ = tags.author_error(Error::message(words));
        assert!(tags.explain(&error).starts_with(&error.to_string()));
        error.to_string()
    };
    let rewritten = tags.rewrite(&tera, source).unwrap();
    let lines: Vec<&str> = rewritten.split('\n').collect();
    for line in ["0", "1", "2", "3", "4", "18446744073709551615", "18446744073709551616", "-1"] {
        for column in ["0", "1", "2", "3", "18446744073709551615", "x"] {
            for quote in ["", "x"].iter().chain(&lines) {
                let report = format!("a page:{line}:{column}\n |\n{line} | {quote}\n | ^");
                assert!(told(&report).contains("page:2:4"), "{report}");
                told(&format!("{report}^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"));
            }
        }
    }
    // Reports of Tera's own, with anything done to them.
    let mut seed = 7_u64;
    let mut roll = |sides: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % sides
    };
    let raw = tera.render("page", &context!(words => "w")).unwrap_err().to_string();
    let pieces = [
        "\n",
        ":",
        " ",
        "page",
        "0",
        "1",
        "9",
        "|",
        " | ",
        "^",
        "\u{e9}",
        "\t",
        "note: called from ",
    ];
    for _ in 0..4_000 {
        let mut words: Vec<char> = raw.chars().collect();
        for _ in 0..=roll(4) {
            let at = roll(words.len() + 1);
            let end = (at + roll(3)).min(words.len());
            words.splice(at..end, pieces[roll(pieces.len())].chars());
        }
        told(&words.into_iter().collect::<String>());
    }
}

/// An error that renders when it is dropped, as one may that logs.
#[test]
fn an_error_may_render_when_it_is_dropped() {
    thread_local! {
        static LOG: std::cell::RefCell<Option<(Tera, Tags)>> = const { std::cell::RefCell::new(None) };
    }
    #[derive(Debug)]
    struct Loud;
    impl fmt::Display for Loud {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("loud")
        }
    }
    impl StdError for Loud {}
    impl Drop for Loud {
        fn drop(&mut self) {
            LOG.with_borrow(|log| {
                let (tera, tags) = log.as_ref().unwrap();
                assert_eq!(tags.render(tera, "log", &Context::new()).unwrap(), "log");
            });
        }
    }
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    tags.add_template(&mut tera, "log", "{% cached %}log{% endcached %}").unwrap();
    tags.add_template(&mut tera, "child", "{{ all | rows }}").unwrap();
    LOG.set(Some((tera.clone(), tags.clone())));
    let inner = tera.clone();
    tera.register_function("child", move |_: Kwargs, _: &State| {
        let all = lazy(&cache, "rows", || Err::<Vec<u64>, _>(Loud));
        inner.render("child", &context!(all => &all)).unwrap_or_else(|_| "sorry".to_owned())
    });
    tags.add_template(&mut tera, "page", "{{ child() }}{{ child() }}").unwrap();
    assert_eq!(tags.render(&tera, "page", &Context::new()).unwrap(), "sorrysorry");
    LOG.set(None);
}

/// A page that is rendered as its thread ends, when what is the thread's is
/// gone.
#[test]
fn a_page_may_render_while_its_thread_ends() {
    struct Last(Tera, Tags, std::sync::mpsc::Sender<[String; 2]>);
    impl Drop for Last {
        fn drop(&mut self) {
            let Last(tera, tags, tell) = self;
            let text =
                |page: tera::TeraResult<String>| page.unwrap_or_else(|error| error.to_string());
            let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                text(tera.render("page", &Context::new()))
            }));
            let ours = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                text(tags.render(tera, "page", &Context::new()))
            }));
            let _ = tell.send([own, ours].map(|text| text.unwrap_or_else(|_| "panics".to_owned())));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        tags.add_template(&mut tera, "page", "{% cached %}1{% endcached %}").unwrap();
        LAST.set(Some(Last(tera.clone(), tags.clone(), tell)));
        tags.render(&tera, "page", &Context::new()).unwrap();
    });
    for text in told.recv_timeout(std::time::Duration::from_secs(60)).unwrap() {
        assert!(text != "panics", "{text}");
    }
}

/// A query's error that a function has swallowed is not told as the cause of
/// what fails behind it.
#[test]
fn the_cause_of_a_caught_error_is_not_a_source() {
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    tags.add_template(&mut tera, "child", "{{ all | rows }}").unwrap();
    let inner = tera.clone();
    let context = move |number: u8| {
        let all = lazy(&cache, "rows", move || Err::<Vec<u64>, _>(Broken(number)));
        (context!(all => &all), all)
    };
    let (of, own) = (context.clone(), inner.clone());
    tera.register_function("swallow", move |_: Kwargs, _: &State| {
        let (context, _all) = of(1);
        own.render("child", &context).unwrap_or_default()
    });
    let by = tags.clone();
    tera.register_function("fail", move |_: Kwargs, _: &State| {
        let (context, _all) = context(2);
        by.render(&inner, "child", &context)
    });
    tags.add_template(&mut tera, "page", "{{ swallow() }}{{ fail() }}").unwrap();
    let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
    let told = tags.explain(&error);
    assert!(told.contains("query failed") && !told.contains("broken 1"), "{told}");
    assert!(cause::<Broken>(&error).is_none_or(|broken| broken.0 == 2));
}
