//! Restores in whose middle something is killed: the action, a hook, the agent, the process that brings the data back, a
//! server. Each ends with the data of the backup on all units, or with what was there before; never with some of both.

use std::time::Duration;

use super::model::Model;

const KILLS: [(&str, &str); 5] = [
    ("the action", "pkill -KILL -f '[a]ctions/restore'"),
    ("a hook", "pkill -KILL -f '[h]ooks/'"),
    ("the agent", "systemctl kill --signal KILL mariadb-galera-agent"),
    ("who brings it back", "systemctl kill --signal KILL mariadb-galera-restore"),
    ("a server", "systemctl kill --signal KILL mariadb"),
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
    let (mut dice, mut restored) = (Dice(seed), 0);
    for round in 1..=rounds {
        let (kill, after) = (KILLS[(round % 5) as usize], Duration::from_millis(dice.below(40_000)));
        let victim = units[dice.below(3) as usize].clone();
        restored += u64::from(one(m, app, &units, &id, round, kill, after, &victim, &mut dice));
    }
    m.step(&format!(
        "{restored} of {rounds} restores were carried out, the others left everything as it was (seed {seed})"
    ));
}

/// One restore; returns whether it was carried out.
#[expect(clippy::too_many_arguments, reason = "a round is what was drawn for it")]
fn one(
    m: &Model,
    app: &str,
    units: &[String],
    id: &str,
    round: u64,
    (what, kill): (&str, &str),
    after: Duration,
    victim: &str,
    dice: &mut Dice,
) -> bool {
    let before = m.one_cluster(app, 3, 240);
    let note = format!("CREATE TABLE IF NOT EXISTS shop.later (round INT); INSERT INTO shop.later VALUES ({round})");
    m.sql(&units[0], &note).unwrap();
    let leader = m.app(app).leader().map(|unit| unit.name.clone()).unwrap();
    let ask = || m.attempt(&["run", &leader, "restore", &format!("backup-id={id}")]);
    if what == "the action" {
        let after = Duration::from_millis(100 + dice.below(1_500));
        m.step(&format!("round {round}: {what} is killed after {:.1} s", after.as_secs_f32()));
        std::thread::scope(|scope| {
            let asked = scope.spawn(ask);
            std::thread::sleep(after);
            m.on(&leader, kill);
            let said = asked.join().unwrap();
            m.step(&format!("  it {}", if said.ok { "was through" } else { "died" }));
        });
    } else {
        // The one that is hit: of the process that brings it back there is only one.
        let victim = if what == "who brings it back" { &units[1] } else { victim };
        m.step(&format!("round {round}: {what} on {victim} is killed after {:.1} s", after.as_secs_f32()));
        let said = ask();
        m.hold(said.ok, &format!("the restore is begun: {}", said.err.trim()));
        let after = if what == "who brings it back" { after / 10 } else { after };
        std::thread::sleep(after);
        let hit = m.on(victim, kill);
        m.step(&format!("  {}", if hit.ok { "killed" } else { "there was nothing to kill" }));
    }
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
        m.attempt(&["run", &leader, "confirm-restore"]);
    }
    restored
}
