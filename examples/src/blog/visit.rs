//! What a request contains besides its path: the settings of the reader.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What readers choose by a link, `?outline=1`, and cookies remember.
const PREFERENCES: [(&str, &[&str]); 2] =
    [("outline", &["0", "1"]), ("view", &["cards", "titles"])];

/// A request, as far as templates are concerned.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The path with its query.
    pub(crate) here: String,
    /// Whether to show where fragments are.
    pub(crate) outline: bool,
    /// `cards`, or `titles` alone.
    pub(crate) view: &'static str,
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let here = parts.uri.path_and_query().map_or("/", |whole| whole.as_str());
        Ok(Visit {
            here: here.to_owned(),
            outline: cookie(&parts.headers, "outline") == Some("1"),
            view: match cookie(&parts.headers, "view") {
                Some("titles") => "titles",
                _ => "cards",
            },
        })
    }
}

impl Visit {
    /// This page with one more parameter, for a link.
    pub(crate) fn with(&self, parameter: &str) -> String {
        let joint = if self.here.contains('?') { '&' } else { '?' };
        format!("{}{joint}{parameter}", self.here)
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// Turns a link that chooses something into a cookie, and leads back to the
/// page without it.
pub(crate) async fn remember_preferences(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    match chosen(request.uri()) {
        Some((cookie, back)) => {
            (StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, back)]).into_response()
        }
        None => next.run(request).await,
    }
}

/// The cookie that a link asks for, and where it leads.
fn chosen(uri: &Uri) -> Option<(String, String)> {
    let pairs: Vec<&str> = uri.query()?.split('&').collect();
    let (at, name, value) = pairs.iter().enumerate().find_map(|(at, pair)| {
        let (name, value) = pair.split_once('=')?;
        let known = PREFERENCES.iter().any(|(n, values)| *n == name && values.contains(&value));
        known.then_some((at, name, value))
    })?;
    let rest: Vec<&str> =
        pairs.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, pair)| *pair).collect();
    // One slash in front: two would lead to another site.
    let path = format!("/{}", uri.path().trim_start_matches('/'));
    let back = if rest.is_empty() { path } else { format!("{path}?{}", rest.join("&")) };
    let cookie = format!("{name}={value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    Some((cookie, back))
}

/// Refuses forms that another site sends in the reader's name.
pub(crate) async fn only_own_forms(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if request.method() == Method::POST && from.is_some_and(|from| from == "cross-site") {
        return (StatusCode::FORBIDDEN, "This form was sent by another site.").into_response();
    }
    next.run(request).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn a_choice_becomes_a_cookie_and_leads_back() {
        let chosen = |uri: &str| chosen(&uri.parse().unwrap());
        let (cookie, back) = chosen("/search?q=a%26b&outline=1").unwrap();
        assert!(cookie.starts_with("outline=1;"), "{cookie}");
        assert_eq!(back, "/search?q=a%26b");
        assert_eq!(chosen("//evil.example/?outline=0").unwrap().1, "/evil.example/");
        assert_eq!(chosen("/?outline=2"), None);
        assert_eq!(chosen("/?page=2"), None);
    }
}
