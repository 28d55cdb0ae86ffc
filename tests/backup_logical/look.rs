//! A database with everything that could come back as something else, and how to see whether it did.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::server::Server;

pub(crate) fn odd_data(server: &Server) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backup_logical/odd.sql");
    let socket = format!("--socket={}", server.socket().display());
    let args = ["--no-defaults", "--default-character-set=utf8mb4", &socket];
    let output = Command::new("mariadb").args(args).stdin(fs::File::open(file).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Everything in these databases: how it is made, and what the server says of its rows.
pub(crate) fn contents(server: &Server, databases: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for database in databases {
        let name = database.replace('\\', "\\\\");
        found.push(server.sql(&format!("SHOW CREATE DATABASE {}", quoted(database))));
        let list = |query: &str| -> Vec<String> {
            let text = server.sql(query);
            text.lines().map(|line| line.replace("\\\\", "\\")).collect()
        };
        for table in
            list(&format!("SELECT table_name FROM information_schema.tables WHERE table_schema='{name}' ORDER BY 1"))
        {
            let table = format!("{}.{}", quoted(database), quoted(&table));
            found.push(server.sql(&format!("SHOW CREATE TABLE {table}")));
            let sum = server.sql(&format!("CHECKSUM TABLE {table}"));
            found.push(sum);
            if table.contains("`ver") {
                found.push(server.sql(
                    &format!("SELECT *, row_start, row_end FROM {table} FOR SYSTEM_TIME ALL ORDER BY 1, 3").replace(
                        "row_start, row_end",
                        if table.contains("ver2") { "rs, re" } else { "row_start, row_end" },
                    ),
                ));
            }
        }
        for (kind, query) in [
            (
                "TRIGGER",
                format!(
                    "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema='{name}' ORDER BY 1"
                ),
            ),
            (
                "EVENT",
                format!("SELECT event_name FROM information_schema.events WHERE event_schema='{name}' ORDER BY 1"),
            ),
            (
                "FUNCTION",
                format!(
                    "SELECT routine_name FROM information_schema.routines WHERE routine_schema='{name}' AND routine_type='FUNCTION' ORDER BY 1"
                ),
            ),
            (
                "PROCEDURE",
                format!(
                    "SELECT routine_name FROM information_schema.routines WHERE routine_schema='{name}' AND routine_type='PROCEDURE' ORDER BY 1"
                ),
            ),
        ] {
            for object in list(&query) {
                let made = server.sql(&format!("SHOW CREATE {kind} {}.{}", quoted(database), quoted(&object)));
                // A trigger's moment of creation, which nothing can restore.
                let made: Vec<&str> =
                    made.split('\t').filter(|cell| kind != "TRIGGER" || !cell.starts_with("20")).collect();
                found.push(made.join("\t"));
            }
        }
    }
    found
}

pub(crate) fn accounts(server: &Server) -> String {
    let who = "CONCAT(QUOTE(user), IF(host = '', '', CONCAT('@', QUOTE(host))))";
    let names =
        server.sql(&format!("SELECT {who} FROM mysql.global_priv WHERE user NOT IN ('mysql', 'PUBLIC') ORDER BY 1"));
    let mut found = String::new();
    for name in names.lines() {
        let grants = server.sql(&format!("SHOW GRANTS FOR {}", name.replace("\\\\", "\\")));
        let mut grants: Vec<&str> = grants.lines().collect();
        // A new server lets root be everybody's proxy, and in other words than a grant does: it is told twice then.
        grants.dedup();
        found += &format!("{}\n", grants.join("\n"));
    }
    found
}

pub(crate) fn same(before: &[String], after: &[String]) {
    for (before, after) in before.iter().zip(after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
}
