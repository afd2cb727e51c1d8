//! One server.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::resources::{Dir, Port};
use super::wire::{self, Reply};
use super::{Options, PATIENCE, Program, tls, wait_at_most};

/// How long a command waits for its reply.
pub(super) const REPLY: Duration = Duration::from_secs(5);

/// A server of Redis or Valkey, by itself or as a part of something.
///
/// All of it works through a shared reference, so threads of an attack kill
/// and restart what others use.
#[derive(Debug)]
pub struct Server {
    options: Options,
    // Before the directory: what is in it is removed after the process.
    process: Process,
    port: Port,
    dir: Dir,
}

impl Server {
    /// Whether a server of this program can be started here.
    pub fn is_installed(program: Program) -> bool {
        program.is_installed()
    }

    /// Redis without a password, which keeps nothing on the disk.
    ///
    /// # Panics
    ///
    /// If it is not installed or does not start.
    pub fn start() -> Server {
        Server::options().start()
    }

    /// Settings to start with.
    pub fn options() -> Options {
        Options::default()
    }

    pub(super) fn start_with(options: Options) -> Server {
        let dir = Dir::new(options.persistent);
        if options.tls {
            tls::make_certificates(&dir);
        }
        let mut server = Server { options, process: Process::default(), port: Port::free(), dir };
        server.configure();
        // Another program may take the port meanwhile.
        while !server.launch() {
            server.port = Port::free();
            server.configure();
        }
        server
    }

    fn configure(&self) {
        let config = self.options.config(self.port(), &self.dir);
        fs::write(self.dir.file("server.conf"), config).expect("the directory is writable");
    }

    /// Whether it has started, and not found its port taken.
    fn launch(&self) -> bool {
        let mut command = Command::new(self.options.program.server());
        command.arg(self.dir.file("server.conf")).args(&self.options.args);
        if self.options.sentinel {
            command.arg("--sentinel");
        }
        let logged = self.log().len();
        self.process.launch(command, self.dir.path(), &self.dir.file("log"));
        self.wait_until("start", || self.is_ready() || !self.is_running());
        let log = self.log();
        let taken = log.get(logged..).unwrap_or(&log).contains("Address already in use");
        assert!(self.is_running() || taken, "the server has ended:\n{log}");
        self.is_running()
    }

    /// Whether this very process answers, and has its data.
    fn is_ready(&self) -> bool {
        let Ok(info) = self.command(&["INFO"]) else { return false };
        let id = self.process.id().map(|id| id.to_string());
        let loads = field(&info, "loading").is_some_and(|loading| loading != "0");
        field(&info, "process_id").map(str::to_owned) == id && !loads
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where clients find it, with the credentials of the last user or else
    /// the password.
    pub fn url(&self) -> String {
        if !self.options.unix_socket {
            return self.url_at(self.port());
        }
        let mut url = format!("redis+unix://{}", self.socket().display());
        if let Some((name, password)) = self.credentials() {
            let _ = write!(url, "?pass={}", escaped(password));
            if !name.is_empty() {
                let _ = write!(url, "&user={}", escaped(name));
            }
        }
        url
    }

    /// As [`Server::url`] by another port, that of a proxy.
    pub fn url_at(&self, port: u16) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let credentials = self
            .credentials()
            .map(|(name, password)| format!("{}:{}@", escaped(name), escaped(password)))
            .unwrap_or_default();
        format!("{scheme}://{credentials}127.0.0.1:{port}/")
    }

    fn credentials(&self) -> Option<(&str, &str)> {
        let user = self.options.users.last().map(|(name, password)| (&**name, &**password));
        user.or(self.options.password.as_deref().map(|password| ("", password)))
    }

    /// The certificate of the authority that vouches for a server with TLS.
    ///
    /// # Panics
    ///
    /// If it has no TLS.
    pub fn ca_file(&self) -> PathBuf {
        assert!(self.options.tls, "a server without TLS has no certificates");
        self.dir.file("ca.crt")
    }

    /// A certificate that a server with TLS trusts, and its key: its own.
    pub fn certificate_files(&self) -> [PathBuf; 2] {
        ["server.crt", "server.key"].map(|name| self.dir.file(name))
    }

    /// Where its files are.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What it has logged since its first start.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.file("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends it as SIGKILL does, and waits for the end.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Stops it as SIGSTOP does: connections stay, nothing is answered.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets it go on after [`Server::stop`].
    pub fn cont(&self) {
        self.process.cont();
    }

