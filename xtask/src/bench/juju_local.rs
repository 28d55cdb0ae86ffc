//! What juju-local itself costs: a hook beside the charm's own time, a tool call, a model at rest, many machines.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::hook::{median, milliseconds};
use super::model::Model;
use super::{Row, archive, seconds};

/// Hooks that one round measures.
const HOOKS: u64 = 100;
/// Calls of one tool in a row.
const CALLS: u64 = 200;
const CALL_MAX_US: u64 = 5_000;
/// Units that do nothing, beside the one that is measured.
const IDLE: [u32; 3] = [1, 10, 50];
const MACHINES: [u32; 3] = [5, 10, 20];
const REST: Duration = Duration::from_secs(30);
const REST_MAX_PERCENT: f64 = 2.0;
/// How much longer a machine may take among twenty than among five, and how much more memory it may need.
const LINEAR_MAX: f64 = 1.3;

/// Each write of the leader's application databag gives it another changed hook, up to a number. A line for each hook says
/// how many microseconds were spent between its tool calls, which is the charm's own time.
const CHARM: &str = r#"#!/bin/bash
begin=${EPOCHREALTIME/./}
case $JUJU_DISPATCH_PATH in
hooks/start) status-set active ;;
hooks/peers-relation-changed)
  [ -z "$JUJU_REMOTE_UNIT" ] || exit 0
  own=$((${EPOCHREALTIME/./} - begin))
  left=$(relation-get --app left "${JUJU_UNIT_NAME%/*}")
  back=${EPOCHREALTIME/./}
  [ "$left" -gt 0 ] || exit 0
  own=$((own + ${EPOCHREALTIME/./} - back))
  relation-set --app left=$((left - 1))
  echo "$begin $own ${EPOCHREALTIME/./}" >>/root/hooks
  ;;
esac
"#;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = hooks(&charm("plain", "peers:\n  peers:\n    interface: plain\n")?)?;
    // Without peers: each of twenty would hear of nineteen others, and hooks are measured above.
    rows.extend(machines(&charm("alone", "")?)?);
    Ok(rows)
}

fn charm(name: &str, endpoints: &str) -> anyhow::Result<std::path::PathBuf> {
    let folder = archive::folder(&format!("bench-{name}"))?;
    archive::file(&folder, "dispatch", 0o755, CHARM)?;
    let about = format!("name: {name}\nsummary: s\ndescription: d\n{endpoints}");
    archive::file(&folder, "metadata.yaml", 0o644, &about)?;
    archive::file(&folder, "manifest.yaml", 0o644, "bases:\n- name: ubuntu\n  channel: 24.04/stable\n")?;
    archive::pack(&folder)
}

/// One unit runs hooks beside more and more units that have nothing to do; these share a machine.
fn hooks(charm: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    let model = Model::add("bench-juju-local")?;
    model.juju(&["model-config", "update-status-hook-interval=60m"])?;
    model.deploy(charm, "busy", &[])?;
    model.deploy(charm, "idle", &[])?;
    model.wait_active("busy", 1)?;
    model.wait_active("idle", 1)?;
    let mut rows = Vec::new();
    let mut units = 1;
    let mut alone = None;
    for idle in IDLE {
        while units < idle {
            model.juju(&["add-unit", "idle", "--to", "1"])?;
            units += 1;
        }
        model.wait_active("idle", usize::try_from(idle)?)?;
        let cost = hook(&model)?;
        let first = *alone.get_or_insert(cost);
        rows.push(Row {
            what: format!("a hook with two tool calls, {idle} units idle: what it takes over the charm's own time"),
            ours: milliseconds(cost),
            against: format!("{:.2} times as long as beside one", ratio(cost, first)),
            kept: None,
        });
    }
    rows.push(tool(&model)?);
    Ok(rows)
}

/// Microseconds that one hook takes beside the charm's own, the middle of many.
fn hook(model: &Model) -> anyhow::Result<u64> {
    model.shell("busy/0", "rm -f /root/hooks")?;
    let set = format!("relation-set -r $(relation-ids peers) --app left={HOOKS}");
    model.juju(&["exec", "--unit", "busy/0", "--", &set])?;
    let lines = || model.shell("busy/0", "cat /root/hooks 2>/dev/null || true");
    let all = usize::try_from(HOOKS)?;
    model.wait("all hooks to have run", || Ok(lines()?.lines().count() >= all))?;
    let hooks: Vec<[u64; 3]> = lines()?.lines().filter_map(numbers).collect();
    // From one hook's begin to the next one's: what is not the charm's own is ours.
    let mut costs: Vec<u64> = hooks
        .windows(2)
        .filter_map(|pair| match pair {
            [[begin, own, _], [next, ..]] => Some(next.saturating_sub(*begin).saturating_sub(*own)),
            _ => None,
        })
        .collect();
    anyhow::ensure!(costs.len() + 1 == all, "cannot read the hooks' times: {} of {all} lines", hooks.len());
    Ok(median(&mut costs))
}

