//! Encoding commands and decoding replies, in the types of redis-rs.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use super::error::LinkError;
use crate::protocol::{Command, Reply, Unless};

/// A hundred years. Servers refuse times that overflow their clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Encodes commands as a pipeline for one server. Consecutive reads become one command;
/// [`replies`] splits its reply again.
pub(crate) fn pipeline(commands: &[Command]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for run in runs(commands) {
        add(
            &mut pipeline,
            &run[0],
            match run {
                [one] => write(one),
                many => {
                    let mut all =
                        sized("MGET", many.len(), many.iter().map(|get| key(get).len()).sum());
                    many.iter().for_each(|get| {
                        all.arg(key(get));
                    });
                    all
                }
            },
        );
    }
    pipeline
}

/// Adds an encoded command. If it is not tracked, the command that says so comes before
/// it.
pub(crate) fn add(pipeline: &mut Pipeline, command: &Command, written: Cmd) {
    if is_untracked(command) {
        pipeline.cmd("CLIENT").arg("CACHING").arg("NO");
    }
    pipeline.add_command(written);
}

/// How many replies [`add`] causes; the last one counts.
pub(crate) fn answers_to(command: &Command) -> usize {
    1 + usize::from(is_untracked(command))
}

fn is_untracked(command: &Command) -> bool {
    matches!(command, Command::Peek(_) | Command::HPeek(..))
}

/// Splits commands into runs that are sent as one.
fn runs(commands: &[Command]) -> impl Iterator<Item = &[Command]> {
    use Command::{Get, Peek};
    commands.chunk_by(|a, b| matches!((a, b), (Get(_), Get(_)) | (Peek(_), Peek(_))))
}

/// How many replies [`pipeline`] causes.
pub(crate) fn answers(commands: &[Command]) -> usize {
    runs(commands).map(|run| answers_to(&run[0])).sum()
}

/// Encodes one command.
pub(crate) fn write(command: &Command) -> Cmd {
    let mut out = Cmd::new();
    match command {
        Command::Get(key) | Command::Peek(key) => {
            out = sized("GET", 1, key.len());
            out.arg(key)
        }
        Command::HGet(key, field) | Command::HPeek(key, field) => {
            out = sized("HGET", 2, key.len() + field.len());
            out.arg(key).arg(*field)
        }
        Command::HGetAll(key) => out.arg("HGETALL").arg(key),
        Command::HSetNx(key, field, value) => out.arg("HSETNX").arg(key).arg(field).arg(value),
        Command::SetNx(key, value, limit) => {
            limited(out.arg("SET").arg(key).arg(value), *limit).arg("NX")
        }
        Command::Set(key, value, limit) => limited(out.arg("SET").arg(key).arg(value), *limit),
        Command::ExpireAt(key, at, unless) => {
            let condition = match unless {
                Unless::Limited => "NX",
                Unless::Later => "GT",
            };
            out.arg("PEXPIREAT").arg(key).arg(*at).arg(condition)
        }
        Command::Unlink(keys) => out.arg("UNLINK").arg(keys),
        Command::Raise { key, member, to } => {
            out.arg("ZADD").arg(key).arg("GT").arg("CH").arg(*to).arg(member)
        }
        Command::Begin { key, member, at } => {
            out.arg("ZADD").arg(key).arg("NX").arg(*at).arg(member)
        }
        Command::Nudge { key, member } => out.arg("ZINCRBY").arg(key).arg(1).arg(member),
        Command::Scores(key, members) => out.arg("ZMSCORE").arg(key).arg(members),
        Command::Highest(key, _) => {
            out.arg("ZRANGE").arg(key).arg(0).arg(1).arg("REV").arg("WITHSCORES")
        }
    };
    out
}

/// A command with capacity for its arguments.
fn sized(name: &str, arguments: usize, bytes: usize) -> Cmd {
    let mut command = Cmd::with_capacity(1 + arguments, name.len() + bytes);
    command.arg(name);
    command
}

fn limited(out: &mut Cmd, limit: Option<Duration>) -> &mut Cmd {
    match limit {
        Some(limit) => out.arg("PX").arg(limit.min(LONGEST).as_millis().max(1) as u64),
        None => out,
    }
}

