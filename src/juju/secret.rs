//! Secrets (Juju 3.0.3 and later). Content reaches Juju through files that only root can read, because the tools take
//! it from arguments or files and arguments are readable by everybody.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use super::tool::{self, Error};
use super::types::{RelationId, SecretUri};
use crate::host::{self, FileError, Mode, file};

// In memory, so that no password ever lies on a disk; below it one directory per process.
const DIRECTORY: &str = "/run/juju-secret-content";

/// Keys and values of a secret. Keys have at least three of a-z, 0-9 and hyphens; values are never empty. `Debug` shows
/// the keys only.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretContent(BTreeMap<String, String>);

impl SecretContent {
    /// One value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// One more value, or another one.
    pub fn insert(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// All of it, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for SecretContent {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Whose a secret is. Every unit may read the application's; only the leader may make and change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The application's, for what the whole cluster shares.
    Application,
    /// This unit's own.
    Unit,
}

/// How to point to a secret.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// By its address.
    Uri(&'a SecretUri),
    /// By its label.
    Label(&'a str),
}

/// Which of its revisions to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The one that this unit has read before: what everybody used until the next agreement.
    Tracked,
    /// The newest, without saying that we use it from now on.
    Peek,
    /// The newest, and from now on that one.
    Refresh,
}

/// What the owner may know about a secret besides its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretInfo {
    /// The newest revision.
    pub revision: u64,
    /// Its label, if any.
    #[serde(default)]
    pub label: String,
    /// `application` or `unit`.
    #[serde(default)]
    pub owner: String,
}

/// Whether this Juju has secrets.
pub fn available() -> bool {
    tool::available("secret-add") && tool::available("secret-get")
}

/// Makes a secret. A label that is taken already fails the whole hook at its end, unless it was taken in this hook.
///
/// # Errors
/// When Juju refuses, or we do not lead and the secret is to be the application's.
pub fn add(owner: Owner, label: &str, description: &str, content: &SecretContent) -> Result<SecretUri, Error> {
    let owner = match owner {
        Owner::Application => "application",
        Owner::Unit => "unit",
    };
    let flags = ["--owner", owner, "--label", label, "--description", description];
    let answer = with_content("secret-add", &flags, content)?;
    answer.trim().parse().map_err(|_| tool::bad_output("secret-add", "it is no secret's address"))
}

/// Replaces the whole content of a secret with a new revision; the same content makes none. Of several changes in one
/// hook only the last counts.
///
/// # Errors
/// When Juju refuses, or the secret is not ours to change.
pub fn set(uri: &SecretUri, content: &SecretContent) -> Result<(), Error> {
    with_content("secret-set", &[uri.as_str()], content).map(drop)
}

/// Reads a secret.
///
/// # Errors
/// "Not found" when there is none yet, "permission denied" when it is not for us, or not yet.
pub fn get(which: Which<'_>, revision: Revision) -> Result<SecretContent, Error> {
    let mut args = match which {
        Which::Uri(uri) => vec![uri.as_str()],
        Which::Label(label) => vec!["--label", label],
    };
    match revision {
        Revision::Tracked => {}
        Revision::Peek => args.push("--peek"),
        Revision::Refresh => args.push("--refresh"),
    }
    tool::read("secret-get", &args)
}

/// What is known about a secret of ours, with its address.
///
/// # Errors
/// "Not found" when there is none, or we are not its owner.
pub fn info(which: Which<'_>) -> Result<(SecretUri, SecretInfo), Error> {
    let args = match which {
        Which::Uri(uri) => vec![uri.as_str()],
        Which::Label(label) => vec!["--label", label],
    };
    let found: BTreeMap<SecretUri, SecretInfo> = tool::read("secret-info-get", &args)?;
    found.into_iter().next().ok_or_else(|| tool::bad_output("secret-info-get", "it names no secret"))
}

/// The secrets that this unit owns, and for the leader those of the application.
///
/// # Errors
/// When Juju does not answer.
pub fn ids() -> Result<Vec<SecretUri>, Error> {
    Ok(tool::read::<Option<_>>("secret-ids", &[])?.unwrap_or_default())
}

/// Lets the application at the other end of a relation read a secret, for as long as the relation lives. Never needed
/// for our own units, and over a peer relation refused by some versions of Juju 4.
///
/// # Errors
/// When Juju refuses.
pub fn grant(uri: &SecretUri, relation: &RelationId) -> Result<(), Error> {
    tool::run("secret-grant", &[uri.as_str(), "-r", &relation.to_string()], None).map(drop)
}

/// Removes one revision; that it is gone already is fine.
///
/// # Errors
/// When Juju refuses.
pub fn remove_revision(uri: &SecretUri, revision: u64) -> Result<(), Error> {
    gone(tool::run("secret-remove", &[uri.as_str(), "--revision", &revision.to_string()], None))
}

