//! What is in a logical backup: which tables, how each column is written so that it comes back bit for bit, and in which
//! pieces. Pure, but for the reading of the server's own tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backup::error::BackupError;
use crate::mariadb::sql::{Session, SqlError, quote_identifier, quote_text};

/// The server's own.
const SYSTEM: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];
/// These keep their rows elsewhere.
const REMOTE: [&str; 8] = ["MRG_MyISAM", "CONNECT", "OQGRAPH", "SPIDER", "FEDERATED", "S3", "BLACKHOLE", "VP"];
/// Their characters have bytes that look like the text's own signs.
const AMBIGUOUS: [&str; 12] =
    ["big5", "cp932", "eucjpms", "euckr", "gb2312", "gbk", "sjis", "ucs2", "ujis", "utf16", "utf16le", "utf32"];
/// Transactions of their own: those of other engines are not part of the snapshot.
const TRANSACTIONAL: &str = "InnoDB";
/// A table of more than so many bytes is written in pieces of about this size: so much lies on the disk at a time.
pub(super) const PIECE_BYTES: u64 = 64 << 20;

/// The first thing in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) databases: Vec<Database>,
    pub(super) tables: Vec<Table>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) charset: String,
    pub(super) collation: String,
    pub(super) comment: String,
}

/// A table whose rows are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) engine: String,
    /// With the rows that were, not only those that are.
    pub(super) history: bool,
    pub(super) columns: Vec<Column>,
    /// One column of whole numbers that all rows are sorted by.
    pub(super) number: Option<String>,
    /// About how many there are.
    pub(super) bytes: u64,
}

/// A column and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) how: How,
}

/// How a value becomes text and again what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// As it is.
    Plain,
    /// Likewise; a value that is none of its words is a warning and no loss.
    Words,
    /// All digits: a `FLOAT` shows six.
    Double,
    /// Letters and digits, which the server does not take for one as bytes: addresses and UUIDs would become NULL.
    Letters,
    /// Hexadecimal.
    Hex,
}

/// The rows of a table from one number up to another, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its name in the stream.
    pub(super) name: String,
    pub(super) table: usize,
    /// From which number on, and up to which one.
    pub(super) from: Option<i128>,
    pub(super) to: Option<i128>,
    pub(super) bytes: u64,
}

/// The least number in a table and the greatest.
pub(super) type Range = (i128, i128);

/// How many rows a piece has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) name: String,
    pub(super) rows: u64,
}

/// The last thing in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) pieces: Vec<Count>,
}

impl Table {
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", quote_identifier(&self.database), quote_identifier(&self.name))
    }

    pub(super) fn is_in_snapshot(&self) -> bool {
        self.engine == TRANSACTIONAL
    }

    /// The statement that writes a piece of it into this file.
    pub(super) fn select(&self, piece: &Piece, file: &Path) -> String {
        let mut columns: Vec<String> = self.columns.iter().map(Column::selected).collect();
        if columns.is_empty() {
            // It has rows all the same.
            columns.push("1".to_owned());
        }
        let mut text = format!(
            "SELECT /* {} */ {} INTO OUTFILE {} CHARACTER SET binary FROM {}",
            super::snapshot::MARK,
            columns.join(", "),
            quote_text(&file.to_string_lossy()),
            self.shown()
        );
        if self.history {
            text.push_str(" FOR SYSTEM_TIME ALL");
        }
        let number = self.number.as_deref().map(quote_identifier).unwrap_or_default();
        let bounds =
            [piece.from.map(|from| format!("{number} >= {from}")), piece.to.map(|to| format!("{number} < {to}"))];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        if !bounds.is_empty() {
            let _infallible = write!(text, " WHERE {}", bounds.join(" AND "));
        }
        text
    }

    /// The statement that reads such a file.
    pub(super) fn load(&self, file: &Path) -> String {
        let mut targets: Vec<String> = Vec::new();
        let mut set: Vec<String> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let name = quote_identifier(&column.name);
            match column.how {
                How::Plain | How::Words | How::Double => targets.push(name),
                How::Letters => {
                    targets.push(format!("@v{index}"));
                    set.push(format!("{name} = CONVERT(@v{index} USING latin1)"));
                }
                How::Hex => {
                    targets.push(format!("@v{index}"));
                    set.push(format!("{name} = UNHEX(@v{index})"));
                }
            }
        }
        if targets.is_empty() {
            targets.push("@none".to_owned());
        }
        let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
        format!(
            "LOAD DATA INFILE {} INTO TABLE {} CHARACTER SET binary ({}){set}",
            quote_text(&file.to_string_lossy()),
            self.shown(),
            targets.join(", ")
        )
    }
}

impl Column {
    fn selected(&self) -> String {
        let name = quote_identifier(&self.name);
        match self.how {
            How::Plain | How::Words | How::Letters => name,
            How::Double => format!("CAST({name} AS DOUBLE)"),
            How::Hex => format!("HEX({name})"),
        }
    }
}

