//! Plays a scenario on a model: does what its lines say while clients write, and counts at the end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use super::client::log_in;
use super::ledger::{Clients, Figures, Ledger, TABLE, audit, rows};
use super::model::{Model, unit_number};
use super::script::{Script, Step};

/// How long a cluster may take to be whole again when nothing is broken any more.
const HEALING_SECONDS: u64 = 240;

/// A cluster that has been healthy at least once.
pub(crate) struct Cluster {
    pub(crate) uuid: String,
    pub(crate) password: String,
    pub(crate) addresses: BTreeMap<String, IpAddr>,
    clients: Option<Clients>,
}

/// A model and the clusters in it, which outlive a scenario that leaves them healthy.
pub(crate) struct Stage {
    pub(crate) m: Model,
    pub(crate) clusters: BTreeMap<String, Cluster>,
}

/// A scenario that is being played.
pub(crate) struct Scene<'a> {
    pub(crate) m: &'a Model,
    pub(crate) clusters: &'a mut BTreeMap<String, Cluster>,
    /// Of this scenario's rows.
    pub(crate) tag: String,
    /// What the scenario calls units.
    names: BTreeMap<String, String>,
    /// Lines of the model's log that were there before.
    pub(crate) log_before: usize,
    /// For journals: Unix seconds at the beginning.
    pub(crate) began: u64,
    random: Random,
}

/// What a scenario leaves to tell.
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) longest_gap: (Duration, String),
    pub(crate) longest_silence: Duration,
}

impl Cluster {
    fn new(uuid: String, password: String) -> Self {
        Self { uuid, password, addresses: BTreeMap::new(), clients: None }
    }
}

impl Stage {
    pub(crate) fn new(word: &str) -> Self {
        Self { m: Model::add(word), clusters: BTreeMap::new() }
    }

    /// Forms the cluster that scenarios share.
    pub(crate) fn form(&mut self) {
        self.m.deploy("galera", 3, &[]);
        let uuid = self.m.one_cluster("galera", 3, 300);
        let results = self.m.run("galera/leader", &["get-password"]);
        let password = results["password"].as_str().unwrap_or_default().to_owned();
        self.clusters.insert("galera".to_owned(), Cluster::new(uuid, password));
    }

    /// Plays a scenario to its end; panics where it cannot go on.
    pub(crate) fn play(&mut self, script: &Script, seed: u64) -> Outcome {
        let log = self.m.attempt(&["debug-log", "--replay"]).out;
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut scene = Scene {
            m: &self.m,
            clusters: &mut self.clusters,
            tag: script.name.clone(),
            names: BTreeMap::new(),
            log_before: log.lines().count(),
            began,
            random: Random(seed),
        };
        for app in scene.clusters.keys().cloned().collect::<Vec<_>>() {
            scene.clients_for(&app);
        }
        for line in &script.lines {
            self.m.step(&format!("{}: {}", line.number, line.text));
            scene.take(&line.step);
        }
        scene.finish()
    }
}

