//! What a monitoring system reads of this member, as Prometheus takes it. The database's own numbers are an exporter's
//! matter: here is what only the charm knows.

use std::fmt::Write as _;

use super::live::Live;
use super::{planned, work};
use crate::cluster::MakingResult;
use crate::mariadb::Paths;

/// All of them. What has never happened is left out.
pub fn render(live: &Live, paths: &Paths) -> String {
    let failed = match planned::observe(paths).map(|making| making.result) {
        Some(MakingResult::Made(made)) => Some(i64::from(made.problem.is_some())),
        Some(MakingResult::Working | MakingResult::Interrupted) | None => None,
    };
    let numbers = [
        ("ready", "Whether the member takes traffic.", Some(i64::from(live.ready))),
        ("cluster_size", "Members in its view of the cluster.", Some(i64::from(live.size))),
        (
            "backup_last_made_timestamp_seconds",
            "When this unit last made a backup.",
            work::last_made(paths).map(|at| at.unix_seconds()),
        ),
        (
            "backup_last_verified_timestamp_seconds",
            "When this unit last proved a backup to restore.",
            work::last_proved(paths).map(|at| at.unix_seconds()),
        ),
        ("backup_planned_failed", "Whether the last planned backup of this unit failed.", failed),
    ];
    let mut text = String::new();
    for (name, help, number) in numbers {
        if let Some(number) = number {
            let _infallible = write!(
                text,
                "# HELP mariadb_galera_{name} {help}\n# TYPE mariadb_galera_{name} gauge\nmariadb_galera_{name} {number}\n"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Timestamp;

    #[test]
    fn what_has_never_happened_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let live = Live { ready: true, size: 3, ..Live::default() };
        let text = render(&live, &paths);
        assert!(
            text.contains("\nmariadb_galera_ready 1\n") && text.contains("\nmariadb_galera_cluster_size 3\n"),
            "{text}"
        );
        assert!(!text.contains("backup"), "{text}");
        work::note_proof(&paths, Timestamp::from_unix_seconds(1_800_000_000).unwrap()).unwrap();
        let text = render(&live, &paths);
        assert!(text.ends_with("\nmariadb_galera_backup_last_verified_timestamp_seconds 1800000000\n"), "{text}");
    }
}
