//! The node agent as a service: this program, copied out of the charm directory, which a refresh replaces under a
//! running process.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::host::service_manager::{self as systemd, Wait};
use crate::host::{Mode, file};
use crate::mariadb::{CNF, PROGRAM, Paths, SECRET_CNF, service};

const UNIT: &str = "mariadb-galera-agent.service";
const UNIT_FILE: &str = "/etc/systemd/system/mariadb-galera-agent.service";
/// Where people find it.
const LINK: &str = "/usr/local/bin/mariadb-galera";
/// Everything that this revision writes outside of the charm's own folders.
const FILES: [&str; 4] = [CNF, SECRET_CNF, service::DROP_IN, UNIT_FILE];

fn unit_file() -> String {
    format!(
        "# Written by the mariadb-galera charm; changes by hand are put back.
[Unit]
Description=Node agent of the mariadb-galera charm
After=network.target
# However often it dies: who is not there cannot look after the server.
StartLimitIntervalSec=0

[Service]
ExecStart={PROGRAM} agent
Restart=always
RestartSec=1
RuntimeDirectory=mariadb-galera
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
"
    )
}

/// Copies this program and starts it as the agent; restarts it when it is another than before.
///
/// # Errors
/// When files cannot be written or systemd refuses.
pub fn install(paths: &Paths) -> anyhow::Result<()> {
    file::create_dir_all_with("/usr/local/lib/mariadb-galera", &Mode::new(0o755))?;
    let program = file::current_program()?;
    let renewed = file::copy_atomic(&program, PROGRAM, &Mode::new(0o755)).context("cannot install the node agent")?;
    file::symlink_atomic(PROGRAM, LINK)?;
    write_unit_file(paths)?;
    systemd::enable(UNIT)?;
    if renewed {
        systemd::restart(UNIT, Wait::No)?;
    } else {
        systemd::start(UNIT, Wait::No)?;
    }
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(noted_revision(paths), identity()?.as_bytes(), &Mode::new(0o600))?;
    Ok(())
}

/// Tells this program from that of another revision, without reading it.
fn identity() -> anyhow::Result<String> {
    file::identity(file::current_program()?)?.context("cannot find this program's own file")
}

fn write_unit_file(paths: &Paths) -> anyhow::Result<()> {
    if paths.owned().write(UNIT_FILE, unit_file().as_bytes(), &Mode::new(0o644))? {
        systemd::daemon_reload()?;
    }
    Ok(())
}

/// Puts back what somebody has edited of the services.
///
/// # Errors
/// When it cannot be written, or systemd does not read it.
pub(super) fn tidy(paths: &Paths) -> anyhow::Result<()> {
    service::write_drop_in(paths)?;
    write_unit_file(paths)
}

fn noted_revision(paths: &Paths) -> PathBuf {
    paths.state.join("program-identity")
}

/// Brings what another revision of this charm has put on the machine up to date, and leaves the server alone. In whichever
/// hook this revision runs first: in place of the failed hook of a unit in error Juju calls no upgrade-charm. Returns whether
/// there was anything to do.
///
/// # Errors
/// When files cannot be written or systemd refuses.
pub fn renew(paths: &Paths) -> anyhow::Result<bool> {
    if !is_installed() {
        return Ok(false);
    }
    if file::read_to_string_opt(noted_revision(paths))?.as_deref() == Some(&*identity()?) {
        return Ok(false);
    }
    service::write_drop_in(paths)?;
    paths.owned().prune(&FILES)?;
    // Last: it notes that this revision is in place.
    install(paths)?;
    Ok(true)
}

/// Whether it is there.
pub fn is_installed() -> bool {
    matches!((file::exists(PROGRAM), file::exists(UNIT_FILE)), (Ok(true), Ok(true)))
}

/// Stops it for good: the unit goes.
///
/// # Errors
/// When systemd refuses.
pub fn stop() -> anyhow::Result<()> {
    if is_installed() {
        systemd::disable(UNIT)?;
        systemd::stop(UNIT, Wait::No)?;
    }
    Ok(())
}

/// Removes what `install` has put on the machine.
///
/// # Errors
/// When something cannot be removed.
pub fn remove() -> anyhow::Result<()> {
    stop()?;
    for path in [UNIT_FILE, LINK, PROGRAM] {
        file::remove_opt(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_never_gives_up_on_the_agent_and_the_file_says_why() {
        let text = unit_file();
        // systemd looks for it in this section only. Without it, one that dies five times in ten seconds stays dead.
        let (unit, service) = text.split_once("\n[Service]\n").unwrap();
        let unit = unit.split_once("\n[Unit]\n").unwrap().1;
        let expected =
            "# However often it dies: who is not there cannot look after the server.\nStartLimitIntervalSec=0\n";
        assert!(format!("{unit}\n").contains(expected), "{text}");
        assert!(service.lines().any(|line| line == "Restart=always"), "{text}");
    }
}
