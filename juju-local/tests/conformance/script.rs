//! The language of the files. A verb stands at the beginning of a line, commands of a block begin with `> `, what they say
//! is indented by two spaces, `== 2.1.3 text` says which rules the following lines show; `#` begins a comment.

use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Script {
    pub(crate) file: PathBuf,
    /// The model that it is played in, shared with others.
    pub(crate) model: String,
    /// Uses what only juju-local has.
    pub(crate) local_only: bool,
    pub(crate) parts: Vec<Part>,
}

/// A part of a file.
pub(crate) enum Part {
    /// Kept as it stands.
    Text(String),
    /// The rules that the next steps show, and the line.
    Rules(Vec<String>, String),
    Step(Step),
}

/// A verb with its arguments, and what it says.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) verb: String,
    pub(crate) says: Vec<String>,
    /// The commands of a block, each with what it says.
    pub(crate) commands: Vec<(String, Vec<String>)>,
}

impl Script {
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let mut script = Self { file: file.to_owned(), model: "main".to_owned(), local_only: false, parts: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let broken = || panic!("{}:{}: no verb before {line:?}", file.display(), index + 1);
            if let Some(said) = line.strip_prefix("  ") {
                let Some(Part::Step(step)) = script.parts.last_mut() else { broken() };
                let said = said.to_owned();
                match step.commands.last_mut() {
                    Some((_, says)) => says.push(said),
                    None => step.says.push(said),
                }
            } else if let Some(command) = line.strip_prefix("> ") {
                let Some(Part::Step(step)) = script.parts.last_mut() else { broken() };
                step.commands.push((command.to_owned(), Vec::new()));
            } else if let Some(rules) = line.strip_prefix("== ") {
                let numbers = rules.split_whitespace().map(|word| word.trim_end_matches(','));
                let numbers = numbers.take_while(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                script.parts.push(Part::Rules(numbers.map(str::to_owned).collect(), line.to_owned()));
            } else if line.is_empty() || line.starts_with('#') {
                script.parts.push(Part::Text(line.to_owned()));
            } else if let Some(model) = line.strip_prefix("model ") {
                model.clone_into(&mut script.model);
                script.parts.push(Part::Text(line.to_owned()));
            } else if line == "local only" {
                script.local_only = true;
                script.parts.push(Part::Text(line.to_owned()));
            } else {
                let step = Step { line: index + 1, verb: line.to_owned(), ..Step::default() };
                script.parts.push(Part::Step(step));
            }
        }
        script
    }

    pub(crate) fn name(&self) -> String {
        self.file.file_name().unwrap().to_string_lossy().into_owned()
    }

    pub(crate) fn rules(&self) -> Vec<String> {
        let rules = self.parts.iter().flat_map(|part| match part {
            Part::Rules(rules, _) => rules.clone(),
            Part::Text(_) | Part::Step(_) => Vec::new(),
        });
        rules.collect()
    }

    /// The file's text again.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut put = |before: &str, line: &str| {
            text.push_str(before);
            text.push_str(line);
            text.push('\n');
        };
        for part in &self.parts {
            match part {
                Part::Text(line) | Part::Rules(_, line) => put("", line),
                Part::Step(step) => {
                    put("", &step.verb);
                    step.says.iter().for_each(|line| put("  ", line));
                    for (command, says) in &step.commands {
                        put("> ", command);
                        says.iter().for_each(|line| put("  ", line));
                    }
                }
            }
        }
        text
    }
}
