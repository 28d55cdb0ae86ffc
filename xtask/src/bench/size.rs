//! How large the archive and the binary are, and what the binary needs.

use std::fs;

use anyhow::Context as _;

use super::Row;
use crate::binary;
use crate::build::{self, Profile};
use crate::pack;

/// Builds it as it travels and weighs the result.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let executable = build::executable(pack::NAME, Profile::Charm)?;
    let program = fs::read(&executable).with_context(|| format!("cannot read {}", executable.display()))?;
    let needs = binary::needs(&program)?;
    let archive = pack::archive(&build::root(), &program, build::architecture()?)?;
    Ok(vec![
        Row {
            what: "`.charm`".to_owned(),
            ours: pack::megabytes(archive.len()),
            against: format!("at most {}", pack::megabytes(pack::SIZE_MAX)),
            kept: Some(archive.len() <= pack::SIZE_MAX),
        },
        Row { what: "binary".to_owned(), ours: pack::megabytes(program.len()), against: String::new(), kept: None },
        Row {
            what: "libraries".to_owned(),
            ours: needs.libraries.join(", "),
            against: "libc, libm, libgcc".to_owned(),
            kept: Some(binary::check(&needs).is_ok()),
        },
    ])
}
