//! Clones of a Tera, each with templates of its own: as when a site loads its
//! templates anew into a copy, while the old one goes on.

use std::sync::RwLock;

use cacheops::Cacheops;
use tera::{Context, Tera, context};
use tera_cacheops::Tags;

const LAYOUT: &str = "{% cached %}[{% block a %}a{% endblock %}]{% endcached %}{% block b %}{% cached %}{% include 'part' %}{% endcached %}{% endblock %}";
const PAGE: &str = "{% extends 'layout' %}{% block a %}p{{ super() }}{% endblock %}";

fn engine() -> (Tera, Tags) {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    let templates = [("layout", LAYOUT), ("page", PAGE), ("part", "old")];
    tags.add_templates(&mut tera, templates).unwrap();
    (tera, tags)
}

fn render(tags: &Tags, tera: &Tera) -> String {
    tags.render(tera, "page", &Context::new()).unwrap()
}

fn render_block(tags: &Tags, tera: &Tera, block: &str) -> String {
    tags.render_block(tera, "page", block, &Context::new()).unwrap()
}

/// A block that is rendered alone is that of the Tera it is asked of, and its
/// fragments are not those of another.
#[test]
fn a_clone_keeps_its_blocks_when_the_original_changes() {
    let (mut tera, tags) = engine();
    let old = tera.clone();
    tags.add_template(&mut tera, "part", "new").unwrap();
    assert_eq!(render_block(&tags, &old, "b"), "old");
    assert_eq!(render(&tags, &tera), "[pa]new");
    assert_eq!(render_block(&tags, &tera, "b"), "new");
    assert_eq!((render(&tags, &old), render(&tags, &tera)), ("[pa]old".into(), "[pa]new".into()));
    // The layout has changed.
    tags.add_template(&mut tera, "layout", LAYOUT.replace("a{% endblock", "A{% endblock")).unwrap();
    assert_eq!(render_block(&tags, &old, "a"), "pa");
    assert_eq!(render_block(&tags, &tera, "a"), "pA");
}

/// Templates of a tenant go before those of all by a prefix, and each tenant's
/// clone has its own.
#[test]
fn clones_with_other_prefixes_share_no_fragments() {
    let part = |owner: &str| {
        format!(
            "{{% block c %}}{owner}{{% endblock %}}{{% component Card() %}}{owner}{{% endcomponent Card %}}"
        )
    };
    let around = |owner: &str| {
        format!("{{% cached %}}{owner}{{% block c %}}{{% endblock %}}{{% endcached %}}")
    };
    let pages = [
        ("include", "{% cached %}{% include 'part' %}{% endcached %}"),
        ("deep", "{% cached %}{% include 'between' %}{% endcached %}"),
        ("component", "{% cached %}{{ <Card /> }}{% endcached %}"),
        (
            "layout",
            "{% extends 'part' %}{% block c %}{% cached %}{{ super() }}{% endcached %}{% endblock %}",
        ),
        ("around", "{% extends 'base' %}{% block c %}{% endblock %}"),
        ("by name", "{% cached %}{% include 'b/part' %}{% include 'part' %}{% endcached %}"),
    ];
    let base = {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        (tera, tags)
    };
    let with = |prefixes: [&'static str; 2]| {
        let (mut tera, tags) = base.clone();
        tera.set_fallback_prefixes(prefixes).unwrap();
        let sources = [
            ("between".to_owned(), "{% include 'part' %}".to_owned()),
            ("a/part".to_owned(), part("a")),
            ("b/part".to_owned(), part("b")),
            ("a/base".to_owned(), around("a")),
            ("b/base".to_owned(), around("b")),
        ];
        let pages = pages.map(|(name, source)| (name.to_owned(), source.to_owned()));
        tags.add_templates(&mut tera, sources.into_iter().chain(pages)).unwrap();
        tera
    };
    let (a, b, a_again) = (with(["a/", "b/"]), with(["b/", "a/"]), with(["a/", "b/"]));
    let tags = &base.1;
    for (name, source) in pages {
        let page = |tera: &Tera| tags.render(tera, name, &Context::new()).unwrap();
        let expected =
            |owner| if name == "by name" { format!("b{owner}") } else { String::from(owner) };
        assert_eq!((page(&a), page(&b)), (expected("a"), expected("b")), "{name}");
        assert_eq!((page(&a_again), page(&b)), (expected("a"), expected("b")), "{name}");
        if source.contains("extends") {
            continue; // A source that is not added cannot.
        }
        let one_off = |tera: &Tera| tags.render_str(tera, source, &Context::new(), true).unwrap();
        assert_eq!((one_off(&a), one_off(&b)), (expected("a"), expected("b")), "{name}");
    }
}

