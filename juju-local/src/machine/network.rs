//! One bridge and one /24 a model, masqueraded to the outside.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::command::{attempt, run};
use crate::model::SPACES;

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A model's network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The third number of 10.89.N.0/24.
    pub(super) subnet: u8,
}

impl Network {
    pub(super) fn bridge(&self) -> String {
        format!("jlbr{}", self.subnet)
    }

    pub(super) fn gateway(&self) -> String {
        format!("10.89.{}.1", self.subnet)
    }

    pub(super) fn address(&self, host: u32) -> String {
        format!("10.89.{}.{host}", self.subnet)
    }

    fn table(&self) -> String {
        format!("juju_local_{}", self.subnet)
    }

    /// The network written down for a model, or a free one.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("subnet");
        // An empty file was begun on a full disk.
        if let Some(text) = fs::read_to_string(&file).ok().filter(|text| !text.trim().is_empty()) {
            let subnet = text.trim().parse().with_context(|| format!("cannot read {}", file.display()))?;
            return Ok(Self { subnet });
        }
        let taken = run("ip", &["-o", "-4", "addr"])? + &run("ip", &["-4", "route"])?.replace("10.", " 10.");
        let others: Vec<String> = fs::read_dir(dir.parent().unwrap_or(dir))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("subnet")).ok())
            .collect();
        let free = (1..=250u8).filter(|n| {
            SPACES.iter().all(|(_, prefix)| !taken.contains(&format!(" {prefix}{n}.")))
                && !others.iter().any(|o| o.trim() == n.to_string())
        });
        let mut claimed = None;
        for subnet in free {
            // Making the bridge is the claim: of two models that look at the same moment, the kernel lets one have it.
            let bridge = Self { subnet }.bridge();
            match run("ip", &["link", "add", &bridge, "type", "bridge"]) {
                Ok(_) => {
                    claimed = Some(subnet);
                    break;
                }
                Err(_) if Path::new("/sys/class/net").join(&bridge).exists() => {}
                Err(why) => return Err(why).with_context(|| format!("cannot make the network bridge {bridge}")),
            }
        }
        let subnet = claimed.context("cannot find a free network 10.89.N.0/24; destroy a model")?;
        let network = Self { subnet };
        if let Err(why) = fs::write(&file, subnet.to_string()) {
            attempt("ip", &["link", "del", &network.bridge()]);
            return Err(why).with_context(|| format!("cannot write {}", file.display()));
        }
        Ok(network)
    }

    /// Makes the bridge and the way out; idempotent.
    pub(super) fn up(&self) -> anyhow::Result<()> {
        let bridge = self.bridge();
        if !Path::new("/sys/class/net").join(&bridge).exists() {
            run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        }
        // A bridge has the lowest address of what is plugged into it, unless it is given one: when that machine went, the
        // others would send to where nobody is until their tables forget, for most of a minute.
        let own = crate::model::mac_address(&self.gateway());
        if fs::read_to_string(format!("/sys/class/net/{bridge}/address"))?.trim() != own {
            run("ip", &["link", "set", &bridge, "address", &own])?;
        }
        for (_, prefix) in SPACES {
            attempt("ip", &["addr", "add", &format!("{prefix}{}.1/24", self.subnet), "dev", &bridge]);
        }
        run("ip", &["link", "set", &bridge, "mtu", &outside_mtu(), "up"])?;
        if fs::read_to_string(FORWARD)?.trim() == "0" {
            // Remembered outside the model: the last model to go puts it back.
            fs::write(Path::new(super::STATE_ROOT).join("ip-forward-was-off"), "")?;
            fs::write(FORWARD, "1")?;
        }
        let (table, net) = (self.table(), format!("10.89.{}.0/24", self.subnet));
        attempt("nft", &["delete", "table", "ip", &table]);
        run("nft", &["add", "table", "ip", &table])?;
        run("nft", &["add", "chain", "ip", &table, "post", "{ type nat hook postrouting priority 100 ; }"])?;
        run(
            "nft",
            &["add", "rule", "ip", &table, "post", "ip", "saddr", &net, "ip", "daddr", "!=", &net, "masquerade"],
        )?;
        self.pass_others_firewall(true);
        Ok(())
    }

    /// A firewall that drops what is forwarded, as Docker sets one up, would part the machines from the outside; where
    /// bridges are filtered, from each other too. No table of ours can overrule that: the rules go where it drops.
    fn pass_others_firewall(&self, pass: bool) {
        const CHAIN: [&str; 3] = ["ip", "filter", "FORWARD"];
        let with_chain = |words: &[&str], rest: &[&str]| run("nft", &[words, &CHAIN, rest].concat());
        let Ok(rules) = with_chain(&["-a", "list", "chain"], &[]) else {
            return;
        };
        let bridge = format!("\"{}\"", self.bridge());
        for rule in rules.lines().filter(|line| line.contains(&bridge)) {
            if let Some((_, handle)) = rule.rsplit_once("# handle ") {
                let _ = with_chain(&["delete", "rule"], &["handle", handle.trim()]);
            }
        }
        if pass {
            for side in ["iifname", "oifname"] {
                let _ = with_chain(&["insert", "rule"], &[side, &self.bridge(), "accept"]);
            }
        }
    }

    /// As `up`, where it is not there yet.
    pub(super) fn up_once(&self) -> anyhow::Result<()> {
        let there = Path::new("/sys/class/net").join(self.bridge()).exists()
            && attempt("nft", &["list", "table", "ip", &self.table()]);
        if there { Ok(()) } else { self.up() }
    }

    /// Removes the bridge and the way out.
    pub(super) fn down(&self, last: bool) -> anyhow::Result<()> {
        self.pass_others_firewall(false);
        attempt("nft", &["delete", "table", "ip", &self.table()]);
        super::cut::unblock(self.subnet);
        if Path::new("/sys/class/net").join(self.bridge()).exists() {
            run("ip", &["link", "del", &self.bridge()])?;
        }
        let note = Path::new(super::STATE_ROOT).join("ip-forward-was-off");
        if last && note.exists() {
            fs::write(FORWARD, "0")?;
            fs::remove_file(note)?;
        }
        Ok(())
    }
}

/// The MTU of the way out: a larger one inside would lose packets on the way.
pub(super) fn outside_mtu() -> String {
    let route = run("ip", &["route", "show", "default"]).unwrap_or_default();
    let device = route.split_whitespace().skip_while(|w| *w != "dev").nth(1).unwrap_or_default().to_owned();
    let mtu = fs::read_to_string(format!("/sys/class/net/{device}/mtu")).unwrap_or_default();
    if mtu.trim().is_empty() { "1500".to_owned() } else { mtu.trim().to_owned() }
}

/// Gives the machine its address before any of its services starts, at every boot and whoever boots it.
pub(super) fn network_unit(address: &str, gateway: &str, mtu: &str) -> String {
    let rest = address.strip_prefix(SPACES[0].1).unwrap_or_default();
    let addresses = SPACES.map(|(_, prefix)| format!("ip addr replace {prefix}{rest}/24 dev host0")).join("; ");
    let mac = crate::model::mac_address(address);
    format!(
        "[Unit]\nDescription=Network of this machine\nDefaultDependencies=no\nBefore=network-pre.target network.target \
         network-online.target\nWants=network.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -ec 'ip link set lo up; {addresses}; \
         ip link set host0 address {mac} mtu {mtu} up; ip route replace default via {gateway}'\n"
    )
}
