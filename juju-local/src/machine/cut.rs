//! What does not get through between machines, and what gets through late: a table of the bridge's own, which outlives
//! cables, so that a machine that boots again stays cut off.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::command::{attempt, run};
use crate::model::{Path, Slow};

fn table(subnet: u8) -> String {
    format!("juju_local_{subnet}")
}

/// Blocks these ways and no others. `cable` names the host's end of a machine's cable.
pub(super) fn block(subnet: u8, paths: &BTreeSet<Path>, cable: &dyn Fn(u32) -> String) -> anyhow::Result<()> {
    let text = rules(&table(subnet), paths, cable);
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run nft")?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(text.as_bytes()).context("cannot hand rules to nft")?;
    }
    let output = nft.wait_with_output().context("cannot run nft")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!(
            "cannot cut the network, for which the kernel needs nf_tables with bridges (CONFIG_NF_TABLES_BRIDGE): {}",
            said.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

/// Nothing is blocked any more, and nothing of ours is left.
pub(super) fn unblock(subnet: u8) {
    attempt("nft", &["delete", "table", "bridge", &table(subnet)]);
}

/// Questions for addresses get through: when the answers are lost in one direction, nothing can be sent in the other.
const WHAT: &str = "ether type != arp";

/// One transaction: no packet sees a half-made table. The first two lines empty it, whether there was one or not.
fn rules(table: &str, paths: &BTreeSet<Path>, cable: &dyn Fn(u32) -> String) -> String {
    let empty = format!("table bridge {table}\ndelete table bridge {table}\n");
    if paths.is_empty() {
        return empty;
    }
    let (mut between, mut to_host, mut from_host) = (String::new(), String::new(), String::new());
    for (from, to) in paths {
        let in_from = from.map(|id| format!("iifname \"{}\" ", cable(id))).unwrap_or_default();
        let out_to = to.map(|id| format!("oifname \"{}\" ", cable(id))).unwrap_or_default();
        between.push_str(&format!("    {in_from}{out_to}{WHAT} drop\n"));
        match (from, to) {
            (Some(_), None) => to_host.push_str(&format!("    {in_from}{WHAT} drop\n")),
            (None, Some(_)) => from_host.push_str(&format!("    {out_to}{WHAT} drop\n")),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let chain = |name: &str, hook: &str, rules: &str| {
        format!("  chain {name} {{\n    type filter hook {hook} priority 0\n{rules}  }}\n")
    };
    format!(
        "{empty}table bridge {table} {{\n{}{}{}}}\n",
        chain("between", "forward", &between),
        chain("to_host", "input", &to_host),
        chain("from_host", "output", &from_host)
    )
}

/// Delays what goes to a machine, or stops doing so.
pub(super) fn slow(cable: &str, how: Option<&Slow>) -> anyhow::Result<()> {
    let Some(how) = how else {
        attempt("tc", &["qdisc", "del", "dev", cable, "root"]);
        return Ok(());
    };
    let mut words = ["qdisc", "replace", "dev", cable, "root", "netem", "delay"].map(str::to_owned).to_vec();
    words.extend([format!("{}ms", how.delay_ms), format!("{}ms", how.jitter_ms)]);
    words.extend(["loss".to_owned(), format!("{}%", how.loss_percent)]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run("tc", &words) {
        Ok(_) => Ok(()),
        Err(why) if !has_netem() => anyhow::bail!(
            "cannot slow the network: this kernel lacks the packet scheduler netem (CONFIG_NET_SCH_NETEM); run modprobe \
             sch_netem, or take another kernel ({why})"
        ),
        Err(why) => Err(why),
    }
}

/// Tried on the loopback of a namespace that is gone with the command.
fn has_netem() -> bool {
    attempt("modprobe", &["-q", "sch_netem"]);
    attempt("unshare", &["--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn tables() {
        let cable = |id| format!("vb-{id}");
        expect![[r#"
            table bridge t
            delete table bridge t
        "#]]
        .assert_eq(&rules("t", &BTreeSet::new(), &cable));
        let paths = BTreeSet::from([(Some(0), Some(1)), (Some(2), None), (None, Some(2))]);
        expect![[r#"
            table bridge t
            delete table bridge t
            table bridge t {
              chain between {
                type filter hook forward priority 0
                oifname "vb-2" ether type != arp drop
                iifname "vb-0" oifname "vb-1" ether type != arp drop
                iifname "vb-2" ether type != arp drop
              }
              chain to_host {
                type filter hook input priority 0
                iifname "vb-2" ether type != arp drop
              }
              chain from_host {
                type filter hook output priority 0
                oifname "vb-2" ether type != arp drop
              }
            }
        "#]]
        .assert_eq(&rules("t", &paths, &cable));
    }
}
