//! Slots of a cluster: of keys, and who has them.

use super::Server;

/// The slot of a key: of its tag in braces where there is one that is not
/// empty.
pub fn slot_of(key: &str) -> u16 {
    crc16(tag(key).unwrap_or(key).as_bytes()) % 16_384
}

fn tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// What a node knows of a node, itself or another.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// As in `myself,master`.
    pub flags: String,
    /// The first and the last slot of each range that it has.
    pub slots: Vec<(u16, u16)>,
}

impl Known {
    /// Whether it has this flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }

    /// Whether it has this slot.
    pub fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// What a node knows; nothing if it does not answer.
pub fn known(node: &Server) -> Vec<Known> {
    let nodes = node.command(&["CLUSTER", "NODES"]).unwrap_or_default();
    nodes.lines().map(parse).collect()
}

/// A line: id, address, flags, five more words, then slots.
fn parse(line: &str) -> Known {
    let words: Vec<&str> = line.split(' ').collect();
    let slots = words.iter().skip(8).filter_map(|word| range(word)).collect();
    Known { id: words[0].to_owned(), flags: words[2].to_owned(), slots }
}

/// `5` or `0-5460`; not a slot that moves, as in `[93->-id]`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}
