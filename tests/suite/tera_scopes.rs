//! What bodies set, and what they see that no key can hold: refused in loading
//! where it cannot be done right.

use cacheops::Cacheops;
use tera::{Context, Tera, context};
use tera_cacheops::Tags;

fn engine() -> (Tera, Tags) {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    (tera, tags)
}

/// The first two lines of the error of loading templates, if there is one.
fn refusal(templates: &[(&str, &str)]) -> Option<String> {
    let (mut tera, tags) = engine();
    let error = tags.add_templates(&mut tera, templates.iter().copied()).err()?;
    Some(error.to_string().lines().take(2).collect::<Vec<_>>().join("\n"))
}

fn assert_refused(templates: &[(&str, &str)], expected: &str) {
    let refusal = refusal(templates).unwrap_or_else(|| panic!("{templates:?} is not refused"));
    assert_eq!(refusal, expected);
}

#[test]
fn set_global_in_a_tag_in_a_loop() {
    let (mut tera, tags) = engine();
    let source = "{% set x = 'old' %}{% for i in [1, 2] %}\
        {% cached extra=i %}{% for j in [i] %}{% set_global x = j %}{% endfor %}{{ x }}{% endcached %}{{ x }}\
        {% endfor %}{{ x }}";
    tags.add_template(&mut tera, "page", source).unwrap();
    for _ in 0..2 {
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "1old2oldold");
    }
    let why = "its body sets `x` with `set_global`, and a loop around it has an `x` of its own: what `x` was outside of the loop could not be restored; call one of them by another name";
    let source = "{% for x in [1] %}\n {% cached extra=x %}{% set_global x = 2 %}{% endcached %}{% endfor %}{{ x }}";
    let expected = format!("error: `{{% cached extra=x %}}`: {why}\n --> page:2:2");
    assert_refused(&[("page", source)], &expected);
    let source = "{% for k, x in m %}{% cached extra=x %}{% set_global x %}2{% endset %}{% endcached %}{% endfor %}";
    let expected = format!("error: `{{% cached extra=x %}}`: {why}\n --> page:1:20");
    assert_refused(&[("page", source)], &expected);
    let source = "{% set x = 'old' %}{% for i in [1] %}{% if i %}{% set x = 'inner' %}{% endif %}{% cached %}{% set_global x = 2 %}{% endcached %}{% endfor %}{{ x }}";
    let expected = format!("error: `{{% cached %}}`: {why}\n --> page:1:80");
    assert_refused(&[("page", source)], &expected);
    // What is set in a loop inside, or when a loop has ended, is no matter.
    for fine in [
        "{% cached %}{% for x in [1] %}{% set_global x = 2 %}{% endfor %}{% endcached %}",
        "{% for x in [1] %}{% endfor %}{% cached %}{% set_global x = 2 %}{% endcached %}",
        "{% for x in [] %}{% else %}{% cached %}{% set_global x = 2 %}{% endcached %}{% endfor %}",
    ] {
        assert_eq!(refusal(&[("page", fine)]), None);
    }
}

/// What is put back in a loop would hide what is set outside of it.
#[test]
fn set_global_behind_a_tag_in_a_loop() {
    let why = "its body sets `x`, and after it in the same loop `set_global` sets `x`, which the restored value would hide; call one of them by another name";
    let source = "{% for i in [1, 2] %}{% cached extra=i %}{% set x = 0 %}{% endcached %}{% set_global x = i %}{{ x }}{% endfor %}";
    let expected = format!("error: `{{% cached extra=i %}}`: {why}\n --> page:1:22");
    assert_refused(&[("page", source)], &expected);
    let before = "{% for i in [1, 2] %}{% set_global x = i %}{% cached extra=i %}{% set x = 0 %}{% endcached %}{{ x }}{% endfor %}";
    let (mut tera, tags) = engine();
    tags.add_template(&mut tera, "page", before).unwrap();
    for _ in 0..2 {
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "12");
    }
}

