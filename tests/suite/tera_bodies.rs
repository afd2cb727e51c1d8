//! What reaches the body of a tag without being named in it: it is part of the
//! key, or refused with the line.

use cacheops::Cacheops;
use tera::{Context, Tera, context};
use tera_cacheops::Tags;

/// Templates with tags, and the same without.
struct Pair {
    tera: Tera,
    tags: Tags,
    plain: Tera,
}

impl Pair {
    fn new(templates: &[(&str, &str)]) -> Result<Self, tera::Error> {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        tags.add_templates(&mut tera, templates.iter().copied())?;
        let mut plain = Tera::default();
        let without = templates.iter().map(|(name, text)| (*name, neutral(text)));
        plain.add_raw_templates(without).unwrap();
        Ok(Pair { tera, tags, plain })
    }

    /// Whatever is rendered in whichever order is as without tags.
    fn assert_same(&self, names: &[&str], context: &Context) {
        for _ in 0..2 {
            for name in names {
                let expected = self.plain.render(name, context).unwrap();
                assert_eq!(
                    self.tags.render(&self.tera, name, context).unwrap(),
                    expected,
                    "{name}"
                );
                assert_eq!(self.tera.render(name, context).unwrap(), expected, "{name}");
            }
        }
    }
}

/// The same with statements that do nothing in place of the tags.
fn neutral(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(at) = rest.find("{% cached") {
        let end = at + rest[at..].find("%}").unwrap() + 2;
        out += &rest[..at];
        out += "{% if true %}";
        rest = &rest[end..];
    }
    out += rest;
    out.replace("{% endcached_as %}", "{% endif %}").replace("{% endcached %}", "{% endif %}")
}

const LAYOUT: &str =
    "{% cached %}[{% block b %}base{% endblock %}]{% endcached %}{% block c %}{% endblock %}";

/// A layout that is rendered by itself, by an include, inside of a child of it.
#[test]
fn layouts_rendered_by_themselves_equal_pages_without_tags() {
    let child = |text: &str| {
        format!(
            "{{% extends 'layout' %}}{{% block b %}}{text}{{% endblock %}}{{% block c %}}({{% include 'layout' %}}{{% include 'other' %}}{{% include 'plain' %}}){{% endblock %}}"
        )
    };
    let (one, two) = (child("one"), child("{{ super() }}two{% include 'plain' %}"));
    let pair = Pair::new(&[
        ("layout", LAYOUT),
        ("other", "{% extends 'layout' %}{% block b %}other{% cached %}x{{ super() }}{% endcached %}{% endblock %}"),
        ("plain", "{% include 'layout' %}{% include 'other' %}"),
        ("one", &one),
        ("two", &two),
        ("both", "{% include 'one' %}{% include 'layout' %}{% cached %}{% include 'two' %}{% endcached %}"),
    ])
    .unwrap();
    let names = ["one", "layout", "both", "two", "other", "plain"];
    pair.assert_same(&names, &Context::new());
    for first in names {
        pair.assert_same(&[first, "two", "layout", "one"], &Context::new());
    }
}

/// `body` cannot come by a parameter that takes it from the caller, which no
/// tag would see.
#[test]
fn tera_refuses_a_component_with_an_argument_called_body() {
    let source = "{% component Inner(@body) %}<{{ body }}>{% endcomponent Inner %}";
    assert!(Tera::default().add_raw_template("inner", source).is_err());
}

/// A child that came past the plugin, by whatever method it is rendered.
#[test]
fn children_loaded_without_the_plugin_cache_no_blocks() {
    for is_nested in [false, true] {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        tags.add_template(&mut tera, "layout", LAYOUT).unwrap();
        let child =
            |text: &str| format!("{{% extends 'layout' %}}{{% block b %}}{text}{{% endblock %}}");
        tags.add_template(&mut tera, "known", child("known")).unwrap();
        for name in ["one", "two"] {
            tera.add_raw_template(name, &child(name)).unwrap();
        }
        let mut outer = Tera::default();
        let inner = tera.clone();
        outer.register_function("inner", move |kwargs: tera::Kwargs, _: &tera::State| {
            inner.render(kwargs.must_get("name")?, &Context::new())
        });
        let outer_tags = Tags::install(&mut outer, &Cacheops::in_memory());
        outer_tags.add_template(&mut outer, "page", "{{ inner(name=name) }}").unwrap();
        let own = |name: &str| match is_nested {
            true => outer_tags.render(&outer, "page", &context!(name => name)).unwrap(),
            false => tera.render(name, &Context::new()).unwrap(),
        };
        for _ in 0..2 {
            for (name, text) in
                [("layout", "base"), ("one", "one"), ("two", "two"), ("known", "known")]
            {
                assert_eq!(own(name), format!("[{text}]"));
                assert_eq!(tags.render(&tera, name, &Context::new()).unwrap(), format!("[{text}]"));
            }
        }
    }
}

