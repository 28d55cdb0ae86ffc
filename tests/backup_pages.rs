//! Backups of a real server on this machine, without Juju: made, killed, damaged, brought back and counted. Needs root
//! and RUN_E2E=1. RUN_BENCH=1 measures too, with `--release`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "the tests stand outside the charm and drive programs themselves")]

#[path = "support/backups.rs"]
mod backups;
#[path = "support/figure.rs"]
mod figure;
#[path = "backup_pages/server.rs"]
mod server;

#[path = "backup_pages/speed.rs"]
mod speed;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use backups::{
    chain_of, flips_are_found, identity, kill_in_the_middle, only_reasons_are_left, other_keys_are_refused, quiet,
    take_and_tell, this_program,
};
use mariadb_galera::backup::store::{Directory, Store as _};
use mariadb_galera::backup::stream::Cuts;
use mariadb_galera::backup::take::take_cut;
use mariadb_galera::backup::{
    BackupError, Catalogue, Kind, Manifest, Order, Shape, Wanted, bring_back, check, prove, recipient_of, take, verify,
};
use mariadb_galera::host::file;
use server::{Server, Workplace, run, scenario};

/// Small ones, so that little data make several of each.
const CUTS: Cuts = Cuts { chunk_bytes: 256 << 10, object_bytes: 1 << 20 };

fn data_objects(store: &Directory, id: &str) -> Vec<String> {
    store.list(&format!("{id}/data.")).unwrap().into_iter().map(|object| object.name).collect()
}

/// Rows of the one table after each backup.
fn points(server: &Server, store: &Directory, order: &Order) -> Vec<(Manifest, u64)> {
    server.sql("CREATE OR REPLACE TABLE app.written (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(2000))");
    let mut found = Vec::new();
    for step in 0..7_u64 {
        server.write_rows(300 + 50 * step);
        let wanted = if step == 0 { Wanted::Full } else { Wanted::Incremental };
        let made = take_cut(store, &Order { wanted, ..order.clone() }, CUTS, &mut quiet()).unwrap();
        found.push((made, server.count()));
    }
    found
}

/// One full and six incrementals, each brought back; and damage of every object is found before anything is there.
fn a_chain(place: &Workplace, server: &Server, key: Option<&str>) {
    let store = Directory::new(place.path("chain"));
    let recipients = key.map(|key| vec![recipient_of(key).unwrap()]).unwrap_or_default();
    let order = Order { recipients, ..server.order() };
    let points = points(server, &store, &order);
    let catalogue = Catalogue::read(&store).unwrap();
    for (index, (made, rows)) in points.iter().enumerate() {
        assert_eq!(made.kind, if index == 0 { Kind::Full } else { Kind::Incremental }, "{:?}", made.note);
        let parent = index.checked_sub(1).map(|before| points[before].0.id.clone());
        assert_eq!(made.parent, parent, "{:?}", made.note);
        assert_eq!(made.position.as_ref().map(|p| p.uuid.clone()), Some(server.uuid()), "where in the history it ends");
        assert!(made.binlog.is_some() && made.gtid.is_some() && made.incarnation.is_some(), "{made:?}");
        assert_eq!(made.encryption.is_some(), key.is_some());
        let chain = catalogue.chain(&made.id).unwrap();
        assert_eq!(chain.len(), index + 1);
        check(&store, &chain, &mut quiet()).unwrap();
        let into = place.path("back");
        bring_back(&store, &chain, key, &into, &mut quiet()).unwrap();
        assert_eq!(place.names_beside("back"), ["back"], "nothing lies beside it");
        let left: Vec<String> = file::list_opt(&into).unwrap().unwrap();
        let foreign = |name: &&String| name.contains("grastate") || name.contains("backup") || name.contains("galera");
        assert_eq!(left.iter().find(foreign), None);
        let back = Server::on(place, "back", false);
        assert_eq!(back.count(), *rows, "rows at point {index}");
        drop(back);
        fs::remove_dir_all(&into).unwrap();
    }
    let seqnos: Vec<u64> = points.iter().filter_map(|(made, _)| made.position.as_ref().map(|p| p.seqno)).collect();
    assert!(seqnos.windows(2).all(|pair| pair[0] < pair[1]), "{seqnos:?}");

    let last = &points[6].0;
    let chain = chain_of(&store, &last.id);
    let into = place.path("back");
    let flipped = flips_are_found(place, "chain", &chain, key);
    assert!(flipped > 7, "some of them have several objects: {flipped}");

    // Shortened and lost ones are seen before a byte was read.
    let name = last.files.last().unwrap();
    let path = place.path("chain").join(&last.id).join(&name.name);
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    let listed = Catalogue::read(&store).unwrap().chain(&last.id).unwrap_err();
    assert!(matches!(listed, BackupError::Size { .. }), "{listed}");
    let refused = bring_back(&store, &chain, key, &into, &mut quiet()).unwrap_err();
    assert!(matches!(refused, BackupError::Size { .. }), "{refused}");
    fs::remove_file(&path).unwrap();
    let refused = bring_back(&store, &chain, key, &into, &mut quiet()).unwrap_err();
    assert!(matches!(refused, BackupError::MissingObject { .. }), "{refused}");
    fs::write(&path, &good).unwrap();
    if key.is_some() {
        other_keys_are_refused(place, &store, &chain);
    }
    // A parent that somebody deleted.
    fs::remove_dir_all(place.path("chain").join(&points[2].0.id)).unwrap();
    let broken = Catalogue::read(&store).unwrap().chain(&last.id).unwrap_err().to_string();
    assert!(broken.contains(&points[2].0.id) && broken.ends_with("which is gone"), "{broken}");
    let anew = take_cut(&store, &Order { wanted: Wanted::Incremental, ..order }, CUTS, &mut quiet()).unwrap();
    assert_eq!(anew.parent.as_ref(), Some(&points[1].0.id), "the newest that is whole: {:?}", anew.note);
    assert!(place.names_beside("back").is_empty());
    fs::remove_dir_all(place.path("chain")).unwrap();
}

