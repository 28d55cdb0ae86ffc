//! How much of the protocol is tried out in a given time: the model check's states, the simulation's hours.

use std::process::Command;

use anyhow::Context as _;

use super::Row;
use crate::build;

/// For each of the model check's searches.
const CHECK_SECONDS: &str = "20";

/// Runs both as the tests do, but optimised.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    // "what: N states, depth N, out of time, N healed, N states/s"
    let said = test("model_check", "three_units", &[("CHECK_SECONDS", CHECK_SECONDS)])?;
    for line in said.lines().filter(|line| line.ends_with(" states/s")) {
        // The first line of a test begins with the test's own name.
        let line = line.split_once(" ... ").map_or(line, |(_, said)| said);
        let (what, found) = line.split_once(": ").with_context(|| format!("cannot read {line:?}"))?;
        rows.push(Row {
            what: format!("model check, three units {what}"),
            ours: found.to_owned(),
            against: format!("{CHECK_SECONDS} s, one core"),
            kept: None,
        });
    }
    let said = test("simulation", "", &[])?;
    let hours = said.lines().find(|line| line.contains("cluster-hours")).context("cannot find the simulated hours")?;
    let hours = hours.split_once(" ... ").map_or(hours, |(_, said)| said);
    rows.push(Row { what: "simulation".to_owned(), ours: hours.trim().to_owned(), against: String::new(), kept: None });
    Ok(rows)
}

fn test(target: &str, name: &str, environment: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = Command::new("cargo")
        .args(["test", "--release", "--locked", "--package", "mariadb-galera", "--test", target, "--", "--nocapture"])
        .args(["--test-threads", "1", name])
        .envs(environment.iter().copied())
        .current_dir(build::root())
        .output()
        .with_context(|| format!("cannot run the test {target}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "the test {target} fails:\n{said}");
    Ok(said)
}
