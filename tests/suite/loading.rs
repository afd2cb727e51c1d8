//! How templates reach MiniJinja: loaders, files, auto-reload.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};

use cacheops::{Cacheops, QuerySet, eq};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_cacheops::{Tags, TemplateSource, lazy, queryset};

type Sources = Arc<Mutex<HashMap<String, String>>>;

/// An environment that loads from a map, and loads anew what has changed.
fn environment() -> (Environment<'static>, Tags, Sources) {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    env.set_debug(false);
    let tags = Tags::install(&mut env, &cache);
    let sources = Sources::default();
    let all = sources.clone();
    tags.set_loader(&mut env, move |name| {
        let Some(text) = all.lock().unwrap().get(name).cloned() else {
            return Ok(None);
        };
        let (all, name, loaded) = (all.clone(), name.to_owned(), text.clone());
        Ok(Some(
            TemplateSource::new(text)
                .with_uptodate_check(move || all.lock().unwrap().get(&name) == Some(&loaded)),
        ))
    });
    (env, tags, sources)
}

fn put(sources: &Sources, name: &str, text: &str) {
    sources.lock().unwrap().insert(name.to_owned(), text.to_owned());
}

#[test]
fn a_changed_source_is_a_new_fragment() {
    let (env, _, sources) = environment();
    put(&sources, "page", "{% cached %}{% include 'part' %}{{ n }}{% endcached %}");
    put(&sources, "part", "a{% include 'deep' %}");
    put(&sources, "deep", "d");
    let render = |n: u8| env.get_template("page").unwrap().render(context!(n)).unwrap();
    assert_eq!((render(1), render(2)), ("ad1".into(), "ad1".into()));
    put(&sources, "deep", "D");
    assert_eq!((render(3), render(4)), ("aD3".into(), "aD3".into()));
    put(&sources, "part", "b{% include 'deep' %}");
    assert_eq!((render(5), render(6)), ("bD5".into(), "bD5".into()));
    put(&sources, "page", "{% cached %}{% include 'part' %}({{ n }}){% endcached %}");
    assert_eq!((render(7), render(8)), ("bD(7)".into(), "bD(7)".into()));
    sources.lock().unwrap().remove("deep");
    assert!(env.get_template("page").unwrap().render(context!(n => 9)).is_err());
    put(&sources, "deep", "D");
    assert_eq!(render(10), "bD(7)");
}

/// The include is loaded anew while the body runs: what was rendered belongs
/// to neither of the two keys.
#[test]
fn a_source_that_changes_during_the_body() {
    let (mut env, _, sources) = environment();
    put(&sources, "page", "{% cached %}{{ change() }}{% include 'part' %}{% endcached %}");
    put(&sources, "part", "a");
    let all = sources.clone();
    let change_to = Arc::new(Mutex::new(Some("b")));
    let change = change_to.clone();
    env.add_function("change", move || {
        if let Some(text) = change.lock().unwrap().take() {
            put(&all, "part", text);
        }
    });
    let render = || env.get_template("page").unwrap().render(()).unwrap();
    assert_eq!(render(), "noneb".replace("none", &minijinja::Value::from(()).to_string()));
    // Back to the text that the first key spoke of.
    put(&sources, "part", "a");
    assert!(render().ends_with('a'));
}

#[test]
fn errors_of_loaded_templates_are_the_authors() {
    let (env, tags, sources) = environment();
    put(&sources, "open", "a\n{% cached %}");
    put(&sources, "engine", "a\n{% cached %}{{ b c }}{% endcached %}");
    let error = |name: &str| env.get_template(name).unwrap_err();
    let open = error("open");
    assert_eq!(
        (open.kind(), open.name(), open.line()),
        (ErrorKind::SyntaxError, Some("open"), Some(2))
    );
    let engine = error("engine");
    assert_eq!(
        engine.to_string(),
        "syntax error: unexpected identifier, expected end of variable block, in the line `{% cached %}{{ b c }}{% endcached %}` (in engine:2)"
    );
    assert!(tags.explain(&engine).contains("> {% cached %}{{ b c }}"), "{}", tags.explain(&engine));
    assert_eq!(error("nothing").kind(), ErrorKind::TemplateNotFound);
    // Mended, it loads.
    put(&sources, "open", "a{% cached %}b{% endcached %}");
    assert_eq!(env.get_template("open").unwrap().render(()).unwrap(), "ab");
}

