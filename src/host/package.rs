//! Packages of a Debian or Ubuntu machine: installed through its own apt configuration, with patience for locks held by
//! others, networks that hiccup and installations that were interrupted.

use std::path::PathBuf;
use std::time::Duration;

use super::clock;
use super::command::{Command, CommandError, Output};
use super::file::{self, FileError};

const LISTS: &str = "/var/lib/apt/lists";
const LISTS_FRESH: Duration = Duration::from_secs(24 * 3600);
const ATTEMPTS: u32 = 5;

// Unattended upgrades of a new machine hold the lock for minutes.
const LOCK_WAIT_SECONDS: u32 = 300;
const UPDATE_LIMIT: Duration = Duration::from_secs(300);
const INSTALL_LIMIT: Duration = Duration::from_secs(1200);

/// Why packages are not installed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// dpkg could not be asked.
    #[error("cannot ask for the version of package {name}")]
    Query { name: String, source: CommandError },
    /// apt failed, more than once where that made sense.
    #[error("cannot install {packages} (tried {attempts} times; {remedy})")]
    Install { packages: String, attempts: u32, remedy: &'static str, source: CommandError },
    /// The age of the package lists could not be told.
    #[error("cannot look at the package lists")]
    Lists(#[from] FileError),
}

/// The installed version of a package; `None` when it is not installed or only half.
///
/// # Errors
/// When dpkg cannot be asked.
pub fn installed_version(name: &str) -> Result<Option<String>, PackageError> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Abbrev}\t${Version}\n", "--", name])
        .output()
        .map_err(|source| PackageError::Query { name: name.to_owned(), source })?;
    Ok(version_in(&output.stdout_text()))
}

/// Installs what is missing of `names`, without recommended packages. `progress` is told what happens, a line at a time.
/// Returns whether anything had to be installed.
///
/// # Errors
/// When apt keeps failing; the text names the packages and what to do.
pub fn install(names: &[&str], progress: &mut dyn FnMut(&str)) -> Result<bool, PackageError> {
    let mut missing = Vec::new();
    for name in names {
        if installed_version(name)?.is_none() {
            missing.push(*name);
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    let packages = missing.join(" ");
    let mut update_first = lists_are_old()?;
    let mut attempt = 1;
    loop {
        let source = match attempt_install(&missing, update_first, progress) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let trouble = Trouble::of(&source);
        if attempt == ATTEMPTS || (trouble == Trouble::UnknownPackage && update_first) {
            return Err(PackageError::Install { packages, attempts: attempt, remedy: trouble.remedy(), source });
        }
        let pause = Duration::from_secs(2 << attempt);
        progress(&format!(
            "installing {packages} failed: {}; trying again in {} s",
            trouble.sentence(),
            pause.as_secs()
        ));
        if trouble == Trouble::Interrupted {
            // Its failure is not the end: the next attempt says what is wrong.
            let _outcome = apt("dpkg", &["--configure", "-a"], INSTALL_LIMIT);
        }
        update_first = matches!(trouble, Trouble::Network | Trouble::UnknownPackage);
        clock::sleep(pause);
        attempt += 1;
    }
}

fn attempt_install(names: &[&str], update: bool, progress: &mut dyn FnMut(&str)) -> Result<(), CommandError> {
    if update {
        progress("reading the package lists");
        apt("apt-get", &["update", "--quiet", "--error-on=any"], UPDATE_LIMIT).or_else(|error| {
            // Older apt does not know the option, and a foreign source that fails need not stop us when ours works.
            let plain = apt("apt-get", &["update", "--quiet"], UPDATE_LIMIT);
            if Trouble::of(&error) == Trouble::Network { plain.or(Err(error)) } else { plain }
        })?;
    }
    progress(&format!("installing {}", names.join(" ")));
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    // Questions about changed configuration files would wait for somebody who is not there.
    args.extend(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "--"]);
    args.extend(names);
    apt("apt-get", &args, INSTALL_LIMIT).map(drop)
}

fn apt(program: &str, args: &[&str], limit: Duration) -> Result<Output, CommandError> {
    let mut command = Command::new(program)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        // It would restart services, jujud among them, in the middle of our hook.
        .env("NEEDRESTART_SUSPEND", "1")
        .timeout(limit);
    for (name, value) in proxies(&super::env_with_prefix("JUJU_CHARM_")) {
        command = command.env(name, value);
    }
    if program == "apt-get" {
        command = command.arg("-o").arg(format!("DPkg::Lock::Timeout={LOCK_WAIT_SECONDS}"));
        command = command.args(["-o", "Acquire::Retries=3"]);
    }
    command.args(args).run()
}

/// Juju tells a charm its model's proxies under names that no other program reads.
fn proxies(variables: &[(String, String)]) -> Vec<(String, String)> {
    let given = variables.iter().filter(|(_, value)| !value.is_empty());
    given
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("JUJU_CHARM_").filter(|name| name.ends_with("_PROXY"))?;
            Some((name.to_ascii_lowercase(), value.clone()))
        })
        .collect()
}

