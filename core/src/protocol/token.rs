//! The random tokens that represent stamps in a shared store.

use std::fmt;

/// The value of a stamp: 96 random bits, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token([u8; Token::LEN]);

impl Token {
    pub(crate) const LEN: usize = 12;

    /// A new token. `None` if the system has no randomness. A caller that
    /// needs a token then caches nothing.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; Token::LEN];
        getrandom::fill(&mut bytes).ok()?;
        Some(Token(bytes))
    }

    /// Reads a token. `None` if the bytes cannot be a token, which counts as
    /// lost.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Token)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The `n`th token of a model search, which needs no randomness.
    #[cfg(test)]
    pub(crate) fn numbered(n: u64) -> Self {
        let mut bytes = [0; Token::LEN];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Token(bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
