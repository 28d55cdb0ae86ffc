//! Keys of `age`: what may be encrypted for, and what may be decrypted with.

use super::error::BackupError;
use super::private::Private;
use crate::host::{Command, CommandError};

/// Whether data can be encrypted for these: `age1...` or public SSH keys.
///
/// # Errors
/// When one of them is no such key.
pub fn check_recipients(recipients: &[String]) -> Result<(), BackupError> {
    if recipients.is_empty() {
        return Ok(());
    }
    let private = Private::new()?;
    let path = private.write("recipients", &lines(recipients))?;
    match Command::new("age").arg("-R").arg(&path).stdin("").run() {
        Ok(_) => Ok(()),
        Err(CommandError::Failed { stderr, .. }) => {
            Err(BackupError::BadRecipients { why: without(&said(&stderr), &path.to_string_lossy()) })
        }
        Err(source) => Err(BackupError::Program { what: "look at the recipients", source }),
    }
}

/// For whom to encrypt, so that this identity can decrypt.
///
/// # Errors
/// When it is no identity of age's own.
pub fn recipient_of(identity: &str) -> Result<String, BackupError> {
    match Command::new("age-keygen").arg("-y").stdin(identity).run() {
        Ok(output) => Ok(output.stdout_text().trim().to_owned()),
        Err(CommandError::Failed { stderr, .. }) => Err(BackupError::BadIdentity { why: said(&stderr) }),
        Err(source) => Err(BackupError::Program { what: "look at the age identity", source }),
    }
}

/// As age reads them.
pub(super) fn lines(recipients: &[String]) -> String {
    recipients.iter().map(|recipient| format!("{}\n", recipient.trim())).collect()
}

/// What it says of a file that only we know, which has another name each time.
fn without(said: &str, path: &str) -> String {
    said.rsplit(&format!("\"{path}\": ")).next().unwrap_or(said).to_owned()
}

/// Its first words: the rest is about where to report bugs.
pub(super) fn said(stderr: &str) -> String {
    let first = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let at = first.find("error: ").map_or(0, |at| at + "error: ".len());
    first[at..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_age_says() {
        let text = "age: error: malformed recipient at line 1\nage: report unexpected or unhelpful errors at ...\n";
        assert_eq!(said(text), "malformed recipient at line 1");
        assert_eq!(said(""), "no reason given");
        let twice = "failed to parse recipient file \"/run/x\": \"/run/x\": malformed recipient at line 1";
        assert_eq!(without(twice, "/run/x"), "malformed recipient at line 1");
        assert_eq!(lines(&["a ".to_owned(), "b".to_owned()]), "a\nb\n");
        check_recipients(&[]).unwrap();
    }
}
