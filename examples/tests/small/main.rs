//! Runs each small example, as it stands.
#![allow(missing_docs, dead_code, reason = "programs, taken as modules")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../../actix_tera.rs"]
mod actix_tera;
#[path = "../../axum_minijinja.rs"]
mod axum_minijinja;
#[path = "../../minimal.rs"]
mod minimal;
#[path = "../../over_redis.rs"]
mod over_redis;
#[path = "../../own_tag.rs"]
mod own_tag;
#[path = "../../testing.rs"]
mod testing;

use actix_web::web::Data;
use cacheops_tests::servers::Server;

const BEFORE: &str = "<ul><li>Ownership</li></ul>";
const AFTER: &str = "<ul><li>Ownership</li><li>A &amp; B</li></ul>";
const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn minimal_runs() {
    minimal::main().unwrap();
}

#[test]
fn own_tag_runs() {
    own_tag::main().unwrap();
}

#[test]
fn testing_runs() {
    testing::main().unwrap();
}

#[test]
fn over_redis_runs() {
    let server = Server::start();
    over_redis::run(&server.url()).unwrap();
}

#[tokio::test]
async fn axum_minijinja_serves() {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    let (routes, cache) = axum_minijinja::app().unwrap();
    let page = || async {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
    };
    assert_eq!([page().await, page().await], [BEFORE, BEFORE]);
    let form = Request::post("/articles").header("content-type", FORM);
    let added =
        routes.clone().oneshot(form.body(Body::from("title=A+%26+B")).unwrap()).await.unwrap();
    assert!(added.status().is_success(), "{added:?}");
    assert_eq!([page().await, page().await], [AFTER, AFTER]);
    assert_eq!((cache.stats().hits, cache.stats().misses), (2, 2));
}

#[actix_web::test]
async fn actix_tera_serves() {
    use actix_web::test::{TestRequest, call_and_read_body, init_service};

    let site = Data::new(actix_tera::Site::new().unwrap());
    let routes = actix_tera::routes(site.clone());
    let app = init_service(actix_web::App::new().configure(routes)).await;
    let page = || async {
        let body = call_and_read_body(&app, TestRequest::get().uri("/").to_request()).await;
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!([page().await, page().await], [BEFORE, BEFORE]);
    let form = TestRequest::post().uri("/articles").insert_header(("content-type", FORM));
    let body = call_and_read_body(&app, form.set_payload("title=A+%26+B").to_request()).await;
    assert!(body.is_empty(), "{body:?}");
    assert_eq!([page().await, page().await], [AFTER, AFTER]);
    assert_eq!((site.cache.stats().hits, site.cache.stats().misses), (2, 2));
}
