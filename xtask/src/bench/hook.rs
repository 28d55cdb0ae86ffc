//! What a quiet update-status pass costs, beside a minimal charm on Python's ops that does nothing but set its status.
//! Both units share one machine and the same hook tools; their passes take turns.

use std::process::Command;

use anyhow::{Context as _, bail};

use super::model::Model;
use super::{Row, archive};
use crate::build::Profile;
use crate::pack;

const OPS_VERSION: &str = "3.9.0";
const ROUNDS: usize = 5;
const PASSES_PER_ROUND: usize = 20;
const FACTOR_MIN: u64 = 20;
const MEMORY_MAX_KIB: u64 = 15 * 1024;

const OPS_CHARM: &str = "import ops


class Quiet(ops.CharmBase):
    def __init__(self, framework):
        super().__init__(framework)
        framework.observe(self.on.update_status, self._on_update_status)

    def _on_update_status(self, event):
        self.unit.status = ops.ActiveStatus()


ops.main(Quiet)
";

const OPS_DISPATCH: &str = "#!/bin/sh
[ -x /usr/bin/python3 ] || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 || exit 1
case $JUJU_DISPATCH_PATH in hooks/start) status-set active ;; esac
PYTHONPATH=lib exec /usr/bin/python3 src/charm.py
";

/// Deploys both and lets them take turns.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let ours = pack::run(Profile::Charm)?;
    let theirs = ops_charm()?;
    let model = Model::add("bench-hook")?;
    model.deploy(&ours, "ours", &["--config", "profile=testing"])?;
    model.wait_active("ours", 1)?;
    model.deploy(&theirs, "theirs", &["--to", "0"])?;
    model.wait_active("theirs", 1)?;
    model.juju(&["ssh", "ours/0", "apt-get", "install", "-y", "-q", "time"])?;
    // Only our own passes count here.
    model.juju(&["model-config", "update-status-hook-interval=60m"])?;

    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    let (mut our_memory, mut their_memory) = (0, 0);
    for _ in 0..ROUNDS {
        our_memory = our_memory.max(round(&model, "ours/0", "hooks/update-status", &mut our_times)?);
        their_memory = their_memory.max(round(&model, "theirs/0", "dispatch", &mut their_times)?);
    }
    let (our_time, their_time) = (median(&mut our_times), median(&mut their_times));
    let against = |text: String| format!("ops {OPS_VERSION}: {text}");
    Ok(vec![
        Row {
            what: format!("quiet update-status, median of {}", our_times.len()),
            ours: milliseconds(our_time),
            against: format!(
                "{}, {}.{} times as long; at least {FACTOR_MIN} promised",
                against(milliseconds(their_time)),
                their_time / our_time.max(1),
                their_time * 10 / our_time.max(1) % 10
            ),
            kept: Some(their_time >= our_time * FACTOR_MIN),
        },
        Row {
            what: "its memory at the most, hook tools included".to_owned(),
            ours: format!("{} KiB", our_memory),
            against: against(format!("{their_memory} KiB; at most {MEMORY_MAX_KIB} KiB promised")),
            kept: Some(our_memory < MEMORY_MAX_KIB),
        },
    ])
}

/// Several passes in one hook context; times in microseconds go to `times`, the largest memory in KiB is returned.
fn round(model: &Model, unit: &str, program: &str, times: &mut Vec<u64>) -> anyhow::Result<u64> {
    let script = format!(
        "cd \"$JUJU_CHARM_DIR\"; export JUJU_DISPATCH_PATH=hooks/update-status JUJU_HOOK_NAME=update-status
         ./{program} >/dev/null 2>&1 || exit 1
         for n in $(seq {PASSES_PER_ROUND}); do
           a=${{EPOCHREALTIME/./}}; ./{program} >/dev/null 2>&1 || exit 1; b=${{EPOCHREALTIME/./}}; echo us $((b - a))
         done
         /usr/bin/time -f 'kib %M' ./{program} 2>&1 >/dev/null | grep '^kib'"
    );
    let said = model.juju(&["exec", "--unit", unit, "--", "bash", "-c", &script])?;
    let mut memory = None;
    for line in said.lines() {
        match line.split_once(' ') {
            Some(("us", number)) => times.push(number.parse().with_context(|| format!("cannot read {line:?}"))?),
            Some(("kib", number)) => memory = Some(number.parse().with_context(|| format!("cannot read {line:?}"))?),
            Some(_) | None => bail!("cannot understand {line:?} from {unit}"),
        }
    }
    memory.with_context(|| format!("cannot learn the memory of {unit}'s pass"))
}

fn ops_charm() -> anyhow::Result<std::path::PathBuf> {
    let folder = archive::folder("bench-ops")?;
    let lib = folder.join("lib");
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--break-system-packages", "--target"])
        .arg(&lib)
        .arg(format!("ops=={OPS_VERSION}"))
        .status()
        .context("cannot run python3 -m pip")?;
    if !status.success() {
        bail!("cannot install ops {OPS_VERSION}: pip says why above");
    }
    std::fs::create_dir(folder.join("src"))?;
    archive::file(&folder, "src/charm.py", 0o644, OPS_CHARM)?;
    archive::file(&folder, "dispatch", 0o755, OPS_DISPATCH)?;
    archive::file(&folder, "metadata.yaml", 0o644, "name: bench-ops\nsummary: quiet\ndescription: Sets its status.\n")?;
    archive::file(&folder, "manifest.yaml", 0o644, "bases:\n- name: ubuntu\n  channel: 24.04/stable\n")?;
    archive::pack(&folder)
}

/// The middle one.
pub(crate) fn median(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// For people, from microseconds.
pub(crate) fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds / 100 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken_whatever_the_order() {
        assert_eq!(median(&mut [9, 1, 5]), 5);
        assert_eq!(median(&mut []), 0);
        assert_eq!(milliseconds(11_273), "11.2 ms");
    }
}
