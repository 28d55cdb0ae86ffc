//! Calendar expressions, as systemd reads them: `daily`, `Mon..Fri 02:30`, `*:0/15`. In UTC, unless one names a zone, so
//! that all units of an application mean the same.

use crate::host::clock::Timestamp;
use crate::host::{Command, CommandError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// It is no calendar expression; says why.
    #[error("{0}")]
    Invalid(String),
    /// systemd could not be asked.
    #[error("cannot ask systemd for the time")]
    Program { source: CommandError },
    /// Its answer is not understood.
    #[error("cannot read systemd's answer {0:?}")]
    Answer(String),
}

/// The first time behind `after_s` (seconds since 1970) that an expression names; `None` when there is none any more.
///
/// # Errors
/// When it is no calendar expression, or nobody can tell.
pub fn next(expression: &str, after_s: u64) -> Result<Option<u64>, CalendarError> {
    let asked = Command::new("systemd-analyze")
        .args(["calendar", &format!("--base-time=@{after_s}"), "--", expression])
        .env("TZ", "UTC")
        .run();
    match asked {
        Ok(said) => read(&said.stdout_text()),
        Err(CommandError::Failed { code: Some(1), stderr, .. }) if stderr.contains("calendar spec") => {
            let why = stderr.rsplit(": ").next().unwrap_or_default().trim();
            Err(CalendarError::Invalid(why.to_owned()))
        }
        Err(source) => Err(CalendarError::Program { source }),
    }
}

/// `    Next elapse: Sun 2026-11-22 10:50:00 UTC`.
fn read(said: &str) -> Result<Option<u64>, CalendarError> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Next elapse:")).map(str::trim);
    let odd = || CalendarError::Answer(said.trim().to_owned());
    match line.map(|line| line.split(' ').collect::<Vec<_>>()).as_deref() {
        Some(["never"]) => Ok(None),
        Some([_, day, time, "UTC"]) => {
            let at = Timestamp::parse(&format!("{day}T{time}Z")).ok_or_else(odd)?;
            u64::try_from(at.unix_seconds()).map(Some).map_err(|_| odd())
        }
        Some(_) | None => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_asked() {
        // 2026-11-22T10:44:50Z.
        let after = 1_795_344_290;
        let stamp = |expression: &str| match next(expression, after) {
            Ok(at) => at.map_or("never".to_owned(), |at| {
                Timestamp::from_unix_seconds(i64::try_from(at).unwrap()).unwrap().to_string()
            }),
            Err(why) => why.to_string(),
        };
        assert_eq!(stamp("*:0/15"), "2026-11-22T10:45:00Z");
        assert_eq!(stamp("Mon 02:30"), "2026-11-23T02:30:00Z");
        assert_eq!(stamp("daily"), "2026-11-23T00:00:00Z");
        assert_eq!(stamp("2027-01-01 Europe/Berlin"), "2026-12-31T23:00:00Z");
        assert_eq!(stamp("2020-01-01"), "never");
        assert_eq!(stamp("banana"), "Invalid argument");
        assert_eq!(stamp("--version"), "Invalid argument", "an option of systemd's is none of ours");
        assert_eq!(next("*:0/15", 1_795_344_300).unwrap(), Some(1_795_345_200), "behind, not at");
    }

    #[test]
    fn an_answer_of_another_kind_is_named() {
        assert!(matches!(read("hello"), Err(CalendarError::Answer(_))));
        assert!(matches!(read("Next elapse: tomorrow"), Err(CalendarError::Answer(_))));
    }
}