impl Scene<'_> {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Name { name, role } => {
                // Nobody may be it just now, as between two leaders or before a donor is chosen.
                let begin = Instant::now();
                let unit = loop {
                    if let Some(unit) = self.role(role) {
                        break unit;
                    }
                    assert!(begin.elapsed() < Duration::from_secs(20), "no unit is {role}");
                    std::thread::sleep(Duration::from_millis(100));
                };
                self.m.step(&format!("  {name} is {unit}"));
                self.names.insert(name.clone(), unit);
            }
            Step::Deploy { app, unit_count, config } => {
                let config: Vec<&str> = config.iter().map(String::as_str).collect();
                self.m.deploy(app, *unit_count, &config);
            }
            Step::Juju(words) => {
                let words: Vec<String> = words.iter().map(|word| self.filled(word)).collect();
                let said = self.m.juju(&words.iter().map(String::as_str).collect::<Vec<_>>());
                if !said.trim().is_empty() {
                    self.m.step(&format!("  {}", said.trim()));
                }
            }
            Step::Refused { sentence, words } => {
                let words: Vec<String> = words.iter().map(|word| self.filled(word)).collect();
                let said = self.m.attempt(&words.iter().map(String::as_str).collect::<Vec<_>>());
                let text = format!("{} {}", said.err.trim(), said.out.trim());
                self.m.hold(!said.ok && text.contains(sentence), &format!("refused with {sentence:?}: {text}"));
            }
            Step::On { unit, command } => {
                let (unit, command) = (self.filled(unit), self.filled(command));
                let said = self.m.attempt(&["ssh", &unit, &command]);
                assert!(said.ok, "{unit}: {command}: {}", said.err.trim());
            }
            Step::Sleep(seconds) => std::thread::sleep(Duration::from_secs(*seconds)),
            Step::Wait(seconds, condition) => {
                let begin = Instant::now();
                loop {
                    match self.holds(condition) {
                        Ok(()) => break,
                        Err(why) if begin.elapsed() > Duration::from_secs(*seconds) => {
                            panic!("not so within {seconds} s: {condition:?}; last seen: {why}")
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(100)),
                    }
                }
                self.m.step(&format!("  so after {:.1} s", begin.elapsed().as_secs_f32()));
            }
            Step::Check(condition) => {
                let held = self.holds(condition);
                self.m.hold(held.is_ok(), &format!("{condition:?} {}", held.err().unwrap_or_default()));
            }
            Step::HookKills { count, app } => self.kill_hooks(*count, app),
        }
    }

    /// Units by what they are at this moment.
    fn role(&self, role: &str) -> Option<String> {
        let (role, app) = role.split_once('@').unwrap_or((role, "galera"));
        let units = || self.m.app(app).units;
        match role {
            "leader" => units().into_iter().find(|unit| unit.leader).map(|unit| unit.name),
            "follower" => units().into_iter().find(|unit| !unit.leader).map(|unit| unit.name),
            "another" => units().into_iter().map(|unit| unit.name).find(|name| !self.names.values().any(|n| n == name)),
            "newest" => units().into_iter().map(|unit| unit.name).max_by_key(|name| unit_number(name)),
            "lowest" => units().into_iter().min_by_key(|unit| unit.address).map(|unit| unit.name),
            "founder" => {
                let (_, app_bag) = self.m.databags(&units().first()?.name);
                let formation: serde_json::Value = serde_json::from_str(app_bag["formation"].as_str()?).ok()?;
                formation["founder"].as_str().map(ToOwned::to_owned)
            }
            "turn" => {
                let (_, app_bag) = self.m.databags(&units().first()?.name);
                let turn: serde_json::Value = serde_json::from_str(app_bag["turn"].as_str()?).ok()?;
                turn["unit"].as_str().map(ToOwned::to_owned)
            }
            "donor" => {
                let cluster = self.clusters.get(app)?;
                cluster
                    .addresses
                    .keys()
                    .find(|unit| self.galera(unit, "wsrep_local_state_comment").is_ok_and(|s| s.starts_with("Donor")))
                    .cloned()
            }
            _ => None,
        }
    }

    /// A text with the names of units in the places of what the scenario calls them.
    pub(crate) fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, unit) in &self.names {
            text = text.replace(&format!("{{{name}}}"), unit);
        }
        for role in ["leader", "follower", "founder"] {
            let place = format!("{{{role}}}");
            if text.contains(&place) {
                let unit = self.role(role).unwrap_or_else(|| panic!("no unit is {role}"));
                text = text.replace(&place, &unit);
            }
        }
        text
    }

    /// A value of `SHOW GLOBAL STATUS`, asked over the network: also while nobody runs commands on machines.
    pub(crate) fn galera(&self, unit: &str, variable: &str) -> Result<String, String> {
        let (address, password) = self.door(unit)?;
        let mut conn =
            super::client::log_in_within(address, &password, Duration::from_secs(5)).map_err(|e| e.to_string())?;
        let row: Option<(String, String)> =
            conn.query_first(format!("SHOW GLOBAL STATUS LIKE '{variable}'")).map_err(|e| e.to_string())?;
        row.map(|(_, value)| value).ok_or_else(|| format!("{unit} has no {variable}"))
    }

    pub(crate) fn door(&self, unit: &str) -> Result<(IpAddr, String), String> {
        let app = unit.split('/').next().unwrap_or_default();
        let cluster = self.clusters.get(app).ok_or_else(|| format!("{app} was never healthy"))?;
        let address = match cluster.addresses.get(unit) {
            Some(address) => *address,
            None => {
                let units = self.m.app(app).units;
                let found = units.into_iter().find(|u| u.name == unit).and_then(|u| u.address);
                found.ok_or_else(|| format!("{unit} has no address"))?
            }
        };
        Ok((address, cluster.password.clone()))
    }

    /// A cluster is healthy: its clients begin, or those of units that are new.
    pub(crate) fn healthy(&mut self, app: &str, uuid: String) {
        if let Some(known) = self.clusters.get(app) {
            assert_eq!(known.uuid, uuid, "{app} has another history than before");
        } else {
            let results = self.m.run(&format!("{app}/leader"), &["get-password"]);
            let password = results["password"].as_str().unwrap_or_default().to_owned();
            self.clusters.insert(app.to_owned(), Cluster::new(uuid, password));
        }
        self.clients_for(app);
    }

    fn clients_for(&mut self, app: &str) {
        let units = self.m.app(app).units;
        let tag = self.tag.clone();
        let Some(cluster) = self.clusters.get_mut(app) else {
            return;
        };
        cluster.addresses = units.iter().filter_map(|unit| Some((unit.name.clone(), unit.address?))).collect();
        if cluster.clients.is_none() {
            let address = *cluster.addresses.values().next().unwrap();
            let mut conn = log_in(address, &cluster.password).unwrap();
            conn.query_drop("CREATE DATABASE IF NOT EXISTS chaos").unwrap();
            conn.query_drop(TABLE).unwrap();
            cluster.clients = Some(Clients::new(&tag, &cluster.password));
        }
        if let Some(clients) = &mut cluster.clients {
            for (unit, address) in &cluster.addresses {
                clients.add(unit, *address);
            }
        }
    }

    /// An application that is gone takes its cluster with it.
    pub(crate) fn forget(&mut self, app: &str) {
        if let Some(clients) = self.clusters.remove(app).and_then(|cluster| cluster.clients) {
            clients.stop();
        }
    }

    fn kill_hooks(&mut self, count: u64, app: &str) {
        let (begin, mut killed) = (Instant::now(), 0);
        let armed = || self.m.juju(&["fault", "list"]).contains("killed after");
        while killed < count && begin.elapsed() < Duration::from_secs(150) {
            let units = self.m.app(app).units;
            let unit = &units[self.random.below(units.len() as u64) as usize].name;
            let tools = self.random.below(16).to_string();
            self.m.juju(&["fault", "hook", unit, "--kill-after-tools", &tools]);
            let patience = Instant::now();
            while armed() && patience.elapsed() < Duration::from_secs(6) {
                std::thread::sleep(Duration::from_millis(100));
            }
            if !armed() {
                killed += 1;
                self.m.step(&format!("  a hook of {unit} was killed after {tools} tools"));
            }
        }
        self.m.juju(&["fault", "clear"]);
        self.m.hold(killed > 0, &format!("{killed} of {count} hooks were killed"));
    }

    /// Mends everything, waits until all is well again, and counts.
    fn finish(mut self) -> Outcome {
        self.m.step("everything is mended");
        self.m.juju(&["fault", "clear"]);
        for app in self.clusters.keys().cloned().collect::<Vec<_>>() {
            self.take(&Step::Wait(HEALING_SECONDS, super::script::Condition::Healthy(app)));
        }
        let mut outcome = Outcome {
            figures: Figures::default(),
            longest_gap: (Duration::ZERO, String::new()),
            longest_silence: Duration::ZERO,
        };
        for (app, cluster) in self.clusters.iter_mut() {
            let Some(clients) = cluster.clients.take() else {
                continue;
            };
            let ledger = clients.stop();
            count(self.m, app, cluster, &self.tag, &ledger, &mut outcome);
        }
        self.m.hold(outcome.figures.acknowledged > 0, "clients wrote");
        outcome
    }
}

