//! Where the cache is: one server, a cluster, or a master under sentinels.

use std::path::PathBuf;

use cacheops_tests::servers::{Cluster, Sentinel, Server};

use super::dice::Dice;
use super::worker::Place;

/// The servers of a run.
pub enum Home {
    One(Server),
    Cluster(Cluster),
    Sentinel(Box<Sentinel>),
}

impl Home {
    /// How workers are told of it.
    pub fn place(&self) -> Place {
        match self {
            Home::One(server) => Place::One(server.url()),
            Home::Cluster(cluster) => Place::Cluster(cluster.urls()),
            Home::Sentinel(all) => {
                Place::Sentinel(all.master_name().to_owned(), all.sentinel_urls())
            }
        }
    }

    /// A file that is gone with the servers.
    pub fn file(&self, name: &str) -> PathBuf {
        let keeper = match self {
            Home::One(server) => server,
            Home::Cluster(cluster) => cluster.node(0),
            Home::Sentinel(all) => &all.sentinels()[0],
        };
        keeper.dir().join(name)
    }

    /// Those that have data and can be written to.
    pub fn masters(&self) -> Vec<&Server> {
        match self {
            Home::One(server) => vec![server],
            Home::Cluster(cluster) => {
                cluster.nodes().iter().filter(|node| is_master(node)).collect()
            }
            Home::Sentinel(all) => vec![all.master()],
        }
    }

    /// One of them.
    pub fn server(&self, dice: &mut Dice) -> &Server {
        let masters = self.masters();
        masters[dice.below(masters.len() as u64) as usize]
    }

    /// How long a server may be silent without being replaced, in
    /// milliseconds.
    pub fn longest_silence(&self) -> u64 {
        match self {
            Home::One(_) => 900,
            // They are given a second.
            Home::Cluster(_) | Home::Sentinel(_) => 500,
        }
    }
}

fn is_master(server: &Server) -> bool {
    server.command(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
}
