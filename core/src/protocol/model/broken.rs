//! Ways to break the protocol, each of which the search has to find out.

/// One step left out, or done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// Tokens that are one and the same for ever.
    ReusedTokens,
    /// The data is read before the stamps.
    DataFirst,
    /// The data is read in a snapshot that was opened before the stamps.
    OldSnapshot,
    /// Schemes are registered when the fragment is stored.
    SchemesAtStore,
    AnnouncedBeforeCommit,
    /// A sweep goes by the schemes that were last seen.
    OldSchemes,
    /// A sweep reads the registry before it drops, and not again.
    LooksBefore,
    /// A stamp that is missing is as good as the one that it was.
    MissingEqual,
    /// A fill writes its stamps once more, to make them live longer.
    StampsWrittenAgain,
    /// Only the epoch counts that is read after the schemes.
    EpochLast,
    /// Only the epoch counts that is read before the schemes.
    EpochOnce,
    /// Nothing is done about a server that has gone back in time.
    GoesBackUnnoticed,
    /// Objects are made when the reply is there.
    ObjectsAfterReads,
    /// A process does not drop in memory what it drops in the store: it is told
    /// of it, and too late for whoever has called.
    OwnChangeKept,
    /// What is in memory is kept when the connection breaks.
    KeptAcrossBreak,
    /// A heartbeat counts from when it is sent.
    HeartbeatNotAwaited,
    /// A sweep in a cluster that goes by one pass.
    OnePass,
    /// A reply from an old connection says something of a stamp of the new.
    OldSessionSettles,
    /// A fill takes what a lookup has read for leased, whose scheme may not be
    /// registered.
    SettledWithoutScheme,
    /// A store whose table of who has read what overflows does not tell whom it
    /// forgets.
    ForgetsUnsaid,
    /// The schemes of a table end, and its epoch does not.
    EpochOutlivesSchemes,
    /// Whether memory can be trusted is asked after looking at it.
    TrustLast,
}
