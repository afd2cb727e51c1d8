//! Counting round trips to a server.

use super::Server;

/// The round trips to a server as the server counts them, without the heartbeats of
/// caches.
#[derive(Debug)]
pub struct Trips<'a> {
    server: &'a Server,
    reads: u64,
    heartbeats: u64,
}

impl<'a> Trips<'a> {
    /// Counts from now on.
    pub fn since_now(server: &'a Server) -> Self {
        let mut trips = Trips { server, reads: 0, heartbeats: 0 };
        (trips.reads, trips.heartbeats) = trips.counts();
        trips
    }

    fn counts(&self) -> (u64, u64) {
        let info = self.server.command(&["INFO", "everything"]).expect("the server answers INFO");
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().expect("a number")
        };
        (field("total_reads_processed:"), field("cmdstat_time:calls="))
    }

    /// The round trips since the last call, without those of counting.
    pub fn count(&mut self) -> u64 {
        let (reads, heartbeats) = self.counts();
        // The command for counting, and the end of the connection of the last one.
        let own = 2;
        let trips = (reads - self.reads).saturating_sub(heartbeats - self.heartbeats + own);
        (self.reads, self.heartbeats) = (reads, heartbeats);
        trips
    }
}
