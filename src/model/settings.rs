//! The charm's options: what Juju holds, checked and typed. A bad value becomes a reason that names the option and what
//! is allowed; it never fails a hook.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{planned, s3};
use crate::cluster::{self, BadSetting, MinClusterSize};
use crate::juju::SecretUri;
use crate::options;

/// The longest name that Galera takes for a group.
/// Source: MariaDB documentation of `wsrep_cluster_name`.
const CLUSTER_NAME_LENGTH_MAX: usize = 32;
/// What `profile-limit-memory` takes, in MB. The least is what a server and its agent run with.
const LIMIT_MEMORY_MB: std::ops::RangeInclusive<i64> = 600..=9_999_999;
/// A hundred years.
const DAYS_MAX: u32 = 36_500;
/// More members than this only slow every commit down.
const CLUSTER_SIZE: std::ops::RangeInclusive<u32> = 1..=9;

/// All options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the decision depends on.
    pub cluster: cluster::Settings,
    /// How much of the machine the server may take.
    pub profile: Profile,
    /// How much memory the server may count on, in bytes; `None` for all that the machine gives.
    pub limit_memory: Option<u64>,
    /// What the server's files say because of an option.
    pub server: options::Chosen,
    /// A bucket for backups, or what to ask a related application for.
    pub s3: s3::Options,
    /// For whom backups are encrypted: public keys, as age takes them.
    pub backup_recipients: Vec<String>,
    /// The secret with the key that opens encrypted backups.
    pub backup_key: Option<SecretUri>,
    /// When backups are made by themselves, and how long they are kept.
    pub planned: planned::Options,
}

/// How much of the machine the server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As much as is sensible.
    Production,
    /// As little as it runs with.
    Testing,
}

/// Checks Juju's values. `application` names the cluster where the operator has not.
///
/// # Errors
/// All options that cannot be used, not only the first.
pub fn read(values: &BTreeMap<String, Value>, application: &str) -> Result<Options, Vec<BadSetting>> {
    let mut bad = Vec::new();
    let cluster_name = keep(&mut bad, cluster_name(values.get("cluster-name"), application));
    let min_cluster_size = keep(&mut bad, min_cluster_size(values.get("min-cluster-size")));
    let profile = keep(&mut bad, profile(values.get("profile")));
    let limit_memory = keep(&mut bad, limit_memory(values.get("profile-limit-memory")));
    let to_bad = |(option, problem): options::Wrong| BadSetting { option: option.to_owned(), problem };
    let server = options::read(values).map_err(|wrong| bad.extend(wrong.into_iter().map(to_bad))).ok();
    let restore_keep_days = keep(&mut bad, days(values.get("restore-keep-days"), "restore-keep-days", 7));
    let s3 = s3::options(values).map_err(|problems| bad.extend(problems)).ok();
    let planned = planned::read(values).map_err(|problems| bad.extend(problems)).ok();
    let backup_recipients = keep(&mut bad, recipients(values.get("backup-recipients")));
    let backup_key = keep(&mut bad, backup_key(values.get("backup-key")));
    match (
        cluster_name,
        min_cluster_size,
        profile,
        limit_memory,
        server,
        restore_keep_days,
        s3,
        backup_key,
        backup_recipients,
        planned,
    ) {
        (
            Some(cluster_name),
            Some(min_cluster_size),
            Some(profile),
            Some(limit_memory),
            Some(server),
            Some(restore_keep_days),
            Some(s3),
            Some(backup_key),
            Some(backup_recipients),
            Some(planned),
        ) => {
            let lower_case_table_names = server.lower_case_table_names();
            let cluster =
                cluster::Settings { cluster_name, min_cluster_size, restore_keep_days, lower_case_table_names };
            Ok(Options { cluster, profile, limit_memory, server, s3, backup_recipients, backup_key, planned })
        }
        _ => Err(bad),
    }
}

pub(super) fn keep<T>(bad: &mut Vec<BadSetting>, value: Result<T, BadSetting>) -> Option<T> {
    value.map_err(|problem| bad.push(problem)).ok()
}

pub(super) fn wrong<T>(option: &str, value: &Value, allowed: &str) -> Result<T, BadSetting> {
    let shown = match value {
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    Err(BadSetting { option: option.to_owned(), problem: format!("{shown} is not {allowed}") })
}

fn cluster_name(value: Option<&Value>, application: &str) -> Result<String, BadSetting> {
    let allowed = "a name of 1 to 32 letters, digits, - _ or . that starts with a letter";
    let value = match value {
        None | Some(Value::Null) => return Ok(application.chars().take(CLUSTER_NAME_LENGTH_MAX).collect()),
        Some(Value::String(text)) if text.is_empty() => {
            return Ok(application.chars().take(CLUSTER_NAME_LENGTH_MAX).collect());
        }
        Some(value) => value,
    };
    match value.as_str() {
        Some(text)
            if text.len() <= CLUSTER_NAME_LENGTH_MAX
                && text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) =>
        {
            Ok(text.to_owned())
        }
        _ => wrong("cluster-name", value, allowed),
    }
}

