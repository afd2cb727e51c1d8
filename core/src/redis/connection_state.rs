//! The states that the connection of a process goes through.

use std::sync::Arc;
use std::time::Instant;

use super::link::Link;
use super::status::LinkState;

/// The connection of a process.
pub(super) enum ConnectionState {
    Live(Arc<Link>),
    /// The servers answer and refuse to drop keys: nothing is read from them
    /// until they drop keys again.
    Refusing(Arc<Link>, String),
    /// The connection has just broken: callers wait for the next one until then.
    Reconnecting(Instant, String),
    /// The servers count as down, and nobody waits.
    Down(String),
}

/// What the supervisor can do with the connection of a session.
pub(super) enum SessionState {
    Live,
    Refusing,
    /// The session is over.
    Ended,
}

impl ConnectionState {
    /// Whether the connection of a session is still in use.
    pub(super) fn is_of(&self, session: u64) -> bool {
        let (ConnectionState::Live(link) | ConnectionState::Refusing(link, _)) = self else {
            return false;
        };
        link.session == session
    }

    /// What can be done with the connection of a session.
    pub(super) fn session_state(&self, session: u64) -> SessionState {
        match self {
            state if !state.is_of(session) => SessionState::Ended,
            ConnectionState::Refusing(..) => SessionState::Refusing,
            _ => SessionState::Live,
        }
    }

    /// The state for the application, with the session and the number of servers.
    pub(super) fn describe(&self) -> (LinkState, u64, usize) {
        match self {
            ConnectionState::Live(link) => (LinkState::Live, link.session, link.nodes.len()),
            ConnectionState::Reconnecting(_, reason) => {
                (LinkState::Reconnecting(reason.clone()), 0, 0)
            }
            ConnectionState::Down(reason) => (LinkState::Down(reason.clone()), 0, 0),
            ConnectionState::Refusing(link, reason) => {
                (LinkState::Down(reason.clone()), link.session, link.nodes.len())
            }
        }
    }
}
