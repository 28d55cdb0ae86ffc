//! What the operator sees in `juju status`. Takes effect at once, also when the hook fails later.

use serde::Deserialize;

use super::tool::{self, Error};

/// The words that a charm may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Active,
    /// At work.
    Maintenance,
    /// Somebody else has to come first.
    Waiting,
    /// A person has to do something.
    Blocked,
}

impl Status {
    /// Juju's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Maintenance => "maintenance",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
        }
    }
}

/// A status as Juju shows it. The word may be one of Juju's own, such as `unknown` or `error`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Shown {
    /// The word.
    pub status: String,
    /// What comes with it.
    #[serde(default)]
    pub message: String,
}

impl Shown {
    /// Whether setting this would change nothing: every setting is a write in the controller.
    pub fn is(&self, status: Status, message: &str) -> bool {
        self.status == status.as_str() && self.message == message
    }
}

/// Sets this unit's status.
///
/// # Errors
/// When Juju does not answer.
pub fn set_unit(status: Status, message: &str) -> Result<(), Error> {
    tool::run("status-set", &["--", status.as_str(), message], None).map(drop)
}

/// Sets this unit's status to the same word with something behind its message.
///
/// # Errors
/// When Juju does not answer, or refuses the word: some are its own.
pub fn set_unit_again(before: &Shown, behind: &str) -> Result<(), Error> {
    tool::run("status-set", &["--", &before.status, &format!("{}{behind}", before.message)], None).map(drop)
}

/// Sets the application's status.
///
/// # Errors
/// When Juju does not answer, or we do not lead.
pub fn set_application(status: Status, message: &str) -> Result<(), Error> {
    tool::run("status-set", &["--application", "--", status.as_str(), message], None).map(drop)
}

/// This unit's status.
///
/// # Errors
/// When Juju does not answer.
pub fn get_unit() -> Result<Shown, Error> {
    tool::read("status-get", &["--include-data"])
}

/// The application's status.
///
/// # Errors
/// When Juju does not answer, or we do not lead.
pub fn get_application() -> Result<Shown, Error> {
    tool::read("status-get", &["--include-data", "--application"]).map(|Application { shown }| shown)
}

/// The version of the workload, as `juju status` shows it for the application.
///
/// # Errors
/// When Juju does not answer.
pub fn set_workload_version(version: &str) -> Result<(), Error> {
    tool::run("application-version-set", &["--", version], None).map(drop)
}

#[derive(Deserialize)]
struct Application {
    #[serde(rename = "application-status")]
    shown: Shown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_a_message_has_an_empty_one() {
        let shown: Shown = tool::parse("status-get", "{\"status\":\"unknown\",\"status-data\":{}}").unwrap();
        assert_eq!(shown, Shown { status: "unknown".to_owned(), message: String::new() });
    }

    #[test]
    fn the_applications_status_lies_deeper() {
        let text = "{\"application-status\":{\"message\":\"3 of 3\",\"status\":\"active\",\"status-data\":{},\"units\":{\"db/0\":{\"status\":\"active\"}}}}";
        let Application { shown } = tool::parse("status-get", text).unwrap();
        assert!(shown.is(Status::Active, "3 of 3") && !shown.is(Status::Active, "2 of 3"));
    }
}
