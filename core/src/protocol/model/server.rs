//! The shared store: keys, commands, and whom it tells of what.

use super::names::{Key, STAMPS, Tok};
use super::state::{Connection, State, Value};

/// What stands in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    /// The token that everything depends on, and at which server it was made.
    pub(super) all: Option<(Tok, u8)>,
    /// The epoch and the schemes of the table.
    pub(super) registry: (Option<Tok>, u8),
    /// Whether it has been given its time to live.
    pub(super) is_limited: bool,
    pub(super) stamps: [Option<Tok>; STAMPS],
    pub(super) values: [Option<Value>; 2],
}

/// A command of the protocol, as the model keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cmd {
    Get(Key),
    HGetEpoch,
    /// Which asks for no news.
    HPeekEpoch,
    HGetAll,
    HSetNxEpoch(Tok),
    HSetNxScheme(u8),
    /// Gives the registry its time to live, if it has none. That it is given a
    /// later one now and then is the same to all.
    Limit,
    SetNx(Key, Tok),
    SetValue(u8, Value),
    /// Only a broken protocol writes a stamp that is there.
    SetStamp(Key, Tok),
    Unlink(Vec<Key>),
}

/// The reply to a [`Cmd`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Rep {
    #[default]
    None,
    Token(Option<Tok>),
    Marked(Option<(Tok, u8)>),
    Value(Option<Value>),
    Fields((Option<Tok>, u8)),
    Done(bool),
    Count(u8),
}

/// What a server says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Push {
    Changed(Key),
    AllChanged,
}

/// Whose connection: the process, and which of its sessions.
pub(super) type Client = (usize, u8);

impl Cmd {
    /// Which key it is about; of several, the first.
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
    /// Carries out one command of a process.
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
        let mark = self.identity;
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
            Cmd::SetNx(Key::All, token) => fill(&mut server.all, (*token, mark)),
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

    /// Removes a key; says whether it was there.
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

    /// Tells all who have read a key that it has changed, once, and whoever
    /// changed it like the others.
    fn tell(&mut self, key: Key) {
        for connection in self.processes.iter_mut().flat_map(|it| &mut it.connections) {
            connection.forget(key);
        }
    }

    /// Removes all keys at once.
    pub(super) fn flush(&mut self) {
        self.server = Server::default();
        for connection in self.processes.iter_mut().flat_map(|it| &mut it.connections) {
            connection.tracks = 0;
            connection.queue.push(Push::AllChanged);
        }
    }
}

impl Connection {
    /// Remembers no more that the key was read, and says so.
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
            Key::All => Rep::Marked(self.all),
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

/// Writes what is not there yet.
fn fill<T>(place: &mut Option<T>, new: T) -> bool {
    let empty = place.is_none();
    if empty {
        *place = Some(new);
    }
    empty
}
