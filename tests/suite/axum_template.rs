//! With axum-template, whose own engines are of older versions of both.
//! The handbook shows what stands here.

use cacheops::{Cacheops, QuerySet};
use serde_json::json;

/// What an article of the handbook shows is what is tested here.
fn assert_shown(source: &str) {
    let page = include_str!("../../docs/handbook/axum-template.md");
    let shown = source
        .lines()
        .skip_while(|line| !line.starts_with("    use "))
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    let shown: Vec<&str> = shown.take_while(|line| *line != "}").collect();
    let code = shown.join("\n");
    let code = code.split("\n// Up to here.").next().unwrap().trim();
    assert!(page.contains(code), "{code}");
}

fn source_of(name: &str) -> String {
    let source = include_str!("axum_template.rs");
    let begin = source.find(&format!("mod {name} {{")).unwrap();
    source[begin..].to_owned()
}

mod with_tera {
    use axum::http::StatusCode;
    use axum_template::TemplateEngine;
    use serde::Serialize;
    use tera::{Context, Tera};
    use tera_cacheops::Tags;

    #[derive(Clone)]
    pub struct Pages {
        pub tera: Tera,
        pub tags: Tags,
    }

    impl TemplateEngine for Pages {
        type Error = (StatusCode, String);

        fn render<S: Serialize>(&self, name: &str, data: S) -> Result<String, Self::Error> {
            let page = Context::from_serialize(&data)
                .and_then(|context| self.tags.render(&self.tera, name, &context));
            page.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, self.tags.explain(&error)))
        }
    }
    // Up to here.
}

mod with_minijinja {
    use std::sync::Arc;

    use axum::http::StatusCode;
    use axum_template::TemplateEngine;
    use minijinja::Environment;
    use minijinja::value::Serde;
    use minijinja_cacheops::Tags;
    use serde::Serialize;

    #[derive(Clone)]
    pub struct Pages {
        pub env: Arc<Environment<'static>>,
        pub tags: Tags,
    }

    impl TemplateEngine for Pages {
        type Error = (StatusCode, String);

        fn render<S: Serialize>(&self, name: &str, data: S) -> Result<String, Self::Error> {
            let page =
                self.env.get_template(name).and_then(|template| template.render(Serde(data)));
            page.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, self.tags.explain(&error)))
        }
    }
    // Up to here.
}

/// The body and the status of a page, as axum sends it.
fn response<E: axum_template::TemplateEngine>(
    engine: E,
    data: impl serde::Serialize,
) -> (u16, String) {
    use axum::response::IntoResponse;
    let response = axum_template::RenderHtml("page.html", engine, data).into_response();
    let status = response.status().as_u16();
    let bytes = futures_executor::block_on(axum::body::to_bytes(response.into_body(), 10_000));
    (status, String::from_utf8(bytes.unwrap().to_vec()).unwrap())
}

#[test]
fn tera() {
    assert_shown(&source_of("with_tera"));
    let cache = Cacheops::in_memory();
    let mut tera = tera::Tera::default();
    let tags = tera_cacheops::Tags::install(&mut tera, &cache);
    let source = "{% cached_as articles %}{% for a in articles | rows %}<{{ a }}>{% endfor %}{{ n }}{% endcached_as %}{{ n }}";
    tags.add_template(&mut tera, "page.html", source).unwrap();
    let pages = with_tera::Pages { tera, tags };
    let page = |n: u8| {
        let rows = move || Ok::<_, std::io::Error>(vec![n]);
        #[derive(serde::Serialize)]
        struct Data {
            articles: tera_cacheops::Lazy,
            n: u8,
        }
        let articles = tera_cacheops::lazy(&cache, QuerySet::table("articles"), rows);
        response(pages.clone(), Data { articles, n })
    };
    assert_eq!(page(1), (200, "<1>11".to_owned()));
    assert_eq!(page(2), (200, "<1>12".to_owned()));
    cache.invalidate_obj("articles", &json!({"id": 1})).unwrap();
    assert_eq!(page(3), (200, "<3>33".to_owned()));
    let (status, text) = response(pages.clone(), json!({}));
    assert!(status == 500 && text.contains("{% cached_as articles %}"), "{text}");
}

#[test]
fn minijinja() {
    assert_shown(&source_of("with_minijinja"));
    let cache = Cacheops::in_memory();
    let mut env = minijinja::Environment::new();
    let tags = minijinja_cacheops::Tags::install(&mut env, &cache);
    let source = "{% cached_as articles %}{% for a in articles %}<{{ a }}>{% endfor %}{{ n }}{% endcached_as %}{{ n }}";
    tags.add_template(&mut env, "page.html", source).unwrap();
    let pages = with_minijinja::Pages { env: env.into(), tags };
    let page = |n: u8| {
        let rows = move || Ok::<_, std::io::Error>(vec![n]);
        let articles = minijinja_cacheops::lazy(&cache, QuerySet::table("articles"), rows);
        response(pages.clone(), minijinja::context!(articles, n))
    };
    assert_eq!(page(1), (200, "<1>11".to_owned()));
    assert_eq!(page(2), (200, "<1>12".to_owned()));
    cache.invalidate_obj("articles", &json!({"id": 1})).unwrap();
    assert_eq!(page(3), (200, "<3>33".to_owned()));
    let (status, text) = response(pages.clone(), json!({}));
    assert!(status == 500 && text.contains("{% cached_as articles %}"), "{text}");
}
