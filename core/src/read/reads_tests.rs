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
fn reads_do_not_grow_by_doubles_and_end_at_the_first_change() {
    let mut reads = Reads::default();
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
fn too_many_reads_are_as_if_one_had_changed() {
    let mut reads = Reads::default();
    (0..=4 * MOST).for_each(|_| reads.add(&stamps().1));
    assert!(!reads.is_current() && reads.list.is_empty());
}

#[test]
fn strays_count_for_the_next_rendering_and_while_they_are_read() {
    let mut strays = Strays::new();
    let (reader, (stamp, both)) = (std::sync::Arc::new(()), stamps());
    strays.add(&reader, &both, true);
    assert!(strays.is_current());
    stamp.drop_it();
    assert!(!strays.is_current(), "its reader lives");
    drop(reader);
    assert!(strays.is_current(), "nobody reads it outside of a rendering");
    let (mut first, mut second) = (Reads::default(), Reads::default());
    strays.claim(&mut first);
    strays.claim(&mut second);
    assert!(!first.is_current(), "the rendering may show it");
    assert!(second.is_current(), "it ended with the rendering before");
}

#[test]
fn strays_of_a_thread_that_renders_nothing_do_not_grow() {
    let mut strays = Strays::new();
    for _ in 0..100_000 {
        strays.add(&std::sync::Arc::new(()), &stamps().1, true);
    }
    assert!(strays.list.len() < 4 * FEW * FEW);
    let mut reads = Reads::default();
    strays.claim(&mut reads);
    assert!(!reads.is_current(), "some were forgotten, so nobody knows");
}

#[test]
fn a_reader_that_lives_on_holds_what_it_read_last() {
    let mut strays = Strays::new();
    let reader = std::sync::Arc::new(());
    for (is_unclaimed, most) in [(false, 1), (true, 4 * FEW)] {
        for _ in 0..10_000 {
            let (stamp, both) = stamps();
            strays.add(&reader, &both, is_unclaimed);
            stamp.drop_it();
        }
        assert!(strays.list.len() <= most && !strays.is_current());
    }
    strays.claim(&mut Reads::default());
    strays.add(&reader, &stamps().1, false);
    strays.sweep();
    assert!(strays.is_current(), "it has read anew what was changed");
}

#[test]
fn a_page_holds_no_fragment_that_the_store_has_dropped() {
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
