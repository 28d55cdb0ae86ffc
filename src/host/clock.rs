//! Time: what the wall says, how much of it has passed, and which boot we are in.

use std::fmt;
use std::time::{Duration, Instant};

use super::file::{self, FileError};

/// A point on the wall clock. For people and for other machines; never subtract two to measure a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Whole seconds since 1970, UTC.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// The same with its fraction.
    pub fn unix_seconds_f64(self) -> f64 {
        self.0.as_duration().as_secs_f64()
    }

    /// From whole seconds since 1970; `None` outside of the years that can be written with four digits.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        jiff::Timestamp::from_second(seconds).ok().map(Self)
    }

    /// From RFC 3339 text such as `2026-01-31T10:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// RFC 3339 in UTC, to the second: `2026-01-31T10:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

/// What the wall clock says.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now())
}

/// A point on a clock that nobody sets and that never goes back. Means nothing in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// From `earlier` until this one, zero when it is the other way round.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// Whole seconds since the machine started, asleep or not: the same in all processes, set by nobody. In a container it is
/// the host's.
///
/// # Errors
/// When the kernel does not say.
pub fn uptime_seconds() -> Result<u64, FileError> {
    let text = file::read_to_string("/proc/uptime")?;
    let whole = text.split(['.', ' ']).next().and_then(|whole| whole.parse().ok());
    // Its format has not changed since Linux has it; zero makes every wait longer, never shorter.
    Ok(whole.unwrap_or(0))
}

/// When something must be over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// `limit` from now; a limit too long to count means never.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether nothing is left.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}

/// Waits.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// The kernel's random name of this boot: two notes with different names have a reboot or a power cut between them.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> Result<String, FileError> {
    file::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_to_the_second_in_utc() {
        let stamp = Timestamp::from_unix_seconds(1_769_853_600).unwrap();
        assert_eq!(stamp.to_string(), "2026-01-31T10:00:00Z");
        assert_eq!(Timestamp::parse("2026-01-31T12:00:00+02:00"), Some(stamp));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn now_is_this_century() {
        assert!(now() > Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        assert!((now().unix_seconds_f64() - now().unix_seconds() as f64).abs() < 5.0);
    }

    #[test]
    fn deadlines_pass() {
        let deadline = Deadline::after(Duration::from_millis(20));
        assert!(!deadline.passed());
        let before = Moment::now();
        sleep(Duration::from_millis(25));
        assert!(deadline.passed() && before.elapsed() >= Duration::from_millis(25));
        assert_eq!(Deadline::after(Duration::MAX).left(), Duration::MAX);
    }

    #[test]
    fn a_boot_has_one_name() {
        let name = boot_id().unwrap();
        assert_eq!(name.len(), 36);
        assert_eq!(name, boot_id().unwrap());
    }
}
