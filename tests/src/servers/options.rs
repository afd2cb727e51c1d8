//! How a server is to be started.

use std::path::Path;

use super::resources::Dir;
use super::{Program, Server};

/// Settings of a [`Server`], begun by [`Server::options`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) program: Program,
    pub(super) password: Option<String>,
    pub(super) users: Vec<(String, String)>,
    pub(super) unix_socket: bool,
    pub(super) tls: bool,
    /// Whether clients have to show a certificate.
    pub(super) strict_tls: bool,
    pub(super) sentinel: bool,
    pub(super) persistent: bool,
    /// Lines of the file of settings.
    lines: Vec<String>,
    /// Arguments of the command.
    pub(super) args: Vec<String>,
}

impl Options {
    /// What to run; Redis by default.
    pub fn program(mut self, program: Program) -> Options {
        self.program = program;
        self
    }

    /// A setting as the command line has it: `.arg("--maxmemory", "8mb")`. It
    /// goes before what is set here otherwise.
    pub fn arg(mut self, name: &str, value: &str) -> Options {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Options {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {}", quoted(password)))
    }

    /// A user with rules, as in `~app:* &* +@all -@dangerous`. The default user
    /// stays as it is: give it a password too if nobody may do without.
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Options {
        self.users.push((name.to_owned(), password.to_owned()));
        self.line(&format!("user {name} on {} {rules}", quoted(&format!(">{password}"))))
    }

    /// Listens on a socket of the file system too, which the URL names.
    pub fn unix_socket(mut self) -> Options {
        self.unix_socket = true;
        self
    }

    /// Listens with TLS only, with a certificate for `localhost` and
    /// 127.0.0.1 of an authority of its own: see [`Server::ca_file`]. Clients
    /// need no certificate.
    pub fn tls(mut self) -> Options {
        self.tls = true;
        self
    }

    /// Asks clients for a certificate, as Redis does by default over TLS:
    /// [`Server::certificate_files`] will do.
    pub fn demand_certificates(mut self) -> Options {
        self.strict_tls = true;
        self.tls()
    }

    /// Keeps data over a restart: what it has answered, it has written to the
    /// disk. By default a server begins empty.
    pub fn persistent(mut self) -> Options {
        self.persistent = true;
        self
    }

    /// Copies another server, which must not use TLS: see
    /// [`Server::wait_in_sync`].
    pub fn replica_of(mut self, master: &Server) -> Options {
        let options = master.options_used();
        assert!(!options.tls, "a replica of a server with TLS is not supported");
        if let Some(password) = &options.password {
            self = self.line(&format!("masterauth {}", quoted(password)));
        }
        self.line(&format!("replicaof 127.0.0.1 {}", master.port()))
    }

    /// Starts it, and returns when it answers.
    ///
    /// # Panics
    ///
    /// If the program is missing or does not start, with its log.
    pub fn start(self) -> Server {
        Server::start_with(self)
    }

    /// A node of a cluster.
    pub(super) fn cluster_node(self) -> Options {
        self.line("cluster-enabled yes")
            .line("cluster-config-file nodes.conf")
            .line("cluster-node-timeout 1000")
            // Failovers and slots move when the test says so.
            .line("cluster-allow-replica-migration no")
            .line("cluster-replica-validity-factor 0")
    }

    /// A sentinel, with its settings.
    pub(super) fn sentinel(self, lines: &[String]) -> Options {
        let options = Options { sentinel: true, ..self };
        lines.iter().fold(options, |options, line| options.line(line))
    }

    fn line(mut self, line: &str) -> Options {
        self.lines.push(line.to_owned());
        self
    }

    /// The file of settings.
    pub(super) fn config(&self, port: u16, dir: &Dir) -> String {
        let mut lines = vec!["bind 127.0.0.1".to_owned(), setting("dir", dir.path())];
        if self.tls {
            lines.extend(["port 0".to_owned(), format!("tls-port {port}")]);
            let demands = if self.strict_tls { "yes" } else { "no" };
            lines.push(format!("tls-auth-clients {demands}"));
            lines.push(setting("tls-ca-cert-file", &dir.file("ca.crt")));
            lines.push(setting("tls-cert-file", &dir.file("server.crt")));
            lines.push(setting("tls-key-file", &dir.file("server.key")));
        } else {
            lines.push(format!("port {port}"));
        }
        if self.unix_socket {
            lines.push(setting("unixsocket", &dir.file("socket")));
        }
        if !self.sentinel {
            lines.extend(self.storage().map(str::to_owned));
        }
        lines.extend_from_slice(&self.lines);
        lines.join("\n") + "\n"
    }

    /// Settings of a server that has data.
    fn storage(&self) -> impl Iterator<Item = &'static str> {
        let common = ["loglevel notice", "enable-debug-command yes", "repl-diskless-sync-delay 0"];
        let kept = ["save 3600 1", "appendonly yes", "appendfsync always"];
        let fleeting = ["save \"\"", "appendonly no"];
        let chosen = if self.persistent { &kept[..] } else { &fleeting[..] };
        common.into_iter().chain(chosen.to_vec())
    }
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name} {}", quoted(&path.display().to_string()))
}

/// A value as the file of settings has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
