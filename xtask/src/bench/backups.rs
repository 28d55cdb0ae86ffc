//! Backups: how fast they are made and brought back, in the tests that know how to start servers; and what clients of a
//! cluster notice of one.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Row;
use super::model::Model;
use crate::build::{self, Profile};
use crate::pack;

/// About a gigabyte, in rows of a kilobyte that do not compress to nothing.
const FILL: &str =
    "INSERT INTO bench.rows (filler) SELECT CONCAT(MD5(RAND()), REPEAT(MD5(seq), 29)) FROM mysql.seq_1_to_100000";
const FILLS: usize = 10;
/// Clients that write single rows, for as long as it takes.
const WRITERS: &str = "nohup timeout 300 mariadb-slap --no-drop --create-schema=bench --concurrency=4 --number-of-queries=100000000 \
     --query=\"INSERT INTO bench.small (text) VALUES ('0123456789')\" >/dev/null 2>&1 &";
const ALONE: Duration = Duration::from_secs(15);

/// All of it.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = figures("backup_pages")?;
    rows.extend(figures("backup_logical")?);
    rows.extend(beside_clients()?);
    Ok(rows)
}

/// What a test has measured.
fn figures(target: &str) -> anyhow::Result<Vec<Row>> {
    let output = Command::new("cargo")
        .args(["test", "--release", "--locked", "--package", "mariadb-galera", "--test", target])
        .args(["--", "--nocapture", "--test-threads", "1", "speed_and_memory"])
        .envs([("RUN_E2E", "1"), ("RUN_BENCH", "1")])
        .current_dir(build::root())
        .output()
        .with_context(|| format!("cannot run the test {target}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "the test {target} fails:\n{said}");
    let rows = said.lines().filter_map(|line| {
        let [what, ours, against, kept] = line.strip_prefix("FIGURE\t")?.split('\t').collect::<Vec<_>>()[..] else {
            return None;
        };
        let kept = match kept {
            "kept" => Some(true),
            "broken" => Some(false),
            _ => None,
        };
        Some(Row { what: what.to_owned(), ours: ours.to_owned(), against: against.to_owned(), kept })
    });
    let rows: Vec<Row> = rows.collect();
    anyhow::ensure!(!rows.is_empty(), "the test {target} has measured nothing:\n{said}");
    Ok(rows)
}

/// Transactions per second of a cluster of three, alone and beside a backup.
fn beside_clients() -> anyhow::Result<Vec<Row>> {
    let charm = pack::run(Profile::Charm)?;
    let model = Model::add("bench-backups")?;
    model.deploy(&charm, "db", &["-n", "3", "--storage", "data=6G", "--config", "profile=testing"])?;
    model.wait_active("db", 3)?;
    let units: Vec<String> = model.units("db")?.into_iter().map(|unit| unit.name).collect();
    let [writer, other, _] = units.as_slice() else { anyhow::bail!("cannot find three units") };
    let tables = "CREATE DATABASE bench; \
        CREATE TABLE bench.rows (id BIGINT PRIMARY KEY AUTO_INCREMENT, filler VARCHAR(1000)); \
        CREATE TABLE bench.small (id BIGINT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(20))";
    model.shell(writer, &format!("mariadb -e '{tables}'"))?;
    for _ in 0..FILLS {
        model.shell(writer, &format!("mariadb -e '{FILL}'"))?;
    }
    model.shell(writer, WRITERS)?;
    sleep(Duration::from_secs(5));
    let alone = rate(&model, writer, || {
        sleep(ALONE);
        Ok(())
    })?;
    let mut rows = Vec::new();
    for (unit, whose) in [(other, "another member"), (writer, "the member that takes the writes")] {
        let beside = rate(&model, writer, || model.act(unit, &["backup"]).map(drop))?;
        rows.push(Row {
            what: format!("transactions per second beside a full backup of {whose}, three members on this machine"),
            ours: format!("{beside:.0}"),
            against: format!("without one: {alone:.0}, {:.2} of it", beside / alone),
            kept: None,
        });
    }
    Ok(rows)
}

/// What is committed per second while something is done.
fn rate(model: &Model, unit: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let committed = || -> anyhow::Result<f64> {
        let ask = "mariadb -BNe \"SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE \
                   VARIABLE_NAME = 'wsrep_last_committed'\"";
        let said = model.shell(unit, ask)?;
        said.trim().parse().with_context(|| format!("cannot read how much is committed in {said:?}"))
    };
    let (begin, before) = (Instant::now(), committed()?);
    work()?;
    Ok((committed()? - before) / begin.elapsed().as_secs_f64())
}