/// Removes a secret with all its revisions; that it is gone already is fine.
///
/// # Errors
/// When Juju refuses.
pub fn remove(uri: &SecretUri) -> Result<(), Error> {
    gone(tool::run("secret-remove", &[uri.as_str()], None))
}

fn gone(outcome: Result<String, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn with_content(tool: &str, flags: &[&str], content: &SecretContent) -> Result<String, Error> {
    let prepare = |source| Error::Prepare { tool: tool.to_owned(), source };
    let files = Files::lay_out(Path::new(DIRECTORY), content).map_err(prepare)?;
    let mut args = flags.to_vec();
    args.extend(files.args.iter().map(String::as_str));
    tool::run(tool, &args, None)
}

/// One file per value, gone when this is dropped.
struct Files {
    directory: PathBuf,
    args: Vec<String>,
}

impl Files {
    fn lay_out(base: &Path, content: &SecretContent) -> Result<Self, FileError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        file::create_dir_all_with(base, &Mode::new(0o700))?;
        sweep(base)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = base.join(format!("{}-{count}", std::process::id()));
        file::create_dir_all_with(&directory, &Mode::new(0o700))?;
        let mut files = Self { directory, args: Vec::new() };
        for (index, (key, value)) in content.iter().enumerate() {
            // A path of our own making: a key could contain anything.
            let path = files.directory.join(index.to_string());
            file::write_atomic(&path, value.as_bytes(), &Mode::new(0o600))?;
            files.args.push(format!("{key}#file={}", path.display()));
        }
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = file::remove_dir_all_opt(&self.directory) {
            super::log::warning(&format!("{error}"));
        }
    }
}

/// Removes what hooks that were killed have left.
fn sweep(base: &Path) -> Result<(), FileError> {
    for name in file::list_opt(base)?.unwrap_or_default() {
        let owner = name.split('-').next().unwrap_or_default();
        if !host::is_process_alive(owner) {
            file::remove_dir_all_opt(base.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> SecretContent {
        [("operator-password", "sesame="), ("sst-password", "open")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect()
    }

    #[test]
    fn arguments_name_files_and_show_no_value() {
        let base = tempfile::tempdir().unwrap();
        let files = Files::lay_out(base.path(), &content()).unwrap();
        let line = files.args.join(" ");
        assert!(!line.contains("sesame") && !line.contains("open"), "{line}");
        let (key, path) = files.args[0].split_once("#file=").unwrap();
        assert_eq!((key, file::read_to_string(path).unwrap().as_str()), ("operator-password", "sesame="));
    }

    #[test]
    fn only_root_can_read_the_files_and_they_do_not_stay() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let files = Files::lay_out(base.path(), &content()).unwrap();
        let directory = files.directory.clone();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(base.path()), mode(&directory), mode(&directory.join("1"))), (0o700, 0o700, 0o600));
        drop(files);
        assert!(!directory.exists());
    }

    #[test]
    fn what_a_killed_hook_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        // Above the highest process id that Linux gives.
        let left = base.path().join("4194999-0");
        file::create_dir_all_with(&left, &Mode::new(0o700)).unwrap();
        let living = base.path().join("1-0");
        file::create_dir_all_with(&living, &Mode::new(0o700)).unwrap();
        let _files = Files::lay_out(base.path(), &content()).unwrap();
        assert!(!left.exists() && living.exists());
    }

    #[test]
    fn debug_shows_keys_only() {
        assert_eq!(format!("{:?}", content()), "{\"operator-password\", \"sst-password\"}");
    }

    #[test]
    fn info_is_read_with_its_address() {
        let text = "{\"9m4e2mr0ui3e8a215n4g\":{\"revision\":2,\"label\":\"credentials\",\"owner\":\"application\",\"description\":\"\",\"rotation\":\"never\",\"access\":[{\"target\":\"a\",\"scope\":\"b\",\"role\":\"view\"}]}}";
        let found: BTreeMap<SecretUri, SecretInfo> = tool::parse("secret-info-get", text).unwrap();
        let (uri, info) = found.into_iter().next().unwrap();
        assert_eq!(uri, "secret:9m4e2mr0ui3e8a215n4g".parse().unwrap());
        assert_eq!((info.revision, info.label.as_str(), info.owner.as_str()), (2, "credentials", "application"));
    }

    #[test]
    fn removing_what_is_gone_is_done() {
        let failed = |message: &str| {
            gone(Err(Error::Failed { tool: "secret-remove".to_owned(), message: message.to_owned(), code: Some(1) }))
        };
        assert!(failed("secret \"9m4e2mr0ui3e8a215n4g\" not found").is_ok());
        assert!(failed("permission denied").is_err());
    }
}