#[test]
fn chains() {
    scenario("chains", |place| {
        let server = Server::first(place, true);
        a_chain(place, &server, None);
        a_chain(place, &server, Some(&identity()));
    });
}

#[test]
fn proofs() {
    scenario("proofs", |place| {
        let server = Server::first(place, false);
        let store = Directory::new(place.path("store"));
        server.sql("CREATE TABLE app.old (id INT PRIMARY KEY, x VARCHAR(100)) ENGINE=Aria TRANSACTIONAL=0");
        server.sql("INSERT INTO app.old SELECT seq, 'old' FROM seq_1_to_3000; CREATE SEQUENCE app.numbers");
        server.write_rows(500);
        server.sql("FLUSH TABLES");
        let good = take_cut(&store, &server.order(), CUTS, &mut quiet()).unwrap();
        let scratch = place.path("scratch");
        let look = |id: &str| prove(&store, &chain_of(&store, id), None, &scratch, "db/0", &mut quiet()).unwrap();
        let proof = look(&good.id);
        assert_eq!((proof.problem.as_deref(), proof.tables, proof.rows), (None, 3, 3501), "{proof:?}");
        assert!(!scratch.exists(), "nothing is left");
        verify::record(&store, &good.id, &proof).unwrap();
        let read = Catalogue::read(&store).unwrap();
        assert_eq!(read.entry(&good.id).unwrap().proof.as_ref(), Some(&proof));
        assert_eq!(look(&good.id).checksum, proof.checksum, "the same backup, the same digest");

        // A table that was damaged already when it was copied: all checksums of the backup are right.
        let file = server.datadir().join("app/old.MAD");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4000].fill(0xff);
        fs::write(&file, bytes).unwrap();
        let bad = take_cut(&store, &server.order(), CUTS, &mut quiet()).unwrap();
        check(&store, &chain_of(&store, &bad.id), &mut quiet()).unwrap();
        let problem = look(&bad.id).problem.unwrap();
        assert!(problem.starts_with("`app`.`old`: "), "{problem}");
        println!("seen: {problem}");

        let path = place.path("store").join(&data_objects(&store, &good.id)[0]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[70_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let problem = look(&good.id).problem.unwrap();
        assert!(problem.contains("is damaged in chunk 1"), "{problem}");
        assert!(!scratch.exists(), "nothing is left");
    });
}

/// A backup and a change of tables may wait for each other: then the backup gives way, and says so.
fn take_beside_changes(store: &Directory, order: &Order) -> Manifest {
    for _ in 0..5 {
        match take_cut(store, order, CUTS, &mut quiet()) {
            Ok(made) => return made,
            Err(why) => {
                println!("seen: {}", why.in_words());
                assert!(matches!(why, BackupError::GaveWay { .. }));
            }
        }
    }
    panic!("no backup beside changes of tables");
}

#[test]
fn tables_change_meanwhile() {
    scenario("tables_change_meanwhile", |place| {
        let server = Server::first(place, true);
        let store = Directory::new(place.path("store"));
        server.write_rows(5000);
        let rows = server.count();
        let made = std::thread::scope(|scope| {
            // Dropped whatever happens: then the changes end.
            let (_go_on, stop) = std::sync::mpsc::channel::<()>();
            let server = &server;
            scope.spawn(move || {
                let mut number = 0;
                while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                    number += 1;
                    // While it stands still for the end of a copy, a member of a cluster refuses changes of tables.
                    let refused = server.try_sql(&format!(
                        "CREATE TABLE app.t{number} (id INT PRIMARY KEY, x INT)
                         SELECT seq AS id, 1 AS x FROM seq_1_to_500;
                         ALTER TABLE app.t{number} ADD COLUMN y VARCHAR(20) DEFAULT 'new', ADD INDEX (x);
                         RENAME TABLE app.t{number} TO app.r{number}; TRUNCATE app.r{number};
                         INSERT INTO app.r{number} VALUES (1, 2, 'three')"
                    ));
                    let refused = refused.and_then(|_| match number % 3 {
                        0 => server.try_sql(&format!("DROP TABLE app.r{number}")),
                        _ => Ok(String::new()),
                    });
                    assert!(refused.as_ref().err().is_none_or(|why| why.contains("ERROR 1047")), "{refused:?}");
                }
            });
            [Wanted::Full, Wanted::Incremental, Wanted::Incremental]
                .map(|wanted| take_beside_changes(&store, &Order { wanted, ..server.order() }))
        });
        for made in made {
            assert!(made.position.is_some(), "{made:?}");
            let chain = chain_of(&store, &made.id);
            let proof = prove(&store, &chain, None, &place.path("scratch"), "db/0", &mut quiet()).unwrap();
            assert_eq!(proof.problem, None);
            assert!(proof.tables > 1 && proof.rows >= rows, "{proof:?}");
            println!("{} {}: {} tables, {} rows", made.kind, made.id, proof.tables, proof.rows);
        }
    });
}