fn min_cluster_size(value: Option<&Value>) -> Result<MinClusterSize, BadSetting> {
    let allowed = "auto (every planned unit) or a number from 1 to 9";
    let value = match value {
        None | Some(Value::Null) => return Ok(MinClusterSize::Auto),
        Some(value) => value,
    };
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    if text.is_empty() || text == "auto" {
        return Ok(MinClusterSize::Auto);
    }
    match text.parse::<u32>() {
        Ok(n) if CLUSTER_SIZE.contains(&n) => Ok(MinClusterSize::AtLeast(n)),
        Ok(_) | Err(_) => wrong("min-cluster-size", value, allowed),
    }
}

fn profile(value: Option<&Value>) -> Result<Profile, BadSetting> {
    match value {
        None | Some(Value::Null) => Ok(Profile::Production),
        Some(Value::String(text)) if text == "production" => Ok(Profile::Production),
        Some(Value::String(text)) if text == "testing" => Ok(Profile::Testing),
        Some(value) => wrong("profile", value, "production or testing"),
    }
}

fn limit_memory(value: Option<&Value>) -> Result<Option<u64>, BadSetting> {
    let value = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_i64() {
        Some(0) => Ok(None),
        Some(megabytes) if LIMIT_MEMORY_MB.contains(&megabytes) => Ok(u64::try_from(megabytes).ok().map(|mb| mb << 20)),
        _ => wrong("profile-limit-memory", value, "0 (no limit) or a number of MB from 600 to 9999999"),
    }
}

/// Public keys, one a line or with commas between them: an SSH key has blanks within. What is no key is said by the backup.
fn recipients(value: Option<&Value>) -> Result<Vec<String>, BadSetting> {
    let text = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => text,
        Some(value) => return wrong("backup-recipients", value, "a text of public keys, one a line"),
    };
    let keys = text.split(['\n', ',']).map(str::trim).filter(|key| !key.is_empty()).map(ToOwned::to_owned);
    Ok(keys.collect())
}

fn backup_key(value: Option<&Value>) -> Result<Option<SecretUri>, BadSetting> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str().map(str::trim).unwrap_or("?"),
    };
    if text.is_empty() {
        return Ok(None);
    }
    // Somebody may have put the key itself there: it is not repeated.
    let problem = format!("the value is not {}", s3::SECRET_EXAMPLE);
    let uri = text.parse::<SecretUri>().ok().filter(s3::is_an_address);
    uri.map(Some).ok_or(BadSetting { option: "backup-key".to_owned(), problem })
}

/// A number of days; `None` for 0, which stands for ever.
pub(super) fn days(value: Option<&Value>, option: &str, default: u32) -> Result<Option<u32>, BadSetting> {
    let value = match value {
        None | Some(Value::Null) => return Ok(Some(default)),
        Some(value) => value,
    };
    match value.as_i64().map(u32::try_from) {
        Some(Ok(0)) => Ok(None),
        Some(Ok(days)) if days <= DAYS_MAX => Ok(Some(days)),
        Some(_) | None => wrong(option, value, "0 (no limit) or a number of days up to 36500"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, expected: &str) {
        let values: BTreeMap<String, Value> = serde_yaml::from_str(yaml).unwrap();
        let said = match read(&values, "db") {
            Ok(options) => format!(
                "{} {:?} {:?} {:?}",
                options.cluster.cluster_name,
                options.cluster.min_cluster_size,
                options.profile,
                options.server.variables.get("max_connections")
            ),
            Err(bad) => bad.iter().map(|b| format!("{}: {}", b.option, b.problem)).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn nothing_set_means_the_defaults() {
        check("profile: production\nmin-cluster-size: auto\nmax-connections: 0\n", "db Auto Production None");
    }

    #[test]
    fn values_in_range() {
        check(
            "cluster-name: orders-eu\nmin-cluster-size: '3'\nprofile: testing\nmax-connections: 200\n",
            "orders-eu AtLeast(3) Testing Some(\"200\")",
        );
    }

    #[test]
    fn every_wrong_value_is_named_with_what_is_allowed() {
        check(
            "cluster-name: 1st\nmin-cluster-size: banana\nprofile: x\nmax-connections: -1\n",
            "cluster-name: \"1st\" is not a name of 1 to 32 letters, digits, - _ or . that starts with a letter\n\
             min-cluster-size: \"banana\" is not auto (every planned unit) or a number from 1 to 9\n\
             profile: \"x\" is not production or testing\n\
             max-connections: -1 is not 0 (from the machine's memory) or a number from 10 to 100000",
        );
    }

    #[test]
    fn edges() {
        check(
            "min-cluster-size: '0'\n",
            "min-cluster-size: \"0\" is not auto (every planned unit) or a number from 1 to 9",
        );
        check(
            "max-connections: 9\n",
            "max-connections: 9 is not 0 (from the machine's memory) or a number from 10 to 100000",
        );
        check("max-connections: 10\n", "db Auto Production Some(\"10\")");
    }
}
