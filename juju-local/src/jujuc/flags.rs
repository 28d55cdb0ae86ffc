//! Juju's command flags: GNU style, mixed with positional arguments, `--` ends them.

/// A tool that ends without success: exit 2 for usage, 1 for failure.
#[derive(Debug)]
pub(super) struct ToolError {
    pub(super) code: i32,
    pub(super) message: String,
}

pub(super) fn usage(message: impl Into<String>) -> ToolError {
    ToolError { code: 2, message: message.into() }
}

pub(super) fn failure(message: impl Into<String>) -> ToolError {
    ToolError { code: 1, message: message.into() }
}

/// Parsed arguments.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: Vec<(String, String)>,
    switches: Vec<String>,
    pub(super) rest: Vec<String>,
}

impl Flags {
    /// `takes` are flags with a value, `switches` those without; each as its names, the first being the one asked for.
    pub(super) fn parse(args: &[String], takes: &[&[&str]], switches: &[&[&str]]) -> Result<Self, ToolError> {
        let mut flags = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                flags.rest.extend(args.by_ref().cloned());
            } else if arg == "-" || !arg.starts_with('-') {
                flags.rest.push(arg.clone());
            } else {
                let bare = arg.trim_start_matches('-');
                let (name, value) = bare.split_once('=').map_or((bare, None), |(n, v)| (n, Some(v.to_owned())));
                let find =
                    |sets: &[&[&str]]| sets.iter().find(|names| names.contains(&name)).map(|names| names[0].to_owned());
                if let Some(name) = find(switches) {
                    flags.switches.push(name);
                } else if let Some(known) = find(takes) {
                    let value = value.or_else(|| args.next().cloned());
                    let value = value.ok_or_else(|| usage(format!("option needs an argument: {arg}")))?;
                    flags.values.push((known, value));
                } else {
                    return Err(usage(format!("option provided but not defined: {arg}")));
                }
            }
        }
        Ok(flags)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.switches.iter().any(|s| s == name)
    }

    /// Refuses more positional arguments than these.
    pub(super) fn at_most(&self, count: usize) -> Result<(), ToolError> {
        if self.rest.len() <= count {
            return Ok(());
        }
        let extra = self.rest[count..].iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" ");
        Err(usage(format!("unrecognized args: [{extra}]")))
    }
}
