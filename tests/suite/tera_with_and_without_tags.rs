//! Pages with tags are what Tera makes of them without: at a miss, at a hit,
//! and wherever else the tags stand.

use cacheops::Cacheops;
use tera::{Context, Delimiters, Tera, context};
use tera_cacheops::Tags;

/// Templates, of which the last one is the page.
type Templates = &'static [(&'static str, &'static str)];

const PAGES: &[Templates] = &[
    // White space at the edges, and none.
    &[("page", " a  {%- cached -%}  b  {%- endcached -%}  c ")],
    &[("page", " a  {%- cached %}  b  {% endcached -%}  c ")],
    &[("page", " a  {% cached -%}  b  {%- endcached %}  c ")],
    &[("page", "a\n{% cached -%}\n\n b {{ n -}} \n{%- endcached %}\n\n{#- x -#}\n c")],
    &[(
        "page",
        "a {%- for i in [1,2] -%} {%- cached extra=i -%} {{ i }} {%- endcached -%} {%- endfor -%} b",
    )],
    &[("page", " {%- cached -%}  {%- endcached -%} ")],
    &[("page", "a {%-cached-%} b {%-endcached-%} c")],
    &[("page", "{%cached%}b{%endcached%}")],
    // Lines as on Windows, and other letters.
    &[("page", "ä\r\n{% cached -%}\r\n 🐍 {{ n }}\r\n{%- endcached %}\r\nü\r\n")],
    &[("page", "{% cached\r\n extra=\"é\u{2028}\",\r\n name=\"名\" %}名{{ s }}{% endcached %}é")],
    &[("page", "\u{feff}{% cached %}\u{a0}{%- if 1 -%}\u{a0}x{% endif %}{% endcached %}")],
    // What only looks like a tag.
    &[(
        "page",
        "{# {% cached %} #}a{% raw %}{% cached %}{% endraw %}{{ '{% cached %}' }}{% cached %}{# {% endcached %} #}{% raw -%} {% endcached %} {%- endraw %}{{ \"{% endcached %}\" }}{{ `%}` }}{% endcached %}",
    )],
    &[("page", "{% cached extra=\"%}\" %}{{ '}}' }}{% endcached %}")],
    &[("page", "{% cached extra={\"a\": {\"b\": 1 } } %}x{% endcached %}")],
    &[(
        "page",
        "{%- raw %} {{ x }} {% endraw -%} {% cached %} {%- raw -%} {% endcached %} {% endraw %}{% endcached %}",
    )],
    &[("page", "{#- x -#} {% cached %} {#- {% endcached %} -#} b {% endcached %}")],
    &[("page", "{ % cached % } {{ n }}{% cached %}{ { n } }%}}}{% endcached %}")],
    // Captures and filters, around and inside.
    &[(
        "page",
        "{% set x %}{% cached %}<{{ n }}>{% endcached %}{% endset %}{{ x }}{{ x | upper }}",
    )],
    &[(
        "page",
        "{% cached %}{% set x | upper | trim %} <b>{{ s }} {% endset %}{{ x }}{% endcached %}",
    )],
    &[(
        "page",
        "{% filter upper %}a{% cached %}b{% filter lower %}C{{ s }}{% endfilter %}{% endcached %}{% endfilter %}",
    )],
    &[(
        "page",
        "{% cached %}{% filter upper %}x{% cached %}y{{ s }}{% endcached %}z{% endfilter %}{% endcached %}",
    )],
    &[(
        "page",
        "{% set_global x | upper %}{% for i in [1] %}{% cached %}a{% endcached %}{% endfor %}{% endset %}{{ x }}",
    )],
    &[(
        "page",
        "{% set x %}a{% cached %}{% block b %}y{{ s }}{% endblock %}{% endcached %}{% endset %}[{{ x }}]{{ x }}",
    )],
    // Loops.
    &[(
        "page",
        "{% for k, v in m %}{% cached extra=[k, v] %}{{ loop.index }}{{ loop.last }}{{ k }}{{ v }}{% for i in [1, 2] %}{{ loop.index0 }}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}{% endcached %}{% else %}none{% endfor %}",
    )],
    &[("page", "{% for i in [] %}x{% else %}{% cached %}none{% endcached %}{% endfor %}")],
    &[(
        "page",
        "{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{% cached extra=i %}{{ i }}{% endcached %}{% endfor %}",
    )],
    &[("page", "{% cached %}{{ [i + 1 for i in [1, 2]] }}{% endcached %}")],
    // Conditions around and inside.
    &[(
        "page",
        "{% if n == 1 %}{% cached %}a{% endcached %}{% elif n %}{% cached %}b{% endcached %}{% else %}c{% endif %}",
    )],
    &[(
        "page",
        "{% cached %}{% if n == 1 %}a{% elif n == 7 %}b{% else %}c{% endif %}{% endcached %}",
    )],
    // Escaping.
    &[("page.html", "{% cached %}{{ s }}{{ s | safe }}{% endcached %}{{ s }}")],
    &[
        ("part.txt", "{% cached %}{{ s }}{% endcached %}"),
        (
            "page.html",
            "{% include 'part.txt' %}{% cached %}{% include 'part.txt' %}{% endcached %}",
        ),
    ],
    &[
        ("part.html", "{% cached %}{{ s }}{% endcached %}"),
        (
            "page.txt",
            "{% include 'part.html' %}{% cached %}{% include 'part.html' %}{% endcached %}{% set x %}{{ s }}{% endset %}{{ x }}",
        ),
    ],
    &[(
        "page.html",
        "{% set x %}{% cached %}{{ s }}{% endcached %}{% endset %}{% cached %}{{ x }}{{ x | upper }}{% endcached %}",
    )],
    &[(
        "page.txt",
        "{% set x %}{% cached %}{{ s }}{% endcached %}{% endset %}{{ x }}{% filter escape_html %}{% cached %}{{ s }}{% endcached %}{% endfilter %}",
    )],
    // Layouts.
    &[
        (
            "base",
            "{% cached %}<{% block a %}a{% block b %}b{% endblock %}{% endblock %}>{% endcached %}",
        ),
        (
            "middle",
            "{% extends 'base' %}{% block a %}{% cached %}m{{ super() }}m{% endcached %}{% endblock %}{% block b %}B{{ super() }}{% endblock %}",
        ),
        (
            "page",
            "{% extends 'middle' %}{% block a %}p{{ super() }}{{ super() }}p{% endblock %}{% block b %}{% cached %}c{{ super() }}{% endcached %}{% endblock %}",
        ),
    ],
    &[
        (
            "base",
            "{% block a %}{% cached %}{% for i in [1, 2] %}{{ i }}{{ loop.index }}{% endfor %}{% endcached %}{% endblock %}",
        ),
        (
            "page",
            "{% extends 'base' %}{% block a %}{% for i in [1, 2] %}{% cached extra=i %}{{ super() }}{{ loop.index }}{% endcached %}{% endfor %}{% endblock %}",
        ),
    ],
    &[
        (
            "base",
            "{% if 1 %}{% filter upper %}{% cached %}x{% block a %}{% endblock %}{% endcached %}{% endfilter %}{% endif %}",
        ),
        (
            "other",
            "{% extends 'base' %}\n{% block a %}{% include 'part' %}{% endblock %}\n{% component C() %}{% cached %}c{% endcached %}{% endcomponent C %}",
        ),
        ("part", "{% cached %}{{ <C /> }}p{{ s }}{% endcached %}"),
        (
            "page",
            "{# a comment #} {% extends 'base' %}{% block a %}{% cached %}{% include 'part' %}{% endcached %}{% endblock %}",
        ),
    ],
    &[
        (
            "base",
            "{% block x %}{% set v = 1 %}{% endblock %}{% cached extra=v %}{{ v }}{% block a %}{{ v }}{% endblock %}{% endcached %}",
        ),
        (
            "page",
            "{% extends 'base' %}{% block x %}{{ super() }}{% set v = v + 1 %}{% endblock %}{% block a %}[{{ super() }}]{% endblock %}",
        ),
    ],
    // Components: bodies in bodies, in tags and around them.
    &[
        (
            "c",
            "{% component Card(t, ...rest) %}{% cached extra=[t, rest, body] %}<{{ t }}>{{ body }}{{ rest }}{% endcached %}{% endcomponent Card %}{% component ui.Note() %}({{ body }}){% endcomponent ui.Note %}",
        ),
        (
            "page.html",
            "{% cached %}{% <Card t={s}> %}{% cached %}i{{ s }}{% endcached %}{% <ui.Note> %}{% <Card t=\"x\" a={1}> %}{% cached %}d{% endcached %}{% </Card> %}{% </ui.Note> %}{% </Card> %}{% endcached %}",
        ),
    ],
    &[
        (
            "c",
            "{% component Tree(n: integer) %}{% cached extra=n %}{{ n }}{% if n > 0 %}{{ <Tree n={n - 1} /> }}{% endif %}{% endcached %}{% endcomponent Tree %}",
        ),
        (
            "page",
            "{{ <Tree n={5} /> }}{% for i in [1, 2] %}{% cached extra=i %}{{ <Tree n={i} /> }}{% endcached %}{% endfor %}",
        ),
    ],
    &[(
        "page",
        "{% component for() %}{% cached %}x{% endcached %}{% endcomponent for %}{% component block() %}y{% endcomponent block %}{% cached %}{% <for> %}{% <block> %}{% </block> %}{% </for> %}{{ <for /> }}{% endcached %}",
    )],
    &[(
        "page",
        "{% component C(@n) %}{% cached extra=n %}{{ n }}{% endcached %}{% endcomponent C %}{% cached %}{{ <C /> }}{% endcached %}{% set n = 8 %}{{ <C /> }}",
    )],
    // Sets whose names are odd, before and behind.
    &[(
        "page",
        "{% set body = 1 %}{% set rows = 2 %}{% cached %}{{ body }}{{ rows }}{{ s.body | default(value='') }}{% endcached %}{{ body }}",
    )],
    &[(
        "page",
        "{% set x = 1 %}{% cached %}{% if 1 %}{{ x }}{% endif %}{% endcached %}{% set x = 2 %}{% cached extra=x %}{{ x }}{% endcached %}",
    )],
];

