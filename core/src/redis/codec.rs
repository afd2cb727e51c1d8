//! How a fragment is encoded in the store.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of the format |
//! | 1 | flags |
//! | 4 | CRC-32 of all that follows |
//! | 20 | which fragment it is: one that was copied under another's key is none |
//! | … | when it was stored and when it expires, its stamps, the templates it used, its label |
//! | … | the text or value, compressed where that paid |
//!
//! Numbers have a variable length. Times are in microseconds: since 1970, or for the
//! expiry since the fragment was stored. Of the key of a stamp only the part is written
//! that its parent does not imply. A fragment that cannot be decoded, because it is
//! damaged or another version wrote it, is a miss.

use super::stamp_map::{Lineage, StampMap};
use crate::fragment::{Body, Fragment, TemplateUse};
use crate::key::FragmentKey;
use crate::protocol::Token;
use crate::store::{Stamp, StampKind};
use crate::sync::Arc;
use crate::write::keys::key_stem;

const VERSION: u8 = 2;
const HEAD: usize = 6;

const VALUE: u8 = 1;
const COMPRESSED: u8 = 2;
const EXPIRES: u8 = 4;
const RARE: u8 = 8;

/// A stamp as it was encoded. Parents come before their children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: StampKind,
    pub(crate) key: Vec<u8>,
    pub(crate) token: Token,
    /// The index of its parent.
    pub(crate) parent: usize,
    /// Whether the fragment itself depends on it, and not only a stamp below it.
    pub(crate) named: bool,
}

/// A fragment as it was encoded.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) body: Body,
    pub(crate) nodes: Vec<Node>,
    pub(crate) templates: Vec<TemplateUse>,
    pub(crate) label: Option<String>,
    pub(crate) stored_at: u64,
    pub(crate) expires_at: Option<u64>,
}

/// Encodes a fragment. `None` if one of its stamps has no token: nothing in the store
/// would tell when the fragment stops to hold.
pub(crate) fn encode(
    key: FragmentKey,
    fragment: &Fragment,
    compress_above: usize,
) -> Option<Vec<u8>> {
    let bytes = fragment.body.as_bytes();
    let compressed = (bytes.len() >= compress_above).then(|| lz4_flex::compress(bytes));
    // Compression pays if it saves an eighth.
    let compressed = compressed.filter(|packed| packed.len() < bytes.len() / 8 * 7);
    let rare = !fragment.templates().is_empty() || fragment.label().is_some();
    let mut out = Vec::with_capacity(128 + compressed.as_ref().map_or(bytes.len(), Vec::len));
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(VERSION);
    out.push(
        flag(matches!(fragment.body, Body::Value(_)), VALUE)
            | flag(compressed.is_some(), COMPRESSED)
            | flag(fragment.expires_at().is_some(), EXPIRES)
            | flag(rare, RARE),
    );
    out.extend([0; 4]);
    out.extend(key.as_bytes());
    number(&mut out, fragment.stored_at);
    if let Some(at) = fragment.expires_at() {
        number(&mut out, at.saturating_sub(fragment.stored_at));
    }
    write_stamps(&mut out, fragment.stamps())?;
    if rare {
        write_rare(&mut out, fragment);
    }
    match compressed {
        Some(packed) => {
            number(&mut out, bytes.len() as u64);
            out.extend(packed);
        }
        None => out.extend(bytes),
    }
    let sum = crc32fast::hash(&out[HEAD..]);
    out[2..HEAD].copy_from_slice(&sum.to_le_bytes());
    Some(out)
}

fn write_stamps(out: &mut Vec<u8>, stamps: &[Arc<Stamp>]) -> Option<()> {
    let line = Lineage::of(stamps);
    let mut named = StampMap::default();
    for stamp in stamps {
        named.insert(stamp, ());
    }
    number(out, line.len() as u64);
    for stamp in line.stamps() {
        let shared = stamp.shared()?;
        let parent = line.position_of(stamp.parent());
        let named = named.has(stamp);
        let above = stamp.parent().unwrap_or(stamp);
        let stem = key_stem(above.shared()?.key());
        let rest = stem.and_then(|stem| shared.key().strip_prefix(&*stem));
        let flags = u64::from(rest.is_some()) << 3 | u64::from(named) << 2;
        number(out, (parent as u64) << 4 | flags | kind_number(shared.kind()));
        if shared.kind() != StampKind::Everything {
            text(out, rest.unwrap_or(&**shared.key()));
        }
        out.extend(shared.token()?.as_bytes());
    }
    Some(())
}

