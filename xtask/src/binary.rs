//! What a packed binary asks of the machine that it lands on: its libraries, and how new its C library must be.
//! The machine is fresh, so anything beyond the C library would have to be installed before the first hook could run.

use anyhow::{Context as _, bail};
use goblin::elf::Elf;

/// Libraries that every Debian and Ubuntu machine has, by the beginning of their names.
const ALLOWED: [&str; 4] = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];

/// The C library of Ubuntu 24.04, the base that manifest.yaml promises.
const GLIBC_MAX: (u32, u32) = (2, 39);

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Shared libraries by name, sorted.
    pub(crate) libraries: Vec<String>,
    /// The newest C library version that a symbol asks for.
    pub(crate) glibc: Option<(u32, u32)>,
}

/// Reads the needs of an ELF file.
pub(crate) fn needs(bytes: &[u8]) -> anyhow::Result<Needs> {
    let elf = Elf::parse(bytes).context("cannot read the binary as ELF")?;
    let mut libraries: Vec<String> = elf.libraries.iter().map(|name| (*name).to_owned()).collect();
    libraries.sort();
    let mut versions = Vec::new();
    for file in elf.verneed.iter().flat_map(|section| section.iter()) {
        for entry in file.iter() {
            versions.extend(elf.dynstrtab.get_at(entry.vna_name).and_then(glibc_version));
        }
    }
    Ok(Needs { libraries, glibc: versions.into_iter().max() })
}

/// Refuses what a fresh machine of the promised base does not have.
pub(crate) fn check(needs: &Needs) -> anyhow::Result<()> {
    let strange: Vec<&str> = needs
        .libraries
        .iter()
        .map(String::as_str)
        .filter(|name| !ALLOWED.iter().any(|allowed| name.starts_with(allowed)))
        .collect();
    if !strange.is_empty() {
        bail!("cannot pack a binary that needs {}: a fresh machine has only libc, libm and libgcc", strange.join(", "));
    }
    match needs.glibc {
        Some(version) if version > GLIBC_MAX => bail!(
            "cannot pack a binary that needs glibc {}.{}: Ubuntu 24.04 has {}.{}, build on it or on something older",
            version.0,
            version.1,
            GLIBC_MAX.0,
            GLIBC_MAX.1
        ),
        Some(_) | None => Ok(()),
    }
}

fn glibc_version(symbol_version: &str) -> Option<(u32, u32)> {
    let mut numbers = symbol_version.strip_prefix("GLIBC_")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(libraries: &[&str], glibc: (u32, u32)) -> String {
        let needs = Needs { libraries: libraries.iter().map(|name| (*name).to_owned()).collect(), glibc: Some(glibc) };
        check(&needs).map_or_else(|why| why.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn this_test_needs_the_c_library() {
        let me = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&me).unwrap();
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"), "{needs:?}");
        assert!(needs.glibc.is_some_and(|version| version >= (2, 17)), "{needs:?}");
    }

    #[test]
    fn a_library_too_many_is_named() {
        assert_eq!(refused(&["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"], (2, 34)), "fine");
        assert!(refused(&["libc.so.6", "libssl.so.3"], (2, 34)).contains("libssl.so.3"));
    }

    #[test]
    fn a_c_library_newer_than_the_base_is_refused() {
        assert_eq!(refused(&["libc.so.6"], (2, 39)), "fine");
        assert!(refused(&["libc.so.6"], (2, 41)).contains("glibc 2.41"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(glibc_version("GLIBC_2.4") < glibc_version("GLIBC_2.17"));
        assert_eq!(glibc_version("GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version("GCC_3.0"), None);
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        assert!(needs(b"#!/bin/sh\n").is_err());
    }
}
