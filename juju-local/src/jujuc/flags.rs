//! A tool's command line: the flags that it takes, in Juju's style (GNU flags mixed with words, `--` ends them), and its
//! usage text, which is made of the same description.

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

/// What a tool is called with.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// The words behind the flags, as the usage line shows them.
    pub(super) args: &'static str,
    pub(super) summary: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) details: &'static str,
}

/// A flag under all its names; code asks for it by the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
    pub(super) usage: &'static str,
}

/// What stands behind a flag, with its default.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    Text(&'static str),
    Number,
    /// A relation's or storage's id: checked by the tool, which knows what there is.
    Id,
    /// One of these, the first being the default.
    OneOf(&'static [&'static str]),
}

pub(super) const FORMAT: Flag = Flag {
    names: &["format"],
    takes: Takes::OneOf(&["smart", "json", "yaml"]),
    usage: "Specify output format (json|smart|yaml)",
};
/// Of the tools that have no smart format.
pub(super) const PLAIN_FORMAT: Flag =
    Flag { names: &["format"], takes: Takes::OneOf(&["yaml", "json"]), usage: "Specify output format (json|yaml)" };
pub(super) const OUTPUT: Flag =
    Flag { names: &["o", "output"], takes: Takes::Text(""), usage: "Specify an output file" };
/// Of the tools that may be told which relation.
pub(super) const RELATION: Flag =
    Flag { names: &["r", "relation"], takes: Takes::Id, usage: "Specify a relation by id" };

/// Parsed arguments.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: Vec<(&'static str, String)>,
    switches: Vec<(&'static str, bool)>,
    pub(super) rest: Vec<String>,
    pub(super) help: bool,
}

impl Flags {
    pub(super) fn parse(spec: &Spec, args: &[String]) -> Result<Self, ToolError> {
        let mut flags = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                flags.rest.extend(args.by_ref().cloned());
            } else if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v.to_owned())));
                flags.take(spec, name, &format!("--{name}"), value, &mut args)?;
            } else if arg == "-" || !arg.starts_with('-') {
                flags.rest.push(arg.clone());
            } else {
                flags.short(spec, &arg[1..], &mut args)?;
            }
        }
        Ok(flags)
    }

    /// `-r 7`, `-r7`, and several switches behind one hyphen.
    fn short(&mut self, spec: &Spec, letters: &str, args: &mut std::slice::Iter<'_, String>) -> Result<(), ToolError> {
        let mut letters = letters;
        while let Some(letter) = letters.chars().next() {
            let (name, rest) = letters.split_at(letter.len_utf8());
            let known = spec.flags.iter().find(|flag| flag.names.contains(&name));
            let alone = name == "h" || known.is_some_and(|flag| matches!(flag.takes, Takes::Nothing));
            let value = (!alone && !rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest).to_owned());
            self.take(spec, name, &format!("-{name}"), value, args)?;
            letters = if alone { rest } else { "" };
        }
        Ok(())
    }

    fn take(
        &mut self,
        spec: &Spec,
        name: &str,
        shown: &str,
        value: Option<String>,
        args: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), ToolError> {
        let Some(flag) = spec.flags.iter().find(|flag| flag.names.contains(&name)) else {
            if ["help", "h"].contains(&name) {
                self.help = true;
                return Ok(());
            }
            return Err(usage(format!("option provided but not defined: {shown}")));
        };
        let wrong = |value: &str, why: String| usage(format!("invalid value {value:?} for option {shown}: {why}"));
        if matches!(flag.takes, Takes::Nothing) {
            let on = match value.as_deref() {
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                Some(other) => {
                    return Err(usage(format!(
                        "invalid boolean value {other:?} for  {shown}: strconv.ParseBool: parsing {other:?}: invalid syntax"
                    )));
                }
            };
            self.switches.push((flag.names[0], on));
            return Ok(());
        }
        let value = value.or_else(|| args.next().cloned());
        let value = value.ok_or_else(|| usage(format!("option needs an argument: {shown}")))?;
        match flag.takes {
            Takes::Number if value.parse::<u32>().is_err() => {
                return Err(wrong(&value, format!("strconv.ParseInt: parsing {value:?}: invalid syntax")));
            }
            Takes::OneOf(known) if !known.contains(&value.as_str()) => {
                return Err(wrong(&value, format!("unknown format {value:?}")));
            }
            Takes::Nothing | Takes::Text(_) | Takes::Number | Takes::Id | Takes::OneOf(_) => {}
        }
        self.values.push((flag.names[0], value));
        Ok(())
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// A text that is there and not empty: Juju cannot tell an empty one from none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.switches.iter().rev().find(|(n, _)| *n == name).is_some_and(|(_, on)| *on)
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

impl Spec {
    /// The usage text, in the shape of Juju's.
    pub(super) fn help(&self) -> String {
        let mut text = format!("Usage: {}", self.name);
        for word in [if self.flags.is_empty() { "" } else { "[options]" }, self.args] {
            if !word.is_empty() {
                text.push(' ');
                text.push_str(word);
            }
        }
        text.push_str(&format!("\n\nSummary:\n{}\n", self.summary));
        let mut flags: Vec<&Flag> = self.flags.iter().collect();
        flags.sort_by_key(|flag| flag.names[0]);
        if !flags.is_empty() {
            text.push_str("\nOptions:\n");
        }
        for flag in flags {
            let dashed = |name: &&str| if name.len() == 1 { format!("-{name}") } else { format!("--{name}") };
            let names = flag.names.iter().map(dashed).collect::<Vec<_>>().join(", ");
            let default = match flag.takes {
                Takes::Text(text) => format!(" (= {text:?})"),
                Takes::Nothing => "  (= false)".to_owned(),
                Takes::Number => "  (= 0)".to_owned(),
                Takes::Id => "  (= )".to_owned(),
                Takes::OneOf(known) => format!("  (= {})", known.first().copied().unwrap_or_default()),
            };
            text.push_str(&format!("{names}{default}\n    {}\n", flag.usage));
        }
        if !self.details.is_empty() {
            text.push_str(&format!("\nDetails:\n{}\n", self.details));
        }
        text
    }
}