/// `super()` in a loop: the layout's block runs inside of it.
#[test]
fn set_global_in_a_block_that_is_called_in_a_loop() {
    let layout = "{% block b %}{% cached %}{% set_global x = 5 %}{% endcached %}{% endblock %}{{ x | default(value='none') }}";
    let child = "{% extends 'layout' %}{% block b %}{% for x in [1] %}{{ super() }}{% endfor %}{% endblock %}";
    let expected = "error: `{% cached %}`: its body sets `x` with `set_global`, and a loop around it has an `x` of its own: what `x` was outside of the loop could not be restored; call one of them by another name\n --> layout:1:14";
    assert_refused(&[("layout", layout), ("page", child)], expected);
    // The child comes later: it is not taken, and what is there stays.
    let (mut tera, tags) = engine();
    tags.add_template(&mut tera, "layout", layout).unwrap();
    let error = tags.add_template(&mut tera, "page", child).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(tera.render("layout", &Context::new()).unwrap(), "none");
    // A tag around `super()`, whose blocks set.
    let layout = "{% block b %}{% set_global x = 5 %}{% endblock %}";
    let child = "{% extends 'layout' %}{% block b %}{% for x in [1] %}{% cached extra=x %}{{ super() }}{% endcached %}{% endfor %}{% endblock %}";
    let expected = expected.replace("`{% cached %}`", "`{% cached extra=x %}`");
    let expected = expected.replace("layout:1:14", "page:1:54");
    assert_refused(&[("layout", layout), ("page", child)], &expected);
    // Other names are fine.
    let fine = child.replace("for x in", "for i in").replace("extra=x", "extra=i");
    assert_eq!(refusal(&[("layout", layout), ("page", &fine)]), None);
}

/// What an inner tag puts back is not left behind an outer one either, nor
/// what a layout's tag puts back in the loop that calls its block.
#[test]
fn tags_in_tags_in_loops() {
    let (mut tera, tags) = engine();
    let show = "{{ c | default(value='-') }}";
    let inner = "{% set_global c = 60 %}{% cached name='x' %}{% set c = 39 %}{% endcached %}";
    let source = format!(
        "{{% for i in [1] %}}{{% cached %}}{inner}{{% endcached %}}{show}{{% endfor %}}{show}"
    );
    tags.add_template(&mut tera, "page", &source).unwrap();
    for _ in 0..2 {
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "--");
    }
    let layout = "{% block b %}{% set c = 83 %}{% cached %}{% set_global c = 28 %}{% endcached %}{% endblock %}";
    let page = "{% extends 'layout' %}{% block b %}{% for i in [1] %}{{ super() }}{% endfor %}{% endblock %}";
    assert_eq!(refusal(&[("layout", layout)]), None);
    let refusal = refusal(&[("layout", layout), ("page", page)]).unwrap();
    assert!(refusal.contains("its body sets `c` with `set_global`"), "{refusal}");
}

/// `body` of a component by way of an include.
#[test]
fn bodies_of_components_in_includes() {
    let why = "it includes `part`, which shows the `body` of the component around it: every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead";
    let part = ("part", "[{{ body }}]");
    let component = "{% component Card() %}\n{% cached %}{% include 'deep' %}{% endcached %}{% endcomponent Card %}";
    let deep = ("deep", "{% include 'part' %}");
    let expected = format!("error: `{{% cached %}}`: {why}\n --> c:2:1");
    assert_refused(&[part, deep, ("c", component)], &expected);
    let escaped = component.replace("'deep'", "'de\\'ep'");
    assert_refused(&[part, ("de'ep", deep.1), ("c", &escaped)], &expected);
    // With `extra=body` it works.
    let (mut tera, tags) = engine();
    let mended = component.replace("cached %}{% i", "cached extra=body %}{% i");
    let page = "{% <Card> %}{{ n }}{% </Card> %}";
    tags.add_templates(&mut tera, [part, deep, ("c", &mended), ("page", page)]).unwrap();
    for n in ["1", "2", "1"] {
        assert_eq!(tera.render("page", &context!(n => n)).unwrap(), format!("\n[{n}]"));
    }
    // The tag stands in what is included.
    let part = ("part", "{% cached %}\n{{ body }}{% endcached %}");
    let component = "{% component Card() %}{% include 'deep' %}{% endcomponent Card %}";
    let why = "the component that includes this template passes `body` to it, so every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead";
    let expected = format!("error: `{{% cached %}}`: {why}\n --> part:1:1");
    assert_refused(&[part, deep, ("c", component)], &expected);
    // A variable of the name, and no component.
    assert_eq!(refusal(&[part, deep, ("page", "{% include 'deep' %}")]), None);
}

