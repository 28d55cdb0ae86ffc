//! Logical backups of a real server on this machine, without Juju: of everything and of some databases, killed, damaged,
//! brought back, loaded into a server that runs. Needs root and RUN_E2E=1. RUN_BENCH=1 measures too, with `--release`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "support/backups.rs"]
mod backups;
#[path = "support/figure.rs"]
mod figure;
#[path = "backup_pages/server.rs"]
#[expect(dead_code, reason = "what the tests of copies of pages need besides")]
mod server;

#[path = "backup_logical/look.rs"]
mod look;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backups::{
    chain_of, flips_are_found, identity, kill_in_the_middle, kill_when, only_reasons_are_left, other_keys_are_refused,
    quiet, take_and_tell, this_program,
};
use figure::{figure, mean};
use look::{accounts, contents, odd_data, quoted, same};
use mariadb_galera::backup::store::Directory;
use mariadb_galera::backup::stream::Cuts;
use mariadb_galera::backup::take::take_cut;
use mariadb_galera::backup::{
    BackupError, Catalogue, Kind, Live, Manifest, Order, Wanted, bring_back, check, clean_up_load, load, prove,
    recipient_of, take,
};
use mariadb_galera::host::file;
use server::{Server, Workplace, run, scenario};

/// Small ones, so that little data make several of each.
const CUTS: Cuts = Cuts { chunk_bytes: 64 << 10, object_bytes: 256 << 10 };
const ODD: &str = "odd `name";

fn of(server: &Server, databases: &[&str]) -> Order {
    let databases = databases.iter().map(|name| (*name).to_owned()).collect();
    Order { wanted: Wanted::Logical { databases }, ..server.order() }
}

fn live(place: &Workplace, server: &Server) -> Live {
    Live { socket: server.socket(), datadir: server.datadir(), volume: place.root().to_owned(), threads: 2 }
}

#[test]
fn everything_comes_back() {
    scenario("everything_comes_back", |place| {
        let server = Server::first(place, true);
        odd_data(&server);
        server.write_rows(500);
        let databases = [ODD, "second", "empty", "app"];
        let mut server = Some(server);
        let key = identity();
        for key in [None, Some(key.as_str())] {
            // A server that was restarted has forgotten the numbers that nobody has.
            let before = contents(server.as_ref().unwrap(), &databases);
            let who = accounts(server.as_ref().unwrap());
            let store = Directory::new(place.path("store"));
            let recipients = key.map(|key| vec![recipient_of(key).unwrap()]).unwrap_or_default();
            let order = Order { recipients, ..of(server.as_ref().unwrap(), &[]) };
            let made = take_cut(&store, &order, CUTS, &mut quiet()).unwrap();
            assert_eq!((made.kind, made.databases.len(), made.encryption.is_some()), (Kind::Logical, 0, key.is_some()));
            assert_eq!(made.position.as_ref().map(|p| p.uuid.clone()), server.as_ref().map(Server::uuid));
            assert!(made.binlog.is_some() && made.gtid.is_some() && made.lsn.is_none(), "{made:?}");
            let note = made.note.clone().unwrap();
            println!("seen: {note}");
            assert!(note.contains("`crashed_safely`") && note.contains("`old`"), "{note}");
            assert_eq!(place.names_beside("data"), ["data"], "nothing is left of the files that were handed over");
            let chain = chain_of(&store, &made.id);
            check(&store, &chain, &mut quiet()).unwrap();

            let into = place.path("back");
            bring_back(&store, &chain, key, &into, &mut quiet()).unwrap();
            assert_eq!(place.names_beside("back"), ["back"], "nothing lies beside it");
            let back = Server::on(place, "back", false);
            same(&before, &contents(&back, &databases));
            assert_eq!(who, accounts(&back));
            assert_eq!(back.sql("SELECT COUNT(*) FROM mysql.time_zone_name WHERE name = 'Europe/Paris'"), "1");
            drop(back);

            drop(server.take());
            let founder = Server::on(place, "back", true);
            assert_eq!(founder.sql("SHOW STATUS LIKE 'wsrep_ready'"), "wsrep_ready\tON", "a cluster begins with it");
            drop(founder);
            fs::remove_dir_all(&into).unwrap();
            server = Some(Server::on(place, "data", true));

            let proof = prove(&store, &chain, key, &place.path("scratch"), "db/0", &mut quiet()).unwrap();
            assert_eq!(proof.problem, None);
            assert!(proof.tables >= 20 && proof.rows > 700, "{proof:?}");
            if key.is_some() {
                other_keys_are_refused(place, &store, &chain);
            }
            flips_are_found(place, "store", &chain, key);
            fs::remove_dir_all(place.path("store")).unwrap();
        }
    });
}

