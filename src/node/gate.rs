//! The server's gate as the service manager calls it: what the volume needs first, then the gate itself.

use crate::mariadb::Paths;
use crate::mariadb::datadir::{self, Found};
use crate::mariadb::start::{self, Permission};

use super::journal;

/// Runs before every start of the server.
///
/// # Errors
/// When the server must not start; systemd shows the text.
pub fn pass(paths: &Paths) -> anyhow::Result<()> {
    if joins_with_nothing(paths) {
        datadir::make_empty(paths)?;
    }
    start::gate(paths)
}

/// The volume was exchanged for an empty one while the machine was off, and taken over since. The boot has started the
/// server before any hook could look, by the permission that it had before: without a directory to fill it would fail
/// over and over, always on its way up.
fn joins_with_nothing(paths: &Paths) -> bool {
    matches!(start::permission(paths), Ok(Some(Permission::Join)))
        && journal::read(paths).entry().is_some()
        && datadir::look(paths) == Found::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Mode, file};

    #[test]
    fn a_directory_is_made_only_to_join_on_a_volume_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        let paths = Paths { volume: at("volume"), state: at("state"), run: at("run") };
        file::create_dir_all_with(&paths.volume, &Mode::new(0o755)).unwrap();
        assert!(!joins_with_nothing(&paths), "no permission");
        start::permit(&paths, &Permission::Join).unwrap();
        assert!(!joins_with_nothing(&paths), "nobody has taken the volume over, or it is not mounted");
        let journal = br#"{"format":1,"db-init":1,"used-epoch":0,"accounts":false}"#;
        file::write_atomic(paths.volume.join(journal::FILE), journal, &Mode::new(0o600)).unwrap();
        assert!(joins_with_nothing(&paths));
        start::permit(&paths, &Permission::Bootstrap { epoch: 1, from: None }).unwrap();
        assert!(!joins_with_nothing(&paths), "a founder brings tables along");
        start::permit(&paths, &Permission::Join).unwrap();
        file::create_dir_all_with(paths.datadir(), &Mode::new(0o755)).unwrap();
        file::write_atomic(paths.datadir().join("ibdata1"), b"x", &Mode::new(0o600)).unwrap();
        assert!(!joins_with_nothing(&paths), "there is data");
    }
}
