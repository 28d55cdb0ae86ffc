//! The processes of a machine as the host sees them: who still runs after a hook, and what is in their arguments.

use std::fs;
use std::path::Path;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Group and session, by the host's numbers.
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) arguments: Vec<String>,
}

/// The processes in the namespace of a machine's first one, without those that are dead and not yet buried.
pub(super) fn of_machine(leader: u32) -> Vec<Process> {
    let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = space(leader) else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| space(*pid).as_ref() == Some(&own))
        .filter_map(read)
        .collect()
}

fn read(pid: u32) -> Option<Process> {
    let (state, group, session) = stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    (state != 'Z' && state != 'X' && !arguments.is_empty()).then_some(Process { pid, group, session, arguments })
}

/// State, group and session. The name before them may hold anything, closing parentheses too.
fn stat(text: &str) -> Option<(char, u32, u32)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

impl Process {
    /// Whether a hook has started it: it is in its process group or session, holds one of its pipes, or was given its
    /// context. What a service manager starts has none of these.
    pub(super) fn belongs_to(&self, group: u32, pipes: &[String], context: &str) -> bool {
        self.group == group || self.session == group || self.holds(pipes) || self.knows(context)
    }

    pub(super) fn holds(&self, pipes: &[String]) -> bool {
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.into_iter().any(|link| pipes.iter().any(|pipe| link == Path::new(pipe)))
    }

    fn knows(&self, context: &str) -> bool {
        let wanted = format!("JUJU_CONTEXT_ID={context}");
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    }

    /// Whether it is one of our own tools, whose arguments are looked at when it calls.
    pub(super) fn is_tool(&self) -> bool {
        let name = self.arguments.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
        crate::jujuc::client::is_tool(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        assert_eq!(stat("77 (a) b)) S 1 42 41 0 -1 4194560"), Some(('S', 42, 41)));
        assert_eq!(stat("nonsense"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        let found = of_machine(own);
        let this = found.iter().find(|process| process.pid == own).unwrap();
        assert!(this.arguments[0].contains("juju_local"), "{this:?}");
        assert!(this.belongs_to(this.group, &[], "x") && !this.is_tool());
        assert!(!this.belongs_to(u32::MAX, &["pipe:[0]".to_owned()], "x"));
    }
}
