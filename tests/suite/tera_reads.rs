//! What a Tera template has read outside of a tag, and shows inside one, counts
//! until the rendering ends, in whatever it is held meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cacheops::{Cacheops, Error, QuerySet};
use cacheops_tests::Backend;
use serde_json::json;
use tera::{Context, Kwargs, State, Tera, Value};
use tera_cacheops::{Lazy, Tags, lazy};

/// A site of one comment, whose text counts up.
struct Site {
    tera: Tera,
    tags: Tags,
    cache: Cacheops,
    text: Arc<AtomicU64>,
    /// Whether `change()` changes the comment when it is next called.
    is_armed: Arc<AtomicBool>,
}

fn comments(cache: &Cacheops, text: &Arc<AtomicU64>) -> Lazy {
    let text = text.clone();
    lazy(cache, QuerySet::table("comments"), move || {
        Ok::<_, Error>(vec![json!({"id": 1, "text": text.load(Ordering::SeqCst)})])
    })
}

fn write(cache: &Cacheops, text: &AtomicU64) {
    text.fetch_add(1, Ordering::SeqCst);
    cache.invalidate_obj("comments", &json!({"id": 1})).unwrap();
}

impl Site {
    fn new(cache: Cacheops) -> Self {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &cache);
        let (text, is_armed) = (Arc::new(AtomicU64::new(501)), Arc::new(AtomicBool::new(false)));
        let (it, of) = (cache.clone(), text.clone());
        tera.register_function("comments", move |_: Kwargs, _: &State| comments(&it, &of).keep());
        let (it, of) = (cache.clone(), text.clone());
        tera.register_function("got", move |kwargs: Kwargs, _: &State| {
            let number: u64 = kwargs.must_get("n")?;
            let got = it.cached_as("comments").extra(&number);
            let got = got.get_or_fill(|| Ok::<_, Error>(of.load(Ordering::SeqCst)));
            Value::try_from_serializable(&json!([{"id": 1, "text": got.unwrap()}]))
        });
        let (it, of, armed) = (cache.clone(), text.clone(), is_armed.clone());
        tera.register_function("change", move |_: Kwargs, _: &State| {
            if armed.swap(false, Ordering::SeqCst) {
                write(&it, &of);
            }
            ""
        });
        Site { tera, tags, cache, text, is_armed }
    }

    fn render(&self) -> String {
        self.tags.render(&self.tera, "page", &Context::new()).unwrap()
    }
}

/// Tags inside of which a row is shown that was read before.
const PAGES: [&str; 17] = [
    "{% for c in comments() | rows %}{{ change() }}TAG{% endfor %}",
    "{% for c in rows(of=comments()) | sort(attribute='id') %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments() | rows | reverse %}{{ change() }}TAG{% endfor %}",
    "{% for c in [x for x in rows(of=comments()) if x.id] %}{{ change() }}TAG{% endfor %}",
    "{% for c in rows(of=comments())[:1] %}{{ change() }}TAG{% endfor %}",
    "{% for k, g in comments() | rows | group_by(attribute='id') %}{% for c in g %}{{ change() }}TAG{% endfor %}{% endfor %}",
    "{% set t = comments() | rows | first %}{% set c = {'id': 1, 'text': t.text} %}{{ change() }}TAG",
    "{% for x in comments() | rows %}{% set_global c = x %}{% endfor %}{{ change() }}TAG",
    "{% set t %}{% for c in comments() | rows %}{{ c.text }}{% endfor %}{% endset %}{% set c = {'id': 1, 'text': t} %}{{ change() }}TAG",
    "{% set c = comments() | rows | first %}{{ change() }}{{ <Card c={c} /> }}",
    "{% set c = comments() | rows | first %}{{ change() }}{% <Wrap c={c}> %}TAG{% </Wrap> %}",
    "{% set c = comments() | rows | first %}{{ change() }}{% include 'part' %}",
    "{% set t %}{% cached_as 'comments' %}{{ comments() | rows | join }}{% endcached_as %}{% endset %}{% set c = {'id': 1, 'text': t} %}{{ change() }}TAG",
    "{% set c = got(n=1) | first %}{{ change() }}TAG",
    "{% for c in got(n=2) | reverse %}{{ change() }}TAG{% endfor %}",
    "{% set c = got(n=3) | first %}{% cached timeout=60 %}x{% endcached %}{{ change() }}{% include 'part' %}",
    "{% set c = got(n=4) | first %}{% filter trim %}{{ change() }}{{ <Card c={c} /> }}{% endfilter %}",
];