/// What became of the rows of one cluster; broken promises are complaints.
fn count(m: &Model, app: &str, cluster: &Cluster, tag: &str, ledger: &Ledger, outcome: &mut Outcome) {
    let mut members = Vec::new();
    let mut sums = BTreeMap::new();
    for (unit, address) in &cluster.addresses {
        let (rows, sum) = rows(*address, &cluster.password, tag).unwrap_or_else(|why| panic!("{unit}: {why}"));
        members.push(rows);
        sums.insert(unit.clone(), sum);
    }
    let figures = audit(ledger, &members);
    let same = sums.values().collect::<std::collections::BTreeSet<_>>().len() == 1;
    m.hold(same, &format!("every member of {app} has the same rows: {sums:?}"));
    m.hold(figures.lost == 0, &format!("no acknowledged row of {app} is lost: {figures}"));
    m.hold(figures.doubled == 0, &format!("no row of {app} is there twice: {figures}"));
    m.hold(figures.revived == 0, &format!("no refused row of {app} is there: {figures}"));
    for (writer, known) in &ledger.known {
        m.step(&format!(
            "  {writer}: {} acknowledged, {} unknown, {} refused, longest gap {:.1} s",
            known.acknowledged.len(),
            known.unknown.len(),
            known.refused.len(),
            known.longest_gap.as_secs_f32()
        ));
        if known.longest_gap > outcome.longest_gap.0 {
            let unit = writer.rsplit(':').next().unwrap_or_default().to_owned();
            outcome.longest_gap = (known.longest_gap, unit);
        }
    }
    outcome.longest_silence = outcome.longest_silence.max(ledger.longest_silence);
    outcome.figures.add(&figures);
}

/// Numbers that a seed repeats (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}