fn lists_are_old() -> Result<bool, FileError> {
    let mut youngest: Option<Duration> = None;
    for name in file::list_opt(LISTS)?.unwrap_or_default() {
        if name.ends_with("_Packages") || name.contains("_Packages.") {
            let age = file::age_opt(PathBuf::from(LISTS).join(name))?;
            youngest = [youngest, age].into_iter().flatten().min();
        }
    }
    Ok(youngest.is_none_or(|age| age > LISTS_FRESH))
}

fn version_in(shown: &str) -> Option<String> {
    // Desired state, then actual state: "ii" is wanted and installed, "hi" is held and installed.
    shown.lines().find_map(|line| {
        let (status, version) = line.split_once('\t')?;
        (status.chars().nth(1) == Some('i') && !version.is_empty()).then(|| version.to_owned())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Lock,
    Interrupted,
    UnknownPackage,
    Network,
    DiskFull,
    Other,
}

impl Trouble {
    fn of(error: &CommandError) -> Self {
        Self::read(error.stderr())
    }

    fn read(text: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["No space left on device", "enough free space"]) {
            Self::DiskFull
        } else if says(&[
            "Could not get lock",
            "Unable to acquire the dpkg frontend lock",
            "is another process using it",
        ]) {
            Self::Lock
        } else if says(&["dpkg was interrupted", "dpkg --configure -a"]) {
            Self::Interrupted
        } else if says(&["Unable to locate package", "has no installation candidate", "Couldn't find any package"]) {
            Self::UnknownPackage
        } else if says(&[
            "Failed to fetch",
            "Temporary failure resolving",
            "Could not resolve",
            "Could not connect",
            "Hash Sum mismatch",
            "Connection failed",
            "Unable to fetch some archives",
        ]) {
            Self::Network
        } else {
            Self::Other
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Lock => "another process is installing packages",
            Self::Interrupted => "an earlier installation was interrupted",
            Self::UnknownPackage => "the package lists do not know it",
            Self::Network => "the package server did not answer properly",
            Self::DiskFull => "the disk is full",
            Self::Other => "apt reported an error",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Lock => "see which process holds the lock: fuser -v /var/lib/dpkg/lock-frontend",
            Self::Interrupted => "run dpkg --configure -a on the machine",
            Self::UnknownPackage => "check the machine's package sources; on Ubuntu the component universe is needed",
            Self::Network => "check the network, the package sources and the model's proxy settings",
            Self::DiskFull => "make room on the root disk",
            Self::Other => "run apt-get install on the machine to see more",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wholly_installed_has_a_version() {
        assert_eq!(version_in("ii \t1:10.11.14-0+deb12u2\n").as_deref(), Some("1:10.11.14-0+deb12u2"));
        assert_eq!(version_in("hi \t26.4.13-1\n").as_deref(), Some("26.4.13-1"));
        for not in ["rc \t1:10.11.14\n", "un \t\n", "iF \t1:10.11\n", "iU \t1\n", ""] {
            assert_eq!(version_in(not), None, "{not}");
        }
    }

    #[test]
    fn this_machine_has_dpkg_and_no_nonsense() {
        assert!(installed_version("dpkg").unwrap().is_some());
        assert_eq!(installed_version("no-such-package-anywhere").unwrap(), None);
        assert!(!install(&["dpkg", "coreutils"], &mut |line| panic!("{line}")).unwrap());
    }

    #[test]
    fn troubles_are_told_apart_by_what_apt_says() {
        let check = |text: &str, expected| assert_eq!(Trouble::read(text), expected, "{text}");
        check(
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
            Trouble::Lock,
        );
        check(
            "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ",
            Trouble::Interrupted,
        );
        check("E: Unable to locate package galera-4", Trouble::UnknownPackage);
        check(
            "E: Failed to fetch http://a/b.deb  404  Not Found [IP: 10.0.0.1 80]\nE: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
            Trouble::Network,
        );
        check("W: Failed to fetch http://a/InRelease  Temporary failure resolving 'a'", Trouble::Network);
        check("E: You don't have enough free space in /var/cache/apt/archives/.", Trouble::DiskFull);
        check("Sub-process /usr/bin/dpkg returned an error code (1)", Trouble::Other);
    }

    #[test]
    fn proxies_get_the_names_that_programs_read() {
        let variables =
            [("JUJU_CHARM_HTTP_PROXY", "http://p:3128"), ("JUJU_CHARM_NO_PROXY", ""), ("JUJU_CHARM_DIR", "/x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(proxies(&variables), [("http_proxy".to_owned(), "http://p:3128".to_owned())]);
    }
}