#[test]
fn bodies_of_components_and_texts() {
    let component =
        |tag: &str| format!("{{% component C() %}}{tag}{{% endcached %}}{{% endcomponent C %}}");
    for (tag, is_refused) in [
        ("{% cached extra=\"body\" %}x", false),
        ("{% cached extra=\"body\" %}{{ body }}", true),
        ("{% cached extra=x.body %}{{ body }}", true),
        ("{% cached name=\"body\" %}{{ 'body' }}", false),
        ("{% cached extra=[1, body] %}{{ body }}", false),
        ("{% cached extra=body %}{{ body }}", false),
        ("{% cached %}{{ [...body] }}", true),
        ("{% cached %}{{ x.body }}", false),
        ("{% cached timeout=body | length %}{{ body }}", true),
        ("{% cached 60 \"name\" body %}{{ body }}", false),
        ("{% cached_as \"a\" | queryset(x=body) %}{{ body }}{% endcached_as %}{% cached %}", false),
        ("{% cached %}{% <D body> %}{% </D> %}", true),
    ] {
        let d = ("d", "{% component D(...rest) %}{% endcomponent D %}");
        let refusal = refusal(&[d, ("c", &component(tag))]);
        assert_eq!(refusal.is_some(), is_refused, "{tag}: {refusal:?}");
    }
}

/// Arguments of a tag of one's own are part of the key if they are plain.
#[test]
fn bodies_of_components_and_custom_tags() {
    let (mut tera, tags) = engine();
    tags.decorator_tag("menu", |call| {
        let _ = (call.keyword("x"), call.keyword("extra"));
        Ok(tera_cacheops::Caching::cached())
    })
    .unwrap();
    for (arguments, is_refused) in [
        ("", true),
        ("[body]", true),
        ("x={'a': body}", true),
        ("body", false),
        ("extra=body", false),
    ] {
        let source = format!(
            "{{% component C() %}}{{% menu {arguments} %}}{{{{ body }}}}{{% endmenu %}}{{% endcomponent C %}}"
        );
        let added = tags.add_template(&mut tera, "c", source);
        assert_eq!(added.is_err(), is_refused, "{arguments}: {added:?}");
    }
    tags.add_template(&mut tera, "page", "{% <C> %}{{ n }}{% </C> %}").unwrap();
    for n in ["1", "2", "1"] {
        assert_eq!(tera.render("page", &context!(n => n)).unwrap(), n);
    }
}

/// An attribute that is called like `super()` makes no block of it, and so the
/// tag can stand in a source that is not added.
#[test]
fn attributes_called_super() {
    let (tera, tags) = engine();
    let values = context!(m => &serde_json::json!({"super": 1, "self": 2}));
    let source = "{% cached %}{{ m.super }}{{ m?.self }}{% endcached %}";
    assert_eq!(tags.render_str(&tera, source, &values, true).unwrap(), "12");
}

