//! The contract's paragraphs and rules, what of them the played files have shown, and the table of both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// What came out, by rule.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) held: BTreeSet<String>,
    pub(crate) failed: BTreeSet<String>,
    /// How many files, and what could not be said by rule.
    pub(crate) played: usize,
    pub(crate) broken: Vec<String>,
}

/// The list of rules.
pub(crate) struct Contract {
    paragraphs: Vec<Paragraph>,
}

struct Paragraph {
    number: String,
    title: String,
    /// Rules with the reason why one is not shown here.
    rules: Vec<(String, Option<String>)>,
}

impl Contract {
    /// Lines `1.2 Title`, each followed by rules `  3 text` or `  3 [reason] text`; others are comments.
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let mut paragraphs: Vec<Paragraph> = Vec::new();
        for line in text.lines() {
            let (number, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim_start(), ""));
            if !number.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            if !line.starts_with(' ') {
                let (number, title) = (number.to_owned(), rest.to_owned());
                paragraphs.push(Paragraph { number, title, rules: Vec::new() });
                continue;
            }
            let paragraph = paragraphs.last_mut().unwrap_or_else(|| panic!("a rule before all paragraphs: {line}"));
            let reason = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(why, _)| why.to_owned());
            let rule = format!("{}.{number}", paragraph.number);
            assert!(!paragraph.rules.iter().any(|(known, _)| *known == rule), "rule {rule} is there twice");
            paragraph.rules.push((rule, reason));
        }
        Self { paragraphs }
    }

    pub(crate) fn has(&self, rule: &str) -> bool {
        self.paragraphs.iter().any(|p| p.rules.iter().any(|(known, _)| known == rule))
    }

    /// A line for each paragraph; only for those that were played, when not all were asked for.
    pub(crate) fn table(&self, results: &Results, all: bool) -> String {
        let mut text = format!("\n{:<6}{:<44}{:>7}{:>7}{:>8}{:>8}\n", "", "", "holds", "fails", "excused", "missing");
        let mut covered = 0;
        for paragraph in &self.paragraphs {
            let count = Count::of(paragraph, results);
            covered += usize::from(count.failed.is_empty() && count.missing.is_empty());
            if !all && count.held == 0 && count.failed.is_empty() {
                continue;
            }
            let dash = |n: usize| if n == 0 { "-".to_owned() } else { n.to_string() };
            let _ = writeln!(
                text,
                "{:<6}{:<44}{:>7}{:>7}{:>8}{:>8}",
                paragraph.number,
                paragraph.title,
                dash(count.held),
                dash(count.failed.len()),
                dash(count.excused.len()),
                dash(count.missing.len())
            );
            for rule in &count.failed {
                let _ = writeln!(text, "      fails: {rule}");
            }
            if all {
                for rule in &count.missing {
                    let _ = writeln!(text, "      not covered: {rule}");
                }
                for (rule, why) in &count.excused {
                    let _ = writeln!(text, "      not covered: {rule}, {why}");
                }
            }
        }
        if all {
            let _ = writeln!(text, "\n{covered} of {} paragraphs of sections 1 to 4 covered", self.paragraphs.len());
        }
        text
    }

    /// Why the run has failed.
    pub(crate) fn complaint(&self, results: &Results, all: bool) -> Option<String> {
        let counts: Vec<Count> = self.paragraphs.iter().map(|p| Count::of(p, results)).collect();
        let failed: Vec<&String> = counts.iter().flat_map(|c| &c.failed).collect();
        let missing: Vec<&String> = counts.iter().flat_map(|c| &c.missing).filter(|_| all).collect();
        let mut why = Vec::new();
        if !failed.is_empty() {
            why.push(format!("{} rules do not hold: {failed:?}", failed.len()));
        }
        if !missing.is_empty() {
            why.push(format!("{} rules are neither covered nor excused: {missing:?}", missing.len()));
        }
        why.extend(results.broken.iter().cloned());
        (!why.is_empty()).then(|| why.join("\n"))
    }
}

struct Count {
    held: usize,
    failed: Vec<String>,
    excused: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Count {
    fn of(paragraph: &Paragraph, results: &Results) -> Self {
        let mut count = Self { held: 0, failed: Vec::new(), excused: Vec::new(), missing: Vec::new() };
        for (rule, reason) in &paragraph.rules {
            if results.failed.contains(rule) {
                count.failed.push(rule.clone());
            } else if results.held.contains(rule) {
                count.held += 1;
            } else if let Some(why) = reason {
                count.excused.push((rule.clone(), why.clone()));
            } else {
                count.missing.push(rule.clone());
            }
        }
        count
    }
}
