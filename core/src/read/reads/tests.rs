use super::*;

/// An invalidation, so that stamps are looked at again.
fn count() {
    crate::Cacheops::in_memory().invalidate_all().unwrap();
}

fn stamps() -> (Arc<Stamp>, Arc<[Arc<Stamp>]>) {
    let stamp = Stamp::new(None, None);
    (stamp.clone(), [stamp].into())
}

#[test]
fn page_reads_do_not_grow_by_duplicates_and_end_at_the_first_change() {
    let mut reads = PageReads::default();
    let many: Vec<_> = (0..8).map(|_| stamps()).collect();
    for turn in 0..10_000 {
        reads.add(&many[turn % 8].1);
    }
    assert!(reads.list.len() <= FEW && reads.is_current());
    many[3].0.drop_it();
    count();
    assert!(!reads.is_current());
    (0..10_000).for_each(|turn| reads.add(&many[turn % 8].1));
    assert!(reads.list.is_empty(), "what has changed need not be remembered for good");
    reads.add(&stamps().1);
    assert!(!reads.is_current());
}

#[test]
fn too_many_page_reads_count_as_changed() {
    let mut reads = PageReads::default();
    (0..=4 * MAX_STAMPS).for_each(|_| reads.add(&stamps().1));
    assert!(!reads.is_current() && reads.list.is_empty());
}

#[test]
fn unscoped_reads_count_for_the_next_page_and_while_their_reader_lives() {
    let mut unscoped = UnscopedReads::new();
    let (reader, (stamp, both)) = (RowReader::new(), stamps());
    unscoped.add(&reader, &both, true);
    assert!(unscoped.is_current());
    stamp.drop_it();
    assert!(!unscoped.is_current(), "its reader lives");
    drop(reader);
    assert!(unscoped.is_current(), "nobody shows it outside of a page");
    let (mut first, mut second) = (PageReads::default(), PageReads::default());
    unscoped.claim(&mut first);
    unscoped.claim(&mut second);
    assert!(!first.is_current(), "the page may show it");
    assert!(second.is_current(), "it ended with the page before");
}

#[test]
fn unscoped_reads_of_a_thread_without_pages_do_not_grow() {
    let mut unscoped = UnscopedReads::new();
    for _ in 0..100_000 {
        unscoped.add(&RowReader::new(), &stamps().1, true);
    }
    assert!(unscoped.list.len() < 4 * FEW * FEW);
    let mut reads = PageReads::default();
    unscoped.claim(&mut reads);
    assert!(!reads.is_current(), "some were forgotten, so nobody knows");
}

#[test]
fn a_reader_that_lives_on_holds_only_what_it_read_last() {
    let mut unscoped = UnscopedReads::new();
    let reader = RowReader::new();
    for (is_unclaimed, most) in [(false, 1), (true, 4 * FEW)] {
        for _ in 0..10_000 {
            let (stamp, both) = stamps();
            unscoped.add(&reader, &both, is_unclaimed);
            stamp.drop_it();
        }
        assert!(unscoped.list.len() <= most && !unscoped.is_current());
    }
    unscoped.claim(&mut PageReads::default());
    unscoped.add(&reader, &stamps().1, false);
    unscoped.sweep();
    assert!(unscoped.is_current(), "it has read anew what was changed");
}

#[test]
fn a_page_holds_no_fragment_that_the_store_has_evicted() {
    let cache = crate::Cacheops::in_memory();
    let page = cache.page();
    let get = || {
        let call = cache.cached_as("rows").page(&page);
        call.get_or_fill(|| Ok::<_, crate::Error>("text".to_owned())).unwrap()
    };
    (0..2).for_each(|_| drop(get()));
    let key = cache.fragments()[0].key;
    let kept = Arc::downgrade(&cache.inner.settings.store.get(&key).unwrap());
    cache.invalidate_all().unwrap();
    get();
    assert_eq!(kept.strong_count(), 0);
}
