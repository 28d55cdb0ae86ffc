//! Which Juju calls us: some things depend on it.

use std::fmt;
use std::str::FromStr;

use crate::host;

/// A version of Juju, ordered by its numbers. Tags such as `-beta1` are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third; 0 while there is only a tag.
    pub patch: u32,
}

impl Version {
    /// From the environment of a hook; `None` outside of one.
    pub fn current() -> Option<Self> {
        host::env("JUJU_VERSION")?.parse().ok()
    }

    /// Whether it has secrets. The tool's presence is the better sign in a hook: `secret::available`.
    pub fn has_secrets(self) -> bool {
        self >= Self { major: 3, minor: 0, patch: 3 }
    }

    /// The program that runs a command in a unit's context from outside of a hook.
    pub fn exec_program(self) -> &'static str {
        if self.major < 3 { "juju-run" } else { "juju-exec" }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = text.trim().split(['.', '-']);
            let major = parts.next()?.parse().ok()?;
            let minor = parts.next()?.parse().ok()?;
            // "4.0-beta5" and "3.6-rc1.1" come before their first patch.
            let patch = parts.next().and_then(|patch| patch.parse().ok()).unwrap_or(0);
            Some(Self { major, minor, patch })
        };
        read().ok_or_else(|| format!("cannot read {text:?} as a version of Juju"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_tags_and_builds_are_read() {
        let check = |text: &str, expected: &str| assert_eq!(text.parse::<Version>().unwrap().to_string(), expected);
        check("3.6.14", "3.6.14");
        check("2.9.51.3", "2.9.51");
        check("4.0-beta5", "4.0.0");
        check("3.6-rc1.1", "3.6.0");
        assert!("".parse::<Version>().is_err() && "three".parse::<Version>().is_err());
    }

    #[test]
    fn secrets_came_with_3_0_3() {
        let has = |text: &str| text.parse::<Version>().unwrap().has_secrets();
        assert!(!has("2.9.51") && !has("3.0.2") && has("3.0.3") && has("3.1.0") && has("4.0-beta5"));
        assert_eq!("2.9.51".parse::<Version>().unwrap().exec_program(), "juju-run");
    }
}
