//! The small files that mariadb-backup writes beside its stream: what was copied, from where to where, by whom.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::BackupError;
use super::manifest::{Binlog, Lsn, Position};
use crate::host::file;

/// What they say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) lsn: Lsn,
    pub(super) binlog: Option<Binlog>,
    pub(super) gtid: Option<String>,
    pub(super) server_version: String,
    pub(super) tool: String,
}

/// Reads them. Newer servers name them after themselves.
pub(super) fn read(folder: &Path) -> Result<Written, BackupError> {
    let find = |what: &str| -> Result<String, BackupError> {
        for prefix in ["xtrabackup", "mariadb_backup"] {
            if let Some(text) = file::read_to_string_opt(folder.join(format!("{prefix}_{what}")))? {
                return Ok(text);
            }
        }
        Err(BackupError::Odd { what: format!("there is no file about its {what}") })
    };
    parse(&find("checkpoints")?, &find("info")?)
}

fn parse(checkpoints: &str, info: &str) -> Result<Written, BackupError> {
    let positions = fields(checkpoints);
    let lsn = |name: &str| {
        let number = positions.get(name).and_then(|text| text.parse().ok());
        number.ok_or_else(|| BackupError::Odd { what: format!("no {name} in its checkpoints") })
    };
    let facts = fields(info);
    let fact = |name: &str| facts.get(name).copied().unwrap_or_default();
    let position = quoted(info, "position '").and_then(|text| text.parse().ok());
    let binlog = quoted(info, "filename '").zip(position);
    Ok(Written {
        lsn: Lsn { from: lsn("from_lsn")?, to: lsn("to_lsn")? },
        binlog: binlog.map(|(file, position)| Binlog { file: file.to_owned(), position }),
        // Several domains are listed with commas, and the list is broken into lines.
        gtid: quoted(info, "GTID of the last change '").map(|text| text.split_whitespace().collect()),
        server_version: fact("server_version").to_owned(),
        tool: format!("{} {}", fact("tool_name"), fact("tool_version")).trim().to_owned(),
    })
}

/// The cluster's position, as `--galera-info` writes it: `uuid:seqno`, and a GTID domain behind it where there is one.
pub(super) fn position(galera: &str) -> Option<Position> {
    let (uuid, seqno) = galera.split_whitespace().next()?.rsplit_once(':')?;
    // A server that is no member has the nil UUID, or -1.
    let real = uuid.len() == 36 && uuid.chars().any(|c| c != '0' && c != '-');
    Some(Position { uuid: uuid.to_owned(), seqno: seqno.parse().ok()? }).filter(|_| real)
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim(), value.trim())).collect()
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once('\'').map(|(inside, _)| inside).filter(|inside| !inside.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINTS: &str = "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 44404\nlast_lsn = 46645\n";

    #[test]
    fn what_is_written_is_understood() {
        let info = "tool_name = mariadb-backup\ntool_command = --password=...\ntool_version = 10.11.19-MariaDB\n\
                    server_version = 10.11.19-MariaDB-log\n\
                    binlog_pos = filename 'bin.000001', position '1012', GTID of the last change '0-1-4,\n1-1-17'\n";
        let written = parse(CHECKPOINTS, info).unwrap();
        assert_eq!(written.lsn, Lsn { from: 0, to: 44404 });
        assert_eq!(written.binlog, Some(Binlog { file: "bin.000001".to_owned(), position: 1012 }));
        assert_eq!(written.gtid.as_deref(), Some("0-1-4,1-1-17"));
        assert_eq!(written.server_version, "10.11.19-MariaDB-log");
        assert_eq!(written.tool, "mariadb-backup 10.11.19-MariaDB");
        let without = parse(CHECKPOINTS, "binlog_pos =\n").unwrap();
        assert_eq!((without.binlog, without.gtid), (None, None));
        assert!(parse("from_lsn = 0\nto_lsn = x\n", "").is_err());
    }

    #[test]
    fn a_position_is_one_in_a_cluster() {
        let found = position("c6c1a1f2-0000-11f0-8000-000000000001:17 1\n").unwrap();
        assert_eq!((found.uuid.as_str(), found.seqno), ("c6c1a1f2-0000-11f0-8000-000000000001", 17));
        let none =
            ["", ":", "x:1", "00000000-0000-0000-0000-000000000000:5", "c6c1a1f2-0000-11f0-8000-000000000001:-1"];
        assert!(none.iter().all(|text| position(text).is_none()));
    }
}
