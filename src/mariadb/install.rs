//! Installing the server: the machine's own packages, with nothing started and the data volume left as it was found.

use anyhow::Context as _;

use super::{ARCHIVE_DIR, BINLOG_DIR, CNF, Paths, TMP_DIR, service};
use crate::host::{Mode, file, package, service_manager as systemd};

/// What a member needs. tzdata is the source of the time zones, which minimal images lack; zstd and age make backups
/// smaller and secret.
const PACKAGES: [&str; 9] =
    ["mariadb-server", "mariadb-client", "mariadb-backup", "galera-4", "socat", "rsync", "tzdata", "zstd", "age"];
/// The oldest server whose behaviour this charm knows.
const VERSION_MIN: (u32, u32) = (10, 11);

/// The installed server's version, as the package says; `None` while anything is missing.
///
/// # Errors
/// When the package manager cannot be asked, or the version is too old.
pub fn installed_version() -> anyhow::Result<Option<String>> {
    let mut server = None;
    for name in PACKAGES {
        match package::installed_version(name)? {
            None => return Ok(None),
            Some(version) if name == "mariadb-server" => server = Some(version),
            Some(_) => {}
        }
    }
    let Some(version) = server.map(|version| upstream(&version)) else {
        return Ok(None);
    };
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN {
        anyhow::bail!("cannot use MariaDB {version}: 10.11 or newer is needed; use Ubuntu 24.04, Debian 12 or newer");
    }
    Ok(Some(version))
}

fn note(paths: &Paths) -> std::path::PathBuf {
    paths.state.join("installed-version")
}

/// The version that a completed installation has noted; asking the package manager in every pass would be slow.
pub fn noted_version(paths: &Paths) -> Option<String> {
    let program = file::exists(super::server_program()).unwrap_or(false);
    let noted = file::read_to_string_opt(note(paths)).ok().flatten();
    noted.filter(|_| program).map(|text| text.trim().to_owned())
}

/// `1:10.11.19-0+deb12u1` → `10.11.19`.
fn upstream(version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['-', '+', '~']).next().unwrap_or(version).to_owned()
}

/// Installs what is missing. May be interrupted and run again at any point.
///
/// # Errors
/// When packages cannot be installed; the text says which and why.
pub fn install(paths: &Paths, progress: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    if installed_version()?.is_none() {
        // Masked: the package would start the server. A directory of its own: it would put system tables into the volume.
        systemd::mask(service::UNIT).context("cannot keep the server from starting while it is installed")?;
        file::create_dir_all_with("/etc/mysql/mariadb.conf.d", &Mode::new(0o755))?;
        let packaged =
            format!("# While the packages are installed.\n[mysqld]\ndatadir = {}\n", paths.packaged().display());
        paths.owned().write(CNF, packaged.as_bytes(), &Mode::new(0o644))?;
        package::install(&PACKAGES, progress)?;
        if installed_version()?.is_none() {
            anyhow::bail!("cannot install MariaDB: the packages are still not complete");
        }
    }
    for dir in [ARCHIVE_DIR, BINLOG_DIR, TMP_DIR] {
        file::create_dir_all_with(dir, &Mode::owned(0o750, "mysql", "mysql"))?;
        file::set_owner(dir, "mysql", "mysql")?;
    }
    service::write_drop_in(paths)?;
    systemd::unmask(service::UNIT)?;
    let version = installed_version()?.context("cannot tell the installed server's version")?;
    file::create_dir_all_with(&paths.state, &Mode::new(0o700))?;
    file::write_atomic(note(paths), version.as_bytes(), &Mode::new(0o644))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_versions() {
        assert_eq!(upstream("1:10.11.19-0+deb12u1"), "10.11.19");
        assert_eq!(upstream("1:11.8.3-1ubuntu2"), "11.8.3");
        assert_eq!(upstream("10.11.8"), "10.11.8");
    }
}