    /// Starts it again on its port and in its directory, after a kill or
    /// instead of one, and returns when it answers.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&self) {
        self.kill();
        let started = wait_at_most(PATIENCE, || self.launch());
        assert!(started, "port {} was taken meanwhile", self.port());
    }

    /// Whether there is a process, which may be stopped.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Whether there is one that is not stopped.
    pub(super) fn is_going(&self) -> bool {
        self.process.is_going()
    }

    /// One command on a connection of its own, as the default user; the reply
    /// as `redis-cli` shows it: elements on lines, `(nil)` for no value. With
    /// TLS it is the client of the program that sends, and nil is empty.
    ///
    /// # Errors
    ///
    /// What the server answered, or why there was no answer within 5 seconds.
    pub fn command(&self, command: &[&str]) -> Result<String, String> {
        self.command_within(REPLY, command)
    }

    /// As [`Server::command`], with another time to wait for the reply.
    ///
    /// # Errors
    ///
    /// What the server answered, or why there was no answer.
    pub fn command_within(&self, limit: Duration, command: &[&str]) -> Result<String, String> {
        if self.options.tls {
            return self.command_of_client(limit, command);
        }
        let reply = self.reply(limit, command);
        reply.map_err(|error| format!("{command:?} to port {}: {error}", self.port()))?.into_text()
    }

    /// The reply as it is; not with TLS.
    pub(super) fn reply(&self, limit: Duration, command: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let mut stream = self.connect(limit)?;
        let mut bytes = Vec::new();
        if let Some(password) = &self.options.password {
            bytes.extend(wire::encode(&["AUTH", password]));
        }
        bytes.extend(wire::encode(command));
        stream.write_all(&bytes)?;
        let mut replies = BufReader::new(stream);
        if self.options.password.is_some() {
            wire::decode(&mut replies)?;
        }
        wire::decode(&mut replies)
    }

    /// Restores a key from the dump of another.
    ///
    /// # Panics
    ///
    /// If there is no such key.
    pub fn restore(&self, from: &str, to: &str) {
        let dumped = self.reply(REPLY, &["DUMP", from]).expect("the server answers");
        let bytes = dumped.bytes().expect("the key is there");
        let restore: [&[u8]; 5] = [b"RESTORE", to.as_bytes(), b"0", bytes, b"REPLACE"];
        self.reply(REPLY, &restore).expect("the server answers");
    }

    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        if self.options.unix_socket {
            let stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            return Ok(Box::new(stream));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], self.port()));
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Box::new(stream))
    }

    fn command_of_client(&self, limit: Duration, command: &[&str]) -> Result<String, String> {
        let mut client = Command::new("timeout");
        client.args(["-s", "KILL", &limit.as_secs_f64().to_string(), self.options.program.cli()]);
        client.args(["-e", "-h", "127.0.0.1", "-p", &self.port().to_string()]);
        let [certificate, key] = self.certificate_files();
        client.arg("--tls").arg("--cacert").arg(self.ca_file());
        client.arg("--cert").arg(certificate).arg("--key").arg(key);
        if let Some(password) = &self.options.password {
            client.args(["--no-auth-warning", "-a", password]);
        }
        let output = client.args(command).output().expect("timeout is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err([&output.stdout, &output.stderr].map(|bytes| text(bytes)).concat())
    }

    fn socket(&self) -> PathBuf {
        self.dir.file("socket")
    }

    /// A field of INFO, as in `info("role")`.
    ///
    /// # Panics
    ///
    /// If it does not answer or there is no such field.
    pub fn info(&self, name: &str) -> String {
        let info = self.command(&["INFO", "everything"]).expect("the server answers INFO");
        field(&info, name).unwrap_or_else(|| panic!("INFO has no {name}:\n{info}")).to_owned()
    }

    /// As [`Server::info`], or nothing.
    pub(super) fn info_if_any(&self, name: &str) -> Option<String> {
        let info = self.command(&["INFO", "everything"]).ok()?;
        field(&info, name).map(str::to_owned)
    }

    /// Waits until `ready`, at most [`PATIENCE`], or panics with the log.
    pub(super) fn wait_until(&self, what: &str, ready: impl FnMut() -> bool) {
        let log = || self.log();
        assert!(
            wait_at_most(PATIENCE, ready),
            "the server on port {} does not {what}:\n{}",
            self.port(),
            log()
        );
    }

    /// What it was started with.
    pub(super) fn options_used(&self) -> &Options {
        &self.options
    }
}

/// What a command is sent on.
trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// A field of lines such as `name:value`.
pub(super) fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    lines.lines().find_map(value)
}

/// Text as a part of a URL.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}