/// Components that only a template around an include defines, or another one.
#[test]
fn a_changed_component_of_an_include_is_a_new_fragment() {
    let page = |version: &str| {
        [
            (
                "page".to_owned(),
                format!(
                    "{{% component Card() %}}{version}{{% endcomponent Card %}}{{% include 'middle' %}}"
                ),
            ),
            ("middle".to_owned(), "{% cached %}{% include 'part' %}{% endcached %}".to_owned()),
            ("part".to_owned(), "{{ <Card /> }}".to_owned()),
        ]
    };
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    for version in ["1", "2", "1"] {
        tags.add_templates(&mut tera, page(version)).unwrap();
        for name in ["page", "middle", "part"] {
            assert_eq!(tags.render(&tera, name, &Context::new()).unwrap(), version);
        }
    }
}

/// What a table's last change is, inside of a tag.
#[test]
fn get_last_invalidation_takes_one_table_or_a_list() {
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    let shows = "{{ get_last_invalidation(of=['t', 'u']) }}";
    tags.add_template(&mut tera, "page", format!("{{% cached %}}{shows}{{% endcached %}}"))
        .unwrap();
    tags.add_template(&mut tera, "plain", shows).unwrap();
    let page = |name| tags.render(&tera, name, &Context::new()).unwrap();
    for table in ["t", "u", "t"] {
        assert_eq!(page("page"), page("plain"));
        cache.invalidate_model(table).unwrap();
        assert_eq!(page("page"), page("plain"));
    }
}

/// Names that the plugin uses.
#[test]
fn names_of_the_plugin_are_refused() {
    for source in [
        "\n {% set _cacheops_0 = 1 %}",
        "\n {% set_global _cacheops_page = 1 %}",
        "\n {{ _cacheops }}",
        "\n {% for _cacheops_0, x in m %}{% endfor %}",
        "\n {% block _cacheops %}{% endblock %}",
        "\n {% component _cacheops(x) %}{% endcomponent _cacheops %}",
        "\n {% component C(_cacheops_page) %}{% endcomponent C %}",
        "\n {% component C(@_cacheops_0) %}{% endcomponent C %}",
        "\n {{ x._cacheops_0 }}{{ _cacheops_0 }}",
        "\n {% cached extra=_cacheops %}{% endcached %}",
    ] {
        let error = Pair::new(&[("page", source)]).err().expect(source).to_string();
        assert!(error.contains("is a name that this library reserves"), "{source}: {error}");
        assert!(error.contains("--> page:2:"), "{source}: {error}");
    }
    for fine in [
        "_cacheops{# _cacheops #}{% raw %}{{ _cacheops }}{% endraw %}{{ '_cacheops' }}",
        "{{ x._cacheops_0 }}{{ x['_cacheops'] }}{{ a_cacheops }}",
    ] {
        let pair = Pair::new(&[("page", fine)]).unwrap();
        let x = std::collections::BTreeMap::from([("_cacheops_0", 1), ("_cacheops", 2)]);
        pair.assert_same(&["page"], &context!(x => &x, a_cacheops => &3));
    }
}

/// A map of the author's that has a key like the one of querysets.
#[test]
fn a_map_with_a_key_of_the_plugin_is_data() {
    let pair = Pair::new(&[(
        "page",
        "{% cached extra=x %}{{ x._cacheops }}{% endcached %}{% cached extra=[x] %}{{ x._cacheops }}{% endcached %}{% cached extra={'a': x} %}{{ x._cacheops }}{% endcached %}",
    )])
    .unwrap();
    let map = |value: tera::Value| context!(x => &std::collections::BTreeMap::from([("_cacheops", value)]));
    pair.assert_same(&["page"], &map(1.into()));
    pair.assert_same(&["page"], &map(2.into()));
    for length in [19, 20, 27, 28, 35, 36, 44] {
        for byte in [b'a', b'b'] {
            let mut bytes = vec![b'x'; length];
            bytes[length - 1] = byte;
            pair.assert_same(&["page"], &map(tera::Value::bytes(bytes)));
        }
    }
}

/// Strings next to each other are no argument, as by Tera itself.
#[test]
fn adjacent_strings_are_one_argument() {
    assert!(Tera::default().add_raw_template("t", "{{ 'a' 'b' }}").is_err());
    for source in [
        "{% cached name='a' 'b' %}{% endcached %}",
        "{% cached_as 't' 'u' %}{% endcached_as %}",
        "{% cached_as 't', 'u' 'v' %}{% endcached_as %}",
        "{% cached_as 't', extra='u' 'v' %}{% endcached_as %}",
    ] {
        let error = Pair::new(&[("page", source)]).err().expect(source).to_string();
        assert!(error.contains("--> page:1:"), "{source}: {error}");
    }
}
