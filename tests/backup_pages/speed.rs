//! How fast a backup is, how fast it comes back, and how much memory it takes, beside the programs alone.

use std::fs;
use std::path::Path;
use std::time::Instant;

use mariadb_galera::backup::store::Directory;
use mariadb_galera::backup::{Catalogue, bring_back, recipient_of};

use super::backups::{chain_of, identity, quiet};
use super::begin_in_a_process;
use super::figure::{figure, mean};
use super::server::{Server, Workplace, run, scenario};

#[test]
fn speed_and_memory() {
    if std::env::var("RUN_BENCH").as_deref() != Ok("1") {
        println!("skipped: set RUN_BENCH=1");
        return;
    }
    scenario("speed_and_memory", |place| {
        let server = Server::first(place, false);
        server.write_gigabyte();
        let key = identity();
        let recipient = recipient_of(&key).unwrap();
        let plain = place.path("plain");
        let line = format!(
            "mariadb-backup --defaults-file={} --backup --stream=xbstream 2>/dev/null | zstd -1 -q -T2 > {}",
            server.login_file().display(),
            plain.display()
        );
        let (mut baseline, mut taken, mut back) = (Vec::new(), [Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let (mut back_baseline, mut megabytes, mut peak) = (Vec::new(), 0.0, 0);
        for _ in 0..3 {
            baseline.push(timed(|| drop(run("sh", &["-c", &line]))));
            run("sync", &[]);
            from_disk();
            back_baseline.push(timed(|| restored_by_hand(place, &plain)));
            for (index, recipient) in [None, Some(recipient.as_str())].into_iter().enumerate() {
                let path = place.path("bench-store");
                let child = begin_in_a_process(place, &path, recipient);
                let output = child.wait_with_output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let words = text.lines().find_map(|line| line.split_once("TAKEN ")).unwrap().1;
                let mut numbers =
                    words.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|word| !word.is_empty());
                let mut next = || numbers.next().unwrap().parse::<f64>().unwrap();
                taken[index].push(next());
                (_, megabytes, peak) = (next(), next(), peak.max(next() as u64 >> 10));
                let store = Directory::new(&path);
                let id = Catalogue::read(&store).unwrap().entries().last().unwrap().id.clone();
                from_disk();
                back[index].push(timed(|| {
                    let key = recipient.map(|_| key.as_str());
                    bring_back(&store, &chain_of(&store, &id), key, &place.path("back"), &mut quiet()).unwrap();
                    drop(Server::on(place, "back", false));
                }));
                fs::remove_dir_all(place.path("back")).unwrap();
                fs::remove_dir_all(&path).unwrap();
                run("sync", &[]);
            }
        }
        let per_second = |times: &[f64]| format!("{:.0} MB/s ({:.1} s)", megabytes / mean(times), mean(times));
        let of = format!("{megabytes:.0} MB, mean of 3");
        for (index, how) in ["", ", encrypted"].into_iter().enumerate() {
            let ratio = mean(&baseline) / mean(&taken[index]);
            figure(
                &format!("full backup with checksums{how}, {of}"),
                &per_second(&taken[index]),
                &format!(
                    "mariadb-backup --stream \\| zstd -1 -T2 > file: {}, {ratio:.2} of its throughput; at least 0.9 promised",
                    per_second(&baseline)
                ),
                Some(ratio >= 0.9),
            );
        }
        figure("its own memory at the most", &format!("{peak} MiB"), "at most 64 MiB promised", Some(peak <= 64));
        for (index, how) in ["", ", encrypted"].into_iter().enumerate() {
            let ratio = mean(&back_baseline) / mean(&back[index]);
            figure(
                &format!("restore to a running server, all checksums compared{how}, {of}"),
                &format!("{:.1} s", mean(&back[index])),
                &format!(
                    "zstd -d \\| mbstream -x, prepare, start, also from disk: {:.1} s, {ratio:.2} times as fast; at least as fast promised",
                    mean(&back_baseline)
                ),
                Some(ratio >= 1.0),
            );
        }
    });
}

/// Nobody restores what was written a moment ago: neither lies in memory. Ours would not anyway, it is written past the cache.
fn from_disk() {
    run("sh", &["-c", "sync; echo 1 > /proc/sys/vm/drop_caches"]);
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

/// From the file to a server that answers, as one would do it by hand.
fn restored_by_hand(place: &Workplace, file: &Path) {
    let into = place.path("back");
    fs::create_dir(&into).unwrap();
    let path = into.display();
    run("sh", &["-c", &format!("zstd -q -d -c {} | mbstream -x -C {path}", file.display())]);
    run("mariadb-backup", &["--prepare", &format!("--target-dir={path}"), "--use-memory=96M"]);
    run("chown", &["-R", "mysql:mysql", &path.to_string()]);
    drop(Server::on(place, "back", false));
    fs::remove_dir_all(&into).unwrap();
}
