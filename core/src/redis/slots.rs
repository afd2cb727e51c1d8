//! The slots of a cluster.

use redis::Value;

use super::wire::number;

/// The number of slots.
pub(crate) const SLOTS: usize = 16_384;

/// The slot of a key: of the text in its first braces, if there is any, else of the
/// whole key.
pub(crate) fn slot_of(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inside = &key[open + 1..];
        let close = inside.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &inside[..close])
    });
    usize::from(crc16(tag.unwrap_or(key))) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

/// A master and a range of slots that it serves, ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// None for the server that was asked.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// Parses the reply to `CLUSTER SLOTS`; `None` if not all slots are served.
pub(crate) fn read_slots(value: &Value) -> Option<Vec<Range>> {
    let Value::Array(rows) = value else { return None };
    let mut ranges = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Array(parts) = row else { return None };
        let Value::Array(master) = parts.get(2)? else { return None };
        let host = match master.first()? {
            Value::BulkString(host) => String::from_utf8_lossy(host),
            Value::SimpleString(host) => host.into(),
            _ => "".into(),
        };
        ranges.push(Range {
            from: usize::try_from(number(parts.first()?)?).ok()?,
            to: usize::try_from(number(parts.get(1)?)?).ok().filter(|to| *to < SLOTS)?,
            host: host_of(&host).map(str::to_owned),
            port: u16::try_from(number(master.get(1)?)?).ok()?,
        });
    }
    let served: usize = ranges.iter().map(|range| (range.to + 1).saturating_sub(range.from)).sum();
    (served >= SLOTS).then_some(ranges)
}

/// The host in a list of slots or in a redirection. `None` means the server that was
/// asked: it does not know its own name.
fn host_of(written: &str) -> Option<&str> {
    Some(written).filter(|host| !matches!(*host, "" | "?"))
}

/// Where a cluster redirects a command to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirection<'v> {
    /// The slot, if it has moved permanently.
    pub(crate) moved: Option<usize>,
    /// None for the server that was asked.
    pub(crate) host: Option<&'v str>,
    pub(crate) port: u16,
}

/// Parses `MOVED slot host:port` and `ASK slot host:port`.
pub(crate) fn read_redirection(value: &Value) -> Option<Redirection<'_>> {
    let Value::ServerError(error) = value else { return None };
    let is_moved = match error.code() {
        "MOVED" => true,
        "ASK" => false,
        _ => return None,
    };
    let (slot, place) = error.details()?.split_once(' ')?;
    let slot: usize = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
    let (host, port) = place.rsplit_once(':')?;
    let moved = is_moved.then_some(slot);
    Some(Redirection { moved, host: host_of(host), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{crc16, host_of, slot_of};

    #[test]
    fn a_server_that_does_not_know_its_name_is_the_one_that_was_asked() {
        assert_eq!([host_of(""), host_of("?")], [None, None]);
        assert_eq!(host_of("::1"), Some("::1"));
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), usize::from(crc16(b"foo{}{bar}")) % 16_384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }
}
