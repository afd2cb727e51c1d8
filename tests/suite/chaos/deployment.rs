//! Where the cache is: one server, a cluster, or a master under sentinels.

use std::path::PathBuf;

use cacheops_tests::servers::{Cluster, Sentinel, Server};

use super::rng::Rng;
use super::worker::Servers;

/// The servers of a run.
pub enum Deployment {
    One(Server),
    Cluster(Cluster),
    Sentinel(Box<Sentinel>),
}

impl Deployment {
    /// The servers, as workers get them.
    pub fn servers(&self) -> Servers {
        match self {
            Deployment::One(server) => Servers::One(server.url()),
            Deployment::Cluster(cluster) => Servers::Cluster(cluster.urls()),
            Deployment::Sentinel(all) => {
                Servers::Sentinel(all.master_name().to_owned(), all.sentinel_urls())
            }
        }
    }

    /// A file that is deleted with the servers.
    pub fn file(&self, name: &str) -> PathBuf {
        let server = match self {
            Deployment::One(server) => server,
            Deployment::Cluster(cluster) => cluster.node(0),
            Deployment::Sentinel(all) => &all.sentinels()[0],
        };
        server.dir().join(name)
    }

    /// Those that have data and can be written to.
    pub fn masters(&self) -> Vec<&Server> {
        match self {
            Deployment::One(server) => vec![server],
            Deployment::Cluster(cluster) => {
                cluster.nodes().iter().filter(|node| is_master(node)).collect()
            }
            Deployment::Sentinel(all) => vec![all.master()],
        }
    }

    /// One of them.
    pub fn server(&self, rng: &mut Rng) -> &Server {
        let masters = self.masters();
        masters[rng.below(masters.len() as u64) as usize]
    }

    /// How long a server may be silent without being replaced, in
    /// milliseconds.
    pub fn longest_silence(&self) -> u64 {
        match self {
            Deployment::One(_) => 900,
            // They are given a second.
            Deployment::Cluster(_) | Deployment::Sentinel(_) => 500,
        }
    }
}

fn is_master(server: &Server) -> bool {
    server.command(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
}