/// The key that decides which server of a cluster a command goes to.
pub(crate) fn key(command: &Command) -> &[u8] {
    match command {
        Command::Get(key)
        | Command::Peek(key)
        | Command::HGet(key, _)
        | Command::HPeek(key, _)
        | Command::HSetNx(key, ..)
        | Command::ExpireAt(key, ..)
        | Command::SetNx(key, ..) => key,
        Command::HGetAll(key)
        | Command::Set(key, ..)
        | Command::Raise { key, .. }
        | Command::Begin { key, .. }
        | Command::Nudge { key, .. }
        | Command::Scores(key, _)
        | Command::Highest(key, _) => key,
        Command::Unlink(keys) => keys.first().map_or(&[], Vec::as_slice),
    }
}

/// Decodes the replies to a [`pipeline`].
pub(crate) fn replies(commands: &[Command], values: Vec<Value>) -> Result<Vec<Reply>, LinkError> {
    let mut replies = Vec::with_capacity(commands.len());
    let mut values = values.into_iter();
    for run in runs(commands) {
        let value = values.nth(answers_to(&run[0]) - 1);
        let value = value.ok_or_else(|| LinkError::new("an answer is missing"))?;
        match (run, value) {
            ([one], value) => replies.push(reply(one, value)?),
            (many, Value::Array(all)) if all.len() == many.len() => {
                for (command, value) in many.iter().zip(all) {
                    replies.push(reply(command, value)?);
                }
            }
            (many, value) => {
                let refused = reply(&many[0], value)?;
                replies.extend(many.iter().map(|_| refused.clone()));
            }
        }
    }
    Ok(replies)
}

/// Decodes the reply to one command.
pub(crate) fn reply(command: &Command, value: Value) -> Result<Reply, LinkError> {
    if let Value::ServerError(error) = value {
        let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
        // The server as a whole cannot be used.
        const UNFIT: [&str; 7] =
            ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "BUSY", "UNKILLABLE"];
        return match UNFIT.contains(&error.code()) {
            true => Err(LinkError::new(text.trim_end())),
            false => Ok(Reply::Refused(text.trim_end().to_owned())),
        };
    }
    Ok(match command {
        Command::Get(_) | Command::Peek(_) | Command::HGet(..) | Command::HPeek(..) => {
            Reply::Value(bytes(value))
        }
        Command::HGetAll(_) => Reply::Fields(fields(value)),
        Command::HSetNx(..) => Reply::Done(number(&value) == Some(1)),
        Command::SetNx(..) | Command::Set(..) | Command::Nudge { .. } => {
            Reply::Done(!matches!(value, Value::Nil))
        }
        Command::Unlink(_)
        | Command::ExpireAt(..)
        | Command::Raise { .. }
        | Command::Begin { .. } => Reply::Count(number(&value).unwrap_or(0)),
        Command::Scores(..) => Reply::Scores(list(value).iter().map(number).collect()),
        Command::Highest(_, except) => Reply::Scores(vec![highest(value, except.as_bytes())]),
    })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn fields(value: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    match value {
        Value::Map(pairs) => {
            pairs.into_iter().filter_map(|(a, b)| Some((bytes(a)?, bytes(b)?))).collect()
        }
        Value::Array(items) => {
            let mut items = items.into_iter();
            let mut fields = Vec::new();
            while let (Some(a), Some(b)) = (items.next(), items.next()) {
                fields.extend(bytes(a).zip(bytes(b)));
            }
            fields
        }
        _ => Vec::new(),
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// A whole number, in any of the forms that servers use.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        // Scores are microseconds, far below the numbers that a double skips.
        Value::Double(number) => (*number >= 0.0).then_some(*number as u64),
        Value::BulkString(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|number| number as u64))
        }
        _ => None,
    }
}

/// The first score in the answer to `ZRANGE … WITHSCORES` that is not of
/// `except`: pairs, or a flat list.
fn highest(value: Value, except: &[u8]) -> Option<u64> {
    let flat: Vec<Value> = list(value)
        .into_iter()
        .flat_map(|item| match item {
            Value::Array(pair) => pair,
            item => vec![item],
        })
        .collect();
    let other = |pair: &&[Value]| !matches!(&pair[0], Value::BulkString(name) if name == except);
    flat.chunks_exact(2).find(other).and_then(|pair| number(&pair[1]))
}
