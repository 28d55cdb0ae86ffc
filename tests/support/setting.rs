//! What whoever runs a test sets in the environment.

/// A whole number; `None` when it is not set.
///
/// # Panics
/// When it is something else, or less than `least`: a typing mistake is not the default.
pub(crate) fn setting(name: &str, least: u64) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) if number >= least => Some(number),
        Ok(_) | Err(_) => panic!("{name}={text}: set a whole number from {least} to {}, or leave it out", u64::MAX),
    }
}
