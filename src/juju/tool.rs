//! The one place that runs a hook tool, and what a tool's refusal means.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::host::{self, Command, CommandError};

// A tool asks the controller. When that is gone the hook must not hang for ever: nothing else would end it.
const LIMIT: Duration = Duration::from_secs(120);

/// Why a hook tool gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This Juju has no such tool, or no hook is running.
    #[error("cannot find the hook tool {tool}: only a running hook has it, and only of a Juju that knows it")]
    ToolMissing { tool: String },
    /// Juju refused.
    #[error("cannot run {tool}: {message}")]
    Failed { tool: String, message: String, code: Option<i32> },
    /// The tool did not start, did not end in time, or was killed.
    #[error("cannot get an answer from {tool}")]
    NoAnswer { tool: String, source: CommandError },
    /// The answer is not what the contract says. The answer itself is not repeated: it may be a secret.
    #[error("cannot understand the answer of {tool}: {what}")]
    BadOutput { tool: String, what: String },
    /// What a tool should read could not be laid out for it.
    #[error("cannot prepare what {tool} should read")]
    Prepare { tool: String, source: host::FileError },
}

impl Error {
    /// Whether the thing asked for does not exist, or not yet.
    pub fn is_not_found(&self) -> bool {
        self.says(&["not found"])
    }

    /// Whether Juju says that we may not. For secrets it may be a matter of time: a grant can lag behind the address.
    pub fn is_permission_denied(&self) -> bool {
        // The second is Juju 4.
        self.says(&["permission denied", "is not allowed to read this secret"])
    }

    /// Whether only the leader may do this, and we are it no longer.
    pub fn is_not_leader(&self) -> bool {
        // The second is what relation-set --app says to the others.
        self.says(&["not the leader", "cannot write relation settings"])
    }

    /// Whether this Juju has no such tool.
    pub fn is_tool_missing(&self) -> bool {
        match self {
            Self::ToolMissing { .. } => true,
            Self::Failed { .. } | Self::NoAnswer { .. } | Self::BadOutput { .. } | Self::Prepare { .. } => false,
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        match self {
            Self::Failed { message, .. } => words.iter().any(|word| message.contains(word)),
            Self::ToolMissing { .. } | Self::NoAnswer { .. } | Self::BadOutput { .. } | Self::Prepare { .. } => false,
        }
    }
}

/// Whether this Juju has a tool.
pub fn available(tool: &str) -> bool {
    find(tool).is_ok()
}

/// Runs a tool and returns what it prints. Everybody on the machine can read `args`; what is secret goes through `stdin`.
///
/// # Errors
/// When the tool is missing, refuses, or does not answer.
pub fn run(tool: &str, args: &[&str], stdin: Option<&[u8]>) -> Result<String, Error> {
    // Juju finds its agent through its variables; nothing else of the hook's environment matters to a tool.
    let mut command = Command::new(find(tool)?).args(args).inherit_env("JUJU_").timeout(LIMIT);
    if let Some(bytes) = stdin {
        command = command.stdin(bytes);
    }
    let output = command.run().map_err(|error| refusal(tool, error))?;
    String::from_utf8(output.stdout).map_err(|_| bad_output(tool, "it is no UTF-8"))
}

/// Runs a reading tool with `--format=json` and reads its answer. A missing value is `null`: ask for an `Option`.
///
/// # Errors
/// When the tool fails, or answers something else.
pub fn read<T: DeserializeOwned>(tool: &str, args: &[&str]) -> Result<T, Error> {
    let mut all = vec!["--format=json"];
    all.extend(args);
    parse(tool, &run(tool, &all, None)?)
}

pub(super) fn parse<T: DeserializeOwned>(tool: &str, answer: &str) -> Result<T, Error> {
    let answer = answer.trim();
    // Older tools print nothing at all for nil.
    let answer = if answer.is_empty() { "null" } else { answer };
    serde_json::from_str(answer).map_err(|error| {
        // serde's own text quotes the value that it did not expect.
        let kind = match error.classify() {
            serde_json::error::Category::Data => "another shape than expected",
            serde_json::error::Category::Eof => "it breaks off",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is no JSON",
        };
        bad_output(tool, &format!("{kind} (line {}, column {})", error.line(), error.column()))
    })
}

pub(super) fn bad_output(tool: &str, what: &str) -> Error {
    Error::BadOutput { tool: tool.to_owned(), what: what.to_owned() }
}

fn find(tool: &str) -> Result<PathBuf, Error> {
    let missing = || Error::ToolMissing { tool: tool.to_owned() };
    which::which_in(tool, host::env("PATH"), "/").map_err(|_| missing())
}

fn refusal(tool: &str, error: CommandError) -> Error {
    match error {
        CommandError::Failed { code: Some(code), stderr, .. } => {
            Error::Failed { tool: tool.to_owned(), message: message(&stderr), code: Some(code) }
        }
        error @ (CommandError::Start { .. }
        | CommandError::Talk { .. }
        | CommandError::Failed { .. }
        | CommandError::TimedOut { .. })
            if error.is_program_missing() =>
        {
            Error::ToolMissing { tool: tool.to_owned() }
        }
        source @ (CommandError::Failed { .. }
        | CommandError::Start { .. }
        | CommandError::Talk { .. }
        | CommandError::TimedOut { .. }) => Error::NoAnswer { tool: tool.to_owned(), source },
    }
}

/// What Juju says, without the word that every such text begins with.
fn message(stderr: &str) -> String {
    let text = stderr.trim();
    let text = text.strip_prefix("ERROR ").unwrap_or(text);
    if text.is_empty() { "it failed without a reason".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> Error {
        let command = "secret-get".to_owned();
        refusal("secret-get", CommandError::Failed { command, code: Some(1), signal: None, stderr: stderr.to_owned() })
    }

    #[test]
    fn refusals_are_told_apart() {
        let check = |stderr: &str, expected: [bool; 3]| {
            let error = failed(stderr);
            let said = [error.is_not_found(), error.is_permission_denied(), error.is_not_leader()];
            assert_eq!(said, expected, "{stderr}");
        };
        check("ERROR secret \"x\" not found", [true, false, false]);
        check("ERROR consumer label \"credentials\" not found", [true, false, false]);
        check(
            "ERROR cannot read settings for unit \"u/2\" in relation \"u:p\": unit \"u/2\": settings not found",
            [true, false, false],
        );
        check("ERROR permission denied", [false, true, false]);
        check("ERROR \"app/0\" is not allowed to read this secret", [false, true, false]);
        check("ERROR this unit is not the leader", [false, false, true]);
        check("ERROR cannot write relation settings", [false, false, true]);
        check("ERROR leadership status unknown", [false, false, false]);
    }

    #[test]
    fn a_refusal_is_repeated_without_jujus_prefix() {
        assert_eq!(failed("ERROR permission denied\n").to_string(), "cannot run secret-get: permission denied");
        assert_eq!(failed("").to_string(), "cannot run secret-get: it failed without a reason");
    }

    #[test]
    fn an_answer_of_the_wrong_shape_is_not_repeated() {
        let error = parse::<u32>("secret-get", "\"sesame\"\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot understand the answer of secret-get: another shape than expected (line 1, column 8)"
        );
        assert_eq!(parse::<Option<String>>("state-get", "null\n").unwrap(), None);
        assert_eq!(parse::<Option<String>>("state-get", "").unwrap(), None);
    }

    #[test]
    fn without_a_hook_there_is_no_tool() {
        let error = run("relation-ids-of-no-juju", &[], None).unwrap_err();
        assert!(error.is_tool_missing() && !available("relation-ids-of-no-juju"), "{error}");
    }
}