/// The page with other statements in place of the tags, that do nothing.
fn without_tags(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let inner = tag[2..].trim_start_matches('-').trim_start();
        // The arguments of these pages hold an end in text once.
        let end = if tag.contains("extra=\"%}\"") && inner.starts_with("cached ") {
            tag.find("\" %}").unwrap() + 4
        } else {
            tag.find("%}").unwrap_or(tag.len() - 2) + 2
        };
        let whole = &tag[..end];
        let (left, right) = (whole.starts_with("{%-"), whole.ends_with("-%}"));
        let edge = |is: bool| if is { "-" } else { "" };
        if inner.starts_with("cached") {
            out.push_str(&format!("{{%{} if true {}%}}", edge(left), edge(right)));
        } else if inner.starts_with("endcached") {
            out.push_str(&format!("{{%{} endif {}%}}", edge(left), edge(right)));
        } else {
            out.push_str(whole);
        }
        rest = &tag[end..];
    }
    out + rest
}

fn angles(source: &str) -> String {
    [("{%", "<%"), ("%}", "%>"), ("{{", "<<"), ("}}", ">>"), ("{#", "<#"), ("#}", "#>")]
        .iter()
        .fold(source.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn values() -> Context {
    context!(n => &7, s => "<ß>", m => &serde_json::json!({"a": "<"}))
}

#[test]
fn pages_with_tags_equal_pages_without() {
    for templates in PAGES {
        let (name, source) = templates.last().unwrap();
        let is_verbatim =
            source.contains(" raw ") || source.contains("'{%") || source.contains("{#");
        let mut plain = Tera::default();
        let sources: Vec<_> =
            templates.iter().map(|(name, source)| (*name, without_tags(source))).collect();
        let cache = Cacheops::in_memory();
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &cache);
        tags.add_templates(&mut tera, templates.iter().copied()).unwrap();
        let first = tags.render(&tera, name, &values()).unwrap();
        if !is_verbatim {
            plain.add_raw_templates(sources).unwrap();
            assert_eq!(first, plain.render(name, &values()).unwrap(), "{templates:?}");
        }
        let again = |text: String| assert_eq!(text, first, "{templates:?}");
        again(tera.render(name, &values()).unwrap());
        let stored = cache.stats().stored;
        again(tags.render(&tera, name, &values()).unwrap());
        let mut out = Vec::new();
        tags.render_to(&tera, name, &values(), &mut out).unwrap();
        again(String::from_utf8(out).unwrap());
        assert_eq!(cache.stats().stored, stored, "{templates:?}");
        assert!(stored > 0, "{templates:?}");
        // Loaded anew, and by other delimiters.
        tags.add_templates(&mut tera, templates.iter().copied()).unwrap();
        again(tags.render(&tera, name, &values()).unwrap());
        assert_eq!(cache.stats().stored, stored, "{templates:?}");
        assert!(!cache.is_filling());
        let mut other = Tera::default();
        let tags = Tags::install(&mut other, &Cacheops::in_memory());
        let delimiters = Delimiters {
            block_start: "<%".into(),
            block_end: "%>".into(),
            variable_start: "<<".into(),
            variable_end: ">>".into(),
            comment_start: "<#".into(),
            comment_end: "#>".into(),
        };
        tags.set_delimiters(&mut other, delimiters).unwrap();
        if is_verbatim
            || templates.iter().any(|(_, s)| s.contains("<{") || s.contains("}>"))
            || source.contains("}}}")
            || source.contains("'}}")
        {
            continue;
        }
        tags.add_templates(&mut other, templates.iter().map(|(n, s)| (*n, angles(s)))).unwrap();
        again(other.render(name, &values()).unwrap());
        again(other.render(name, &values()).unwrap());
    }
}