/// `__tera_context` shows every variable there is.
#[test]
fn the_whole_context() {
    let source = "a\n{% cached %}b{{ __tera_context }}{% endcached %}";
    let expected = "error: `__tera_context` inside `{% cached %}` of line 2: it holds all variables, and no key can; show it outside of the tag\n --> page:2:17";
    assert_refused(&[("page", source)], expected);
    let source =
        "{% cached extra=__tera_context %}{% cached name='a' %}{% endcached %}{% endcached %}";
    assert!(refusal(&[("page", source)]).is_some());
    let part = ("part", "{{ __tera_context }}");
    let source = "{% cached %}{% include 'part' %}{% endcached %}";
    let expected = "error: `{% cached %}`: it includes `part`, which shows `__tera_context`: that holds all variables, and no key can; show it outside of the tag\n --> page:1:1";
    assert_refused(&[part, ("page", source)], expected);
    // A block inside of a layout's tag.
    let layout =
        ("layout", "{{ __tera_context }}{% cached %}{% block b %}{% endblock %}{% endcached %}");
    let fine = ("page", "{% extends 'layout' %}{% block b %}{% endblock %}");
    assert_eq!(refusal(&[layout, fine]), None);
    for shown in ["{{ __tera_context }}", "{% include 'part' %}"] {
        let page = fine.1.replace("{% endblock", &format!("{shown}{{% endblock"));
        let refusal = refusal(&[part, layout, ("page", &page)]).unwrap();
        assert!(refusal.ends_with(" --> layout:1:21"), "{refusal}");
        assert!(refusal.contains("a block inside it in `page`"), "{refusal}");
    }
    // A component has a context of its own, but not a tag in it.
    let debug = ("c", "{% component Debug(x) %}{{ __tera_context }}{% endcomponent Debug %}");
    assert_eq!(
        refusal(&[debug, ("page", "{% cached %}{{ <Debug x={1} /> }}{% endcached %}")]),
        None
    );
    assert_eq!(refusal(&[part, ("page", "{% include 'part' %}{% cached %}{% endcached %}")]), None);
}

/// A hit runs nothing, so it has nothing to put back.
#[test]
fn hits_set_nothing() {
    let (mut tera, tags) = engine();
    let source = "{% set x = 1 %}{% cached %}{% set x = 2 %}{{ x }}{% cached %}{% set_global y = 3 %}{% endcached %}{% endcached %}{% for name, value in __tera_context %}{{ name }}{% endfor %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    assert!(tera.render("page", &Context::new()).unwrap().contains("_cacheops"));
    assert_eq!(tera.render("page", &Context::new()).unwrap(), "2x");
}

/// Only what the blocks in a tag set is put back, and those in them.
#[test]
fn sets_of_blocks_by_their_names() {
    let (mut tera, tags) = engine();
    let show =
        "{{ x | default(value='-') }}{{ y | default(value='-') }}{{ z | default(value='-') }}";
    let layout = "{% block head %}{% endblock %}{% cached %}{% block outer %}{% block inner %}{% endblock %}{% endblock %}{% endcached %}";
    tags.add_templates(
        &mut tera,
        [
            ("layout", format!("{layout}{show}")),
            ("middle", "{% extends 'layout' %}{% block outer %}{{ super() }}{% set y = 2 %}{% endblock %}".to_owned()),
            ("page", "{% extends 'middle' %}{% block head %}{% set z = 1 %}{% endblock %}{% block inner %}{% set x = 3 %}i{% endblock %}".to_owned()),
            ("other", "{% extends 'layout' %}{% block head %}{% set z = 1 %}{% set x = 7 %}{% endblock %}".to_owned()),
        ],
    )
    .unwrap();
    for _ in 0..3 {
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "i--1");
        assert_eq!(tera.render("other", &Context::new()).unwrap(), "7-1");
    }
    let kept = |name: &str| tera.get_template_variables("layout").unwrap().contains(name);
    assert_eq!((kept("x"), kept("y")), (true, true));
    // A tag around `super()`, by which a block inside of the layout's runs.
    let page = "{% extends 'layout' %}{% block outer %}{% cached %}{{ super() }}{% endcached %}{{ x }}{% endblock %}{% block inner %}{% set x = 2 %}{% endblock %}";
    let layout_of_page =
        "{% set x = 1 %}{% block outer %}{% block inner %}{% endblock %}{% endblock %}";
    let mut other = Tera::default();
    let other_tags = Tags::install(&mut other, &Cacheops::in_memory());
    other_tags.add_templates(&mut other, [("layout", layout_of_page), ("page", page)]).unwrap();
    for _ in 0..2 {
        assert_eq!(other.render("page", &Context::new()).unwrap(), "1");
    }
    // `z` is of a block outside of the tag.
    let layout = layout.replace("{% block head", "{% block foot");
    let (mut tera, tags) = engine();
    let page = "{% extends 'layout' %}{% block foot %}{% set z = 1 %}{% endblock %}";
    tags.add_templates(&mut tera, [("layout", layout.as_str()), ("page", page)]).unwrap();
    assert!(!tera.get_template_variables("layout").unwrap().contains("z"));
}