/// A sum over two tables that no transaction changes, and a table for each.
fn accounts_of_money(server: &Server) {
    server.sql("CREATE DATABASE bank");
    for table in ["bank.a", "bank.b"] {
        server.sql(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, money BIGINT)"));
        server.sql(&format!("INSERT INTO {table} SELECT seq, 1000 FROM seq_1_to_20000"));
    }
}

#[test]
fn all_tables_are_of_one_moment() {
    scenario("all_tables_are_of_one_moment", |place| {
        let server = Server::first(place, true);
        accounts_of_money(&server);
        let store = Directory::new(place.path("store"));
        let stop = AtomicBool::new(false);
        let made: Vec<Manifest> = std::thread::scope(|scope| {
            for writer in 0..3_u32 {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    let mut script = String::new();
                    for step in 0..400 {
                        let row = (writer * 6007 + step * 37) % 20000 + 1;
                        script += &format!(
                            "BEGIN; UPDATE bank.a SET money = money - 7 WHERE id = {row};
                             UPDATE bank.b SET money = money + 7 WHERE id = {row}; COMMIT;"
                        );
                    }
                    while !stop.load(Ordering::Relaxed) {
                        // Two members of a cluster's own threads may take the same row: the transaction is gone as a whole.
                        let _lost = server.try_sql(&script);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(300));
            let made =
                (0..4).map(|_| take_cut(&store, &of(&server, &["bank"]), CUTS, &mut quiet())).collect::<Vec<_>>();
            stop.store(true, Ordering::Relaxed);
            made.into_iter().map(|made| made.unwrap()).collect()
        });
        let mut seqnos = Vec::new();
        for made in &made {
            println!("seen: {} at {:?}", made.note.as_ref().unwrap(), made.position);
            seqnos.push(made.position.as_ref().unwrap().seqno);
        }
        assert!(seqnos.windows(2).all(|pair| pair[0] < pair[1]), "somebody wrote meanwhile: {seqnos:?}");
        for made in &made {
            let chain = chain_of(&store, &made.id);
            let live = live(place, &server);
            server.sql("DROP DATABASE bank");
            let loaded = load(&store, &chain, None, &live, &mut quiet()).unwrap();
            assert_eq!((loaded.tables, loaded.rows), (2, 40000));
            let sum = server.sql("SELECT (SELECT SUM(money) FROM bank.a) + (SELECT SUM(money) FROM bank.b)");
            assert_eq!(sum, "40000000", "money came or went between two tables");
            assert_ne!(server.sql("SELECT SUM(money) FROM bank.a"), "20000000", "somebody had written");
        }
    });
}

#[test]
fn some_databases_into_a_server_that_runs() {
    scenario("some_databases_into_a_server_that_runs", |place| {
        let server = Server::first(place, true);
        odd_data(&server);
        let store = Directory::new(place.path("store"));
        let why = take(&store, &of(&server, &["second", "seconds", "mysql"]), &mut quiet()).unwrap_err();
        println!("seen: {why}");
        assert!(why.to_string().starts_with("cannot back up databases=seconds, mysql: no such database"), "{why}");
        assert!(why.to_string().ends_with("there are: app, empty, odd `name, second"), "{why}");
        assert_eq!(Catalogue::read(&store).unwrap().entries().len(), 0);

        let some = [ODD, "second"];
        let before = contents(&server, &some);
        let made = take_cut(&store, &of(&server, &some), CUTS, &mut quiet()).unwrap();
        assert_eq!(made.databases, some);
        let chain = chain_of(&store, &made.id);
        let why = bring_back(&store, &chain, None, &place.path("back"), &mut quiet()).unwrap_err();
        println!("seen: {why}");
        assert!(matches!(why, BackupError::Partial { .. }), "{why}");
        let proof = prove(&store, &chain, None, &place.path("scratch"), "db/0", &mut quiet()).unwrap();
        assert_eq!(proof.problem, None);

        let live = live(place, &server);
        server.sql("SET foreign_key_checks = 0; DROP DATABASE second");
        let why = load(&store, &chain, None, &live, &mut quiet()).unwrap_err();
        println!("seen: {why}");
        assert!(matches!(&why, BackupError::DatabaseExists { databases, .. } if databases == ODD), "{why}");
        assert_eq!(server.sql("SHOW DATABASES LIKE 'second'"), "", "nothing was touched");
        server.sql(&format!("DROP DATABASE {}", quoted(ODD)));

        // Damaged in its last object: what was made until then goes again.
        let part = made.files.last().unwrap();
        let path = place.path("store").join(&made.id).join(&part.name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        fs::write(&path, &bad).unwrap();
        let why = load(&store, &chain, None, &live, &mut quiet()).unwrap_err();
        assert!(matches!(why, BackupError::Damaged { .. }), "{}", why.in_words());
        assert_eq!(server.sql("SHOW DATABASES LIKE 'second'"), "");
        fs::write(&path, &good).unwrap();

        let loaded = load(&store, &chain, None, &live, &mut quiet()).unwrap();
        println!("seen: {loaded:?}");
        same(&before, &contents(&server, &some));
        assert_eq!(loaded.here_only.len(), 2, "{loaded:?}");
        assert_eq!(place.names_beside("data"), ["data"], "nothing is left beside the data");

        let whole = take_cut(&store, &of(&server, &[]), CUTS, &mut quiet()).unwrap();
        let why = load(&store, &chain_of(&store, &whole.id), None, &live, &mut quiet()).unwrap_err();
        assert!(matches!(why, BackupError::NotPartial { .. }), "{why}");
    });
}

/// The process that is killed: this test program again.
#[test]
fn one_that_is_killed() {
    let Ok(args) = std::env::var("LOGICAL_OF") else { return };
    let args: Vec<&str> = args.split(',').collect();
    let (what, root, store) = (args[0], Path::new(args[1]), Directory::new(args[2]));
    let server = Server::seen_from_afar(root);
    if what == "load" {
        let id = Catalogue::read(&store).unwrap().entries().last().unwrap().id.clone();
        let live = Live { socket: server.socket(), datadir: server.datadir(), volume: root.to_owned(), threads: 2 };
        load(&store, &chain_of(&store, &id), None, &live, &mut quiet()).unwrap();
        return;
    }
    take_and_tell(Path::new(args[2]), &of(&server, &[]));
}

fn in_a_process(what: &str, place: &Workplace, store: &Path) -> std::process::Child {
    this_program("LOGICAL_OF", &format!("{what},{},{}", place.root().display(), store.display())).spawn().unwrap()
}

#[test]
fn killed_in_the_middle() {
    scenario("killed_in_the_middle", |place| {
        let server = Server::first(place, false);
        server.write_noise(120);
        let path = place.path("store");
        let store = Directory::new(&path);
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..2 {
            let id = kill_in_the_middle(in_a_process("take", place, &path), &path, &seen);
            assert!(place.names_beside("data").len() > 1, "so that there is something to clean up");
            seen.push(id);
        }
        let made = take_cut(&store, &of(&server, &[]), CUTS, &mut quiet()).unwrap();
        assert_eq!(place.names_beside("data"), ["data"]);
        only_reasons_are_left(&path, seen.len(), &made);
        let left = server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%INTO OUTFILE%' AND id <> CONNECTION_ID()");
        assert_eq!(left, "0", "nobody writes files any more");

        // A load: half of a database is dropped, but not one that somebody has made in its place.
        let made = take_cut(&store, &of(&server, &["app"]), CUTS, &mut quiet()).unwrap();
        let before = contents(&server, &["app"]);
        let live = live(place, &server);
        server.sql("DROP DATABASE app");
        let half = || server.try_sql("SELECT COUNT(*) > 0 FROM app.noise") == Ok("1".to_owned());
        kill_when(in_a_process("load", place, &path), half);
        assert!(place.path("data.load.json").exists());
        assert_eq!(clean_up_load(&live).unwrap(), ["app"]);
        assert_eq!(server.sql("SHOW DATABASES LIKE 'app'"), "");
        kill_when(in_a_process("load", place, &path), half);
        load(&store, &chain_of(&store, &made.id), None, &live, &mut quiet()).unwrap();
        same(&before, &contents(&server, &["app"]));
        server.sql("DROP DATABASE app");
        kill_when(in_a_process("load", place, &path), half);
        server.sql("DROP DATABASE app; CREATE DATABASE app; CREATE TABLE app.mine (id INT)");
        assert_eq!(clean_up_load(&live).unwrap(), [""; 0]);
        assert_eq!(server.sql("SHOW TABLES FROM app"), "mine", "it bears no mark");
        assert!(!place.path("data.load.json").exists());
    });
}

#[test]
fn odd_states_of_the_server() {
    scenario("odd_states_of_the_server", |place| {
        let server = Server::first(place, true);
        let store = Directory::new(place.path("store"));
        // A view of something that is gone is left out and named; all else is there.
        server.sql(
            "CREATE TABLE app.gone (id INT); CREATE VIEW app.blind AS SELECT * FROM app.gone; DROP TABLE app.gone",
        );
        let made = take_cut(&store, &of(&server, &[]), CUTS, &mut quiet()).unwrap();
        let note = made.note.clone().unwrap();
        assert!(note.ends_with("left out, because they show nothing any more: app.blind"), "{note}");
        let proof =
            prove(&store, &chain_of(&store, &made.id), None, &place.path("scratch"), "db/0", &mut quiet()).unwrap();
        assert_eq!((proof.problem, proof.tables), (None, 1));

        // Somebody has a backup at work: it is waited for, not for ever.
        let socket = format!("--socket={}", server.socket().display());
        let args = ["--no-defaults", &socket, "-e", "BACKUP STAGE START; DO SLEEP(1000)"];
        let mut other = Command::new("mariadb").args(args).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(4));
                let id =
                    server.sql("SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%' LIMIT 1");
                server.sql(&format!("KILL {id}"));
            });
            take_cut(&store, &of(&server, &[]), CUTS, &mut quiet()).unwrap();
        });
        other.wait().unwrap();
        let held = file::try_lock("/run/mariadb-galera/backup.lock").unwrap();
        assert!(matches!(take(&store, &of(&server, &[]), &mut quiet()), Err(BackupError::Busy)), "one at a time");
        drop(held);
        // Changes of tables beside it: it gives a copy or a sentence, and nobody hangs.
        server.write_rows(3000);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let refused = server.try_sql(&format!(
                        "CREATE TABLE app.t{number} (id INT PRIMARY KEY, x INT) SELECT seq AS id, 1 AS x FROM seq_1_to_500;
                         ALTER TABLE app.t{number} ADD COLUMN y INT; DROP TABLE app.t{number}"
                    ));
                    assert!(refused.as_ref().err().is_none_or(|why| why.contains("ERROR 1047") || why.contains("ERROR 1213")), "{refused:?}");
                }
            });
            let mut outcomes = Vec::new();
            for _ in 0..6 {
                let begin = Instant::now();
                outcomes.push(match take_cut(&store, &of(&server, &[]), CUTS, &mut quiet()) {
                    Ok(made) => made.note.unwrap(),
                    Err(why) => why.in_words(),
                });
                assert!(begin.elapsed() < Duration::from_secs(60));
            }
            stop.store(true, Ordering::Relaxed);
            println!("seen: {outcomes:#?}");
            for outcome in outcomes {
                assert!(outcome.contains("try again") || outcome.starts_with("commits were held"), "{outcome}");
            }
        });
    });
}