#[test]
fn files_are_loaded_and_loaded_anew() {
    let folder = std::env::temp_dir().join(format!("cacheops-loading-{}", std::process::id()));
    fs::create_dir_all(folder.join("sub")).unwrap();
    let page = folder.join("sub").join("page.html");
    fs::write(&page, "{% cached %}\r\n{{ n }}\r\n{% endcached %}\r\n").unwrap();
    fs::write(folder.join(".hidden"), "secret").unwrap();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    tags.set_path_loader(&mut env, &folder);
    let render = |n: u8| env.get_template("sub/page.html").unwrap().render(context!(n)).unwrap();
    assert_eq!((render(1), render(2)), ("\r\n1\r\n".to_owned(), "\r\n1\r\n".to_owned()));
    fs::write(&page, "changed: {% cached %}{{ n }}{% endcached %}").unwrap();
    assert_eq!(render(3), "changed: 3");
    for name in [".hidden", "../x", "sub/../.hidden", "sub\\page.html", "none"] {
        let error = env.get_template(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TemplateNotFound, "{name}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn sources_that_are_not_stored() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let source = "{% cached %}{{ n }}{% endcached %}";
    let rewritten = tags.rewrite(env.syntax(), "mail.txt", source).unwrap();
    let render = |n: u8| env.render_named_str("mail.txt", &rewritten, context!(n)).unwrap();
    assert_eq!((render(1), render(2)), ("1".to_owned(), "1".to_owned()));
    // A call block in a template that the environment does not know.
    let call = "{% call cached() %}x{% endcall %}";
    let error = env.render_str(call, ()).unwrap_err();
    assert!(error.to_string().contains("add it with a name"), "{error}");
    // One that came past the plugin works.
    env.add_template("past", "{% call cached() %}{{ n }}{% endcall %}").unwrap();
    let past = |n: u8| env.get_template("past").unwrap().render(context!(n)).unwrap();
    assert_eq!((past(1), past(2)), ("1".to_owned(), "1".to_owned()));
    let missing = env.render_str("{% cached %}x{% endcached %}", ()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::SyntaxError);
}

/// A function of Rust that swallows the error of a macro leaves a fill behind:
/// what comes after is not mixed up with it.
#[test]
fn swallowed_errors() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    env.add_function("fail", || -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "no"))
    });
    env.add_function("swallow", |state: &mut minijinja::State, callable: minijinja::Value| {
        callable.call(state, &[]).map_or_else(|_| "swallowed".to_owned(), |v| v.to_string())
    });
    tags.add_template(
        &mut env,
        "page",
        "{% macro m() %}{% cached_as inner %}{{ fail() }}{% endcached_as %}{% endmacro %}\
         {% cached_as outer %}{{ swallow(m) }}{{ n }}{% endcached_as %}",
    )
    .unwrap();
    let render = |n: u8| {
        let inner = queryset(QuerySet::table("inner"));
        let outer = queryset(QuerySet::table("outer"));
        env.get_template("page").unwrap().render(context!(n, inner, outer)).unwrap()
    };
    assert_eq!((render(1), render(2)), ("swallowed1".to_owned(), "swallowed1".to_owned()));
    // What it shows instead of the inner fragment depends on that too.
    cache.invalidate_model("inner").unwrap();
    assert_eq!(render(3), "swallowed3");
}

/// A body that panics stores nothing, releases its flight, and leaves nothing
/// behind in its thread.
#[test]
fn a_panicking_body() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let fails = Arc::new(Mutex::new(true));
    let once = fails.clone();
    env.add_function("panics", move || {
        let fails = std::mem::replace(&mut *once.lock().unwrap(), false);
        assert!(!fails, "a body panics");
        "fine"
    });
    let source = "{% cached_as outer %}{% cached_as inner %}{{ panics() }}{% endcached_as %}{% endcached_as %}";
    tags.add_template(&mut env, "page", source).unwrap();
    let render = || {
        let inner = queryset(QuerySet::table("inner"));
        let outer = queryset(QuerySet::table("outer"));
        env.get_template("page").unwrap().render(context!(inner, outer))
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(render));
    assert!(panicked.is_err());
    assert!(!cache.is_filling());
    assert_eq!(cache.stats().stored, 0);
    assert_eq!((render().unwrap(), render().unwrap()), ("fine".to_owned(), "fine".to_owned()));
    assert_eq!((cache.stats().stored, cache.stats().hits), (2, 1));
}

