//! The charm's archive: one binary, and a link to it for every hook and action.
//! The same tree gives the same bytes: times are fixed, names sorted, modes set and not copied.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::binary;
use crate::build::{self, Profile};

/// The package, the binary and the charm have one name.
pub(crate) const NAME: &str = "mariadb-galera";

/// Where the links in hooks/ and actions/ point, seen from the archive's top.
const BINARY: &str = "bin/mariadb-galera";

/// Every unit fetches the archive from the controller.
pub(crate) const SIZE_MAX: usize = 12_000_000;

/// Taken as they are.
const FILES: [&str; 5] = ["LICENSE", "README.md", "actions.yaml", "config.yaml", "metadata.yaml"];

const LINK_FOLDERS: [&str; 2] = ["actions", "hooks"];

/// Builds, checks, writes and says what came out; returns where it is.
pub(crate) fn run(profile: Profile) -> anyhow::Result<PathBuf> {
    let (root, architecture) = (build::root(), build::architecture()?);
    let executable = build::executable(NAME, profile)?;
    let executable = match profile {
        Profile::Charm | Profile::Release => executable,
        Profile::Dev => stripped(&executable)?,
    };
    let program = fs::read(&executable).with_context(|| format!("cannot read {}", executable.display()))?;
    let needs = binary::needs(&program)?;
    binary::check(&needs)?;

    let bytes = archive(&root, &program, architecture)?;
    if profile != Profile::Dev && bytes.len() > SIZE_MAX {
        bail!("cannot accept an archive of {} bytes: the limit is {SIZE_MAX}", bytes.len());
    }
    let file_name = format!("{NAME}_{architecture}.charm");
    // Beside and renamed: a deploy that reads at this moment sees the old archive or the new one.
    let (target, draft) = (root.join(&file_name), root.join(format!(".{file_name}.draft")));
    fs::write(&draft, &bytes).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::rename(&draft, &target).with_context(|| format!("cannot write {}", target.display()))?;

    println!("{file_name}: {} (binary {})", megabytes(bytes.len()), megabytes(program.len()));
    let glibc = needs.glibc.map_or_else(String::new, |(major, minor)| format!(", glibc {major}.{minor} or newer"));
    println!("needs {}{glibc}", needs.libraries.join(", "));
    Ok(target)
}

/// The archive as bytes.
pub(crate) fn archive(root: &Path, program: &[u8], architecture: &str) -> anyhow::Result<Vec<u8>> {
    let mut entries = vec![
        Entry::file(BINARY, 0o755, program.to_vec()),
        Entry::file("manifest.yaml", 0o644, manifest(architecture).into_bytes()),
    ];
    for name in FILES {
        let content = fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        entries.push(Entry::file(name, 0o644, content));
    }
    for folder in LINK_FOLDERS {
        entries.extend(links(root, folder)?);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let options = SimpleFileOptions::default().last_modified_time(DateTime::default());
        match entry.content {
            Content::File { mode, bytes } => {
                let options = options.compression_method(CompressionMethod::Deflated).unix_permissions(mode);
                zip.start_file(entry.name.as_str(), options)?;
                zip.write_all(&bytes)?;
            }
            Content::Link(target) => zip.add_symlink(entry.name.as_str(), target, options.unix_permissions(0o777))?,
        }
    }
    Ok(zip.finish().context("cannot finish the archive")?.into_inner())
}

struct Entry {
    name: String,
    content: Content,
}

enum Content {
    File { mode: u32, bytes: Vec<u8> },
    Link(String),
}

impl Entry {
    fn file(name: &str, mode: u32, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content: Content::File { mode, bytes } }
    }
}

/// The links of one folder. A file in their place would be a second program, or a link that a checkout without links
/// has turned into text.
fn links(root: &Path, folder: &str) -> anyhow::Result<Vec<Entry>> {
    let expected = format!("../{BINARY}");
    let mut entries = Vec::new();
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}/"))? {
        let entry = entry.with_context(|| format!("cannot list {folder}/"))?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        let target = fs::read_link(entry.path()).with_context(|| format!("cannot read {name} as a link"))?;
        if target != Path::new(&expected) {
            bail!("cannot pack {name}: it points to {} and not to {expected}", target.display());
        }
        entries.push(Entry { name, content: Content::Link(expected.clone()) });
    }
    Ok(entries)
}