/// The process that is killed: this test program again.
#[test]
fn one_that_is_killed() {
    let Ok(args) = std::env::var("BACKUP_OF") else { return };
    let (workplace, store) = args.split_once(',').unwrap();
    let server = Server::seen_from_afar(Path::new(workplace));
    let recipients = std::env::var("BACKUP_FOR").ok().into_iter().collect();
    take_and_tell(Path::new(store), &Order { recipients, ..server.order() });
}

fn begin_in_a_process(place: &Workplace, store: &Path, recipient: Option<&str>) -> std::process::Child {
    let mut command = this_program("BACKUP_OF", &format!("{},{}", place.root().display(), store.display()));
    if let Some(recipient) = recipient {
        command.env("BACKUP_FOR", recipient);
    }
    command.spawn().unwrap()
}

#[test]
fn killed_in_the_middle() {
    scenario("killed_in_the_middle", |place| {
        let server = Server::first(place, false);
        server.write_noise(150);
        let path = place.path("store");
        let store = Directory::new(&path);
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..4 {
            let child = begin_in_a_process(place, &path, None);
            let id = child.id();
            seen.push(kill_in_the_middle(child, &path, &seen));
            std::thread::sleep(Duration::from_millis(300));
            let running = server::processes_with(&format!("backup.{id}-"));
            assert!(running.is_empty(), "its programs have ended with it: {running:?}");
        }
        let made = take_cut(&store, &server.order(), CUTS, &mut quiet()).unwrap();
        only_reasons_are_left(&path, seen.len(), &made);
        let private = file::list_opt("/run/mariadb-galera").unwrap().unwrap();
        assert_eq!(private.iter().filter(|name| name.starts_with("backup.") && *name != "backup.lock").count(), 0);
    });
}

#[test]
fn a_full_store() {
    scenario("a_full_store", |place| {
        let server = Server::first(place, false);
        server.write_noise(60);
        let (small, middling) = (place.tmpfs("small", 4), place.tmpfs("middling", 56));
        let why = take(&Directory::new(&small), &server.order(), &mut quiet()).unwrap_err();
        assert!(matches!(&why, BackupError::NoRoomInStore { free, need, .. } if free < need), "{why}");
        assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
        println!("seen: {why}");

        let store = Directory::new(&middling);
        let why = take(&store, &server.order(), &mut quiet()).unwrap_err();
        assert!(why.to_string().contains("is full: make room there"), "{}", why.in_words());
        println!("seen: {why}");
        let catalogue = Catalogue::read(&store).unwrap();
        let [entry] = catalogue.entries() else { panic!("{catalogue:?}") };
        assert!(matches!(&entry.shape, Shape::Failed(failed) if failed.reason == why.to_string()), "{:?}", entry.shape);
        assert_eq!(file::list_opt(middling.join(&entry.id)).unwrap().unwrap(), ["failed.json"]);

        // The disk that it is to be brought back to.
        let store = Directory::new(place.path("store"));
        let made = take(&store, &server.order(), &mut quiet()).unwrap();
        let target = place.tmpfs("target", 30);
        let why = bring_back(&store, &[made], None, &target.join("data"), &mut quiet()).unwrap_err();
        assert!(matches!(&why, BackupError::NoRoom { free, need, .. } if free < need), "{why}");
        println!("seen: {why}");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    });
}

