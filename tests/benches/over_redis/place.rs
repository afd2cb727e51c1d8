//! Where client and server run: the same figure differs by a factor of three
//! between one core for both and one for each.

use std::process::Command;

use cacheops_tests::servers::Server;

/// Which cores are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Client and server share one.
    OneCore,
    /// Each has its own.
    TwoCores,
    /// As the system likes.
    Free,
}

impl Place {
    /// The place named by the arguments, if any.
    pub fn named() -> Option<Place> {
        let named = std::env::args().skip_while(|argument| argument != "--place").nth(1)?;
        Some(match &*named {
            "one" => Place::OneCore,
            "two" => Place::TwoCores,
            _ => Place::Free,
        })
    }

    pub fn words(self) -> &'static str {
        match self {
            Place::OneCore => "client and server on one core",
            Place::TwoCores => "client and server on a core each",
            Place::Free => "client and server wherever the system puts them",
        }
    }

    /// Starts a server there; this process is there already.
    pub fn server(self) -> Server {
        let server = Server::start();
        self.put(&server);
        server
    }

    /// Puts a server there that this process has started.
    pub fn put(self, server: &Server) {
        if self == Place::TwoCores {
            let id = server.info("process_id");
            let moved = Command::new("taskset").args(["-a", "-c", "-p", "0", &id]).output();
            assert!(moved.unwrap().status.success(), "taskset moves the server");
        }
    }
}

/// Runs `measure` at the place that the arguments name (`--place one`, `two` or
/// `free`); without one, in a process of its own at each pinned place.
pub fn each_place(measure: impl FnOnce(Place)) {
    if let Some(place) = Place::named() {
        return measure(place);
    }
    if Command::new("taskset").arg("-V").output().is_err() {
        println!("taskset is missing: nothing is pinned, and figures will move");
        return measure(Place::Free);
    }
    let program = std::env::current_exe().unwrap();
    for (place, core) in [("one", "0"), ("two", "1")] {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(&program).args(["--place", place]);
        command.args(std::env::args().skip(1));
        assert!(command.status().unwrap().success(), "measured at `--place {place}`");
    }
}
