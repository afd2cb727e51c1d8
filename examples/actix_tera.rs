//! A web application with actix-web and Tera. It caches a list until one of its
//! rows changes. A form posts a new row, and the handler announces the change.
//!
//! ```console
//! $ cargo run --example actix_tera &
//! on http://127.0.0.1:8000
//! $ curl http://127.0.0.1:8000
//! <ul><li>Ownership</li></ul>
//! $ curl -X POST http://127.0.0.1:8000/articles -d title=Lifetimes
//! $ curl http://127.0.0.1:8000
//! <ul><li>Ownership</li><li>Lifetimes</li></ul>
//! ```
//!
//! The query runs twice, however often you request the page.
#![expect(clippy::print_stdout, reason = "it talks to the terminal")]

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::error::ErrorInternalServerError;
use actix_web::web::{Data, Form, Html, ServiceConfig, get, post};
use actix_web::{App, HttpServer};
use serde::{Deserialize, Serialize};
use tera::{Context, Tera};
use tera_cacheops::cacheops::Cacheops;
use tera_cacheops::{Tags, lazy};

const FRONT: &str = "<ul>{% cached_as articles %}\
    {% for a in articles | rows %}<li>{{ a.title }}</li>{% endfor %}\
    {% endcached_as %}</ul>";

#[derive(Clone, Serialize, Deserialize)]
struct Article {
    title: String,
}

/// What all requests share. The vector stands for a database.
pub struct Site {
    /// To look into.
    pub cache: Cacheops,
    tera: Tera,
    tags: Tags,
    rows: Arc<Mutex<Vec<Article>>>,
}

impl Site {
    /// With one article.
    pub fn new() -> Result<Self, tera::Error> {
        let cache = Cacheops::in_memory();
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &cache);
        tags.add_template(&mut tera, "front.html", FRONT)?;
        let rows = Arc::new(Mutex::new(vec![Article { title: "Ownership".to_owned() }]));
        Ok(Site { cache, tera, tags, rows })
    }
}

/// The routes of a site.
pub fn routes(site: Data<Site>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(site).route("/", get().to(front)).route("/articles", post().to(add));
    }
}

async fn front(site: Data<Site>) -> Result<Html, actix_web::Error> {
    let rows = site.rows.clone();
    // Runs only where the template asks for the rows.
    let articles = lazy(&site.cache, "articles", move || {
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok::<_, std::io::Error>(rows.clone())
    });
    let mut context = Context::new();
    context.insert("articles", &articles);
    let page = site.tags.render(&site.tera, "front.html", &context);
    page.map(Html::new).map_err(|error| ErrorInternalServerError(site.tags.explain(&error)))
}

async fn add(site: Data<Site>, Form(new): Form<Article>) -> Result<&'static str, actix_web::Error> {
    site.rows.lock().unwrap_or_else(PoisonError::into_inner).push(new.clone());
    // After the commit.
    site.cache.invalidate_obj("articles", &new).map_err(ErrorInternalServerError)?;
    Ok("")
}

/// Serves until it is ended.
#[actix_web::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let site = Data::new(Site::new()?);
    let server = HttpServer::new(move || App::new().configure(routes(site.clone())))
        .bind(("127.0.0.1", 8000))?;
    println!("on http://127.0.0.1:8000");
    server.run().await?;
    Ok(())
}