#[test]
fn the_server_ends_in_the_middle() {
    scenario("the_server_ends", |place| {
        let mut server = Server::first(place, false);
        server.write_noise(150);
        let path = place.path("store");
        let store = Directory::new(&path);
        // A file that is on its way has another name.
        let begun = || run("find", &[path.to_str().unwrap(), "-name", "data.*", "-size", "+4M"]);
        let made = std::thread::scope(|scope| {
            let (order, into) = (server.order(), Directory::new(&path));
            let taken = scope.spawn(move || take(&into, &order, &mut quiet()));
            let begin = Instant::now();
            while !path.exists() || begun().is_empty() {
                assert!(begin.elapsed() < Duration::from_secs(30) && !taken.is_finished(), "too quick");
                std::thread::sleep(Duration::from_millis(5));
            }
            server.sql("SHUTDOWN");
            taken.join().unwrap()
        });
        let why = made.unwrap_err();
        println!("seen: {}", why.in_words());
        let catalogue = Catalogue::read(&store).unwrap();
        let [entry] = catalogue.entries() else { panic!("{catalogue:?}") };
        assert!(matches!(&entry.shape, Shape::Failed(failed) if failed.reason == why.in_words()), "{:?}", entry.shape);
        assert_eq!(store.list("").unwrap().len(), 1, "only the reason is left");
        server.restart();
        take(&store, &server.order(), &mut quiet()).unwrap();
    });
}

#[test]
fn another_data_directory_and_other_trouble() {
    scenario("another_data_directory", |place| {
        let mut server = Server::first(place, false);
        server.write_rows(200);
        let store = Directory::new(place.path("store"));
        let order = Order { wanted: Wanted::Incremental, ..server.order() };
        let first = take(&store, &order, &mut quiet()).unwrap();
        assert_eq!(first.note.as_deref(), Some("full instead of incremental: there is no earlier one of this unit"));
        server.restart();
        let second = take(&store, &order, &mut quiet()).unwrap();
        assert_eq!(second.parent.as_ref(), Some(&first.id), "a restart is no new directory: {:?}", second.note);
        server.copy_data_directory();
        let third = take(&store, &order, &mut quiet()).unwrap();
        let note = third.note.unwrap();
        assert!(note.starts_with("full instead of incremental: the data directory is another one than"), "{note}");

        // Nobody should need two keys for one restore.
        let recipients = vec![recipient_of(&identity()).unwrap()];
        let keyed = take(&store, &Order { recipients, ..order.clone() }, &mut quiet()).unwrap();
        let note = keyed.note.unwrap();
        assert!(note.starts_with("full instead of incremental:") && note.contains("is encrypted for others"), "{note}");

        // Somebody else's backup is nothing to build on, and is left alone.
        let other = Order { unit: "db/9".to_owned(), ..order.clone() };
        assert_eq!(take(&store, &other, &mut quiet()).unwrap().kind, Kind::Full);

        let wrong = Order { password: "wrong".to_owned(), ..order.clone() };
        let why = take(&store, &wrong, &mut quiet()).unwrap_err().in_words();
        assert!(why.contains("Access denied") && !why.contains("wrong\""), "{why}");
        println!("seen: {why}");
        let wrong = Order { recipients: vec!["age1nobody".to_owned()], ..order.clone() };
        let why = take(&store, &wrong, &mut quiet()).unwrap_err();
        assert!(matches!(why, BackupError::BadRecipients { .. }), "{why}");
        let begun = Catalogue::read(&store).unwrap().entries().len();
        let held = file::try_lock("/run/mariadb-galera/backup.lock").unwrap();
        assert!(matches!(take(&store, &order, &mut quiet()), Err(BackupError::Busy)), "one at a time");
        drop(held);
        take(&store, &order, &mut quiet()).unwrap();
        assert_eq!(Catalogue::read(&store).unwrap().entries().len(), begun + 1);
    });
}
