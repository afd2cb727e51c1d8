//! Stamps as they lie in the store: how they are read, and what is made in memory
//! of the tokens that are found.

use std::sync::Arc;

use super::error::LinkError;
use super::link::{FINGERPRINT_LEN, Link};
use crate::protocol::{Command, EPOCH, Token};
use crate::store::{MemoryStore, Stamp, StampKind};

pub(super) fn is_epoch(stamp: &Arc<Stamp>) -> bool {
    stamp.shared().is_some_and(|shared| shared.kind() == StampKind::Epoch)
}

/// The session of a stamp, which the stamp of everything above it knows.
pub(super) fn session_of(stamp: &Arc<Stamp>) -> u64 {
    let mut top = stamp;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.shared().map_or(0, |shared| shared.session())
}

/// The command that reads a stamp.
pub(super) fn read_command(stamp: &Arc<Stamp>) -> Option<Command> {
    let shared = stamp.shared()?;
    Some(match shared.kind() {
        StampKind::Epoch => Command::HGet(shared.key().clone(), EPOCH),
        StampKind::Everything | StampKind::Plain => Command::Get(shared.key().clone()),
    })
}

/// [`token_at`]; an error if other servers have made the stamp of everything.
pub(super) fn token_in(
    stamp: &Arc<Stamp>,
    value: Option<&[u8]>,
    link: &Link,
) -> Result<Option<Token>, LinkError> {
    let found = value.and_then(|value| token_at(stamp, value, link));
    if found.is_none() && value.is_some() && stamp.parent().is_none() {
        return Err(LinkError::new("the servers have changed"));
    }
    Ok(found)
}

/// The token in the value that was read for a stamp.
pub(super) fn token_at(stamp: &Arc<Stamp>, value: &[u8], link: &Link) -> Option<Token> {
    match stamp.shared()?.kind() {
        StampKind::Everything => read_everything(value, link).map(|(token, _)| token),
        StampKind::Epoch | StampKind::Plain => Token::read(value),
    }
}

/// Gives a stamp the token that was read over `link`. False if the stamp cannot be
/// relied on; it is dropped then.
pub(super) fn settle(
    near: &MemoryStore,
    link: &Link,
    stamp: &Arc<Stamp>,
    found: Option<Token>,
) -> bool {
    let settled = session_of(stamp) == link.session
        && stamp.shared().is_some_and(|shared| shared.settle(found));
    if !settled {
        near.drop_stamp(stamp);
    }
    settled
}

/// The value of the stamp of everything: a token, the fingerprint of the servers
/// that it was made at, and the time in microseconds since 1970.
pub(super) fn write_everything(token: Token, link: &Link, now: u64) -> Vec<u8> {
    let mut value = token.as_bytes().to_vec();
    value.extend(link.fingerprint);
    value.extend(now.to_le_bytes());
    value
}

/// Reads what [`write_everything`] wrote; `None` if it was made at other servers.
pub(super) fn read_everything(value: &[u8], link: &Link) -> Option<(Token, u64)> {
    let (token, rest) = value.split_at_checked(Token::LEN)?;
    let (fingerprint, made_at) = rest.split_at_checked(FINGERPRINT_LEN)?;
    let made_at = u64::from_le_bytes(made_at.try_into().ok()?);
    Token::read(token).filter(|_| fingerprint == link.fingerprint).zip(Some(made_at))
}
