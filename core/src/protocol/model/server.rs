//! The shared store: its keys, its commands, and its pushes.

use super::names::{Key, STAMPS, Tok};
use super::state::{Connection, State, Value};

/// The contents of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    /// The token of everything, and the server at which it was created.
    pub(super) all: Option<(Tok, u8)>,
    /// The epoch and the schemes of the table.
    pub(super) registry: (Option<Tok>, u8),
    /// Whether its expiry has been set.
    pub(super) is_limited: bool,
    pub(super) stamps: [Option<Tok>; STAMPS],
    pub(super) values: [Option<Value>; 2],
}

/// A command of the protocol, as the model represents it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cmd {
    Get(Key),
    HGetEpoch,
    /// Without tracking.
    HPeekEpoch,
    HGetAll,
    HSetNxEpoch(Tok),
    HSetNxScheme(u8),
    /// Sets the expiry of the registry, if it has none. Later extensions make
    /// no difference.
    Limit,
    SetNx(Key, Tok),
    SetValue(u8, Value),
    /// Only a broken protocol overwrites a stamp.
    SetStamp(Key, Tok),
    Unlink(Vec<Key>),
}

/// The reply to a [`Cmd`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Rep {
    #[default]
    None,
    Token(Option<Tok>),
    Fingerprinted(Option<(Tok, u8)>),
    Value(Option<Value>),
    Fields((Option<Tok>, u8)),
    Done(bool),
    Count(u8),
}

/// A push of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Push {
    Changed(Key),
    AllChanged,
}

/// The owner of a connection: the process, and its session.
pub(super) type Client = (usize, u8);

impl Cmd {
    /// The key of the command; of several keys, the first.
    pub(super) fn key(&self) -> Key {
        match self {
            Cmd::Get(key) | Cmd::SetNx(key, _) | Cmd::SetStamp(key, _) => *key,
            Cmd::HGetEpoch
            | Cmd::HPeekEpoch
            | Cmd::HGetAll
            | Cmd::HSetNxEpoch(_)
            | Cmd::HSetNxScheme(_)
            | Cmd::Limit => Key::Registry,
            Cmd::SetValue(n, _) => Key::Value(*n),
            Cmd::Unlink(keys) => keys[0],
        }
    }
}

impl State {
    /// Executes one command of a process.
    pub(super) fn carry_out(&mut self, client: Client, cmd: &Cmd) -> Rep {
        match cmd {
            Cmd::Get(key) => {
                self.track(client, *key);
                self.server.get(*key)
            }
            Cmd::HGetEpoch => {
                self.track(client, Key::Registry);
                Rep::Token(self.server.registry.0)
            }
            Cmd::HPeekEpoch => Rep::Token(self.server.registry.0),
            Cmd::HGetAll => {
                self.track(client, Key::Registry);
                Rep::Fields(self.server.registry)
            }
            Cmd::Unlink(keys) => {
                Rep::Count(keys.iter().filter(|key| self.remove(**key)).count() as u8)
            }
            other => self.write(other),
        }
    }

    fn write(&mut self, cmd: &Cmd) -> Rep {
        let fingerprint = self.identity;
        let server = &mut self.server;
        let written = match cmd {
            Cmd::HSetNxEpoch(token) => fill(&mut server.registry.0, *token),
            Cmd::HSetNxScheme(n) => {
                let before = server.registry.1;
                server.registry.1 |= 1 << n;
                before != server.registry.1
            }
            Cmd::Limit => {
                let is_there = server.registry != (None, 0);
                is_there && !std::mem::replace(&mut server.is_limited, true)
            }
            Cmd::SetNx(Key::All, token) => fill(&mut server.all, (*token, fingerprint)),
            Cmd::SetNx(Key::Stamp(n), token) => fill(&mut server.stamps[usize::from(*n)], *token),
            Cmd::SetStamp(Key::Stamp(n), token) => {
                server.stamps[usize::from(*n)] = Some(*token);
                true
            }
            Cmd::SetValue(n, value) => {
                server.values[usize::from(*n)] = Some(*value);
                true
            }
            other => panic!("no write: {other:?}"),
        };
        if written {
            self.tell(cmd.key());
        }
        Rep::Done(written)
    }

    /// Deletes a key. Returns whether it existed.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let there = self.server.take(key);
        if there {
            self.tell(key);
        }
        there
    }

    fn track(&mut self, (process, session): Client, key: Key) {
        let connections = &mut self.processes[process].connections;
        if let Some(connection) = connections.iter_mut().find(|one| one.session == session) {
            connection.tracks |= key.bit();
        }
    }

    /// Pushes the change of a key once to all processes that have read it,
    /// including the one that changed it.
    fn tell(&mut self, key: Key) {
        for connection in self.processes.iter_mut().flat_map(|it| &mut it.connections) {
            connection.forget(key);
        }
    }

    /// Deletes all keys at once.
    pub(super) fn flush(&mut self) {
        self.server = Server::default();
        for connection in self.processes.iter_mut().flat_map(|it| &mut it.connections) {
            connection.tracks = 0;
            connection.queue.push(Push::AllChanged);
        }
    }
}

impl Connection {
    /// Forgets that the key was read, and pushes this.
    pub(super) fn forget(&mut self, key: Key) {
        if self.tracks & key.bit() != 0 {
            self.tracks &= !key.bit();
            self.queue.push(Push::Changed(key));
        }
    }
}

impl Server {
    fn get(&self, key: Key) -> Rep {
        match key {
            Key::All => Rep::Fingerprinted(self.all),
            Key::Stamp(n) => Rep::Token(self.stamps[usize::from(n)]),
            Key::Value(n) => Rep::Value(self.values[usize::from(n)]),
            Key::Registry => Rep::None,
        }
    }

    fn take(&mut self, key: Key) -> bool {
        match key {
            Key::All => self.all.take().is_some(),
            Key::Stamp(n) => self.stamps[usize::from(n)].take().is_some(),
            Key::Value(n) => self.values[usize::from(n)].take().is_some(),
            Key::Registry => {
                self.is_limited = false;
                std::mem::take(&mut self.registry) != (None, 0)
            }
        }
    }
}

/// Writes a value if there is none.
fn fill<T>(place: &mut Option<T>, new: T) -> bool {
    let empty = place.is_none();
    if empty {
        *place = Some(new);
    }
    empty
}
