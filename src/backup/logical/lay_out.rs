//! A data directory out of a logical backup: system tables as a first server has them, a server for a while, everything
//! loaded into it, and stopped in good order.

use std::path::{Path, PathBuf};

use super::fill::{self, Target};
use crate::backup::error::{BackupError, in_words};
use crate::backup::manifest::Manifest;
use crate::backup::store::Store;
use crate::backup::throwaway::{Purpose, Server};
use crate::backup::{Phase, Progress};
use crate::host::{file, machine};
use crate::mariadb::{account, datadir};

/// Makes the directory at `path`, with `work` for what is needed meanwhile. Whoever calls it removes both when it fails.
pub(in crate::backup) fn lay_out(
    store: &dyn Store,
    made: &Manifest,
    key: Option<&Path>,
    path: &Path,
    work: &Path,
    told: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let step = |done| Progress { phase: Phase::Preparing, done, total: 4 };
    told(step(0));
    datadir::make_system_tables(path).map_err(|why| BackupError::Server { why: in_words(&why) })?;
    fill::folder(work)?;
    let pieces: PathBuf = work.join("pieces");
    fill::folder(&pieces)?;
    let mut server = Server::start(path, work, Purpose::Loading, &made.id)?;
    told(step(1));
    let socket = server.socket().to_owned();
    account::first_time_setup(&mut server.session, &socket)
        .map_err(|why| BackupError::Server { why: in_words(&why) })?;
    let mut target = Target {
        socket: &socket,
        folder: &pieces,
        threads: u32::try_from(machine::cpu_count()).unwrap_or(1).clamp(2, 8),
        part_bytes: u64::MAX,
        accounts: true,
        before: &mut |_| Ok(()),
    };
    fill::fill(store, made, key, &mut target, told)?;
    told(step(2));
    server.session.run("reload privileges", "FLUSH PRIVILEGES")?;
    server.stop()?;
    told(step(3));
    file::remove_dir_all_opt(work)?;
    told(step(4));
    Ok(())
}
