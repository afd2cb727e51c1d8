//! The seal of the map of a queryset. It distinguishes a map of the plugin from a
//! map of an author, and contains what the plugin needs.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use cacheops::QuerySet;
use cacheops::template::queryset_digest;
use serde::{Serialize, Serializer};
use tera::Value;
use tera::value::Key;

/// The name under which the map of a queryset contains its representation in
/// keys.
pub(crate) const SEAL: &str = "_cacheops";

/// The length of a digest.
pub(crate) const DIGEST: usize = 20;

/// The length of the part that identifies a seal of this process.
const SECRET: usize = 8;

/// Nobody else knows it, so no map of an author has it by chance.
static OWN: LazyLock<[u8; SECRET]> =
    LazyLock::new(|| RandomState::new().hash_one(SEAL).to_le_bytes());

/// A queryset with its digest, and with the number of its rows if it has any.
#[derive(Serialize)]
pub(crate) struct Sealed<'a> {
    #[serde(flatten)]
    queryset: &'a QuerySet,
    #[serde(rename = "_cacheops", serialize_with = "write_bytes")]
    seal: Vec<u8>,
}

fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl<'a> Sealed<'a> {
    pub(crate) fn new(queryset: &'a QuerySet, rows: Option<u64>) -> Self {
        let mut seal = queryset_digest(queryset).as_bytes().to_vec();
        seal.extend(*OWN);
        seal.extend(rows.map(u64::to_le_bytes).into_iter().flatten());
        Sealed { queryset, seal }
    }
}

/// The digest of a queryset, and the number of its rows.
pub(crate) fn seal_of(value: &Value) -> Option<(&[u8; DIGEST], Option<u64>)> {
    let seal = value.as_map()?.get(&Key::Str(SEAL))?.as_bytes()?;
    let (digest, rest) = seal.split_first_chunk()?;
    let number = rest.strip_prefix(&*OWN)?;
    Some((digest, number.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))))
}
