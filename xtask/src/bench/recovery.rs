//! How long a member and a whole cluster take to come back, and what the node agent costs while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::model::Model;
use super::{Row, seconds};
use crate::build::Profile;
use crate::pack;

/// About 100 MB a time, for a full copy to be one. Less would compare little but Galera's five seconds until the others
/// give up the dead instance (`evs.suspect_timeout`), which are in both.
const FILL: &str = "INSERT INTO bench.rows (filler) SELECT REPEAT(MD5(seq), 30) FROM mysql.seq_1_to_100000";
const FILLS: usize = 10;

/// Kills the server, does something, and prints the milliseconds until it is Synced again.
fn killed(then: &str) -> String {
    format!(
        "begin=$(date +%s%N); systemctl kill --signal=KILL mariadb; while pgrep -x mariadbd >/dev/null; do sleep 0.05; \
         done; {then}; until [ \"$(mariadb -BNe \"SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE \
         VARIABLE_NAME = 'wsrep_local_state'\" 2>/dev/null)\" = 4 ]; do sleep 0.1; done; \
         echo $(( ($(date +%s%N) - begin) / 1000000 ))"
    )
}

const AGENT: &str = "mariadb-galera-agent";
const REST: Duration = Duration::from_secs(60);
const OUTAGE_LIMIT: Duration = Duration::from_secs(15);

/// All of it on one cluster of three.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let charm = pack::run(Profile::Charm)?;
    let model = Model::add("bench-recovery")?;
    model.deploy(&charm, "db", &["-n", "3", "--storage", "data=4G", "--config", "profile=testing"])?;
    model.wait_active("db", 3)?;
    let units: Vec<String> = model.units("db")?.into_iter().map(|unit| unit.name).collect();
    let [writer, victim, _] = units.as_slice() else { anyhow::bail!("cannot find three units") };
    let table =
        "CREATE DATABASE bench; CREATE TABLE bench.rows (id BIGINT PRIMARY KEY AUTO_INCREMENT, filler VARCHAR(1000))";
    model.shell(writer, &format!("mariadb -e '{table}'"))?;
    for _ in 0..FILLS {
        model.shell(writer, &format!("mariadb -e '{FILL}'"))?;
    }
    let mut rows = vec![agent(&model, victim)?];
    let with = back(&model, victim, "true")?;
    settled(&model)?;
    let without = back(&model, victim, "rm /var/lib/mysql/data/grastate.dat")?;
    settled(&model)?;
    rows.push(Row {
        what: format!("a member Synced again after kill -9, {FILLS}00 MB of data"),
        ours: seconds(with),
        against: format!("without its position, by a full copy: {}; at most a third promised", seconds(without)),
        kept: Some(with * 3 <= without),
    });
    rows.push(outage(&model, &units)?);
    Ok(rows)
}

fn settled(model: &Model) -> anyhow::Result<()> {
    model.wait_active("db", 3)
}

fn back(model: &Model, unit: &str, then: &str) -> anyhow::Result<Duration> {
    let said = model.shell(unit, &killed(then))?;
    let milliseconds = said.split_whitespace().last().and_then(|text| text.parse().ok());
    Ok(Duration::from_millis(milliseconds.with_context(|| format!("cannot read the time in {said:?}"))?))
}

/// All machines lose power at once and have it back.
fn outage(model: &Model, units: &[String]) -> anyhow::Result<Row> {
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    model.juju(&[&["fault", "power-off"], names.as_slice()].concat())?;
    model.juju(&[&["fault", "power-on"], names.as_slice()].concat())?;
    let begin = Instant::now();
    let ready = "mariadb-galera ready >/dev/null 2>&1 && echo yes || echo no";
    model.wait("three ready members", || {
        for unit in units {
            if model.shell(unit, ready).unwrap_or_default().trim() != "yes" {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let taken = begin.elapsed();
    settled(model)?;
    Ok(Row {
        what: "three ready members after a power cut of all, from the last machine on".to_owned(),
        ours: seconds(taken),
        against: format!("at most {} promised", seconds(OUTAGE_LIMIT)),
        kept: Some(taken <= OUTAGE_LIMIT),
    })
}

/// What the agent takes while the cluster is quiet.
fn agent(model: &Model, unit: &str) -> anyhow::Result<Row> {
    let used = || -> anyhow::Result<(f64, f64)> {
        let pid = format!("$(systemctl show --property=MainPID --value {AGENT})");
        let said = model.shell(
            unit,
            &format!("awk '{{print $14 + $15}}' /proc/{pid}/stat; awk '/VmRSS/ {{print $2}}' /proc/{pid}/status"),
        )?;
        let mut numbers = said.split_whitespace().filter_map(|text| text.parse::<f64>().ok());
        let read = || format!("cannot read the agent's cost in {said:?}");
        // Clock ticks are hundredths of a second on Linux.
        Ok((numbers.next().with_context(read)? / 100.0, numbers.next().with_context(read)? / 1024.0))
    };
    let (before, _) = used()?;
    std::thread::sleep(REST);
    let (after, memory) = used()?;
    let share = (after - before) / REST.as_secs_f64() * 100.0;
    Ok(Row {
        what: format!("the agent at rest, over {} s", REST.as_secs()),
        ours: format!("{share:.2} % of a core, {memory:.1} MiB"),
        against: "at most 0.5 % of a core and 20 MiB promised".to_owned(),
        kept: Some(share <= 0.5 && memory <= 20.0),
    })
}
