//! The options of planned backups.

use std::collections::BTreeMap;

use serde_json::Value;

use super::settings::{days, keep, wrong};
use crate::cluster::BadSetting;

/// More would be a mistake.
const COUNT_MAX: u32 = 100_000;
/// Backups are proved so often when nothing else is said.
const VERIFY_DAYS: u32 = 7;

/// When backups are made and how long they are kept. Whether a calendar expression is one, systemd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When backups are made, as a calendar expression.
    pub schedule: Option<String>,
    /// When the next one is to hold everything, as a calendar expression. Without one, each does.
    pub fulls: Option<String>,
    /// So many are kept, whatever their age.
    pub keep_count: Option<u32>,
    /// Those are kept that are younger, however many there are.
    pub keep_days: Option<u32>,
    /// A backup is proved to restore at least this often; `None` for never.
    pub verify_days: Option<u32>,
}

impl Options {
    /// The calendar expressions, with the names of their options.
    pub fn calendars(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let named = [(SCHEDULE, &self.schedule), (FULLS, &self.fulls)];
        named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The options' names.
const SCHEDULE: &str = "backup-schedule";
const FULLS: &str = "backup-type-schedule";
const KEEP: &str = "backup-keep";
const VERIFY: &str = "backup-verify-days";

pub(super) fn read(values: &BTreeMap<String, Value>) -> Result<Options, Vec<BadSetting>> {
    let mut bad = Vec::new();
    let schedule = keep(&mut bad, calendar(values.get(SCHEDULE), SCHEDULE));
    let fulls = keep(&mut bad, calendar(values.get(FULLS), FULLS));
    let kept = keep(&mut bad, how_many(values.get(KEEP)));
    let verify_days = keep(&mut bad, days(values.get(VERIFY), VERIFY, VERIFY_DAYS));
    match (schedule, fulls, kept, verify_days) {
        (Some(schedule), Some(fulls), Some((keep_count, keep_days)), Some(verify_days)) => {
            Ok(Options { schedule, fulls, keep_count, keep_days, verify_days })
        }
        _ => Err(bad),
    }
}

/// What stands for a bad expression, for whoever has asked systemd.
pub fn no_calendar(option: &str, value: &str, why: &str) -> BadSetting {
    let shown: String = value.chars().take(40).collect();
    let problem = format!(
        "{shown:?} is not a time as systemd writes it, such as daily, \"Mon..Fri 02:30\" or *:0/15 (man systemd.time): {why}"
    );
    BadSetting { option: option.to_owned(), problem }
}

fn calendar(value: Option<&Value>, option: &str) -> Result<Option<String>, BadSetting> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(value) => wrong(option, value, "a calendar expression as systemd writes it"),
    }
}

/// So many, and younger than so many days.
fn how_many(value: Option<&Value>) -> Result<(Option<u32>, Option<u32>), BadSetting> {
    let allowed = "a number of backups (7), a number of days (30d), or both (7, 30d)";
    let value = match value {
        None | Some(Value::Null) => return Ok((None, None)),
        Some(value) => value,
    };
    let Value::String(text) = value else {
        return wrong(KEEP, value, allowed);
    };
    let (mut count, mut age) = (None, None);
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let (place, number) = word.strip_suffix('d').map_or((&mut count, word), |number| (&mut age, number));
        match number.parse::<u32>() {
            Ok(number) if (1..=COUNT_MAX).contains(&number) && place.is_none() => *place = Some(number),
            Ok(_) | Err(_) => return wrong(KEEP, value, allowed),
        }
    }
    Ok((count, age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_are_kept() {
        let said = |text: &str| match how_many(Some(&Value::from(text))) {
            Ok((count, days)) => format!("{count:?} {days:?}"),
            Err(bad) => bad.problem,
        };
        assert_eq!(said(""), "None None");
        assert_eq!(said("7"), "Some(7) None");
        assert_eq!(said("30d"), "None Some(30)");
        assert_eq!(said("7, 30d"), "Some(7) Some(30)");
        for bad in ["0", "-1", "7 8", "1w", "x", "3d 4d", "0d"] {
            assert_eq!(
                said(bad),
                format!("{bad:?} is not a number of backups (7), a number of days (30d), or both (7, 30d)")
            );
        }
    }
}
