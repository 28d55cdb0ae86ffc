//! `extra-config`: lines for the server's file, as operators know them. What they mean, the server says; here is what may be
//! there at all.

use serde_json::Value;

use super::table::{DESCRIPTIONS, OWNED};
use super::{Description, Sets};

/// More is a file of its own, and a mistake.
const BYTES_MAX: usize = 16 * 1024;
/// Sections that mean this server.
const SECTIONS: [&str; 3] = ["mysqld", "mariadb", "server"];
/// With these before it, an option's name means the same variable.
const PREFIXES: [&str; 4] = ["loose_", "skip_", "disable_", "enable_"];

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The variable, normalised.
    pub name: String,
    /// Its value; nothing for a switch that is turned on by its name.
    pub value: Option<String>,
}

/// All of them, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extra {
    /// The lines.
    pub lines: Vec<Line>,
}

/// As the server reads a name: dashes are underscores, and case does not matter.
pub fn normalised(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('-', "_")
}

pub(super) fn read(value: Option<&Value>) -> Result<Extra, String> {
    let text = match value {
        None | Some(Value::Null) => return Ok(Extra::default()),
        Some(Value::String(text)) => text,
        Some(_) => return Err("the value is not a text of lines like \"name = value\"".to_owned()),
    };
    if text.len() > BYTES_MAX {
        return Err(format!("it has {} bytes, and {BYTES_MAX} are allowed", text.len()));
    }
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        read_line(line, &mut lines).map_err(|why| format!("line {}: {why}", number + 1))?;
    }
    Ok(Extra { lines })
}

fn read_line(line: &str, lines: &mut Vec<Line>) -> Result<(), String> {
    if line.starts_with('!') {
        return Err("other files cannot be included".to_owned());
    }
    if let Some(section) = line.strip_prefix('[') {
        let section = section.strip_suffix(']').unwrap_or(section).trim();
        return if SECTIONS.contains(&section) {
            Ok(())
        } else {
            Err(format!("only options of the server can be set, not those of [{section}]"))
        };
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (normalised(name), Some(value.trim().to_owned())),
        None => (normalised(line), None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{:?} is no name of an option", name.chars().take(40).collect::<String>()));
    }
    if value.as_ref().is_some_and(|value| value.chars().any(char::is_control)) {
        return Err(format!("the value of {name} has characters that do not show"));
    }
    refuse_ours(&name)?;
    if lines.iter().any(|line| line.name == name) {
        return Err(format!("{name} is there twice"));
    }
    lines.push(Line { name, value });
    Ok(())
}

/// What the charm sets itself, in every way in which it could be written.
fn refuse_ours(name: &str) -> Result<(), String> {
    if name.starts_with("loose_") {
        return Err(format!("{name}: write the name without loose_, so that a wrong one is found"));
    }
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let spelled = [name, bare];
    let has = |described: &&Description| match described.sets {
        Sets::Variable(variable) => spelled.contains(&variable),
        Sets::Provider(_) => false,
    };
    if let Some(described) = DESCRIPTIONS.iter().find(has) {
        return Err(format!("{name} has an option of its own: use juju config {}=...", described.name));
    }
    if bare.starts_with("wsrep_") || bare.starts_with("gtid_") || spelled.iter().any(|name| OWNED.contains(name)) {
        return Err(format!("{name} is the charm's own: the cluster lives by it"));
    }
    Ok(())
}
