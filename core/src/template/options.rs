//! The arguments of a tag that are not querysets.

use std::time::Duration;

use super::encode::{Distinctions, write_name, write_value};
use super::engine::{Datum, Engine};
use crate::key::KeyWriter;

/// The options of a tag: everything besides its querysets.
#[derive(Clone, Debug)]
pub struct TagOptions<'a> {
    /// Its time limit.
    pub time_to_live: Option<Duration>,
    /// Its name.
    pub name: Option<&'a str>,
    /// Whether requests that miss at the same time share one fill.
    pub lock: bool,
    /// Caching is switched off.
    pub skip: bool,
    /// Caching is switched off by `if` or `unless`. A fragment around the tag
    /// may be stored, and depends on what the tag names.
    pub passes: bool,
    /// The variant for `invalidate_fragment_extra`.
    pub variant: Option<Vec<u8>>,
}

/// The arguments of a tag that are not querysets.
#[derive(Debug)]
pub struct TagArguments<'a, V> {
    /// `timeout`, if given.
    pub timeout: Option<&'a V>,
    /// `name`, if given.
    pub name: Option<&'a V>,
    /// `lock`, if given.
    pub lock: Option<&'a V>,
    /// `if`, if given.
    pub when: Option<&'a V>,
    /// `unless`, if given.
    pub unless: Option<&'a V>,
    /// `extra`, in one value or several.
    pub extra: &'a [&'a V],
}

impl<'a> TagOptions<'a> {
    /// Reads the arguments of a tag, and writes what represents them into the
    /// key.
    ///
    /// # Errors
    ///
    /// A message about an invalid argument.
    pub fn read<E: Engine>(
        given: &TagArguments<'a, E::Value>,
        key: &mut KeyWriter,
    ) -> Result<Self, String> {
        let mut distinctions = Distinctions::default();
        let name = given.name.map(read_name::<E>).transpose()?.flatten();
        write_name(name, key);
        distinctions.leaf(given.name.is_some_and(E::is_safe));
        let start = key.as_bytes().len();
        match given.extra {
            [] => key.none(),
            [one] => write_value::<E>(one, key, &mut distinctions)?,
            many => {
                key.list(many.len());
                many.iter().try_for_each(|one| write_value::<E>(one, key, &mut distinctions))?;
            }
        }
        let variant =
            (name.is_some() && !given.extra.is_empty()).then(|| key.as_bytes()[start..].into());
        distinctions.write(key);
        Ok(TagOptions {
            time_to_live: given.timeout.map(read_timeout::<E>).transpose()?.flatten(),
            name,
            lock: given.lock.map(read_lock::<E>).transpose()?.unwrap_or(true),
            skip: false,
            passes: !given.when.map(E::is_true).transpose()?.unwrap_or(true)
                || given.unless.map(E::is_true).transpose()?.unwrap_or(false),
            variant,
        })
    }
}

fn read_name<E: Engine>(value: &E::Value) -> Result<Option<&str>, String> {
    match E::read(value)? {
        Datum::Text("") => {
            Err("the fragment's name is empty: give it one, or leave `name` out".to_owned())
        }
        Datum::Text(name) => Ok(Some(name)),
        Datum::None => Ok(None),
        Datum::Undefined => {
            Err("the fragment's name is undefined: put a plain name in quotes".to_owned())
        }
        other => Err(format!("the fragment's name is {}, and it must be text", other.kind())),
    }
}

fn read_lock<E: Engine>(value: &E::Value) -> Result<bool, String> {
    match E::read(value)? {
        Datum::None => Ok(true),
        Datum::Undefined => Err("`lock` is undefined: give it `true` or `false`".to_owned()),
        _ => E::is_true(value),
    }
}

fn read_timeout<E: Engine>(value: &E::Value) -> Result<Option<Duration>, String> {
    let datum = E::read(value)?;
    let seconds = match &datum {
        Datum::None => return Ok(None),
        // Whole seconds beyond 2^52 are no time limit in any case.
        Datum::Int(number) => *number as f64,
        Datum::UInt(number) => *number as f64,
        Datum::Float(number) => *number,
        other => {
            return Err(format!(
                "the time limit is {}, and it must be a number of seconds, or `none` for the default",
                other.kind()
            ));
        }
    };
    // Not a number is not above zero either.
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(format!(
            "the time limit is {seconds}, and it must be above zero: leave it out for the default, or leave the tag out not to cache"
        ));
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(Some(time)),
        _ => Err(format!("a time limit of {seconds:e} seconds cannot be kept")),
    }
}
