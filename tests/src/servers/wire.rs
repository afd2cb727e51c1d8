//! The protocol of the servers, as much as a single command needs.

use std::io::{self, BufRead};

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status, a number or a string.
    Text(Vec<u8>),
    /// An error.
    Error(String),
    /// No value.
    Nil,
    /// Several replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a status, a number or a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text as `redis-cli` shows it, or the error.
    pub fn into_text(self) -> Result<String, String> {
        match self {
            Reply::Error(error) => Err(error),
            Reply::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Reply::Nil => Ok("(nil)".to_owned()),
            Reply::Array(replies) => Ok(lines(replies)),
        }
    }
}

/// One reply a line, errors among them.
fn lines(replies: Vec<Reply>) -> String {
    let lines: Vec<String> =
        replies.into_iter().map(|reply| reply.into_text().unwrap_or_else(|error| error)).collect();
    lines.join("\n")
}

/// A command on the wire.
pub fn encode(command: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", part.len()).bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The next reply of version 2 of the protocol.
pub fn decode(from: &mut impl BufRead) -> io::Result<Reply> {
    let line = line(from)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| malformed(&line))?;
    Ok(match kind {
        "+" | ":" => Reply::Text(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        "$" => string(from, length(rest)?)?,
        "*" => array(from, length(rest)?)?,
        _ => return Err(malformed(&line)),
    })
}

fn string(from: &mut impl BufRead, len: Option<usize>) -> io::Result<Reply> {
    let Some(len) = len else { return Ok(Reply::Nil) };
    let mut bytes = vec![0; len + 2];
    from.read_exact(&mut bytes)?;
    bytes.truncate(len);
    Ok(Reply::Text(bytes))
}

fn array(from: &mut impl BufRead, len: Option<usize>) -> io::Result<Reply> {
    let Some(len) = len else { return Ok(Reply::Nil) };
    (0..len).map(|_| decode(from)).collect::<io::Result<_>>().map(Reply::Array)
}

/// A length, or none where it is -1.
fn length(text: &str) -> io::Result<Option<usize>> {
    if text == "-1" { Ok(None) } else { text.parse().map(Some).map_err(|_| malformed(text)) }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {text:?}"))
}
