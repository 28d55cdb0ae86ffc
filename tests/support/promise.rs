//! What no order of events may break, and mistakes that do.

use std::fmt;

/// A promise: what a step breaks, or the end of all faults does not bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Promise {
    OneHistory,
    PermissionsOnce,
    WritesSurvive,
    CopiesSurvive,
    CredentialsOnce,
    DbInitForward,
    ReadyMeansReady,
    OneRestart,
    Forms,
    Heals,
}

impl Promise {
    pub(crate) const ALL: [Self; 10] = [
        Self::OneHistory,
        Self::PermissionsOnce,
        Self::WritesSurvive,
        Self::CopiesSurvive,
        Self::CredentialsOnce,
        Self::DbInitForward,
        Self::ReadyMeansReady,
        Self::OneRestart,
        Self::Forms,
        Self::Heals,
    ];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneHistory => "one history: never two components that accept writes",
            Self::PermissionsOnce => "a permission is given once and used once",
            Self::WritesSurvive => "acknowledged writes survive",
            Self::CopiesSurvive => "no other history is overwritten",
            Self::CredentialsOnce => "credentials are made once",
            Self::DbInitForward => "db-init only moves forward",
            Self::ReadyMeansReady => "ready means ready: a full member of the one history",
            Self::OneRestart => "one at a time is restarted for its options",
            Self::Forms => "it forms, when faults end",
            Self::Heals => "it heals, when faults end",
        })
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    pub(crate) promise: Promise,
    pub(crate) how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.how)
    }
}

/// Mistakes that a check has to find. They are made here, around the decision, and nowhere in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Planted {
    /// The journal forgets which permission was used.
    ForgetsUsedEpoch,
    /// Nobody is asked before a bootstrap.
    AsksNobody,
    /// The leader takes those that it does not hear for absent.
    IgnoresTheSilent,
    /// Nobody asks with whom a copy last ran.
    IgnoresTheView,
    /// The servers of all branches find each other.
    OneNameForAll,
    /// Who serves says nothing to a restart by force that leaves it behind.
    NobodyObjects,
    /// The lowest position is chosen, not the highest.
    TakesTheLowest,
    /// Nobody looks what lies on the volume.
    OverlooksData,
    /// A hook's databags are visible before it ends.
    PublishesTooSoon,
    /// The credentials are made again with each permission.
    MakesCredentialsAgain,
    /// `db-init` starts over with every step.
    ForgetsDbInit,
    /// Nobody ever calls an outage one.
    NeverStalled,
    /// The leader's permission is lost.
    NeverPermits,
    /// Each permission to form is the first.
    EpochsStartOver,
    /// Whoever hears of a turn takes it for its own.
    TurnsForAll,
    /// A server that answers is taken for a full member.
    AnswersMeansReady,
}
