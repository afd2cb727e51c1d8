//! Masters and replicas.

use super::Server;

impl Server {
    /// Makes a replica a master of its own.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]).expect("the replica answers REPLICAOF");
    }

    /// Makes it a replica of another server from now on.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn demote(&self, master: &Server) {
        let port = master.port().to_string();
        self.command(&["REPLICAOF", "127.0.0.1", &port]).expect("the server answers REPLICAOF");
    }

    /// Waits until this replica has all that `master` has at the time of the
    /// call.
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`](super::PATIENCE).
    pub fn wait_in_sync(&self, master: &Server) {
        let offset = number(&master.info("master_repl_offset"));
        self.wait_until("copy its master", || {
            let here = self.info_if_any("slave_repl_offset").map(|here| number(&here));
            self.info_if_any("master_link_status").as_deref() == Some("up")
                // The master begins a history when its first replica comes.
                && self.info_if_any("master_replid") == master.info_if_any("master_replid")
                && here >= Some(offset)
        });
    }
}

fn number(text: &str) -> i64 {
    text.parse().expect("an offset is a number")
}
