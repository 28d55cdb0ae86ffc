//! Changing options: restarts in turn under load, beside the same three restarts by hand on the same cluster; and what
//! a change costs that changes nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use mysql::prelude::Queryable as _;
use serde_json::Value;

use super::load::{Door, Load, Told};
use super::model::Model;
use super::{Row, hook, seconds};
use crate::build::Profile;
use crate::pack;

const OPERATOR: &str = "charmed-operator";
/// One value a round, each another than the one before.
const GCACHE_MIB: [u64; 3] = [48, 64, 40];
/// In tenths.
const FACTOR_MAX: u32 = 15;
const LIMIT: Duration = Duration::from_secs(300);

const PASSES: usize = 100;
const PASS_MAX_US: u64 = 30_000;
/// Passes in one hook context. Promised is our own time, without that of the hook tools. What is held against the
/// promise is the time of the whole pass, tools included, which is more: they run side by side with each other and with
/// us, so that there is no telling whose a millisecond was. The processor's time can be told apart. All tools of one
/// pass are noted by wrappers before them in the path, called again without us, and taken off; by dash, which adds
/// little of its own.
const PASS: &str = r#"cd "$JUJU_CHARM_DIR"; export JUJU_DISPATCH_PATH=hooks/config-changed JUJU_HOOK_NAME=config-changed
pass=./hooks/config-changed; scratch=$(mktemp -d); tools=$(dirname "$(type -p is-leader)")
trap 'rm -r $scratch' EXIT
mkdir $scratch/path
for tool in $tools/*; do
  wrapper=$scratch/path/${tool##*/}
  printf '#!/bin/bash\nline=$(printf "%%q " %s "$@"); echo "$line" >>%s/calls; exec %s "$@"\n' \
    $tool $scratch $tool >$wrapper
  chmod 755 $wrapper
done
$pass >/dev/null 2>&1 || exit 1
PATH=$scratch/path:$PATH $pass >/dev/null 2>&1 || exit 1
echo tools $(wc -l <$scratch/calls)
times >$scratch/before
for n in $(seq PASSES); do
  a=${EPOCHREALTIME/./}; $pass >/dev/null 2>&1 || exit 1; b=${EPOCHREALTIME/./}; echo us $((b - a))
done
times >$scratch/between
sh -c 'for n in $(seq PASSES); do . $0; done' $scratch/calls >/dev/null 2>&1 || exit 1
times >$scratch/after
used() { tail -n 1 $scratch/$1 | sed 's/[ms]/ /g' | awk '{ printf "%.0f", ($1 * 60 + $2 + $3 * 60 + $4) * 1000000 }'; }
echo pass $(($(used between) - $(used before))); echo called $(($(used after) - $(used between)))
"#;

/// Both parts, each on a model of its own.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = restarts()?;
    rows.extend(nothing_to_do()?);
    Ok(rows)
}

fn restarts() -> anyhow::Result<Vec<Row>> {
    let charm = pack::run(Profile::Charm)?;
    let model = Model::add("bench-options")?;
    model.deploy(&charm, "db", &["-n", "3", "--config", "profile=testing"])?;
    model.wait_active("db", 3)?;
    let cluster = Cluster::find(&model)?;

    let (mut by_hand, mut in_turn) = (Vec::new(), Vec::new());
    let (mut told_by_hand, mut told_in_turn) = (Told::default(), Told::default());
    for (round, mib) in GCACHE_MIB.into_iter().enumerate() {
        let (taken, told) = cluster.under_load(&format!("hand-{round}"), || cluster.by_hand())?;
        by_hand.push(taken);
        told_by_hand = told_by_hand.and(told);
        let (taken, told) = cluster.under_load(&format!("turn-{round}"), || cluster.in_turn(mib))?;
        in_turn.push(taken);
        told_in_turn = told_in_turn.and(told);
    }
    let (hand, turn) = (mean(&by_hand), mean(&in_turn));
    let all = |times: &[Duration]| times.iter().map(|time| seconds(*time)).collect::<Vec<_>>().join(", ");
    Ok(vec![
        Row {
            what: format!(
                "three servers restarted in turn after juju config, beside {:.0} transactions per second",
                told_in_turn.acknowledged as f64 / told_in_turn.lasted.as_secs_f64()
            ),
            ours: format!("{} (mean of {})", seconds(turn), all(&in_turn)),
            against: format!(
                "systemctl restart by hand, one after the other: {} (mean of {}), {:.2} times as long; at most {}.{} \
                 promised",
                seconds(hand),
                all(&by_hand),
                turn.as_secs_f64() / hand.as_secs_f64(),
                FACTOR_MAX / 10,
                FACTOR_MAX % 10
            ),
            kept: Some(turn * 10 <= hand * FACTOR_MAX),
        },
        Row {
            what: "transactions that failed meanwhile, tried once more through another member".to_owned(),
            ours: format!(
                "{} of {}; {} at the first try",
                told_in_turn.failed.len(),
                told_in_turn.acknowledged,
                told_in_turn.retried
            ),
            against: format!("none promised; by hand: {}", told_by_hand.failed.len()),
            kept: Some(told_in_turn.failed.is_empty()),
        },
        Row {
            what: "longest stall of a client meanwhile".to_owned(),
            ours: format!("{} ms", told_in_turn.stall.as_millis()),
            against: format!("by hand: {} ms", told_by_hand.stall.as_millis()),
            kept: None,
        },
    ])
}

