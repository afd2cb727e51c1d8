//! A list that only grows, read without a lock.

use std::sync::OnceLock;

/// Values by number. Reading one takes two loads, so threads that render the same
/// template do not write to shared memory. The caller ensures that only one
/// thread at a time appends.
#[derive(Debug)]
pub struct AppendOnlyVec<T> {
    /// Chunk `n` has room for `FIRST << n` values.
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
}

const FIRST: usize = 64;
const CHUNKS: usize = 32;

impl<T> Default for AppendOnlyVec<T> {
    fn default() -> Self {
        AppendOnlyVec { chunks: [const { OnceLock::new() }; CHUNKS] }
    }
}

impl<T> AppendOnlyVec<T> {
    /// The value of a number, if there is one.
    pub fn get(&self, number: usize) -> Option<&T> {
        let (chunk, place) = place_of(number)?;
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// Stores a value at a free number. An existing value stays.
    pub fn set(&self, number: usize, thing: T) {
        let Some((chunk, place)) = place_of(number) else { return };
        let Some(chunk_cell) = self.chunks.get(chunk) else { return };
        let things =
            chunk_cell.get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
        if let Some(cell) = things.get(place) {
            let _ = cell.set(thing);
        }
    }
}

/// The chunk that contains a number, and the position in it.
fn place_of(number: usize) -> Option<(usize, usize)> {
    let shifted = number.checked_add(FIRST)?;
    let chunk = (shifted / FIRST).ilog2() as usize;
    Some((chunk, shifted - (FIRST << chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let numbered = AppendOnlyVec::default();
        (0..10_000).for_each(|number| numbered.set(number, number));
        numbered.set(7, 0);
        assert!((0..10_000).all(|number| numbered.get(number) == Some(&number)));
        assert_eq!(numbered.get(10_000), None);
        assert_eq!(numbered.get(usize::MAX), None);
    }
}
