//! A web application with axum and MiniJinja. It caches a list until one of its
//! rows changes. A form posts a new row, and the handler announces the change.
//!
//! ```console
//! $ cargo run --example axum_minijinja &
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

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Router, serve};
use minijinja::{Environment, context};
use minijinja_cacheops::cacheops::Cacheops;
use minijinja_cacheops::{Tags, lazy};
use serde::{Deserialize, Serialize};

const FRONT: &str = "<ul>{% cached_as articles %}\
    {% for a in articles %}<li>{{ a.title }}</li>{% endfor %}\
    {% endcached_as %}</ul>";

#[derive(Clone, Serialize, Deserialize)]
struct Article {
    title: String,
}

/// What all requests share. The vector stands for a database.
struct App {
    cache: Cacheops,
    env: Environment<'static>,
    tags: Tags,
    rows: Arc<Mutex<Vec<Article>>>,
}

type Failure = (StatusCode, String);

/// The routes, and the cache to look into.
pub fn app() -> Result<(Router, Cacheops), Box<dyn std::error::Error>> {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    tags.add_template(&mut env, "front.html", FRONT)?;
    let rows = Arc::new(Mutex::new(vec![Article { title: "Ownership".to_owned() }]));
    let app = Arc::new(App { cache: cache.clone(), env, tags, rows });
    let routes = Router::new().route("/", get(front)).route("/articles", post(add)).with_state(app);
    Ok((routes, cache))
}

async fn front(State(app): State<Arc<App>>) -> Result<Html<String>, Failure> {
    let rows = app.rows.clone();
    // Runs only where the template looks into the list.
    let articles = lazy(&app.cache, "articles", move || {
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok::<_, std::io::Error>(rows.clone())
    });
    let page = app.env.get_template("front.html").and_then(|t| t.render(context!(articles)));
    let failed = |error| (StatusCode::INTERNAL_SERVER_ERROR, app.tags.explain(&error));
    page.map(Html).map_err(failed)
}

async fn add(State(app): State<Arc<App>>, Form(new): Form<Article>) -> Result<(), Failure> {
    app.rows.lock().unwrap_or_else(PoisonError::into_inner).push(new.clone());
    // After the commit.
    let announced = app.cache.invalidate_obj("articles", &new);
    announced.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Serves until it is ended.
#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (routes, _) = app()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!("on http://{}", listener.local_addr()?);
    serve(listener, routes).await?;
    Ok(())
}