/// The bases that Juju may deploy on. Juju refuses names that it does not know, so Debian cannot be listed; the charm
/// runs there all the same.
fn manifest(architecture: &str) -> String {
    format!("bases:\n- name: ubuntu\n  channel: 24.04/stable\n  architectures:\n  - {architecture}\n")
}

/// A copy without debug information, which is most of a dev build.
fn stripped(executable: &Path) -> anyhow::Result<PathBuf> {
    let target = executable.with_extension("stripped");
    let status = Command::new("strip").arg("-o").arg(&target).arg(executable).status();
    match status {
        Ok(status) if status.success() => Ok(target),
        Ok(status) => bail!("cannot strip {}: strip ended with {status}", executable.display()),
        Err(why) => Err(why).context("cannot run strip: it is in the package binutils"),
    }
}

pub(crate) fn megabytes(bytes: usize) -> String {
    // Tenths are enough, and whole numbers keep floats out of it.
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use zip::ZipArchive;

    use super::*;

    const PROGRAM: &[u8] = b"\x7fELF not really";

    fn tree_archive() -> Vec<u8> {
        archive(&build::root(), PROGRAM, "amd64").unwrap()
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        assert_eq!(tree_archive(), tree_archive());
    }

    #[test]
    fn one_program_and_links_to_it() {
        let mut zip = ZipArchive::new(Cursor::new(tree_archive())).unwrap();
        let mut programs = Vec::new();
        let mut links = BTreeMap::new();
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).unwrap();
            let (name, mode) = (entry.name().unwrap().into_owned(), entry.unix_mode().unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            match mode & 0o170_000 {
                0o120_000 => {
                    links.insert(name, String::from_utf8(content).unwrap());
                }
                0o100_000 if mode & 0o111 != 0 => programs.push((name, mode & 0o777, content)),
                0o100_000 => assert_eq!(mode & 0o777, 0o644, "{name}"),
                kind => panic!("{name} is neither file nor link: {kind:o}"),
            }
        }
        assert_eq!(programs, [(BINARY.to_owned(), 0o755, PROGRAM.to_vec())]);
        assert!(links.contains_key("hooks/install") && links.contains_key("actions/get-password"), "{links:?}");
        for (name, target) in links {
            assert_eq!(target, "../bin/mariadb-galera", "{name}");
        }
    }

    #[test]
    fn juju_finds_its_files_at_the_top() {
        let zip = ZipArchive::new(Cursor::new(tree_archive())).unwrap();
        for name in ["metadata.yaml", "manifest.yaml", "config.yaml", "actions.yaml"] {
            assert!(zip.index_for_name(name).is_some(), "{name}");
        }
        // Juju calls `dispatch` for everything when there is one: then the links would never be used.
        assert!(zip.index_for_name("dispatch").is_none());
    }

    #[test]
    fn a_file_in_a_links_place_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        for name in FILES {
            fs::write(tree.path().join(name), "x").unwrap();
        }
        for folder in LINK_FOLDERS {
            fs::create_dir(tree.path().join(folder)).unwrap();
        }
        assert!(archive(tree.path(), PROGRAM, "amd64").is_ok());
        fs::write(tree.path().join("hooks/install"), "../bin/mariadb-galera").unwrap();
        let why = format!("{:#}", archive(tree.path(), PROGRAM, "amd64").unwrap_err());
        assert!(why.contains("hooks/install"), "{why}");
        fs::remove_file(tree.path().join("hooks/install")).unwrap();
        std::os::unix::fs::symlink("/bin/true", tree.path().join("hooks/start")).unwrap();
        let why = format!("{:#}", archive(tree.path(), PROGRAM, "amd64").unwrap_err());
        assert!(why.contains("hooks/start") && why.contains("/bin/true"), "{why}");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(megabytes(1), "0.1 MB");
        assert_eq!(megabytes(12_000_000), "12.0 MB");
        assert_eq!(megabytes(1_960_001), "2.0 MB");
    }
}