/// Pages of one layout that are never rendered together.
#[test]
fn set_global_in_a_block_of_another_page() {
    let layout = ("layout", "{% block a %}{% endblock %}{% block b %}{% endblock %}");
    let tag = "{% cached extra=x %}{{ super() }}{% endcached %}";
    let page = format!(
        "{{% extends 'layout' %}}{{% block b %}}{{% for x in [1] %}}{tag}{{% endfor %}}{{% endblock %}}"
    );
    let other = "{% extends 'layout' %}{% block b %}{% set_global x = 5 %}{% endblock %}";
    assert_eq!(refusal(&[layout, ("page", &page), ("other", other)]), None);
    // Nor blocks that do not run in each other.
    let beside = format!(
        "{page}{{% block a %}}{{% set_global x = 5 %}}{{% cached %}}{{% set_global x = 6 %}}{{% endcached %}}{{% endblock %}}"
    );
    assert_eq!(refusal(&[layout, ("page", &beside)]), None);
    // A page of the page is rendered with it.
    let child = "{% extends 'page' %}{% block b %}{% for x in [1] %}{{ super() }}{% endfor %}{% endblock %}";
    let sets = page
        .replace("{{ super() }}", "{% set_global x = 5 %}")
        .replace("x in", "i in")
        .replace("=x", "=i");
    assert_eq!(refusal(&[layout, ("page", &sets)]), None);
    assert!(refusal(&[layout, ("page", &sets), ("child", child)]).is_some());
}

/// In Tera `self` is a name like others.
#[test]
fn variables_called_self() {
    let (mut tera, tags) = engine();
    let values = context!(self => "me");
    let source = "{% cached %}{{ self }}{% endcached %}";
    assert_eq!(tags.render_str(&tera, source, &values, true).unwrap(), "me");
    let component = "{% component C(self) %}{% cached extra=self %}{{ self }}{% endcached %}{% endcomponent C %}";
    tags.add_template(&mut tera, "c", component).unwrap();
    tags.add_template(&mut tera, "page", "{{ <C self=\"1\" /> }}").unwrap();
    let page = || tags.render(&tera, "page", &Context::new()).unwrap();
    assert_eq!((page(), page()), ("1".to_owned(), "1".to_owned()));
}

/// Where there is no block, `super` has no fragment to be a part of.
#[test]
fn super_outside_of_blocks() {
    let (tera, tags) = engine();
    let source = "{% cached %}{{ super() }}{% endcached %}";
    let error = tags.render_str(&tera, source, &Context::new(), true).unwrap_err().to_string();
    assert!(error.contains("super() called outside of a block"), "{error}");
    assert!(!error.contains("_cacheops"), "{error}");
}

/// What is nested deeper than Tera takes is Tera's to refuse.
#[test]
fn statements_nested_too_deep() {
    for count in [60, 3_000] {
        let source = format!("{}x{}", "{% if 1 %}".repeat(count), "{% endif %}".repeat(count));
        let refusal = refusal(&[("page", &source)]).unwrap();
        assert!(refusal.contains("The template nesting is too deep"), "{refusal}");
    }
}