/// One that got the functions of another is not taken for it.
#[test]
fn functions_of_another_tera_do_not_bring_its_templates() {
    let page = "{% cached %}{% include 'part' %}{% endcached %}";
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.add_templates(&mut tera, [("page", page), ("part", "one")]).unwrap();
    let text = |tera: &Tera| tags.render(tera, "page", &Context::new()).unwrap();
    assert_eq!(text(&tera), "one");
    for has_all in [false, true] {
        let mut other = Tera::default();
        other.register_from(&tera);
        other.add_raw_template("part", "two").unwrap();
        if has_all {
            other.add_raw_template("page", "{% include 'part' %}").unwrap();
        }
        let error = tags.add_template(&mut other, "page", page).unwrap_err().to_string();
        assert!(error.contains("was not loaded through `Tags`"), "{error}");
        tags.add_templates(&mut other, [("page", page), ("part", "two")]).unwrap();
        assert_eq!((text(&other), text(&tera)), ("two".into(), "one".into()));
        let clone = other.clone();
        tags.add_template(&mut other, "part", "three").unwrap();
        assert_eq!((text(&other), text(&clone)), ("three".into(), "two".into()));
    }
}

/// Each goes on from what it has itself.
#[test]
fn clones_with_other_templates_share_no_fragments() {
    let (mut one, tags) = engine();
    let mut other = one.clone();
    tags.add_template(&mut one, "part", "one").unwrap();
    tags.add_template(&mut other, "part", "other").unwrap();
    // What uses it is rewritten in both.
    tags.add_template(&mut one, "more", "{% cached %}{% include 'part' %}{% endcached %}").unwrap();
    tags.add_template(&mut other, "more", "{% cached %}{% include 'part' %}{% endcached %}")
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            (render(&tags, &one), render(&tags, &other)),
            ("[pa]one".into(), "[pa]other".into())
        );
        for (tera, text) in [(&one, "one"), (&other, "other")] {
            assert_eq!(tags.render(tera, "more", &Context::new()).unwrap(), text);
            assert_eq!(render_block(&tags, tera, "b"), text);
            let source = "{% cached %}{% include 'more' %}{% endcached %}";
            assert_eq!(tags.render_str(tera, source, &Context::new(), true).unwrap(), text);
        }
    }
    // What one has and the other has not.
    tags.add_template(&mut one, "mine", "{{ n }}").unwrap();
    let uses = "{% cached %}{% include 'mine' %}{% endcached %}";
    assert!(tags.add_template(&mut other, "uses", uses).is_err());
    other.add_raw_template("mine", "past").unwrap();
    let error = tags.add_template(&mut other, "uses", uses).unwrap_err().to_string();
    assert!(error.contains("was not loaded through `Tags`"), "{error}");
    tags.add_template(&mut one, "uses", uses).unwrap();
    assert_eq!(tags.render(&one, "uses", &context!(n => &5)).unwrap(), "5");
}

/// A file that is gone, and comes back: what was made with it is not shown
/// meanwhile, and is current again afterwards.
#[test]
fn rendering_a_template_whose_file_is_gone_is_an_error() {
    let folder = std::env::temp_dir().join(format!("cacheops-gone-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("page.html", "{% cached %}[{% include 'part.html' %}{{ n }}]{% endcached %}");
    write("part.html", "p");
    write("other.html", "{% cached %}{{ n }}{% endcached %}");
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.load_from_glob(&mut tera, &format!("{}/*.html", folder.display())).unwrap();
    let page = |tera: &Tera, name: &str, n: u32| tags.render(tera, name, &context!(n => &n));
    assert_eq!(page(&tera, "page.html", 1).unwrap(), "[p1]");
    assert_eq!(page(&tera, "other.html", 1).unwrap(), "1");
    let old = tera.clone();
    std::fs::remove_file(folder.join("part.html")).unwrap();
    let error = tags.full_reload(&mut tera).unwrap_err().to_string();
    let expected = "\
error: Unknown template `part.html`: its file is gone
 --> page.html:1:26
  |
1 | {% cached %}[{% include 'part.html' %}{{ n }}]{% endcached %}
  |                          ^^^^^^^^^";
    assert_eq!(error, expected);
    // Nothing has changed.
    assert_eq!(page(&tera, "page.html", 2).unwrap(), "[p1]");
    write("page.html", "{% cached %}[{{ n }}]{% endcached %}");
    tags.full_reload(&mut tera).unwrap();
    assert_eq!(page(&tera, "page.html", 2).unwrap(), "[2]");
    let not_found = tera::ErrorKind::TemplateNotFound("part.html".to_owned());
    assert_eq!(*page(&tera, "part.html", 2).unwrap_err().kind(), not_found);
    let error = tera.render("part.html", &Context::new()).unwrap_err();
    assert_eq!(*tags.author_error(error).kind(), not_found);
    assert_eq!(page(&tera, "other.html", 2).unwrap(), "1");
    assert_eq!(page(&old, "page.html", 2).unwrap(), "[p1]");
    write("page.html", "{% cached %}[{% include 'part.html' %}{{ n }}]{% endcached %}");
    // Others can be loaded meanwhile.
    tags.add_template(&mut tera, "new", "{% cached %}{{ n }}{% endcached %}").unwrap();
    write("part.html", "p");
    tags.full_reload(&mut tera).unwrap();
    assert_eq!(page(&tera, "page.html", 3).unwrap(), "[p1]");
    write("part.html", "P");
    tags.full_reload(&mut tera).unwrap();
    assert_eq!(page(&tera, "page.html", 4).unwrap(), "[P4]");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Pages are rendered while their templates are loaded anew: each is of one
/// version, whatever is in the cache.
#[test]
fn a_page_keeps_its_templates_while_others_load() {
    let (tera, tags) = engine();
    let current = RwLock::new(tera);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (current, tags) = (&current, &tags);
            scope.spawn(move || {
                for _ in 0..400 {
                    let tera = current.read().unwrap().clone();
                    let whole = render(tags, &tera);
                    let part = whole.strip_prefix("[pa]").unwrap();
                    assert_eq!(render(tags, &tera), whole);
                    if reader == 0 {
                        assert_eq!(render_block(tags, &tera, "b"), part);
                    }
                }
            });
        }
        scope.spawn(|| {
            for version in 0..60 {
                let mut next = current.read().unwrap().clone();
                tags.add_template(&mut next, "part", format!("v{}", version % 7)).unwrap();
                *current.write().unwrap() = next;
            }
        });
    });
}

