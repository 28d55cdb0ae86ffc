//! systemd, as far as the charm talks to it: one function per request, and a unit's state in a type.

use std::time::Duration;

use super::command::{Command, CommandError};

/// How long to stay with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Hand it in and return: a server that waits for a state transfer takes as long as the transfer.
    No,
    /// Until it is done, but no longer than this. systemd goes on with it when we give up.
    AtMost(Duration),
}

/// What a unit is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Active,
    /// It is being started.
    Activating,
    /// It is about to be started: what runs before its own process runs, or it waits before the next try.
    Pending,
    /// It is being stopped.
    Deactivating,
    /// It was stopped, or never started.
    Inactive,
    /// It ended in an error.
    Failed,
    /// There is no such unit.
    Absent,
    /// A word of systemd's that means nothing to us.
    Other(String),
}

/// Whether a unit starts with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enablement {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
    /// It cannot be started at all.
    Masked,
    /// There is no such unit.
    Absent,
    /// `static`, `linked` and others.
    Other(String),
}

/// Starts a unit; nothing happens when it runs.
///
/// # Errors
/// When systemd refuses, the unit fails, or it takes too long.
pub fn start(unit: &str, wait: Wait) -> Result<(), CommandError> {
    change("start", unit, wait)
}

/// Stops a unit; nothing happens when it does not run.
///
/// # Errors
/// When systemd refuses or it takes too long.
pub fn stop(unit: &str, wait: Wait) -> Result<(), CommandError> {
    change("stop", unit, wait)
}

/// Sends a signal to every process of a unit.
///
/// # Errors
/// When systemd refuses, or the unit does not run.
pub fn kill(unit: &str, signal: &str) -> Result<(), CommandError> {
    systemctl(&["kill", "--kill-whom=all", &format!("--signal={signal}"), unit]).run().map(drop)
}

/// Stops and starts a unit.
///
/// # Errors
/// When systemd refuses, the unit fails, or it takes too long.
pub fn restart(unit: &str, wait: Wait) -> Result<(), CommandError> {
    change("restart", unit, wait)
}

/// Starts the unit with the machine from now on.
///
/// # Errors
/// When systemd refuses.
pub fn enable(unit: &str) -> Result<(), CommandError> {
    systemctl(&["enable", "--quiet", unit]).run().map(drop)
}

/// No longer starts the unit with the machine.
///
/// # Errors
/// When systemd refuses.
pub fn disable(unit: &str) -> Result<(), CommandError> {
    systemctl(&["disable", "--quiet", unit]).run().map(drop)
}

/// Makes it impossible to start the unit. Works before the unit exists.
///
/// # Errors
/// When systemd refuses.
pub fn mask(unit: &str) -> Result<(), CommandError> {
    systemctl(&["mask", "--quiet", unit]).run().map(drop)
}

/// Takes a mask away.
///
/// # Errors
/// When systemd refuses.
pub fn unmask(unit: &str) -> Result<(), CommandError> {
    systemctl(&["unmask", "--quiet", unit]).run().map(drop)
}

/// Reads the unit files again.
///
/// # Errors
/// When systemd refuses.
pub fn daemon_reload() -> Result<(), CommandError> {
    systemctl(&["daemon-reload"]).run().map(drop)
}

/// Forgets that a unit failed; nothing to forget is fine.
///
/// # Errors
/// When systemd cannot be asked.
pub fn reset_failed(unit: &str) -> Result<(), CommandError> {
    // A unit that is not loaded is an error for systemctl, and exactly what is wanted for us.
    systemctl(&["reset-failed", unit]).output().map(drop)
}

/// What a unit is doing.
///
/// # Errors
/// When systemd cannot be asked.
pub fn state(unit: &str) -> Result<State, CommandError> {
    let words = ["LoadState", "ActiveState", "SubState"].map(|name| format!("--property={name}"));
    let output = systemctl(&["show"]).args(words).arg(unit).run()?;
    Ok(state_in(&output.stdout_text()))
}

