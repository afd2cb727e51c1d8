//! A site under test, and what its pages and forms say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cacheops_examples::blog::{Engine, Options, serve};
use cacheops_tests::servers::PATIENCE;
use rusqlite::Connection;
use serde_json::Value;
use tokio::runtime::Runtime;

/// An instance of the site, in a process of its own: SQLite's hooks are the process's.
pub(crate) struct Site {
    child: Child,
    address: SocketAddr,
    options: Options,
    folder: Arc<Folder>,
}

/// What a process of a site is told, in this variable of its environment.
const TOLD: &str = "CACHEOPS_TEST_BLOG";
/// What precedes the address in its output.
const ADDRESS: &str = "listening at ";

/// What the process of a site runs; a test of nothing by itself. It serves until its
/// input ends.
#[test]
fn another_process() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    let options = Options {
        engine: told["engine"].as_str().unwrap().parse().unwrap(),
        redis: told["redis"].as_str().map(str::to_owned),
        redis_timeout: told["redis_timeout"].as_f64().map(Duration::from_secs_f64),
        strict: told["strict"] == true,
        exclusive: told["exclusive"] == true,
        ..Options::new(told["db"].as_str().unwrap().into())
    };
    Runtime::new().unwrap().block_on(async {
        let server = serve(options).await.unwrap();
        println!("\n{ADDRESS}{}", server.address());
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        end.await.unwrap().unwrap();
        server.shutdown().await.unwrap();
    });
}

/// Starts a process that runs [`another_process`].
fn start(options: &Options) -> (Child, SocketAddr) {
    let told = serde_json::json!({
        "db": options.db,
        "engine": options.engine.to_string(),
        "redis": options.redis,
        "redis_timeout": options.redis_timeout.map(|limit| limit.as_secs_f64()),
        "strict": options.strict,
        "exclusive": options.exclusive,
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "site::another_process", "--nocapture"])
        .env(TOLD, told.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix(ADDRESS)?.parse().ok());
    // What it writes afterwards goes nowhere.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.unwrap())
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

    /// Runs SQL on the database as a shell does: in a process that has no hooks.
    pub(crate) fn sql(&self, sql: &str) {
        Connection::open(self.db()).unwrap().execute_batch(sql).unwrap();
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
        let (child, address) = start(&options);
        Site { child, address, options, folder }
    }

    pub(crate) fn restart_after(&mut self, work: impl FnOnce()) {
        assert!(self.stop());
        work();
        (self.child, self.address) = start(&self.options);
    }

    /// Ends the process in order. Whether it did.
    fn stop(&mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().is_ok_and(|status| status.success())
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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
        self.stop();
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
