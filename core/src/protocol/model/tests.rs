//! The searches. Those that are ignored take minutes.

use super::broken::Broken;
use super::search::{fails, holds};
use super::worlds;

mod the_protocol {
    use super::{holds, worlds};

    #[test]
    fn holds_in_strict_mode() {
        holds(worlds::one_reader());
        holds(worlds::strict());
        holds(worlds::filled_again());
    }

    #[test]
    fn holds_in_memory() {
        holds(worlds::bounded());
        holds(worlds::stored());
        holds(worlds::stored_ahead());
        holds(worlds::partial());
    }

    #[test]
    fn holds_among_threads() {
        holds(worlds::threads());
        holds(worlds::own_table());
        holds(worlds::writers());
    }

    #[test]
    fn holds_while_tables_are_dropped() {
        holds(worlds::short_races());
        holds(worlds::tables());
    }

    #[test]
    fn holds_for_rows_that_are_handed_on() {
        holds(worlds::nested());
        holds(worlds::nested_elsewhere());
    }

    #[test]
    fn holds_when_everything_goes() {
        holds(worlds::everything());
        holds(worlds::flushed());
    }

    #[test]
    fn holds_when_keys_are_lost() {
        holds(worlds::lost_registry());
    }

    #[test]
    fn holds_when_the_store_forgets_who_has_read_what() {
        holds(worlds::overflows());
    }

    #[test]
    fn holds_when_the_line_is_lost() {
        holds(worlds::cut());
    }

    #[test]
    fn holds_when_lookups_are_given_up() {
        holds(worlds::lookups_given_up());
    }

    #[test]
    fn holds_when_the_store_goes_back_in_time() {
        holds(worlds::going_back());
    }

    #[test]
    #[ignore = "2 minutes"]
    fn holds_in_larger_worlds() {
        holds(worlds::bounded_readers());
        holds(worlds::bounded_ahead());
        holds(worlds::schemes());
        holds(worlds::schemes_ahead());
        holds(worlds::strict_ahead());
        holds(worlds::losses());
        holds(worlds::given_up());
        holds(worlds::lost_registries());
    }

    #[test]
    #[ignore = "2 minutes"]
    fn holds_in_a_cluster() {
        holds(worlds::cluster());
        holds(worlds::nested_in_cluster());
    }

    #[test]
    #[ignore = "5 minutes"]
    fn holds_in_races() {
        holds(worlds::races());
    }

    #[test]
    #[ignore = "many minutes and gigabytes"]
    fn holds_for_fragments_of_two_kinds() {
        holds(worlds::wide());
    }

    #[test]
    #[ignore = "many minutes and gigabytes"]
    fn holds_for_rows_that_are_handed_on_while_both_change_them() {
        holds(worlds::wide_nested());
    }

    #[test]
    #[ignore = "many minutes and gigabytes"]
    fn holds_when_much_goes_wrong() {
        holds(worlds::wide_faults());
    }
}

#[test]
fn tokens_must_not_be_reused() {
    fails(worlds::filled_again(), Broken::ReusedTokens);
}

#[test]
fn stamps_come_before_data() {
    fails(worlds::one_reader(), Broken::DataFirst);
}

#[test]
fn snapshots_are_opened_after_the_stamps_are_taken() {
    fails(worlds::one_reader(), Broken::OldSnapshot);
}

#[test]
fn schemes_are_registered_before_data_is_read() {
    fails(worlds::one_reader(), Broken::SchemesAtStore);
}

#[test]
fn changes_are_committed_before_they_are_announced() {
    fails(worlds::one_reader(), Broken::AnnouncedBeforeCommit);
}

#[test]
fn schemes_that_were_seen_earlier_may_not_be_all() {
    fails(worlds::one_reader(), Broken::OldSchemes);
}

#[test]
fn registries_are_looked_at_after_the_drops() {
    fails(worlds::nested_in_cluster_ahead(), Broken::LooksBefore);
}

#[test]
fn missing_stamps_equal_nothing() {
    fails(worlds::strict_ahead(), Broken::MissingEqual);
}

#[test]
fn stamps_are_not_written_again() {
    fails(worlds::one_reader(), Broken::StampsWrittenAgain);
}

#[test]
fn an_epoch_counts_only_if_it_was_there_before_the_schemes() {
    fails(worlds::lost_registries_ahead(), Broken::EpochLast);
}

#[test]
fn an_epoch_counts_only_if_it_is_there_after_the_schemes() {
    fails(worlds::lost_registry(), Broken::EpochOnce);
}

#[test]
fn stores_that_go_back_in_time_are_noticed() {
    fails(worlds::going_back(), Broken::GoesBackUnnoticed);
}

#[test]
fn objects_are_made_before_their_tokens_are_read() {
    fails(worlds::stored(), Broken::ObjectsAfterReads);
}

#[test]
fn own_changes_are_dropped_in_memory() {
    fails(worlds::own_table(), Broken::OwnChangeKept);
}

#[test]
fn memory_is_distrusted_when_the_line_breaks() {
    fails(worlds::cut(), Broken::KeptAcrossBreak);
}

#[test]
fn heartbeats_are_awaited() {
    fails(worlds::bounded(), Broken::HeartbeatNotAwaited);
}

#[test]
fn clusters_need_two_passes() {
    fails(worlds::nested_in_cluster_ahead(), Broken::OnePass);
}

#[test]
fn replies_over_old_lines_settle_nothing() {
    fails(worlds::given_up(), Broken::OldSessionSettles);
}

#[test]
fn lookups_settle_only_what_has_its_scheme() {
    fails(worlds::schemes_ahead(), Broken::SettledWithoutScheme);
}

#[test]
fn what_a_store_forgets_it_has_to_tell() {
    fails(worlds::overflows(), Broken::ForgetsUnsaid);
}

#[test]
fn epochs_end_with_their_schemes() {
    fails(worlds::lost_registry(), Broken::EpochOutlivesSchemes);
}

#[test]
fn trust_is_asked_for_before_memory_is_looked_at() {
    fails(worlds::cut(), Broken::TrustLast);
}
