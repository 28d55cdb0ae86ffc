//! A connection to the local server: over its Unix socket, as root, who is known by that socket and has no password.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use mysql::prelude::Queryable as _;
use mysql::{Conn, Opts, OptsBuilder};

use super::SOCKET;
use super::wsrep::GaleraStatus;

/// MariaDB's default for `max_allowed_packet`, in bytes; our statements are smaller by far.
const MAX_PACKET: usize = 16 * 1024 * 1024;

/// Whatever operators set for clients. A session that asks how the cluster is must not wait for the cluster; what statements
/// mean, and how texts are quoted, hangs on `sql_mode` (this is the default of MariaDB 10.11).
const OWN_SETTINGS: &str = "SET SESSION wsrep_sync_wait=0, max_statement_time=0, autocommit=1, \
    sql_mode='STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION'";

/// Why the server did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// Nobody answers at the socket.
    #[error("cannot connect to the server at {SOCKET}")]
    Connect { source: Box<mysql::Error> },
    /// The statement failed. Its text is ours and holds no secret.
    #[error("cannot {what}")]
    Statement { what: String, source: Box<mysql::Error> },
}

impl SqlError {
    /// The server's number for what went wrong; none when it did not answer.
    pub fn code(&self) -> Option<u16> {
        let (Self::Connect { source } | Self::Statement { source, .. }) = self;
        match source.as_ref() {
            mysql::Error::MySqlError(refusal) => Some(refusal.code),
            mysql::Error::IoError(_)
            | mysql::Error::CodecError(_)
            | mysql::Error::DriverError(_)
            | mysql::Error::UrlError(_)
            | mysql::Error::FromValueError(_)
            | mysql::Error::FromRowError(_) => None,
        }
    }

    /// Why, as an operator reads it in a status: the driver's own words are about its insides.
    pub fn in_words(&self) -> String {
        let (Self::Connect { source } | Self::Statement { source, .. }) = self;
        let broken = match source.as_ref() {
            mysql::Error::MySqlError(refusal) => return refusal.to_string(),
            mysql::Error::IoError(broken) => Some(broken),
            mysql::Error::CodecError(codec) => codec.source().and_then(|source| source.downcast_ref::<io::Error>()),
            other @ (mysql::Error::DriverError(_)
            | mysql::Error::UrlError(_)
            | mysql::Error::FromValueError(_)
            | mysql::Error::FromRowError(_)) => return other.to_string(),
        };
        match broken.map(io::Error::kind) {
            Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "no answer in time".to_owned(),
            Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => format!("nobody listens at {SOCKET}"),
            Some(_) | None => "the connection was cut off".to_owned(),
        }
    }
}

/// An open connection.
pub struct Session {
    conn: Conn,
}

impl Session {
    /// Connects; `limit` holds for every answer.
    ///
    /// # Errors
    /// When the server does not answer in time.
    pub fn open(limit: Duration) -> Result<Self, SqlError> {
        Self::open_at(SOCKET, limit)
    }

    /// Connects to another server of this machine.
    ///
    /// # Errors
    /// When the server does not answer in time.
    pub fn open_at(socket: &str, limit: Duration) -> Result<Self, SqlError> {
        let options = OptsBuilder::new()
            .socket(Some(socket))
            .user(Some("root"))
            .prefer_socket(false)
            .read_timeout(Some(limit))
            .write_timeout(Some(limit))
            // The driver would ask for it first: a round trip more, every second.
            .max_allowed_packet(Some(MAX_PACKET))
            .init(vec![OWN_SETTINGS]);
        let conn = Conn::new(Opts::from(options)).map_err(|why| SqlError::Connect { source: Box::new(why) })?;
        Ok(Self { conn })
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When the server refuses; `what` says what was meant, because the statement itself may not be shown.
    pub fn run(&mut self, what: &str, statement: &str) -> Result<(), SqlError> {
        self.conn.query_drop(statement).map_err(|why| failed(what, why))
    }

    /// Runs a statement, and returns how many rows it has written.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn change(&mut self, what: &str, statement: &str) -> Result<u64, SqlError> {
        self.run(what, statement)?;
        Ok(self.conn.affected_rows())
    }

    /// How many warnings the last statement has left.
    pub fn warning_count(&self) -> u16 {
        self.conn.warnings()
    }

    /// The server's number for this connection.
    pub fn id(&self) -> u32 {
        self.conn.connection_id()
    }

    /// The rows of a query with two text columns.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn pairs(&mut self, what: &str, query: &str) -> Result<Vec<(String, String)>, SqlError> {
        self.conn.query(query).map_err(|why| failed(what, why))
    }

    /// The rows of a query with one text column, with bound values.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn column(&mut self, what: &str, query: &str, values: &[&str]) -> Result<Vec<String>, SqlError> {
        let values: Vec<mysql::Value> = values.iter().map(|value| mysql::Value::from(*value)).collect();
        self.conn.exec(query, values).map_err(|why| failed(what, why))
    }

    /// The rows of a query, whatever its columns: each value as text.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn rows(&mut self, what: &str, query: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
        let rows: Vec<mysql::Row> = self.conn.query(query).map_err(|why| failed(what, why))?;
        let text = |value| mysql::from_value_opt::<Option<String>>(value).unwrap_or(None);
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
    }

    /// What Galera says of this member. Where its list of members is not that of its view, the server's own table knows
    /// them: it came with the copy, and follows every view.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn galera_status(&mut self) -> Result<GaleraStatus, SqlError> {
        let rows = self.pairs("read the cluster's status", "SHOW GLOBAL STATUS LIKE 'wsrep%'")?;
        let mut status = GaleraStatus::from_rows(&rows.into_iter().collect());
        if status.primary && status.view().is_empty() {
            let members = "SELECT node_incoming_address FROM mysql.wsrep_cluster_members";
            // A server that is not ready has no tables to show, and says nothing then.
            status.incoming = self.column("read the members", members, &[]).unwrap_or_default().join(",");
        }
        Ok(status)
    }
}

fn failed(what: &str, why: mysql::Error) -> SqlError {
    SqlError::Statement { what: what.to_owned(), source: Box::new(why) }
}

/// A name as SQL quotes it.
pub fn quote_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as SQL quotes it.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote_identifier("a`b"), "`a``b`");
        assert_eq!(quote_text(r"o'\x"), r"'o\'\\x'");
    }
}
