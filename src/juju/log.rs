//! Lines for `juju debug-log`. A line that cannot be delivered must not fail a hook.

use super::tool;

// Arguments have a limit, and nobody reads more.
const LONGEST: usize = 16 * 1024;

/// What helps to find a mistake.
pub fn debug(message: &str) {
    say("DEBUG", message);
}

/// The decision of a pass and its reason: one line.
pub fn info(message: &str) {
    say("INFO", message);
}

/// What an operator should know of, without having to act.
pub fn warning(message: &str) {
    say("WARNING", message);
}

/// Why a hook or a step failed.
pub fn error(message: &str) {
    say("ERROR", message);
}

fn say(level: &str, message: &str) {
    let message = fit(message);
    if tool::run("juju-log", &["-l", level, "--", &message], None).is_err() {
        // Juju puts a hook's stderr into the same log, and outside of a hook it goes to whoever started us.
        eprintln!("{level} {message}");
    }
}

/// Short enough for an argument, without what an argument cannot hold, and never empty.
fn fit(message: &str) -> String {
    let message = message.trim_end();
    let end = (0..=LONGEST.min(message.len())).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
    let mut text = message[..end].replace('\0', "\\0");
    if end < message.len() {
        text.push_str(" ...");
    }
    if text.is_empty() { "(no message)".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_into_an_argument() {
        assert_eq!(fit("a\0b\n"), "a\\0b");
        assert_eq!(fit(""), "(no message)");
        let long = fit(&"ü".repeat(LONGEST));
        assert!(long.len() <= LONGEST + 4 && long.ends_with("ü ..."));
    }
}