const TAG: &str = "{% cached_as 'comments' | queryset(id=c.id) %}{{ c.text }}{% endcached_as %}";

const CARDS: &str = "{% component Card(c) %}TAG{% endcomponent Card %}{% component Wrap(c) %}TAG{{ body }}{% endcomponent Wrap %}";

fn rows_count_until_the_rendering_ends<B: Backend>() {
    for source in PAGES {
        for warm in [false, true] {
            let mut site = Site::new(B::cache(Cacheops::builder()));
            let add = |site: &mut Site, version: &str| {
                let texts = [("page", source), ("part", "TAG"), ("cards", CARDS)];
                let texts = texts.map(|(name, text)| (name, text.replace("TAG", TAG) + version));
                site.tags.add_templates(&mut site.tera, texts).unwrap();
            };
            add(&mut site, "");
            if warm {
                // Values that are got are hits then, and what shows them is not.
                site.tags.render(&site.tera, "page", &Context::new()).unwrap();
                add(&mut site, " ");
            }
            site.is_armed.store(true, Ordering::SeqCst);
            site.render();
            assert!(!site.is_armed.load(Ordering::SeqCst), "{source}");
            let text = site.text.load(Ordering::SeqCst).to_string();
            for _ in 0..2 {
                let page = site.render();
                assert!(
                    page.contains(&text)
                        && !page.contains(&(text.parse::<u64>().unwrap() - 1).to_string()),
                    "{source}: {page}, and it is {text}"
                );
            }
        }
    }
}

/// An error that the caller keeps holds no fill: nobody waits for it, and what
/// is rendered later is not taken for it.
fn kept_errors_keep_nothing<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    let source = "{% cached_as 'comments', extra=1 %}{{ n }}{% set x = n %}{% if fails %}{{ throw(message='no') }}{% endif %}{% endcached_as %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let context = |n: u8, fails: bool| tera::context!(n => &n, fails => &fails);
    let ours = tags.render(&tera, "page", &context(1, true)).unwrap_err();
    let own = tera.render("page", &context(2, true)).unwrap_err();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let began = std::time::Instant::now();
            let page = tags.render(&tera, "page", &context(3, false)).unwrap();
            (page, began.elapsed())
        });
        let (page, took) = other.join().unwrap();
        assert_eq!(page, "3");
        assert!(took < std::time::Duration::from_secs(3), "{took:?}");
    });
    assert!(!cache.is_filling());
    assert_eq!(tags.render(&tera, "page", &context(4, false)).unwrap(), "3");
    cache.invalidate_obj("comments", &json!({"id": 1})).unwrap();
    let page = |n: u8| tags.render(&tera, "page", &context(n, false)).unwrap();
    assert_eq!((page(5), page(6)), ("5".to_owned(), "5".to_owned()));
    drop((ours, own));
    assert_eq!(page(7), "5");
}

