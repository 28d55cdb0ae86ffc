//! The node agent as a service: this program, copied out of the charm directory, which a refresh replaces under a
//! running process.

use anyhow::Context as _;

use crate::host::service_manager::{self as systemd, Wait};
use crate::host::{Mode, file};
use crate::mariadb::PROGRAM;

const UNIT: &str = "mariadb-galera-agent.service";
const UNIT_FILE: &str = "/etc/systemd/system/mariadb-galera-agent.service";
/// Where people find it.
const LINK: &str = "/usr/local/bin/mariadb-galera";

fn unit_file() -> String {
    format!(
        "# Written by the mariadb-galera charm.
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
pub fn install() -> anyhow::Result<()> {
    file::create_dir_all_with("/usr/local/lib/mariadb-galera", &Mode::new(0o755))?;
    let program = file::current_program()?;
    let renewed = file::copy_atomic(&program, PROGRAM, &Mode::new(0o755)).context("cannot install the node agent")?;
    file::symlink_atomic(PROGRAM, LINK)?;
    if file::write_atomic(UNIT_FILE, unit_file().as_bytes(), &Mode::new(0o644))? {
        systemd::daemon_reload()?;
    }
    systemd::enable(UNIT)?;
    if renewed {
        systemd::restart(UNIT, Wait::No)?;
    } else {
        systemd::start(UNIT, Wait::No)?;
    }
    Ok(())
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