impl Index {
    /// Reads it: of these databases, or of all.
    pub(super) fn read(session: &mut Session, wanted: &[String]) -> Result<Self, BackupError> {
        let databases = databases(session)?;
        check(&databases, wanted)?;
        let databases: Vec<Database> =
            databases.into_iter().filter(|found| wanted.is_empty() || wanted.contains(&found.name)).collect();
        let tables = if databases.is_empty() { Vec::new() } else { tables(session, &databases)? };
        Ok(Self { databases, tables })
    }

    /// What can be compared to see whether somebody has changed tables.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.tables.iter().map(|table| format!("{} {:?}", table.shown(), table.columns)).collect()
    }

    /// All pieces, the largest tables first. `range` says from where to where the numbers of a table go.
    pub(super) fn pieces(
        &self,
        range: &mut dyn FnMut(&Table) -> Result<Option<Range>, BackupError>,
    ) -> Result<Vec<Piece>, BackupError> {
        let mut order: Vec<usize> = (0..self.tables.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.tables[*index].bytes));
        let mut pieces = Vec::new();
        for table in order {
            let found = &self.tables[table];
            let count = found.bytes.div_ceil(PIECE_BYTES).max(1);
            let range = if count > 1 && found.number.is_some() { range(found)? } else { None };
            let cuts = range.map_or_else(Vec::new, |(least, most)| cuts(least, most, count));
            let bytes = found.bytes / (cuts.len() as u64 + 1);
            let mut from = None;
            for (number, to) in (1..).zip(cuts.into_iter().map(Some).chain([None])) {
                let name = format!("{}{:06}.{number:06}.txt", super::DATA, table + 1);
                pieces.push(Piece { name, table, from, to, bytes });
                from = to;
            }
        }
        Ok(pieces)
    }

    /// The table that a piece belongs to.
    pub(super) fn table_of(&self, piece: &str) -> Option<&Table> {
        let number: usize = piece.strip_prefix(super::DATA)?.split('.').next()?.parse().ok()?;
        self.tables.get(number.checked_sub(1)?)
    }
}

/// Where to cut between two numbers.
fn cuts(least: i128, most: i128, count: u64) -> Vec<i128> {
    let width = (most - least + 1) / i128::from(count);
    if width < 1 {
        return Vec::new();
    }
    (1..i128::from(count)).map(|step| least + step * width).collect()
}