fn kind_number(kind: StampKind) -> u64 {
    match kind {
        StampKind::Everything => 0,
        StampKind::Epoch => 1,
        StampKind::Plain => 2,
    }
}

fn write_rare(out: &mut Vec<u8>, fragment: &Fragment) {
    number(out, fragment.templates().len() as u64);
    for template in fragment.templates() {
        text(out, template.name.as_bytes());
        number(out, template.version);
    }
    match fragment.label() {
        Some(label) => {
            number(out, 1);
            text(out, label.as_bytes());
        }
        None => number(out, 0),
    }
}

/// Seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Decodes what [`encode`] wrote; `None` for anything else.
pub(crate) fn decode(key: FragmentKey, bytes: &[u8], everything: &[u8]) -> Option<Written> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let sum = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
    if head[0] != VERSION || crc32fast::hash(rest) != sum {
        return None;
    }
    let flags = head[1];
    let mut reader = Reader(rest.strip_prefix(key.as_bytes().as_slice())?);
    let stored_at = reader.number()?;
    let expires_at = match flags & EXPIRES {
        0 => None,
        _ => Some(stored_at.saturating_add(reader.number()?)),
    };
    let nodes = reader.nodes(everything)?;
    let (templates, label) = if flags & RARE != 0 { reader.rare()? } else { Default::default() };
    let body = reader.body(flags)?;
    Some(Written { body, nodes, templates, label, stored_at, expires_at })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.take(len)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }

    fn nodes(&mut self, everything: &[u8]) -> Option<Vec<Node>> {
        let count = self.number()?;
        let mut nodes: Vec<Node> = Vec::new();
        for at in 0..count {
            let head = self.number()?;
            let kind = match head & 3 {
                0 => StampKind::Everything,
                1 => StampKind::Epoch,
                2 => StampKind::Plain,
                _ => return None,
            };
            let (named, parent) = (head & 4 != 0, head >> 4);
            // The first is the stamp of everything, and its own parent.
            if (parent >= at && at > 0) || (at == 0) != (kind == StampKind::Everything) {
                return None;
            }
            let key = match nodes.get(parent as usize) {
                None => everything.to_vec(),
                Some(parent) if head & 8 != 0 => [&*key_stem(&parent.key)?, self.text()?].concat(),
                Some(_) => self.text()?.to_vec(),
            };
            let token = Token::read(self.take(Token::LEN as u64)?)?;
            nodes.push(Node { kind, key, token, parent: parent as usize, named });
        }
        (!nodes.is_empty()).then_some(nodes)
    }

    fn rare(&mut self) -> Option<(Vec<TemplateUse>, Option<String>)> {
        let mut templates = Vec::new();
        for _ in 0..self.number()? {
            let name = self.string()?.into();
            templates.push(TemplateUse { name, version: self.number()? });
        }
        let label = if self.number()? == 1 { Some(self.string()?) } else { None };
        Some((templates, label))
    }

    fn body(&mut self, flags: u8) -> Option<Body> {
        let bytes = if flags & COMPRESSED == 0 {
            self.0.to_vec()
        } else {
            let len = usize::try_from(self.number()?).ok()?;
            // LZ4 expands by a factor of 255 at most.
            if len / 255 > self.0.len() {
                return None;
            }
            lz4_flex::decompress(self.0, len).ok().filter(|bytes| bytes.len() == len)?
        };
        if flags & VALUE != 0 {
            return Some(Body::Value(bytes.into()));
        }
        String::from_utf8(bytes).ok().map(|text| Body::Text(text.into()))
    }
}
