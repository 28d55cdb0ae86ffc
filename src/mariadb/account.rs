//! First-time setup of the founder and the charm's own accounts. Everything here may be run again at any point.

use std::time::Duration;

use sha1::{Digest as _, Sha1};

use super::sql::{Session, SqlError, quote_identifier, quote_text};
use crate::host::{Command, CommandError};

/// Why setup stopped.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The time zones could not be read or loaded.
    #[error("cannot load the time zones")]
    TimeZones { source: CommandError },
}

/// An account of ours.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub name: &'static str,
    /// From where it may log in.
    pub host: &'static str,
    /// On everything, but for the operator no more than its work needs.
    pub privileges: &'static str,
    /// Behind GRANT: options and limits.
    pub with: &'static str,
}

/// The charm's own accounts. mariadb-backup needs what its documentation lists for 10.11; an exporter reads status and
/// process lists, and three connections are enough for it.
pub const ACCOUNTS: [Account; 4] = [
    Account { name: "charmed-operator", host: "%", privileges: "ALL PRIVILEGES", with: "WITH GRANT OPTION" },
    Account {
        name: "charmed-sst",
        host: "localhost",
        privileges: "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR",
        with: "",
    },
    Account {
        name: "charmed-backup",
        host: "localhost",
        privileges: "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR",
        with: "",
    },
    Account {
        name: "charmed-stats",
        host: "localhost",
        privileges: "PROCESS, BINLOG MONITOR, SLAVE MONITOR",
        with: "WITH MAX_USER_CONNECTIONS 3",
    },
];

/// Leaves root to the Unix socket alone, removes what the distribution brought along, and loads the time zones into the
/// server at this socket.
///
/// # Errors
/// When the server refuses; running it again goes on where it stopped.
pub fn first_time_setup(session: &mut Session, socket: &str) -> Result<(), AccountError> {
    session.run("leave root to the Unix socket", "ALTER USER root@localhost IDENTIFIED VIA unix_socket")?;
    let others = session.pairs(
        "list accounts",
        "SELECT User, Host FROM mysql.global_priv WHERE User IN ('', 'mysql') OR (User = 'root' AND Host <> 'localhost')",
    )?;
    for (user, host) in others {
        let statement = format!("DROP USER IF EXISTS {}@{}", quote_identifier(&user), quote_identifier(&host));
        session.run("remove a default account", &statement)?;
    }
    session.run("remove the test schema", "DROP DATABASE IF EXISTS test")?;
    session.run("remove rights on test schemas", "DELETE FROM mysql.db WHERE Db = 'test' OR Db LIKE 'test\\\\_%'")?;
    session.run("reload privileges", "FLUSH PRIVILEGES")?;
    load_time_zones(socket)
}

/// Loads the time zones on this server only: the tables are not replicated, and the members that join while the cluster
/// forms get them with their full copy.
fn load_time_zones(socket: &str) -> Result<(), AccountError> {
    let time_zones = |source| AccountError::TimeZones { source };
    let sql = Command::new("mariadb-tzinfo-to-sql")
        .args(["--skip-write-binlog", "/usr/share/zoneinfo"])
        .timeout(Duration::from_secs(60))
        .run()
        .map_err(time_zones)?;
    Command::new("mariadb")
        .args(["--no-defaults", "--socket", socket, "--user", "root", "mysql"])
        .stdin(sql.stdout)
        .timeout(Duration::from_secs(120))
        .run()
        .map_err(time_zones)?;
    Ok(())
}

/// Brings an account to these passwords (the first is the current one; the server accepts any of them) and its rights.
/// Changes nothing that is right already, because every change is replicated and locks the whole cluster for a moment.
///
/// # Errors
/// When the server refuses.
pub fn ensure(session: &mut Session, account: &Account, passwords: &[&str]) -> Result<(), SqlError> {
    let who = format!("{}@{}", quote_identifier(account.name), quote_identifier(account.host));
    let present = session
        .column(
            "read an account",
            "SELECT CONVERT(Priv USING utf8mb4) FROM mysql.global_priv WHERE User = ? AND Host = ?",
            &[account.name, account.host],
        )?
        .pop();
    let wanted: Vec<String> = passwords.iter().map(|password| native_hash(password)).collect();
    let identified = wanted
        .iter()
        .map(|hash| format!("mysql_native_password USING {}", quote_text(hash)))
        .collect::<Vec<_>>()
        .join(" OR ");
    match &present {
        None => {
            session
                .run("create an account", &format!("CREATE USER IF NOT EXISTS {who} IDENTIFIED VIA {identified}"))?;
        }
        Some(priv_json) => {
            let mut have = hashes(priv_json);
            let mut want = wanted.clone();
            have.sort();
            want.sort();
            if have != want {
                session
                    .run("change an account's password", &format!("ALTER USER {who} IDENTIFIED VIA {identified}"))?;
            }
        }
    }
    let grants = session.column("read an account's rights", &format!("SHOW GRANTS FOR {who}"), &[])?;
    let right = grants.iter().any(|grant| grant.starts_with(&format!("GRANT {} ON *.*", account.privileges)));
    if !right {
        session.run("grant rights", &format!("GRANT {} ON *.* TO {who} {}", account.privileges, account.with))?;
    }
    Ok(())
}

/// All password hashes in an account's JSON, of one method or several.
fn hashes(priv_json: &str) -> Vec<String> {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        if let Some(text) = value.get("authentication_string").and_then(serde_json::Value::as_str) {
            if text.starts_with('*') {
                found.push(text.to_owned());
            }
        }
        for inner in value.get("auth_or").and_then(serde_json::Value::as_array).into_iter().flatten() {
            collect(inner, found);
        }
    }
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(priv_json) {
        collect(&value, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

/// What `PASSWORD()` makes of a password, made here so that no password ever travels in a statement.
fn native_hash(password: &str) -> String {
    let twice = Sha1::digest(Sha1::digest(password.as_bytes()));
    let hex: String = twice.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("*{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_hash() {
        // From the MariaDB documentation of PASSWORD().
        assert_eq!(native_hash("notagoodpwd"), "*3A70EE9FC6594F88CE9E959CD51C5A1C002DC937");
    }

    #[test]
    fn hashes_of_one_and_of_two_methods() {
        let one = r#"{"access":0,"plugin":"mysql_native_password","authentication_string":"*AA"}"#;
        let two = r#"{"auth_or":[{"plugin":"mysql_native_password","authentication_string":"*AA"},{"plugin":"mysql_native_password","authentication_string":"*BB"}]}"#;
        assert_eq!(hashes(one), ["*AA"]);
        assert_eq!(hashes(two), ["*AA", "*BB"]);
        assert!(hashes("{}").is_empty());
    }
}