/// What is shown in place of rows that cannot be read is not kept, wherever
/// that is: no change tells that they can be.
fn rows_that_cannot_be_read<B: Backend>() {
    const PAGES: [&str; 4] = [
        "{% set t = safe(of=all) %}{% cached_as all %}{{ t }}{% endcached_as %}",
        "{% set t %}{% cached_as all %}{{ safe(of=all) }}{% endcached_as %}{% endset %}{% cached_as all, name='box' %}{{ t }}{% endcached_as %}",
        "{% cached_as all %}{% set t = safe(of=all) %}{% cached_as all %}{{ t }}{% endcached_as %}{% endcached_as %}",
        "{% set t = safe(of=all) %}{% include 'part' %}",
    ];
    for source in PAGES {
        for is_own in [false, true] {
            let cache = B::cache(Cacheops::builder());
            let mut tera = Tera::default();
            let tags = Tags::install(&mut tera, &cache);
            let (mut inner, of) = (tera.clone(), tags.clone());
            tags.add_template(&mut inner, "c", "{{ all | rows | join }}").unwrap();
            tera.register_function("safe", move |kwargs: Kwargs, _: &State| {
                let mut context = Context::new();
                context.insert_value("all", kwargs.must_get::<Value>("of")?);
                let text = of.render(&inner, "c", &context);
                Ok::<_, tera::Error>(text.unwrap_or_else(|_| "sorry".to_owned()))
            });
            let part = "{% cached_as all %}{{ t }}{% endcached_as %}";
            tags.add_templates(&mut tera, [("part", part), ("page", source)]).unwrap();
            let render = |fails: bool| {
                let all = lazy(&cache, QuerySet::table("rows"), move || {
                    if fails { Err(tera::Error::message("down")) } else { Ok(vec![7]) }
                });
                let context = tera::context!(all => &all);
                match is_own {
                    true => tera.render("page", &context).unwrap(),
                    false => tags.render(&tera, "page", &context).unwrap(),
                }
            };
            let both = (render(true), render(false));
            assert_eq!(both, ("sorry".into(), "7".into()), "{source}, is_own: {is_own}");
        }
    }
}

/// What the query of a lazy queryset gets from the cache is so of its rows at
/// each look, wherever the first one was.
fn what_a_query_stands_on<B: Backend>() {
    for look in ["", "{{ l | rows | length }}", "{% set rows = l | rows %}"] {
        let cache = B::cache(Cacheops::builder());
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &cache);
        let source = "{% cached_as l %}{{ l | rows | join }}{% endcached_as %}";
        tags.add_template(&mut tera, "page", format!("{look}|{source}")).unwrap();
        let text = Arc::new(AtomicU64::new(1));
        let render = || {
            let (of, text) = (cache.clone(), text.clone());
            let l = lazy(&cache, QuerySet::table("articles"), move || {
                let author = of.cached_as("authors");
                let author = author.get_or_fill(|| Ok::<_, Error>(text.load(Ordering::SeqCst)))?;
                Ok::<_, Error>(vec![author])
            });
            tags.render(&tera, "page", &tera::context!(l => &l)).unwrap()
        };
        render();
        text.fetch_add(1, Ordering::SeqCst);
        cache.invalidate_model("authors").unwrap();
        let page = render();
        assert!(page.ends_with("|2"), "{look}: {page}");
    }
}

/// Tera's own methods, in a page that the handler enters: all counts that is
/// read, as it does by the plugin's.
fn teras_own_in_a_page<B: Backend>() {
    for source in PAGES {
        let mut site = Site::new(B::cache(Cacheops::builder()));
        let texts = [("page", source), ("part", "TAG"), ("cards", CARDS)];
        let texts = texts.map(|(name, text)| (name, text.replace("TAG", TAG)));
        site.tags.add_templates(&mut site.tera, texts).unwrap();
        let lists: Arc<Mutex<Vec<Lazy>>> = Arc::default();
        let (cache, text) = (site.cache.clone(), site.text.clone());
        let it = lists.clone();
        site.tera.register_function("comments", move |_: Kwargs, _: &State| {
            let list = comments(&cache, &text);
            let value = list.value();
            it.lock().unwrap().push(list);
            value
        });
        let render = || {
            let page = site.cache.page();
            page.enter();
            let text = site.tera.render("page", &Context::new()).unwrap();
            lists.lock().unwrap().clear();
            text
        };
        site.is_armed.store(true, Ordering::SeqCst);
        render();
        assert!(!site.is_armed.load(Ordering::SeqCst), "{source}");
        let page = render();
        assert!(page.contains("502") && !page.contains("501"), "{source}: {page}");
    }
}

on_stores! {
    teras_own_in_a_page
    rows_count_until_the_rendering_ends
    kept_errors_keep_nothing
    rows_that_cannot_be_read
    what_a_query_stands_on
}
