//! A site under test, and what its pages and forms say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cacheops_examples::blog::{Engine, Options, Server, serve};
use cacheops_tests::servers::PATIENCE;
use serde_json::Value;
use tokio::runtime::Runtime;

/// An instance of the site.
pub(crate) struct Site {
    runtime: Runtime,
    server: Option<Server>,
    options: Options,
    folder: Arc<Folder>,
}

/// A folder with a database, which is removed with the last site on it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cacheops-blog-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.0.join("blog.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Site {
    /// Without Redis.
    pub(crate) fn start(engine: Engine) -> Site {
        let folder = Arc::new(Folder::new());
        let options = Options { engine, ..Options::new(folder.db()) };
        Site::open(options, folder)
    }

    /// Over a Redis, on a database that may have other sites.
    pub(crate) fn over(engine: Engine, redis: &str, folder: &Arc<Folder>) -> Site {
        Site::open(Site::options_over(engine, redis, folder), folder.clone())
    }

    /// On a busy machine Redis is slow, and not to be given up for that.
    pub(crate) fn options_over(engine: Engine, redis: &str, folder: &Folder) -> Options {
        let (redis, redis_timeout) = (Some(redis.to_owned()), Some(PATIENCE));
        Options { engine, redis, redis_timeout, ..Options::new(folder.db()) }
    }

    pub(crate) fn open(options: Options, folder: Arc<Folder>) -> Site {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(serve(options.clone())).unwrap();
        Site { runtime, server: Some(server), options, folder }
    }

    pub(crate) fn restart(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().shutdown()).unwrap();
        self.server = Some(self.runtime.block_on(serve(self.options.clone())).unwrap());
    }

    /// What is not asked for over HTTP.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address()
    }

    pub(crate) fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A form that is refused unread may be cut off: what was said counts.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn get_as(&self, path: &str, cookie: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: blog\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        ))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_as(path, "")
    }

    /// The text of a page that must be there.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}");
        answer.body
    }

    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let body = pairs.join("&");
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: blog\r\nConnection: close\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn live(&self) -> Value {
        serde_json::from_str(&self.get("/cache.json").body).unwrap()
    }

    /// What the live page says of the last page that was asked for.
    pub(crate) fn last(&self) -> Value {
        self.live()["requests"][0].clone()
    }

    /// Asks for a page, and tells which fragments were missed, by name, and
    /// how many times.
    pub(crate) fn missed(&self, path: &str) -> Vec<String> {
        self.page(path);
        let last = self.last();
        assert_eq!(last["path"], path);
        names(&last["missed"])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = self.runtime.block_on(server.shutdown());
        }
    }
}

pub(crate) fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// The newest article: its slug, from the front page.
pub(crate) fn newest(site: &Site) -> String {
    let front = site.page("/");
    let (_, rest) = front.split_once("<h2><a href=\"/article/").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// What stands in a form's field.
fn field(form: &str, name: &str) -> String {
    let (_, rest) =
        form.split_once(&format!("<input id=\"{name}\" name=\"{name}\" value=\"")).unwrap();
    unescape(rest.split_once('"').unwrap().0)
}

pub(crate) fn area(form: &str, name: &str) -> String {
    let (_, rest) = form.split_once(&format!("<textarea id=\"{name}\"")).unwrap();
    let (_, rest) = rest.split_once(">\n").unwrap();
    unescape(rest.split_once("</textarea>").unwrap().0)
}

fn selected(form: &str, name: &str) -> String {
    let (_, rest) = form.split_once(&format!("<select id=\"{name}\"")).unwrap();
    let (before, _) = rest.split_once(" selected>").unwrap();
    before.rsplit_once("value=\"").unwrap().1.trim_end_matches('"').to_owned()
}

fn unescape(html: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(html.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The form of an article as it is, with some fields changed.
fn form_of(site: &Site, slug: &str, changes: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let form = site.page(&format!("/article/{slug}/edit"));
    let mut fields = vec![
        ("title", field(&form, "title")),
        ("summary", area(&form, "summary")),
        ("body", area(&form, "body")),
        ("category", selected(&form, "category")),
        ("author", selected(&form, "author")),
        ("tags", field(&form, "tags")),
    ];
    for (name, value) in &mut fields {
        if let Some((_, new)) = changes.iter().find(|(changed, _)| changed == name) {
            *value = (*new).to_owned();
        }
    }
    fields
}

pub(crate) fn edit(site: &Site, slug: &str, changes: &[(&str, &str)]) -> Answer {
    let fields = form_of(site, slug, changes);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    site.post(&format!("/article/{slug}/edit"), &fields)
}