#[test]
fn speed_and_memory() {
    if std::env::var("RUN_BENCH").as_deref() != Ok("1") {
        println!("skipped: set RUN_BENCH=1");
        return;
    }
    scenario("speed_and_memory", |place| {
        let server = Server::first(place, false);
        server.write_gigabyte();
        let target = place.path("plain");
        let line = format!(
            "mariadb-dump --no-defaults --socket={} --all-databases --single-transaction | zstd -1 -q -T2 > {}",
            server.socket().display(),
            target.display()
        );
        let (mut baseline, mut ours) = (Vec::new(), Vec::new());
        for round in 0..3 {
            let begin = Instant::now();
            run("sh", &["-c", &line]);
            baseline.push(begin.elapsed().as_secs_f64());
            println!(
                "round {round}: mariadb-dump | zstd {:.2} s, {} MB",
                baseline[round],
                fs::metadata(&target).unwrap().len() >> 20
            );
            run("sync", &[]);
            let store = place.path("bench-store");
            let output = in_a_process("take", place, &store).wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let taken = text.lines().find(|line| line.contains("TAKEN")).unwrap();
            println!("round {round}: {taken}");
            ours.push(taken.split("TAKEN ").nth(1).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap());
            if round == 2 {
                let store = Directory::new(&store);
                let id = Catalogue::read(&store).unwrap().entries().last().unwrap().id.clone();
                let (begin, into) = (Instant::now(), place.path("bench-back"));
                bring_back(&store, &chain_of(&store, &id), None, &into, &mut quiet()).unwrap();
                println!("brought back in {:.2} s", begin.elapsed().as_secs_f64());
            }
            fs::remove_dir_all(&store).unwrap();
            run("sync", &[]);
        }
        let ratio = mean(&baseline) / mean(&ours);
        figure(
            "logical backup, mean of 3",
            &format!("{:.1} s", mean(&ours)),
            &format!(
                "mariadb-dump --single-transaction \\| zstd -1 -T2 > file: {:.1} s, {ratio:.2} times as fast; at least twice promised",
                mean(&baseline)
            ),
            Some(ratio >= 2.0),
        );
    });
}
