//! Restores in whose middle something is killed: the action, a hook, the agent, the process that brings the data back, a
//! server. Each ends with the data of the backup on all units, or with what was there before; never with some of both.

use std::time::Duration;

use super::model::Model;

/// What is killed, and how, on a machine: not by `juju exec`, which waits until hooks and actions are over. The first number
/// is for how many seconds nothing happens, the second for how many the victim lives on once it is there.
const KILLS: [(&str, &str, (u64, u64)); 5] = [
    (
        "the action",
        "until pgrep -f '[a]ctions/restore' >/dev/null; do sleep 0.01; done; LIVES; pkill -KILL -f '[a]ctions/restore'",
        (0, 200),
    ),
    (
        "a hook",
        "until pgrep -f '[h]ooks/' >/dev/null; do sleep 0.01; done; LIVES; pkill -KILL -f '[h]ooks/'",
        (25_000, 300),
    ),
    ("the agent", "LIVES; systemctl kill --signal KILL mariadb-galera-agent", (25_000, 100)),
    (
        "who brings it back",
        "until systemctl is-active --quiet mariadb-galera-restore; do sleep 0.02; done; LIVES; systemctl kill --signal KILL mariadb-galera-restore",
        (0, 2_000),
    ),
    ("a server", "LIVES; systemctl kill --signal KILL mariadb", (25_000, 100)),
];

/// Numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

pub(crate) fn play(m: &Model, app: &str, rounds: u64, seed: u64) {
    m.deploy(app, 3, &["restore-keep-days=1"]);
    m.one_cluster(app, 3, 300);
    let units: Vec<String> = m.app(app).units.into_iter().map(|unit| unit.name).collect();
    m.sql(
        &units[0],
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1), (2), (3);
         CREATE TABLE shop.filler (id INT PRIMARY KEY AUTO_INCREMENT, text VARBINARY(8000));
         INSERT INTO shop.filler (text) SELECT RANDOM_BYTES(1024) FROM shop.seq_1_to_100000",
    )
    .unwrap();
    let made = m.run(&units[1], &["backup"]);
    let id = made["backup-id"].as_str().unwrap().to_owned();
    let (mut dice, mut restored, mut hit) = (Dice(seed), 0, 0);
    for round in 1..=rounds {
        let (what, kill, (after, lives)) = KILLS[(round % 5) as usize];
        let (after, lives) = (dice.below(after + 1), dice.below(lives));
        let seconds = |milliseconds: u64| format!("sleep {}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
        let kill = format!("{}; {}", seconds(after), kill.replace("LIVES", &seconds(lives)));
        let victim = match what {
            "the action" => m.app(app).leader().map(|unit| unit.name.clone()).unwrap(),
            // The only one that has it.
            "who brings it back" => units[1].clone(),
            _ => units[dice.below(3) as usize].clone(),
        };
        m.step(&format!("round {round}: {what} on {victim} is killed after {after} ms and {lives} ms"));
        let (killed, done) = one(m, app, &units, &id, round, &victim, &kill);
        (hit, restored) = (hit + u64::from(killed), restored + u64::from(done));
    }
    m.step(&format!(
        "{hit} of {rounds} killed something; {restored} restores were carried out, the others left everything as it was (seed {seed})"
    ));
    m.hold(hit * 2 > rounds, "most of them hit");
}

/// One restore; returns whether something was killed, and whether it was carried out.
fn one(m: &Model, app: &str, units: &[String], id: &str, round: u64, victim: &str, kill: &str) -> (bool, bool) {
    let before = m.one_cluster(app, 3, 240);
    let note = format!("CREATE TABLE IF NOT EXISTS shop.later (round INT); INSERT INTO shop.later VALUES ({round})");
    m.sql(&units[0], &note).unwrap();
    let leader = m.app(app).leader().map(|unit| unit.name.clone()).unwrap();
    let (asked, killed) = std::thread::scope(|scope| {
        let kill = format!("timeout 60 bash -c \"{}\"", kill.replace('"', "\\\""));
        let killed = scope.spawn(move || m.attempt(&["ssh", victim, &kill]).ok);
        // It takes a moment to be there.
        std::thread::sleep(Duration::from_millis(1_500));
        let asked = m.act(&leader, &["restore", &format!("backup-id={id}")]);
        (asked.ok, killed.join().unwrap())
    });
    m.step(&format!(
        "  the action {}, {}",
        ["died", "went through"][usize::from(asked)],
        ["nothing was hit", "hit"][usize::from(killed)]
    ));
    let uuid = m.until("it is over, and all three serve one history", 420, || {
        let uuid = m.sees_one_cluster(app, 3)?;
        let (_, app_bag) = m.databags(&units[0]);
        let open = |key: &str| app_bag[key].as_str().is_some_and(|text| !text.is_empty());
        if open("restore") || open("recovery") { Err(format!("still open: {app_bag}")) } else { Ok(uuid) }
    });
    let count = |table: &str| -> Vec<String> {
        let asked = format!("SELECT COUNT(*) FROM shop.{table}");
        units.iter().map(|unit| m.sql(unit, &asked).unwrap_or_else(|_| "none".to_owned())).collect()
    };
    let (orders, filler) = (count("orders"), count("filler"));
    m.hold(orders == ["3"; 3] && filler == ["100000"; 3], &format!("all rows are there: {orders:?} {filler:?}"));
    let later = count("later");
    let restored = uuid != before;
    if restored {
        m.hold(later == ["none"; 3], &format!("the backup's data is everywhere: {later:?}"));
    } else {
        m.hold(later.iter().all(|n| *n == later[0] && n != "none"), &format!("everything is as it was: {later:?}"));
    }
    m.step(&format!("  {}", if restored { "restored" } else { "untouched" }));
    let (leader, kept) =
        (format!("{app}/leader"), m.on(&units[0], "ls -d /var/lib/mysql/data.aside-* 2>/dev/null").out);
    if !kept.trim().is_empty() {
        m.act(&leader, &["confirm-restore"]);
    }
    (killed, restored)
}