/// A lazy queryset that is shared by all renders is exact all the same.
#[test]
fn a_lazy_queryset_in_the_globals() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let runs = Arc::new(Mutex::new(0));
    let counted = runs.clone();
    let set = QuerySet::table("articles").filter(eq("lang", "de"));
    env.add_global(
        "articles",
        lazy(&cache, set, move || {
            *counted.lock().unwrap() += 1;
            Ok::<_, Error>(vec![*counted.lock().unwrap()])
        }),
    );
    tags.add_template(&mut env, "page", "{{ articles|join }}{{ articles|join }}").unwrap();
    let render = || env.get_template("page").unwrap().render(()).unwrap();
    assert_eq!((render(), render()), ("11".to_owned(), "11".to_owned()));
    cache.invalidate_obj("articles", &serde_json::json!({"lang": "de"})).unwrap();
    assert_eq!(render(), "22");
    assert_eq!(
        format!("{:?}", env.globals().find(|(name, _)| *name == "articles").is_some()),
        "true"
    );
}

/// A row that a function of Rust gets from a template without any tag, and
/// caches what it makes of it.
#[test]
fn rows_read_early_without_a_tag() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let database = Arc::new(AtomicU64::new(1));
    let (write, invalidate) = (database.clone(), cache.clone());
    env.add_function("card", move |row: u64| -> Result<u64, Error> {
        if write.swap(2, Ordering::SeqCst) == 1 {
            invalidate.invalidate_obj("rows", &serde_json::json!({"id": 1})).unwrap();
        }
        let card = invalidate.cached_as(QuerySet::table("rows").filter(eq("id", 1)));
        let made = card.get_or_fill(|| Ok::<_, cacheops::Error>(row));
        made.map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
    });
    tags.add_template(&mut env, "page", "{% for r in rows %}{{ card(r) }}{% endfor %}").unwrap();
    let render = || {
        let read = database.clone();
        let rows = lazy(&cache, "rows", move || Ok::<_, Error>(vec![read.load(Ordering::SeqCst)]));
        env.get_template("page").unwrap().render(context!(rows)).unwrap()
    };
    assert_eq!((render(), render(), render()), ("1".into(), "2".into(), "2".into()));
    assert_eq!((cache.stats().stored, cache.stats().hits), (1, 1));
}

/// Rows that are read early count while they are gone through, whatever else
/// is rendered meanwhile, and even where nobody holds the list.
#[test]
fn rows_read_early_and_other_renderings() {
    use std::sync::atomic::{AtomicU64, Ordering};
    for (source, widget) in [
        ("{% for r in rows %}{{ widget() }}{{ write() }}TAG{% endfor %}", true),
        ("{% for r in load() %}{{ write() }}TAG{% endfor %}", false),
    ] {
        let cache = Cacheops::in_memory();
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &cache);
        let database = Arc::new(AtomicU64::new(1));
        let (write, invalidate) = (database.clone(), cache.clone());
        env.add_function("write", move || {
            if write.swap(2, Ordering::SeqCst) == 1 {
                invalidate.invalidate_obj("rows", &serde_json::json!({"id": 1})).unwrap();
            }
            ""
        });
        if widget {
            env.add_function("widget", |state: &minijinja::State| {
                state.env().get_template("widget").unwrap().render(()).unwrap()
            });
        }
        let rows = |cache: &Cacheops, read: Arc<AtomicU64>| {
            lazy(cache, "rows", move || Ok::<_, Error>(vec![read.load(Ordering::SeqCst)]))
        };
        let (inner, read) = (cache.clone(), database.clone());
        env.add_function("load", move || rows(&inner, read.clone()));
        tags.add_template(&mut env, "widget", "{% cached %}{% endcached %}").unwrap();
        let tag = "{% cached_as queryset('rows', id=1) %}{{ r }}{% endcached_as %}";
        tags.add_template(&mut env, "page", source.replace("TAG", tag)).unwrap();
        let render = || {
            let rows = rows(&cache, database.clone());
            env.get_template("page").unwrap().render(context!(rows)).unwrap()
        };
        assert_eq!((render(), render(), render()), ("1".into(), "2".into(), "2".into()));
    }
}

