//! Stories: what the units decide, told in `tests/decide/*.txt`. A line is a command; what it prints stands below it
//! behind `| `. `UPDATE_EXPECT=1 cargo test --test decide` rewrites the files, to be read as a diff.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "a test reads its own files")]

mod support;

use std::fmt::Write as _;

use mariadb_galera::cluster::{
    Bringing, Brought, Epoch, Holds, Journal, NoRestore, Server, Unit, decide, judge, sentence,
};
use support::planned::Schedule;
use support::world::{End, World, unit};

#[test]
fn stories() {
    let mut told = 0;
    for entry in std::fs::read_dir("tests/decide").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        expect_test::expect_file![std::env::current_dir().unwrap().join(&path)].assert_eq(&tell(&text));
        told += 1;
    }
    assert!(told > 0, "no stories found");
}

/// A process that dies at once changes nothing that anybody has seen.
#[test]
fn a_process_that_was_begun_is_looked_for() {
    let (mut world, db) = (World::default(), unit("db/0"));
    world.add(&db);
    world.settle();
    world.go_back(&db, Some(&db)).unwrap();
    let brought = |result| Some(Brought { epoch: Epoch(2), result });
    world.machine(&db).node.brought = brought(Bringing::Interrupted);
    assert_eq!(decide(&world.observe(&db)).look_again_s, Some(5));
    world.machine(&db).node.brought = brought(Bringing::Working);
    assert_eq!(decide(&world.observe(&db)).look_again_s, None);
}

fn tell(text: &str) -> String {
    let mut world = World::default();
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("| ")) {
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for said in run(&mut world, words[0], &words[1..]).lines() {
            writeln!(out, "| {said}").unwrap();
        }
    }
    out
}

fn run(world: &mut World, command: &str, words: &[&str]) -> String {
    let units = || words.iter().map(|w| unit(w)).collect::<Vec<Unit>>();
    match command {
        "add" => units().iter().for_each(|u| world.add(u)),
        "leader" => world.leader = Some(unit(words[0])),
        "min-cluster-size" => world.min = words[0].parse().ok(),
        "hook" => return units().iter().map(|u| hook(world, u, End::Well)).collect(),
        "hook-killed-after" => return hook(world, &unit(words[1]), End::KilledAfter(words[0].parse().unwrap())),
        "settle" => {
            world.settle();
            return show(world);
        }
        "show" => return show(world),
        "write" => world.write(words[0].parse().unwrap()),
        "power-off" => world.power_off(&units()),
        "shut-down" => units().iter().for_each(|u| {
            world.leave_group(u);
            world.power_off(std::slice::from_ref(u));
        }),
        "power-on" => world.power_on(&units()),
        "cut-while-bootstrapping" => world.cut_while_bootstrapping(&unit(words[0])),
        "time-passes" => world.time_passes(),
        "force" => return if world.force(&unit(words[0])) { "called\n".to_owned() } else { "refused\n".to_owned() },
        "restore" => return said(world.go_back(&unit(words[0]), Some(&unit(words[1])))),
        "undo-restore" => return said(world.go_back(&unit(words[0]), None)),
        "confirm-restore" => return if world.confirm() { "confirmed\n".to_owned() } else { "nothing\n".to_owned() },
        "schedule" => {
            // A wall clock does not begin at zero.
            world.now_s = world.now_s.max(1);
            let hours = |text: &str| text.parse().unwrap();
            world.schedule =
                (words[0] != "none").then(|| Schedule { every_h: hours(words[0]), full_every_h: hours(words[1]) });
        }
        "busy" => {
            let busy = words[1].parse().unwrap();
            world.busy.insert(unit(words[0]), busy);
        }
        "options-change" => world.options += 1,
        "refuses" => {
            let turned = &mut world.machine(&unit(words[0])).node.turned;
            (turned.waits, turned.refused) = (false, Some(words[1..].join(" ")));
        }
        "backup-ends" => world.backup_ends(&unit(words[0]), None, false),
        "backup-fails" => world.backup_ends(&unit(words[0]), Some(&words[1..].join(" ")), false),
        "backup-is-killed" => world.backup_ends(&unit(words[0]), None, true),
        "hours-pass" => world.now_s += 3_600 * words[0].parse::<u64>().unwrap(),
        "days-pass" => world.now_s += 86_400 * words[0].parse::<u64>().unwrap(),
        "cut" => {
            world.far_side.extend(units());
            world.calm();
        }
        "mend" => world.far_side.clear(),
        "remove" => units().iter().for_each(|u| world.machine(u).leaving = true),
        "gone" => units().iter().for_each(|u| {
            world.forget(u);
        }),
        "history" => {
            // A volume with somebody else's data.
            let machine = world.machine(&unit(words[0]));
            machine.node.holds = Holds::History(words[1].parse().unwrap());
        }
        "seqno" => world.machine(&unit(words[0])).seqno = words[1].parse().unwrap(),
        "torn" => world.machine(&unit(words[0])).node.holds = Holds::Unclear(words[1..].join(" ")),
        "address" => world.machine(&unit(words[0])).node.address = words[1].parse().ok(),
        other => panic!("unknown command {other}"),
    }
    String::new()
}

/// What became of a person's decision.
fn said(decided: Result<(), NoRestore>) -> String {
    decided.map_or_else(|why| format!("refused: {why}\n"), |()| "decided\n".to_owned())
}

fn hook(world: &mut World, me: &Unit, end: End) -> String {
    let decision = world.hook(me, end);
    let list = |items: Vec<String>| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
    let mut out = format!("{me}: {}", list(decision.steps.iter().map(ToString::to_string).collect()));
    if !decision.commits.is_empty() {
        write!(out, "; {}", list(decision.commits.iter().map(ToString::to_string).collect())).unwrap();
    }
    writeln!(out, " [{}]", decision.state.status()).unwrap();
    out
}

fn show(world: &World) -> String {
    let mut out = String::new();
    for (name, machine) in &world.machines {
        let server = match &machine.node.server {
            Server::Stopped if !machine.powered => "no power".to_owned(),
            Server::Stopped => "stopped".to_owned(),
            Server::Starting => "starting".to_owned(),
            Server::Silent(_) => "silent".to_owned(),
            Server::Answers(g) if g.primary => {
                format!("primary {} of {}", g.uuid.as_ref().map_or("-", |u| &u.as_str()[..8]), g.size)
            }
            Server::Answers(_) => "non-primary".to_owned(),
        };
        let init = match &machine.node.journal {
            Journal::Known(entry) => entry.db_init.to_string(),
            Journal::Absent | Journal::Unreadable(_) => "-".to_owned(),
        };
        writeln!(out, "{name}: db-init={init} seqno={} {server}", machine.seqno).unwrap();
    }
    if let Some(leader) = world.leader.as_ref().filter(|l| world.machines.contains_key(l)) {
        let o = world.observe(leader);
        let own = mariadb_galera::cluster::decide(&o).state;
        writeln!(out, "{}", judge(&o, &own)).unwrap();
        writeln!(out, "{}", sentence(&o, &own)).unwrap();
    }
    out
}