fn numbers(line: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().ok()
}

/// A tool's call beside a program that does nothing.
fn tool(model: &Model) -> anyhow::Result<Row> {
    let script = format!(
        "for program in /bin/true is-leader; do a=${{EPOCHREALTIME/./}}
         for n in $(seq {CALLS}); do $program >/dev/null; done; b=${{EPOCHREALTIME/./}}; echo $(((b - a) / {CALLS})); done"
    );
    let said = model.juju(&["exec", "--unit", "busy/0", "--", "bash", "-c", &script])?;
    let times: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [nothing, call] = times.as_slice() else { anyhow::bail!("cannot read the tool's time in {said:?}") };
    Ok(Row {
        what: format!("a tool call, mean of {CALLS}, 51 units idle"),
        ours: milliseconds(*call),
        against: format!(
            "/bin/true: {}, {:.1} times as long; at most {} promised",
            milliseconds(*nothing),
            ratio(*call, *nothing),
            milliseconds(CALL_MAX_US)
        ),
        kept: Some(*call <= CALL_MAX_US),
    })
}

/// More and more machines at once, each model anew; then the largest at rest.
fn machines(charm: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut first = None;
    for count in MACHINES {
        let model = Model::add(&format!("bench-machines-{count}"))?;
        model.juju(&["model-config", "update-status-hook-interval=60m"])?;
        let begin = Instant::now();
        model.deploy(charm, "alone", &["-n", &count.to_string()])?;
        model.wait_active("alone", usize::try_from(count)?)?;
        let took = begin.elapsed();
        let each_s = took.as_secs_f64() / f64::from(count);
        let each_mib = memory_mib(model.controller()?)? / f64::from(count);
        let (first_s, first_mib) = *first.get_or_insert((each_s, each_mib));
        let (times, more) = (each_s / first_s, each_mib / first_mib);
        rows.push(Row {
            what: format!("{count} machines, from deploy to idle units"),
            ours: format!("{}, {each_mib:.0} MiB each", seconds(took)),
            against: format!(
                "{times:.2} times the time and {more:.2} times the memory for each, of {} machines; linear promised",
                MACHINES[0]
            ),
            kept: Some(times <= LINEAR_MAX && more <= LINEAR_MAX),
        });
        if Some(&count) == MACHINES.last() {
            rows.push(rest(&model, count)?);
        }
    }
    Ok(rows)
}

/// What the controller takes while nothing happens. Machines' own services are not counted: they are not its doing.
fn rest(model: &Model, count: u32) -> anyhow::Result<Row> {
    std::thread::sleep(Duration::from_secs(5));
    let pid = model.controller()?;
    let (before, begin) = (ticks(pid)?, Instant::now());
    std::thread::sleep(REST);
    let used = (ticks(pid)? - before) / begin.elapsed().as_secs_f64();
    Ok(Row {
        what: format!("an idle model of {count} machines, its controller over {} s", REST.as_secs()),
        ours: format!("{used:.2} % of a core"),
        against: format!("less than {REST_MAX_PERCENT:.0} % promised"),
        kept: Some(used < REST_MAX_PERCENT),
    })
}

/// Clock ticks that a process and the children that it waited for have used; hundredths of a second on Linux.
fn ticks(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("cannot read the controller's cost")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // proc(5): utime, stime, cutime and cstime are the fields 14 to 17; the name in brackets is the second.
    let sum: f64 = fields.get(11..15).into_iter().flatten().filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(sum)
}

/// What a controller and all that runs on its machines have in memory, shared pages shared out: proc(5), `Pss`.
fn memory_mib(controller: u32) -> anyhow::Result<f64> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        // Processes come and go while we look.
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut kib, mut family) = (0.0, vec![controller]);
    while let Some(pid) = family.pop() {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
        kib += pss.unwrap_or(0.0);
        family.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(kib / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a hook")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}