/// Whether these databases can be backed up.
pub(super) fn check(there: &[Database], wanted: &[String]) -> Result<(), BackupError> {
    let unknown: Vec<&str> =
        wanted.iter().filter(|name| there.iter().all(|found| found.name != **name)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let there = there.iter().map(|found| found.name.as_str()).collect::<Vec<_>>().join(", ");
    Err(BackupError::NoDatabase { wanted: unknown.join(", "), there })
}

fn cell(row: &[Option<String>], index: usize) -> String {
    row.get(index).cloned().flatten().unwrap_or_default()
}

fn not_system(column: &str) -> String {
    format!("{column} NOT IN ({})", SYSTEM.map(quote_text).join(", "))
}

/// Users' databases.
pub(super) fn databases(session: &mut Session) -> Result<Vec<Database>, SqlError> {
    let query = format!(
        "SELECT schema_name, default_character_set_name, default_collation_name, schema_comment
         FROM information_schema.schemata WHERE {} ORDER BY 1",
        not_system("schema_name")
    );
    let rows = session.rows("list databases", &query)?;
    Ok(rows
        .iter()
        .map(|row| Database {
            name: cell(row, 0),
            charset: cell(row, 1),
            collation: cell(row, 2),
            comment: cell(row, 3),
        })
        .collect())
}

fn tables(session: &mut Session, databases: &[Database]) -> Result<Vec<Table>, SqlError> {
    let names = databases.iter().map(|found| quote_text(&found.name)).collect::<Vec<_>>().join(", ");
    let columns = session.rows(
        "list columns",
        &format!(
            "SELECT table_schema, table_name, column_name, data_type, IFNULL(character_set_name, ''), is_generated,
             IFNULL(generation_expression, ''), column_key, is_nullable
             FROM information_schema.columns WHERE table_schema IN ({names}) ORDER BY 1, 2, ordinal_position"
        ),
    )?;
    let mut by_table: BTreeMap<(String, String), Vec<Vec<Option<String>>>> = BTreeMap::new();
    for row in columns {
        by_table.entry((cell(&row, 0), cell(&row, 1))).or_default().push(row);
    }
    let found = session.rows(
        "list tables",
        &format!(
            "SELECT table_schema, table_name, IFNULL(engine, ''), table_type, CONVERT(IFNULL(data_length, 0), CHAR)
             FROM information_schema.tables
             WHERE table_schema IN ({names}) AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2"
        ),
    )?;
    let mut tables = Vec::new();
    for row in found {
        let (database, name, engine) = (cell(&row, 0), cell(&row, 1), cell(&row, 2));
        if REMOTE.contains(&engine.as_str()) {
            continue;
        }
        let columns = by_table.remove(&(database.clone(), name.clone())).unwrap_or_default();
        let versioned = cell(&row, 3) == "SYSTEM VERSIONED";
        tables.push(table(database, name, engine, versioned, &columns, cell(&row, 4).parse().unwrap_or(0)));
    }
    Ok(tables)
}

fn table(
    database: String,
    name: String,
    engine: String,
    versioned: bool,
    rows: &[Vec<Option<String>>],
    bytes: u64,
) -> Table {
    let is_time = |row: &&Vec<Option<String>>| cell(row, 6).starts_with("ROW ");
    let named: Vec<&Vec<Option<String>>> = rows.iter().filter(is_time).collect();
    // Numbers of transactions mean nothing elsewhere.
    let history = versioned && named.iter().all(|row| cell(row, 3) == "timestamp");
    let mut columns: Vec<Column> = rows
        .iter()
        .filter(|row| cell(row, 5) == "NEVER" || (history && is_time(row)))
        .map(|row| Column { name: cell(row, 2), how: how(&cell(row, 3), &cell(row, 4)) })
        .collect();
    if history && named.is_empty() {
        columns.extend(["row_start", "row_end"].map(|name| Column { name: name.to_owned(), how: How::Plain }));
    }
    let whole = ["tinyint", "smallint", "mediumint", "int", "bigint"];
    let keys: Vec<&Vec<Option<String>>> = rows.iter().filter(|row| cell(row, 7) == "PRI").collect();
    let number = match keys.as_slice() {
        [key] if whole.contains(&cell(key, 3).as_str()) && engine == TRANSACTIONAL => Some(cell(key, 2)),
        _ => None,
    };
    Table { database, name, engine, history, columns, number, bytes }
}

fn how(data_type: &str, charset: &str) -> How {
    match data_type {
        "float" => How::Double,
        "inet4" | "inet6" | "uuid" => How::Letters,
        _ if AMBIGUOUS.contains(&charset) => How::Hex,
        "enum" | "set" => How::Words,
        _ => How::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an(database: &str, name: &str, bytes: u64, number: Option<&str>) -> Table {
        let column = |name: &str, how| Column { name: name.to_owned(), how };
        Table {
            database: database.to_owned(),
            name: name.to_owned(),
            engine: TRANSACTIONAL.to_owned(),
            history: false,
            columns: vec![column("id", How::Plain), column("f", How::Double), column("u", How::Letters)],
            number: number.map(str::to_owned),
            bytes,
        }
    }

    #[test]
    fn large_tables_come_first_and_in_pieces() {
        let tables = vec![
            an("a", "small", 10, Some("id")),
            an("a", "large", 3 * PIECE_BYTES, Some("id")),
            an("a", "without numbers", 2 * PIECE_BYTES, None),
        ];
        let index = Index { databases: Vec::new(), tables };
        let pieces = index.pieces(&mut |_| Ok(Some((-4, 7)))).unwrap();
        let shown: Vec<String> =
            pieces.iter().map(|piece| format!("{} {:?} {:?}", piece.name, piece.from, piece.to)).collect();
        assert_eq!(
            shown,
            [
                "data/000002.000001.txt None Some(0)",
                "data/000002.000002.txt Some(0) Some(4)",
                "data/000002.000003.txt Some(4) None",
                "data/000003.000001.txt None None",
                "data/000001.000001.txt None None",
            ]
        );
        assert_eq!(index.table_of(&pieces[3].name), Some(&index.tables[2]));
        assert_eq!((index.table_of("data/000009.1"), index.table_of("index.json")), (None, None));
        assert_eq!(cuts(5, 5, 3), [0; 0], "fewer numbers than pieces");
        assert_eq!(cuts(0, i128::from(u64::MAX), 2), [1 << 63]);
    }

    #[test]
    fn every_value_comes_back() {
        let table = an("a`b", "t'", 1, Some("id"));
        let piece = Piece { name: String::new(), table: 0, from: Some(-1), to: None, bytes: 1 };
        assert_eq!(
            table.select(&piece, Path::new("/x/y")),
            "SELECT /* mariadb-galera logical backup */ `id`, CAST(`f` AS DOUBLE), `u` INTO OUTFILE '/x/y' \
             CHARACTER SET binary FROM `a``b`.`t'` WHERE `id` >= -1"
        );
        assert_eq!(
            table.load(Path::new("/x/y")),
            "LOAD DATA INFILE '/x/y' INTO TABLE `a``b`.`t'` CHARACTER SET binary (`id`, `f`, @v2) \
             SET `u` = CONVERT(@v2 USING latin1)"
        );
        assert_eq!(
            [how("char", "gbk"), how("enum", "utf8mb4"), how("text", "latin1")],
            [How::Hex, How::Words, How::Plain]
        );
    }

    #[test]
    fn unknown_databases_are_named_with_those_that_exist() {
        let there = ["a", "b"].map(|name| Database {
            name: name.to_owned(),
            charset: String::new(),
            collation: String::new(),
            comment: String::new(),
        });
        check(&there, &["b".to_owned()]).unwrap();
        let why = check(&there, &["b".to_owned(), "mysql".to_owned()]).unwrap_err().to_string();
        assert_eq!(why, "cannot back up databases=mysql: no such database of users; there are: a, b");
    }
}
