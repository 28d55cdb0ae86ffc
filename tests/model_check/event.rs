//! What may happen in the model, between any two steps of anybody.

use std::fmt;

use mariadb_galera::cluster::Unit;

/// What may happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Begin(Unit),
    BeginStale(Unit),
    GoOn(Unit),
    End(Unit),
    EndRefused(Unit),
    Kill(Unit),
    Leader(Unit),
    PowerOff(Unit),
    ShutDown(Unit),
    PowerOn(Unit),
    ServerDies(Unit),
    DiskLost(Unit),
    Cut(Unit),
    Mend,
    Views,
    Transfer(Unit),
    Apply(Unit),
    Write(Unit),
    Stalls(Unit),
    ByHand(Unit),
    Force(Unit),
    /// By this unit, or taken back.
    Restore(Option<Unit>),
    Confirm,
    Options,
    Add(Unit),
    Remove(Unit),
    Gone(Unit),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(u) => write!(f, "{u}: a hook begins"),
            Self::BeginStale(u) => write!(f, "{u}: a hook begins, and hears of the others what the last one heard"),
            Self::GoOn(u) => write!(f, "{u}: the hook's next step"),
            Self::End(u) => write!(f, "{u}: the hook ends well"),
            Self::EndRefused(u) => write!(f, "{u}: Juju refuses what the hook wrote"),
            Self::Kill(u) => write!(f, "{u}: the hook is killed"),
            Self::Leader(u) => write!(f, "{u} leads"),
            Self::PowerOff(u) => write!(f, "{u}: power off"),
            Self::ShutDown(u) => write!(f, "{u}: the machine is shut down in order"),
            Self::PowerOn(u) => write!(f, "{u}: power on"),
            Self::ServerDies(u) => write!(f, "{u}: the server is killed"),
            Self::DiskLost(u) => write!(f, "{u}: comes back with an empty disk"),
            Self::Cut(u) => write!(f, "{u}: the network is cut"),
            Self::Mend => write!(f, "the network is mended"),
            Self::Views => write!(f, "views form"),
            Self::Transfer(u) => write!(f, "{u}: has received its copy"),
            Self::Apply(u) => write!(f, "{u}: writes reach the disk"),
            Self::Write(u) => write!(f, "a client writes through {u}"),
            Self::Stalls(u) => write!(f, "{u}: has waited for long"),
            Self::ByHand(u) => write!(f, "{u}: a person restarts the cluster from here by hand"),
            Self::Force(u) => write!(f, "{u}: a person runs bootstrap-cluster force=true"),
            Self::Restore(Some(u)) => write!(f, "a person goes back to a backup that {u} has"),
            Self::Restore(None) => write!(f, "a person takes the restore back"),
            Self::Options => write!(f, "a person changes options that only a start takes"),
            Self::Confirm => write!(f, "a person lets go of what was put aside"),
            Self::Add(u) => write!(f, "{u} is added"),
            Self::Remove(u) => write!(f, "{u} is removed"),
            Self::Gone(u) => write!(f, "{u} is gone"),
        }
    }
}
