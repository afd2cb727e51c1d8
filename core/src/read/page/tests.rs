use std::sync::Arc;

use super::*;
use crate::key::KeyWriter;

/// Remembers all lists, and what was asked for.
#[derive(Default)]
struct Memory {
    lists: Mutex<HashMap<FragmentKey, Vec<FragmentRef>>>,
    asked: Mutex<Vec<FragmentKey>>,
}

impl PrefetchMemory for Memory {
    fn has_computed_prefix(&self) -> bool {
        false
    }

    fn prefetch_list(&self, leader: &FragmentKey) -> Arc<[FragmentRef]> {
        lock(&self.asked).push(*leader);
        lock(&self.lists).get(leader).cloned().unwrap_or_default().into()
    }

    fn remember(&self, leader: FragmentKey, list: Vec<FragmentRef>) {
        lock(&self.lists).insert(leader, list);
    }
}

fn key(n: usize) -> FragmentKey {
    let mut key = KeyWriter::new();
    key.str(&n.to_string());
    key.finish()
}

fn request(page: &Page, n: usize) -> Vec<FragmentRef> {
    page.note_request(key(n), "");
    page.begin_trip(&key(n))
}

fn keys(list: &[FragmentRef]) -> Vec<FragmentKey> {
    list.iter().map(|fragment| fragment.key).collect()
}

#[test]
fn a_page_that_is_kept_does_not_grow_and_prefetches_for_no_other_leader() {
    let memory = Arc::new(Memory::default());
    let last = MAX_REQUESTS - 1;
    let short = Page::new(Some(memory.clone()));
    (last..last + 3).for_each(|n| drop(request(&short, n)));
    drop(short);
    let followers = [key(last + 1), key(last + 2)];
    lock(&memory.asked).clear();

    let kept = Page::new(Some(memory.clone()));
    for n in 0..3 * MAX_REQUESTS {
        let list = request(&kept, n);
        assert!(list.is_empty() || n == last, "{n} prefetches what follows another");
    }
    let asked = lock(&memory.asked).clone();
    assert!(asked.iter().enumerate().all(|(n, leader)| *leader == key(n)));
    let leaders = kept.0.prefetch.as_ref().map(|it| lock(&it.requests).leaders.len());
    assert!(leaders <= Some(MAX_REQUESTS), "{leaders:?}");
    drop(kept);
    let lists = lock(&memory.lists);
    assert_eq!(keys(&lists[&key(last)]), followers, "what followed later is not known");
    assert_eq!(lists[&key(0)].len(), MAX_PREFETCH);
}

/// Two threads share a page: each trip has its own leader.
#[test]
fn a_trip_is_led_by_what_it_looks_for() {
    let memory = Arc::new(Memory::default());
    let page = Page::new(Some(memory.clone()));
    page.note_request(key(1), "");
    page.note_request(key(2), "");
    assert!(page.begin_trip(&key(1)).is_empty() && page.begin_trip(&key(2)).is_empty());
    assert_eq!(*lock(&memory.asked), [key(1), key(2)]);
    drop(page);
    assert_eq!(keys(&lock(&memory.lists)[&key(1)]), [key(2)]);
}