/// What a Tera was loaded from is its own.
#[test]
fn each_clone_reloads_its_own_glob() {
    let folder = std::env::temp_dir().join(format!("cacheops-globs-{}", std::process::id()));
    for name in ["a", "b"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join(format!("{name}.html")), name).unwrap();
    }
    let mut one = Tera::default();
    let tags = Tags::install(&mut one, &Cacheops::in_memory());
    let mut other = one.clone();
    let glob = |name: &str| format!("{}/{name}/*", folder.display());
    tags.load_from_glob(&mut one, &glob("a")).unwrap();
    tags.load_from_glob(&mut other, &glob("b")).unwrap();
    let render = |tera: &Tera, name: &str| tags.render(tera, name, &Context::new()).ok();
    for tera in [&mut one, &mut other] {
        tags.full_reload(tera).unwrap();
    }
    assert_eq!((render(&one, "a.html"), render(&one, "b.html")), (Some("a".into()), None));
    assert_eq!((render(&other, "a.html"), render(&other, "b.html")), (None, Some("b".into())));
    // A clone goes on with what it was cloned with.
    let mut third = one.clone();
    std::fs::write(folder.join("a/new.html"), "new").unwrap();
    tags.full_reload(&mut third).unwrap();
    assert_eq!(render(&third, "new.html"), Some("new".into()));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Loading anew fails where it fails by Tera itself.
#[test]
fn using_a_template_whose_file_is_gone_fails_as_in_tera() {
    let folder = std::env::temp_dir().join(format!("cacheops-used-{}", std::process::id()));
    let glob = format!("{}/**/*.html", folder.display());
    let files = [
        ("base.html", "{% block b %}{% endblock %}"),
        ("child.html", "{% extends 'base.html' %}{% block b %}x{% endblock %}"),
        ("card.html", "{% component Card() %}card{% endcomponent Card %}"),
        ("card2.html", "{% component Other() %}other{% endcomponent Other %}"),
        ("uses.html", "{% cached %}{{ <Card /> }}{% endcached %}"),
        ("part.html", "part"),
        ("a/part2.html", "a"),
        ("b/part2.html", "b"),
        ("in.html", "{% include \"part2.html\" %}{% include 'part.html' %}"),
        ("alone.html", "alone"),
    ];
    for (gone, _) in files {
        let _ = std::fs::remove_dir_all(&folder);
        let path = |name: &str| folder.join(name);
        std::fs::create_dir_all(path("a")).unwrap();
        std::fs::create_dir_all(path("b")).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(path(name), text).unwrap());
        let mut own = Tera::default();
        own.set_fallback_prefixes(["a/"]).unwrap();
        let mut ours = own.clone();
        let tags = Tags::install(&mut ours, &Cacheops::in_memory());
        tags.load_from_glob(&mut ours, &glob).unwrap();
        own.load_from_glob(&glob).unwrap_err(); // It has no tags.
        std::fs::write(path("uses.html"), "{{ <Card /> }}").unwrap();
        own.load_from_glob(&glob).unwrap();
        tags.full_reload(&mut ours).unwrap();
        std::fs::remove_file(path(gone)).unwrap();
        let expected = own.full_reload();
        let got = tags.full_reload(&mut ours);
        assert_eq!(got.is_err(), expected.is_err(), "{gone}: {got:?}, {expected:?}");
        if let (Err(got), Err(expected)) = (&got, &expected) {
            let kind = std::mem::discriminant(expected.kind());
            assert_eq!(std::mem::discriminant(got.kind()), kind, "{got}");
            let first = |error: &tera::Error| error.to_string().lines().next().map(str::to_owned);
            assert!(first(got).unwrap().starts_with(&first(expected).unwrap()), "{got}");
            assert!(!got.to_string().contains("_cacheops"), "{got}");
        }
        // Whatever is there renders as by Tera itself.
        for (name, _) in files {
            let (got, expected) =
                (tags.render(&ours, name, &Context::new()), own.render(name, &Context::new()));
            assert_eq!(got.is_err(), expected.is_err(), "{gone}, {name}: {got:?}, {expected:?}");
            assert_eq!(got.ok(), expected.ok(), "{gone}, {name}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