/// Whether a unit runs at this moment.
///
/// # Errors
/// When systemd cannot be asked.
pub fn is_active(unit: &str) -> Result<bool, CommandError> {
    state(unit).map(|state| state == State::Active)
}

/// Whether a unit starts with the machine.
///
/// # Errors
/// When systemd cannot be asked.
pub fn enablement(unit: &str) -> Result<Enablement, CommandError> {
    // Its exit code only repeats the word, and an absent unit has no word.
    let output = systemctl(&["is-enabled", unit]).output()?;
    Ok(match output.stdout_text().trim() {
        "enabled" | "enabled-runtime" => Enablement::Enabled,
        "disabled" => Enablement::Disabled,
        "masked" | "masked-runtime" => Enablement::Masked,
        "" | "not-found" => Enablement::Absent,
        other => Enablement::Other(other.to_owned()),
    })
}

/// One property of a unit, as systemd prints it; empty when it has no value.
///
/// # Errors
/// When systemd cannot be asked.
pub fn show(unit: &str, property: &str) -> Result<String, CommandError> {
    let output = systemctl(&["show", "--value", &format!("--property={property}"), unit]).run()?;
    Ok(output.stdout_text().trim_end_matches('\n').to_owned())
}

/// The last lines that a unit wrote, oldest first, without stamps.
///
/// # Errors
/// When the journal cannot be read.
pub fn journal_tail(unit: &str, lines: u32) -> Result<Vec<String>, CommandError> {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--quiet", "--output=cat", "--boot"])
        .arg(format!("--lines={lines}"))
        .arg(format!("--unit={unit}"))
        .run()?;
    Ok(output.stdout_text().lines().map(str::to_owned).collect())
}

fn systemctl(args: &[&str]) -> Command {
    // Without a terminal there is nobody to page for or to ask for a password.
    Command::new("systemctl").args(["--no-pager", "--no-ask-password"]).args(args)
}

fn change(verb: &str, unit: &str, wait: Wait) -> Result<(), CommandError> {
    let command = match wait {
        Wait::No => systemctl(&["--no-block", verb, unit]),
        Wait::AtMost(limit) => systemctl(&[verb, unit]).timeout(limit),
    };
    command.run().map(drop)
}

fn state_in(shown: &str) -> State {
    let property = |name: &str| {
        shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    let active = property("ActiveState");
    match active.as_str() {
        // While it reloads its configuration it runs.
        "active" | "reloading" => State::Active,
        "activating" => match property("SubState").as_str() {
            "condition" | "start-pre" | "auto-restart" | "auto-restart-queued" => State::Pending,
            _ => State::Activating,
        },
        "deactivating" => State::Deactivating,
        "failed" => State::Failed,
        "inactive" if property("LoadState") == "not-found" => State::Absent,
        "inactive" => State::Inactive,
        _ => State::Other(active),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_what_systemctl_shows() {
        let check = |shown: &str, expected| assert_eq!(state_in(shown), expected, "{shown}");
        check("LoadState=loaded\nActiveState=active\n", State::Active);
        check("LoadState=loaded\nActiveState=activating\n", State::Activating);
        check("LoadState=loaded\nActiveState=activating\nSubState=start\n", State::Activating);
        check("LoadState=loaded\nActiveState=activating\nSubState=auto-restart\n", State::Pending);
        check("LoadState=not-found\nActiveState=inactive\n", State::Absent);
        check("LoadState=masked\nActiveState=inactive\n", State::Inactive);
        // A unit may have been masked, or its file removed, while it runs.
        check("LoadState=not-found\nActiveState=active\n", State::Active);
        check("LoadState=loaded\nActiveState=failed\n", State::Failed);
        check("LoadState=loaded\nActiveState=maintenance\n", State::Other("maintenance".to_owned()));
    }
}
