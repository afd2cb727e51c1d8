//! The few keys of the model, and their names in the code that ships.

use std::sync::OnceLock;

use super::server::{Cmd, Rep};
use crate::protocol::{Command, EPOCH, Registry, Reply, Token};
use crate::value::Row;
use crate::write::keys::{Scheme, conjunction_key, everything_key, registry_key};

/// A token, as a small number. Zero stands for one that never changes.
pub(super) type Tok = u8;

/// How many stamps there are under conjunctions. Each has a scheme of its own
/// number.
pub(super) const STAMPS: usize = 3;

pub(super) const TABLE: &str = "t";

/// A key of the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    All,
    Registry,
    /// Under a conjunction: of any row, of `id`, of `kind`.
    Stamp(u8),
    Value(u8),
}

impl Key {
    /// Its position among the tracked keys.
    pub(super) fn bit(self) -> u8 {
        match self {
            Key::All => 1,
            Key::Registry => 2,
            Key::Stamp(n) => 4 << n,
            Key::Value(_) => 0,
        }
    }
}

/// The names in the code that ships.
pub(super) struct Names {
    keys: Vec<(Key, Vec<u8>)>,
    schemes: Vec<Scheme>,
    pub(super) registry: String,
    /// The row that matches all conjunctions.
    pub(super) row: Row,
    /// A row that lacks the fields of some schemes.
    pub(super) partial: Row,
}

pub(super) fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(Names::new)
}

impl Names {
    fn new() -> Self {
        let term = |field: &str| (field.to_owned(), "1".to_owned());
        let conjunctions = [vec![], vec![term("id")], vec![term("kind")]];
        let registry = registry_key("", TABLE);
        let mut keys = vec![
            (Key::All, everything_key("")),
            (Key::Registry, registry.clone().into_bytes()),
            (Key::Value(0), b"frag:0".to_vec()),
            (Key::Value(1), b"frag:1".to_vec()),
        ];
        for (n, conjunction) in (0..).zip(&conjunctions) {
            let mut key = String::new();
            conjunction_key("", TABLE, conjunction, &mut key);
            keys.push((Key::Stamp(n), key.into_bytes()));
        }
        let row = |fields: &[(&str, u8)]| {
            let fields: std::collections::BTreeMap<_, _> = fields.iter().copied().collect();
            Row::from_serialize(&fields).unwrap()
        };
        Names {
            keys,
            schemes: conjunctions.iter().map(Scheme::of).collect(),
            registry,
            row: row(&[("id", 1), ("kind", 1)]),
            partial: row(&[("other", 1)]),
        }
    }

    pub(super) fn bytes(&self, key: Key) -> Vec<u8> {
        let found = self.keys.iter().find(|(known, _)| *known == key);
        found.map(|(_, bytes)| bytes.clone()).unwrap()
    }

    pub(super) fn key(&self, bytes: &[u8]) -> Key {
        let found = self.keys.iter().find(|(_, known)| known == bytes);
        found.map(|(key, _)| *key).unwrap()
    }

    pub(super) fn field(&self, scheme: u8) -> Vec<u8> {
        self.schemes[usize::from(scheme)].field()
    }

    fn scheme(&self, field: &[u8]) -> u8 {
        self.scheme_number(&Scheme::from_field(field))
    }

    fn scheme_number(&self, scheme: &Scheme) -> u8 {
        self.schemes.iter().position(|known| known == scheme).unwrap() as u8
    }

    /// A registry as the shipped code holds it.
    pub(super) fn registry(&self, (epoch, schemes): (Option<Tok>, u8)) -> Registry {
        let schemes = bits(schemes).map(|n| self.schemes[usize::from(n)].clone()).collect();
        Registry { epoch: epoch.map(token), schemes }
    }

    /// The reverse of [`registry`](Self::registry).
    pub(super) fn seen(&self, registry: &Registry) -> (Option<Tok>, u8) {
        let schemes = registry.schemes.iter().map(|scheme| 1 << self.scheme_number(scheme));
        (registry.epoch.map(number), schemes.fold(0, |all, one: u8| all | one))
    }

    /// What the shipped code wants sent.
    pub(super) fn read(&self, command: &Command) -> Cmd {
        match command {
            Command::Get(key) => Cmd::Get(self.key(key)),
            Command::HGet(..) => Cmd::HGetEpoch,
            Command::HPeek(..) => Cmd::HPeekEpoch,
            Command::HGetAll(_) => Cmd::HGetAll,
            Command::HSetNx(_, field, value) if field == EPOCH => {
                Cmd::HSetNxEpoch(number_of(value))
            }
            Command::HSetNx(_, field, _) => Cmd::HSetNxScheme(self.scheme(field)),
            Command::ExpireAt(..) => Cmd::Limit,
            Command::SetNx(key, value, _) => Cmd::SetNx(self.key(key), number_of(value)),
            Command::Unlink(keys) => Cmd::Unlink(keys.iter().map(|key| self.key(key)).collect()),
            other => panic!("the model has no {other:?}"),
        }
    }

    /// A reply as the shipped code reads it.
    pub(super) fn reply(&self, rep: &Rep) -> Reply {
        match *rep {
            Rep::Token(found) => Reply::Value(found.map(|n| token(n).as_bytes().to_vec())),
            Rep::Fingerprinted(found) => Reply::Value(found.map(|(n, fingerprint)| {
                let mut value = token(n).as_bytes().to_vec();
                value.push(fingerprint);
                value
            })),
            Rep::Fields((epoch, schemes)) => {
                let epoch = epoch.map(|n| (EPOCH.to_vec(), token(n).as_bytes().to_vec()));
                let schemes = bits(schemes).map(|n| (self.field(n), Vec::new()));
                Reply::Fields(epoch.into_iter().chain(schemes).collect())
            }
            Rep::Done(done) => Reply::Done(done),
            Rep::Count(count) => Reply::Count(count.into()),
            Rep::Value(_) | Rep::None => Reply::Value(None),
        }
    }
}

/// The numbers of the bits that are set.
pub(super) fn bits(mask: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |n| mask & (1 << n) != 0)
}

pub(super) fn token(n: Tok) -> Token {
    Token::numbered(n.into())
}

pub(super) fn number(token: Token) -> Tok {
    number_of(token.as_bytes())
}

fn number_of(bytes: &[u8]) -> Tok {
    // `Token::numbered` writes eight bytes, the lowest last.
    bytes[7]
}
