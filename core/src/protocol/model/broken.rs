//! Ways to break the protocol. The search has to find each of them.

/// One step that is left out or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// Tokens are always the same.
    ReusedTokens,
    /// The data is read before the stamps.
    DataFirst,
    /// The data is read in a snapshot that was opened before the stamps.
    OldSnapshot,
    /// Schemes are registered when the fragment is stored.
    SchemesAtStore,
    AnnouncedBeforeCommit,
    /// A sweep uses the schemes that were last seen.
    OldSchemes,
    /// A sweep reads the registry before it deletes, and not again.
    LooksBefore,
    /// A missing stamp counts as unchanged.
    MissingEqual,
    /// A fill writes its stamps again to extend their expiry.
    StampsWrittenAgain,
    /// Only the epoch that is read after the schemes counts.
    EpochLast,
    /// Only the epoch that is read before the schemes counts.
    EpochOnce,
    /// A server that has gone back in time is ignored.
    GoesBackUnnoticed,
    /// Objects are created when the reply arrives.
    ObjectsAfterReads,
    /// A process does not drop in memory what it deletes in the store. It
    /// receives a push for it, too late for the caller.
    OwnChangeKept,
    /// Memory is trusted when the connection breaks.
    KeptAcrossBreak,
    /// A heartbeat counts from when it is sent.
    HeartbeatNotAwaited,
    /// A sweep in a cluster has only one pass.
    OnePass,
    /// A reply from an old connection settles a stamp of the new one.
    OldSessionSettles,
    /// A fill treats what a lookup has read as leased, although its scheme
    /// may not be registered.
    SettledWithoutScheme,
    /// A store whose tracking table overflows does not push what it forgets.
    ForgetsUnsaid,
    /// The schemes of a table expire, and its epoch does not.
    EpochOutlivesSchemes,
    /// Memory is read before checking whether it can be trusted.
    TrustLast,
}
