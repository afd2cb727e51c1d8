//! Decisions: which keys a change meets. No I/O, no locks.

use crate::error::{Error, ErrorKind};
use crate::key::KeyWriter;
use crate::queryset::Conjunction;
use crate::value::{Row, spell};

/// The most stamps that one change of rows drops one by one. More become the
/// table: one drop, which always fits, where millions would hold up everybody.
pub(crate) const MOST_KEYS: usize = 100_000;

/// The sorted field names of a conjunction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scheme(Box<[Box<str>]>);

impl Scheme {
    pub(crate) fn of(conjunction: &Conjunction) -> Self {
        Scheme(conjunction.iter().map(|(field, _)| field.as_str().into()).collect())
    }

    /// The field of a registry that stands for the scheme: the names of its
    /// fields with commas between them.
    #[cfg(feature = "redis")]
    pub(crate) fn field(&self) -> Vec<u8> {
        let escape = |name: &str| match name {
            // Nothing at all is the scheme without fields.
            "" => "%".to_owned(),
            name => name.replace('%', "%25").replace(',', "%2C"),
        };
        let names: Vec<String> = self.0.iter().map(|name| escape(name)).collect();
        match names.join(",") {
            // The registry keeps its epoch there.
            name if name == "_e" => b"%5Fe".to_vec(),
            name => name.into_bytes(),
        }
    }

    /// Reads what [`field`](Self::field) wrote.
    #[cfg(feature = "redis")]
    pub(crate) fn from_field(field: &[u8]) -> Self {
        let field = String::from_utf8_lossy(field);
        let unescape = |name: &str| match name {
            "%" => "".into(),
            name => name.replace("%5Fe", "_e").replace("%2C", ",").replace("%25", "%").into(),
        };
        if field.is_empty() {
            return Scheme(Box::default());
        }
        Scheme(field.split(',').map(unescape).collect())
    }

    /// That of the conjunction whose terms end a key.
    pub(crate) fn of_key(terms: &str) -> Self {
        let field = |term: &str| term.split_once('=').map_or(term, |(field, _)| field).into();
        Scheme(terms.split('&').filter(|term| !term.is_empty()).map(field).collect())
    }

    /// What it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let names: usize = self.0.iter().map(|name| size_of::<Box<str>>() + name.len()).sum();
        size_of::<Self>() + names
    }

    pub(crate) fn is_of(&self, conjunction: &Conjunction) -> bool {
        self.0.len() == conjunction.len()
            && self.0.iter().zip(conjunction).all(|(field, (other, _))| **field == **other)
    }
}

/// Writes the key of a conjunction over what is in `key`:
/// `{prefix}conj:{table}:{field}={value}&{field2}={value2}`.
pub(crate) fn conjunction_key(
    prefix: &str,
    table: &str,
    conjunction: &Conjunction,
    key: &mut String,
) {
    begin_key(prefix, table, key);
    for (field, value) in conjunction {
        push_term(field, key, |spelling| {
            spelling.push_str(value);
            true
        });
    }
}

/// Writes the key of the conjunction of `scheme` that `row` spells; false when
/// the row lacks a field, or holds there what no spelling can stand for, and so
/// may meet any conjunction of the scheme.
pub(crate) fn row_key(
    prefix: &str,
    table: &str,
    scheme: &Scheme,
    row: &Row,
    key: &mut String,
) -> bool {
    begin_key(prefix, table, key);
    for field in &scheme.0 {
        let Some(value) = row.get(field) else {
            return false;
        };
        if !push_term(field, key, |spelling| spell(value, spelling)) {
            return false;
        }
    }
    true
}

fn begin_key(prefix: &str, table: &str, key: &mut String) {
    key.clear();
    key.push_str(prefix);
    key.push_str("conj:");
    key.push_str(table);
    key.push(':');
}

/// Appends `field=value&`, with the separators in the value escaped, so that
/// no two conjunctions spell one key. Answers what `value` does.
fn push_term(field: &str, key: &mut String, value: impl FnOnce(&mut String) -> bool) -> bool {
    if !key.ends_with(':') {
        key.push('&');
    }
    key.push_str(field);
    key.push('=');
    let start = key.len();
    let stands = value(key);
    if key[start..].contains(['%', '&', ':']) {
        let escaped = key[start..].replace('%', "%25").replace('&', "%26").replace(':', "%3A");
        key.truncate(start);
        key.push_str(&escaped);
    }
    stands
}

/// What the keys of all conjunctions of a table begin with.
pub(crate) fn conjunction_stem(prefix: &str, table: &str) -> Vec<u8> {
    let mut key = String::new();
    begin_key(prefix, table, &mut key);
    key.into_bytes()
}

/// The key of a table's registry.
pub(crate) fn registry_key(prefix: &str, table: &str) -> String {
    format!("{prefix}schemes:{table}")
}

/// The key of the stamp that everything depends on.
pub(crate) fn everything_key(prefix: &str) -> Vec<u8> {
    format!("{prefix}all").into_bytes()
}

/// What the keys begin with of the stamps right below the one under `parent`,
/// if they are of the usual kind: registries below everything, conjunctions
/// below the registry of their table.
#[cfg(feature = "redis")]
pub(crate) fn key_stem(parent: &[u8]) -> Option<Vec<u8>> {
    if let Some(prefix) = parent.strip_suffix(b"all") {
        return Some([prefix, b"schemes:"].concat());
    }
    let registry = std::str::from_utf8(parent).ok()?;
    let (prefix, table) = registry.rsplit_once("schemes:")?;
    let mut stem = String::new();
    begin_key(prefix, table, &mut stem);
    Some(stem.into_bytes())
}

/// Refuses a name that no fragment can have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.trim().is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidName,
            "a fragment's name is empty: give it one, or leave it out",
        ));
    }
    Ok(())
}

/// Longer names and variants stand in keys by their digest, in bytes.
const LONGEST: usize = 200;

/// Appends a part of a key, by its digest if it is long. One that looks like a
/// digest is dropped with what has it, which is no harm.
fn push_short(part: &[u8], key: &mut Vec<u8>) {
    if part.len() <= LONGEST {
        key.extend_from_slice(part);
        return;
    }
    let mut digest = KeyWriter::empty();
    digest.bytes(part);
    key.push(b'#');
    key.extend_from_slice(&digest.finish().digits());
}

/// The key of a fragment's name. Blanks around it do not count.
pub(crate) fn name_key(prefix: &str, name: &str) -> Vec<u8> {
    let mut key = format!("{prefix}name:").into_bytes();
    push_short(name.trim().as_bytes(), &mut key);
    key
}

/// The key of one variant of a name. The length keeps name and variant apart.
pub(crate) fn variant_key(prefix: &str, name: &str, variant: &[u8]) -> Vec<u8> {
    let mut key = variant_stem(prefix, name);
    push_short(variant, &mut key);
    key
}

/// What the keys of all variants of a name begin with.
pub(crate) fn variant_stem(prefix: &str, name: &str) -> Vec<u8> {
    let name = name.trim();
    let mut key = format!("{prefix}variant:{}:", name.len()).into_bytes();
    push_short(name.as_bytes(), &mut key);
    key.push(b':');
    key
}
