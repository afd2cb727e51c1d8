//! Articles as HTML.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// Turns Markdown into HTML. Anybody can edit an article, so HTML inside it is
/// shown as text, and a link that is no plain address leads nowhere.
pub(crate) fn to_html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let events = Parser::new_ext(markdown, options).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: on_site(safe(dest_url)), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: safe(dest_url), title, id })
        }
        event => event,
    });
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut out, events);
    out
}

/// An address, if it is relative or of a scheme that runs nothing.
fn safe(address: CowStr<'_>) -> CowStr<'_> {
    let scheme = address.split(['/', '?', '#']).next().and_then(|start| start.split_once(':'));
    let known = ["http", "https", "mailto"];
    match scheme {
        Some((scheme, _)) if !known.iter().any(|k| scheme.eq_ignore_ascii_case(k)) => "#".into(),
        _ => address,
    }
}

/// The handbook's articles link to each other as files, `querysets.md`; here
/// they are pages.
fn on_site(address: CowStr<'_>) -> CowStr<'_> {
    let (file, fragment) = match address.split_once('#') {
        Some((file, fragment)) => (file, format!("#{fragment}")),
        None => (&*address, String::new()),
    };
    match file.trim_start_matches("./").strip_suffix(".md") {
        Some(slug) if !slug.contains(['/', ':']) => format!("/article/{slug}{fragment}").into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::to_html;

    #[test]
    fn html_is_shown_as_text() {
        let html = to_html("a <script>alert(1)</script> b\n\n<div onclick=x>\n");
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("<div"), "{html}");
    }

    #[test]
    fn links_run_nothing() {
        assert!(to_html("[a](javascript:alert(1))").contains("href=\"#\""));
        assert!(to_html("[a](https://example.org/x:y)").contains("https://example.org"));
    }

    #[test]
    fn files_of_the_handbook_are_pages() {
        assert!(to_html("[a](querysets.md)").contains("href=\"/article/querysets\""));
        assert!(to_html("[a](./a.md#b)").contains("href=\"/article/a#b\""));
        assert!(to_html("[a](https://x.org/a.md)").contains("href=\"https://x.org/a.md\""));
    }
}