/// Three units, and how to reach their servers.
struct Cluster<'a> {
    model: &'a Model,
    units: Vec<String>,
    door: Door,
}

impl<'a> Cluster<'a> {
    fn find(model: &'a Model) -> anyhow::Result<Self> {
        let status: Value = serde_json::from_str(&model.juju(&["status", "--format", "json"])?)?;
        let found = status["applications"]["db"]["units"].as_object().context("cannot find the units")?;
        let (mut units, mut addresses) = (Vec::new(), Vec::new());
        for (name, unit) in found {
            let address: IpAddr = unit["public-address"].as_str().unwrap_or_default().parse()?;
            units.push(name.clone());
            addresses.push(address);
        }
        let unit = units.first().context("cannot find the units")?;
        let said = model.act(unit, &["get-password", &format!("username={OPERATOR}")])?;
        let password = said["password"].as_str().context("cannot find the password")?.to_owned();
        Ok(Self { model, units, door: Door { addresses, user: OPERATOR, password } })
    }

    /// Does something while clients write, on a cluster that has come to rest.
    fn under_load(
        &self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<(Duration, Told)> {
        self.model.wait_active("db", self.units.len())?;
        let load = Load::start(&self.door, name)?;
        std::thread::sleep(Duration::from_secs(5));
        let begin = Timestamp::now();
        let taken = work();
        let told = load.stop()?;
        self.timeline(name, begin)?;
        let taken = taken?;
        self.find_all(name, &told)?;
        Ok((taken, told))
    }

    /// `systemctl restart` as an operator would type it, who waits for each server before the next. What is added up is
    /// only how long each server is on its way: nobody has to find out whose turn it is.
    fn by_hand(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for (index, unit) in self.units.iter().enumerate() {
            let begin = Instant::now();
            self.model.shell(unit, "systemctl restart mariadb")?;
            self.wait(index, None)?;
            sum += begin.elapsed();
        }
        Ok(sum)
    }

    /// From the command until the last server is back with the new value.
    fn in_turn(&self, mib: u64) -> anyhow::Result<Duration> {
        let value = format!("gcache.size = {};", mib << 20);
        let begin = Instant::now();
        self.model.juju(&["config", "db", &format!("gcache-size={mib}M")])?;
        // In any order: one that was early is not waited for.
        for index in 0..self.units.len() {
            self.wait(index, Some(&value))?;
        }
        Ok(begin.elapsed())
    }

    /// Waits until a server is Synced, looking often: three looks are in the sum by hand, and one in the turns.
    fn wait(&self, index: usize, value: Option<&str>) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !self.synced(index, value) {
            if begin.elapsed() > LIMIT {
                let status = self.model.juju(&["status"])?;
                anyhow::bail!("cannot see {} Synced within {LIMIT:?}:\n{status}", self.units[index]);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether the server says that it is Synced, and that its provider runs with a value.
    fn synced(&self, index: usize, value: Option<&str>) -> bool {
        let ask = || -> mysql::Result<bool> {
            let mut conn = self.door.open(index)?;
            let state: Option<(String, String)> = conn.query_first("SHOW STATUS LIKE 'wsrep_local_state_comment'")?;
            let provider: Option<String> = conn.query_first("SELECT @@GLOBAL.wsrep_provider_options")?;
            let has = value.is_none_or(|value| provider.is_some_and(|all| all.contains(value)));
            Ok(has && state.is_some_and(|(_, state)| state == "Synced"))
        };
        // A server that is on its way refuses in many ways.
        ask().unwrap_or(false)
    }

    /// What was acknowledged has to be there, on every member.
    fn find_all(&self, name: &str, told: &Told) -> anyhow::Result<()> {
        for (index, unit) in self.units.iter().enumerate() {
            let mut conn = self.door.open(index)?;
            conn.query_drop("SET SESSION wsrep_sync_wait = 7")?;
            let count = "SELECT COUNT(DISTINCT writer, number) FROM bench.written WHERE writer LIKE CONCAT(?, '-%')";
            let found: Option<u64> = conn.exec_first(count, (name,))?;
            let (found, acknowledged) = (found.unwrap_or(0), told.acknowledged);
            anyhow::ensure!(found >= acknowledged, "{unit} has {found} of {acknowledged} transactions of {name}");
        }
        Ok(())
    }

    /// Where the time went, for whoever watches: what the servers' journals say, and the charm of turns.
    fn timeline(&self, name: &str, begin: Timestamp) -> anyhow::Result<()> {
        let script = format!(
            "journalctl --unit mariadb --utc --since @{} --output short-precise --no-pager | grep -E \
             '(Stopp|Start)(ing|ed) mariadb|gcomm: clos|view_id.PRIM|ready for conn|Synchronized with' || true",
            begin.as_second()
        );
        let mut lines = Vec::new();
        for unit in &self.units {
            for line in self.model.shell(unit, &script)?.lines() {
                let at = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
                let said = line.rsplit_once("]: ").map_or(line, |(_, said)| said);
                lines.push((at, format!("{unit} {said}")));
            }
        }
        let since = begin.strftime("%H:%M:%S").to_string();
        for line in self
            .model
            .juju(&["debug-log", "--replay"])?
            .lines()
            .filter(|line| line.contains("turn ") && line.contains("juju-log"))
        {
            let at = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            if at >= since {
                lines.push((at, line.to_owned()));
            }
        }
        lines.sort();
        for (at, said) in lines {
            eprintln!("{name} {at} {said}");
        }
        Ok(())
    }
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len().max(1)).unwrap_or(1)
}

/// A unit that is well hears that options have changed, and none has.
fn nothing_to_do() -> anyhow::Result<Vec<Row>> {
    let charm = pack::run(Profile::Charm)?;
    let model = Model::add("bench-options")?;
    model.deploy(&charm, "db", &["--config", "profile=testing"])?;
    model.wait_active("db", 1)?;
    // Only our own passes count here.
    model.juju(&["model-config", "update-status-hook-interval=60m"])?;
    let script = PASS.replace("PASSES", &PASSES.to_string());
    let said = model.juju(&["exec", "--unit", "db/0", "--", "bash", "-c", &script])?;
    let mut times = Vec::new();
    let (mut tools, mut passes, mut called) = (None, None, None);
    for line in said.lines() {
        let (what, number) = line.split_once(' ').with_context(|| format!("cannot understand {line:?}"))?;
        let number: u64 = number.trim().parse().with_context(|| format!("cannot read {line:?}"))?;
        match what {
            "us" => times.push(number),
            "tools" => tools = Some(number),
            "pass" => passes = Some(number),
            "called" => called = Some(number),
            _ => anyhow::bail!("cannot understand {line:?}"),
        }
    }
    let (Some(tools), Some(passes), Some(called)) = (tools, passes, called) else {
        anyhow::bail!("cannot learn all of a pass from {said:?}")
    };
    let each = |sum: u64| hook::milliseconds(sum / PASSES as u64);
    let median = hook::median(&mut times);
    Ok(vec![
        Row {
            what: format!("config-changed with nothing to do, {tools} hook tools included, median of {PASSES}"),
            ours: hook::milliseconds(median),
            against: format!("at most {} promised without the tools", hook::milliseconds(PASS_MAX_US)),
            kept: Some(median <= PASS_MAX_US),
        },
        Row {
            what: "its processor time, without the tools".to_owned(),
            ours: each(passes.saturating_sub(called)),
            against: format!("with them: {}", each(passes)),
            kept: None,
        },
    ])
}