/// A query that fails is never taken for rows, and nothing that shows it is
/// stored.
#[test]
fn a_failing_lazy_queryset() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let body = |body: &str| format!("{{% cached %}}{body}{{% endcached %}}");
    for source in
        ["{{ rows|length }}", "{% for r in rows %}{% endfor %}", "{{ rows[0] }}", "{{ rows|join }}"]
    {
        tags.add_template(&mut env, "page", body(source)).unwrap();
        let rows = lazy(&cache, "rows", || Err::<Vec<u8>, _>(std::io::Error::other("gone")));
        let error = env.get_template("page").unwrap().render(context!(rows)).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    tags.add_template(&mut env, "page", body("{% if rows %}{{ n }}{% endif %}")).unwrap();
    let rows = lazy(&cache, "rows", || Err::<Vec<u8>, _>(std::io::Error::other("gone")));
    let _ = env.get_template("page").unwrap().render(context!(rows, n => 1));
    assert_eq!(cache.stats().stored, 0);
}

/// A table that is never cached is not by way of its rows either.
#[test]
fn a_lazy_queryset_of_a_table_that_is_never_cached() {
    let cache = Cacheops::builder()
        .profile("sessions", cacheops::Profile::never())
        .profile("articles", cacheops::Profile::new())
        .build()
        .unwrap();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    tags.add_template(&mut env, "page", "{% cached %}{{ rows|join }}{% endcached %}").unwrap();
    let render = |table: &'static str| {
        let rows = lazy(&cache, table, || Ok::<_, Error>(vec![1]));
        env.get_template("page").unwrap().render(context!(rows))
    };
    assert_eq!(render("sessions").unwrap(), "1");
    assert_eq!(cache.stats().stored, 0);
    assert!(render("unknown").unwrap_err().to_string().contains("no profile"));
}

#[test]
fn names_of_tags() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    for name in ["", "for", "cached", "endx", "a b", "a-b", "1a", "ä", "block"] {
        let error = tags.decorator_tag(name, |_| Ok(minijinja_cacheops::Caching::skip()));
        assert!(error.unwrap_err().to_string().contains("cannot be a tag"), "{name}");
    }
    tags.decorator_tag("menu", |call| {
        let _ = call.keyword("known");
        Ok(minijinja_cacheops::Caching::cached())
    })
    .unwrap();
    tags.add_template(&mut env, "page", "{% menu known=1, unknown=2 %}x{% endmenu %}").unwrap();
    let error = env.get_template("page").unwrap().render(()).unwrap_err();
    assert!(error.to_string().contains("unknown keyword argument 'unknown'"), "{error}");
}

/// Comments that tell where fragments are.
#[test]
fn marks() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    tags.mark_fragments(|state| state.lookup("outline").is_some_and(|value| value.is_true()));
    tags.add_template(
        &mut env,
        "a.html",
        "{% cached %}x{% cached %}y{% endcached %}{% endcached %}",
    )
    .unwrap();
    tags.add_template(&mut env, "a.txt", "{% cached %}x{% endcached %}").unwrap();
    let render = |name: &str, outline: bool| {
        env.get_template(name).unwrap().render(context!(outline)).unwrap()
    };
    assert_eq!(render("a.html", false), "xy");
    let marked = render("a.html", true);
    assert_eq!(marked.matches("<!--cacheops ").count(), 2);
    assert_eq!(marked.matches("<!--/cacheops ").count(), 2);
    assert_eq!(render("a.html", true), marked);
    assert_eq!(render("a.html", false), "xy");
    assert_eq!(render("a.txt", true), "x");
}
