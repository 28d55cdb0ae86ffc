//! Values as operators write them, and as the server's file says them.

use std::fmt;

use serde_json::Value;

use super::table::CHARACTER_SETS;

/// Which values an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A whole number, or 0 for what the charm computes.
    NumberOrAuto {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Days, which the server counts in seconds.
    Days {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Seconds, with a fraction.
    Seconds {
        /// The greatest.
        max: u32,
    },
    /// Bytes, with K, M, G or T behind the number (powers of 1024), or `auto` for what the charm computes.
    Bytes {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// Yes or no.
    Switch,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// A character set's name.
    CharacterSet,
    /// `SYSTEM`, an offset (`+02:00`), or a zone's name (`Europe/Berlin`).
    Zone,
    /// A time as Galera writes it, in seconds: `PT5S`, `PT0.5S`.
    Timeout {
        /// The greatest, in seconds.
        max: u32,
    },
}

impl Kind {
    /// The text for the server's file; nothing when the value is empty.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub fn read(self, value: &Value) -> Result<Option<String>, String> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(switch) => switch.to_string(),
            Value::Array(_) | Value::Object(_) => return Err(self.refuse(value)),
        };
        if text.is_empty() || self.is_auto(&text) {
            return Ok(None);
        }
        self.said(&text).map(Some).ok_or_else(|| self.refuse(value))
    }

    fn is_auto(self, text: &str) -> bool {
        match self {
            Self::NumberOrAuto { .. } => text == "0",
            Self::Bytes { .. } => text.eq_ignore_ascii_case("auto"),
            Self::Number { .. }
            | Self::Days { .. }
            | Self::Seconds { .. }
            | Self::Switch
            | Self::Choice(_)
            | Self::CharacterSet
            | Self::Zone
            | Self::Timeout { .. } => false,
        }
    }

    fn said(self, text: &str) -> Option<String> {
        match self {
            Self::Number { min, max } | Self::NumberOrAuto { min, max } => {
                let number: i64 = text.parse().ok()?;
                (min..=max).contains(&number).then(|| number.to_string())
            }
            Self::Days { min, max } => {
                let days: i64 = text.parse().ok()?;
                (min..=max).contains(&days).then(|| (days * 86_400).to_string())
            }
            Self::Seconds { max } => {
                let seconds: f64 = text.parse().ok()?;
                (0.0..=f64::from(max)).contains(&seconds).then(|| seconds.to_string())
            }
            Self::Bytes { min, max } => {
                let bytes = bytes(text)?;
                (min..=max).contains(&bytes).then(|| bytes.to_string())
            }
            Self::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Some("ON".to_owned()),
                "false" | "off" | "no" | "0" => Some("OFF".to_owned()),
                _ => None,
            },
            Self::Choice(choices) => {
                choices.iter().find(|choice| choice.eq_ignore_ascii_case(text)).map(|choice| (*choice).to_owned())
            }
            Self::CharacterSet => {
                let named = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(text);
                CHARACTER_SETS.iter().find(named).map(|(name, _)| (*name).to_owned())
            }
            Self::Zone => is_zone(text).then(|| text.to_owned()),
            Self::Timeout { max } => {
                let upper = text.to_ascii_uppercase();
                let number = upper.strip_prefix("PT")?.strip_suffix('S')?;
                let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
                let seconds: f64 = number.parse().ok().filter(|_| plain)?;
                (0.1..=f64::from(max)).contains(&seconds).then(|| format!("PT{seconds}S"))
            }
        }
    }

    fn refuse(self, value: &Value) -> String {
        let shown = match value {
            Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        format!("{shown} is not {self}")
    }
}

/// What is allowed, behind "is not" and in the operator's table.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::NumberOrAuto { min, max } => {
                write!(f, "0 (from the machine's memory) or a number from {min} to {max}")
            }
            Self::Days { min, max } => write!(f, "a number of days from {min} to {max}"),
            Self::Seconds { max } => write!(f, "a number of seconds from 0 to {max}"),
            Self::Bytes { min, max } => {
                write!(f, "auto or a size from {} to {}, such as 512M or 4G", shown_bytes(*min), shown_bytes(*max))
            }
            Self::Switch => f.write_str("true or false"),
            Self::Choice(choices) => f.write_str(&choices.join(" or ")),
            Self::CharacterSet => f.write_str("a character set of the server's, such as utf8mb4 or latin1"),
            Self::Zone => f.write_str("SYSTEM, an offset such as +02:00, or a zone such as Europe/Berlin"),
            Self::Timeout { max } => write!(f, "a time in seconds as Galera writes it, from PT0.1S to PT{max}S"),
        }
    }
}

/// `512M`: a number, and one letter for a power of 1024.
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, power) = match text.chars().last()?.to_ascii_uppercase() {
        'K' => (&text[..text.len() - 1], 10),
        'M' => (&text[..text.len() - 1], 20),
        'G' => (&text[..text.len() - 1], 30),
        'T' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(1 << power)
}

/// In the largest unit that leaves a whole number.
pub(super) fn shown_bytes(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let unit = units.iter().find(|(power, _)| bytes > 0 && bytes % (1 << power) == 0);
    unit.map_or_else(|| bytes.to_string(), |(power, letter)| format!("{}{letter}", bytes >> power))
}

/// Whether a value of `time_zone` is a zone's name: only a server whose tables know it can start with it.
pub fn names_a_zone(value: &str) -> bool {
    !value.eq_ignore_ascii_case("SYSTEM") && !value.starts_with(['+', '-'])
}

/// What the server takes for `time_zone`: offsets from -12:59 to +13:00 (10.11 refuses more), and names that its tables know,
/// which it says itself.
fn is_zone(text: &str) -> bool {
    let offset = |rest: &str, hours_max: u32| {
        let (hours, minutes) = rest.split_once(':').unwrap_or(("", ""));
        let two = |part: &str| (1..=2).contains(&part.len()).then(|| part.parse::<u32>().ok()).flatten();
        let (Some(hours), Some(minutes)) = (two(hours), two(minutes)) else { return false };
        minutes < 60 && (hours < hours_max || hours == hours_max && (minutes == 0 || hours_max == 12))
    };
    match text.as_bytes().first() {
        Some(b'+') => offset(&text[1..], 13),
        Some(b'-') => offset(&text[1..], 12),
        _ => text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c)),
    }
}
