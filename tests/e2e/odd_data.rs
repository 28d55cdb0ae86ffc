//! Data directories as crashes and people leave them: each comes back to the cluster it belongs to, or says why not.

use super::client::OPERATOR;
use super::model::Model;

/// How a member gets back what it missed.
enum Back {
    /// Its copy is used, and only what came since is sent.
    Incremental,
    /// It receives a full copy.
    Full,
}

struct Oddity {
    what: &'static str,
    /// Done to the stopped server's data directory.
    done: &'static str,
    back: Back,
}

const ODDITIES: [Oddity; 6] = [
    Oddity { what: "a torn grastate.dat", done: "truncate -s 50 grastate.dat", back: Back::Incremental },
    Oddity { what: "an empty grastate.dat", done: "truncate -s 0 grastate.dat", back: Back::Incremental },
    Oddity { what: "no grastate.dat", done: "rm grastate.dat", back: Back::Full },
    Oddity {
        what: "the nil UUID beside safe_to_bootstrap: 1",
        done: "sed -i -e 's/^uuid:.*/uuid:    00000000-0000-0000-0000-000000000000/' -e 's/^seqno:.*/seqno:   -1/' \
               -e 's/^safe_to.*/safe_to_bootstrap: 1/' grastate.dat",
        back: Back::Full,
    },
    Oddity {
        what: "an empty gvwstate.dat",
        done: "truncate -s 0 gvwstate.dat; chown mysql: gvwstate.dat",
        back: Back::Incremental,
    },
    Oddity { what: "a lost disk", done: "cd / && find /var/lib/mysql -mindepth 1 -delete", back: Back::Full },
];

/// One after the other on the same member.
pub(crate) fn comes_back(m: &Model, app: &str) {
    m.deploy(app, 3, &[]);
    let uuid = m.one_cluster(app, 3, 300);
    let units: Vec<String> = m.app(app).units.into_iter().map(|unit| unit.name).collect();
    let [writer, victim, _] = units.as_slice() else { panic!("three units") };
    let rows = "CREATE DATABASE e2e; CREATE TABLE e2e.odd (number BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(80), \
                filler CHAR(200)); INSERT INTO e2e.odd (what, filler) SELECT 'start', seq FROM e2e.seq_1_to_100000";
    m.sql(writer, rows).unwrap();
    for oddity in &ODDITIES {
        m.step(&format!("{victim} with {}", oddity.what));
        stopped(m, victim, oddity.done);
        m.sql(writer, &format!("INSERT INTO e2e.odd (what) VALUES ('{}')", oddity.what)).unwrap();
        m.hold(m.one_cluster(app, 3, 180) == uuid, &format!("it is the same cluster after {}", oddity.what));
        received(m, victim, oddity);
        same_rows(m, &units, oddity.what);
    }
    killed_in_ddl(m, app, &units, &uuid);
    cut_in_ddl(m, app, &units, &uuid);
    another_history(m, app, &units, &uuid);
}

fn received(m: &Model, unit: &str, oddity: &Oddity) {
    m.soon(&format!("{unit} received what it should after {}", oddity.what), 15, || {
        match (&oddity.back, m.transfers(unit, "--since @$(cat /root/since)")) {
            (Back::Incremental, (0, 1..)) | (Back::Full, (1.., _)) => Ok(()),
            (_, (full, missed)) => Err(format!("{full} full, {missed} incremental")),
        }
    });
}

/// Kills the server, so that nothing is tidied up, and does something to its data before it starts again.
fn stopped(m: &Model, unit: &str, done: &str) {
    let script = format!(
        "date +%s > /root/since; systemctl mask --runtime --quiet mariadb; systemctl kill --signal=KILL mariadb; \
         while pgrep -x mariadbd >/dev/null; do sleep 0.1; done; cd /var/lib/mysql/data && {done}; \
         cd /; systemctl unmask --runtime --quiet mariadb; systemctl reset-failed mariadb; systemctl start --no-block mariadb"
    );
    let said = m.on(unit, &script);
    m.hold(said.ok, &format!("it can be done on {unit}: {}", said.err.trim()));
}

fn same_rows(m: &Model, units: &[String], when: &str) {
    let sums: Vec<_> = units.iter().map(|unit| m.sql(unit, "CHECKSUM TABLE e2e.odd")).collect();
    m.hold(
        sums[0].is_ok() && sums.iter().all(|sum| *sum == sums[0]),
        &format!("the same rows everywhere after {when}: {sums:?}"),
    );
}

/// The server dies in the middle of a change of the table that the others carry out too.
fn killed_in_ddl(m: &Model, app: &str, units: &[String], uuid: &str) {
    let victim = &units[1];
    m.step(&format!("kill the server of {victim} in the middle of an ALTER TABLE"));
    let change = "ALTER TABLE e2e.odd ADD COLUMN more CHAR(200) DEFAULT 'x', FORCE, ALGORITHM=COPY";
    let script =
        format!("(mariadb -e \"{change}\" >/dev/null 2>&1 &) ; sleep 0.4; systemctl kill --signal=KILL mariadb");
    m.on(victim, &script);
    m.hold(m.one_cluster(app, 3, 180) == uuid, "it is the same cluster after a crash within a table's change");
    // The next AUTO_INCREMENT is each server's own affair: only the columns are compared.
    let columns =
        "SELECT COLUMN_NAME, COLUMN_TYPE, COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_NAME = 'odd'";
    let tables: Vec<_> = units.iter().map(|unit| m.sql(unit, columns)).collect();
    m.hold(tables.iter().all(|table| *table == tables[0]), &format!("the table is the same everywhere: {tables:?}"));
    same_rows(m, units, "a crash within a table's change");
}

/// The power goes while all carry out the same change: nobody has a copy that Galera would use, and all have a saved view.
/// Restored, it would make them begin a new history, each with its own data.
fn cut_in_ddl(m: &Model, app: &str, units: &[String], uuid: &str) {
    // 20 ms a row, whatever the disk does.
    let rows = "CREATE TABLE e2e.slow (number INT PRIMARY KEY, what CHAR(40)); \
                INSERT INTO e2e.slow SELECT seq, REPEAT('x', 40) FROM e2e.seq_1_to_500";
    m.sql(&units[0], rows).unwrap();
    let change =
        "ALTER TABLE e2e.slow ADD COLUMN sum CHAR(128) DEFAULT (SHA2(REPEAT(what, 400000), 512)), ALGORITHM=COPY";
    m.step("cut the power of all in the middle of an ALTER TABLE");
    m.on(&units[0], &format!("systemd-run --quiet mariadb -e '{change}'"));
    let nil = "for i in $(seq 100); do grep -q '^uuid: *00000000-' /var/lib/mysql/data/grastate.dat && exit 0; \
               sleep 0.1; done; exit 1";
    for unit in units {
        m.hold(m.on(unit, nil).ok, &format!("{unit} is within the change"));
    }
    let all: Vec<&str> = units.iter().map(String::as_str).collect();
    m.juju(&[&["fault", "power-off"], all.as_slice()].concat());
    m.juju(&[&["fault", "power-on"], all.as_slice()].concat());
    m.until("no server starts by itself", 60, || {
        let said = "journalctl --boot --unit mariadb --no-pager --output cat | grep -c 'died within a statement'";
        let silent: Vec<_> = units.iter().filter(|unit| !m.on(unit, said).ok).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("{silent:?} said nothing")) }
    });
    m.hold(m.one_cluster(app, 3, 180) == uuid, "the same history goes on, from the newest copy");
    same_rows(m, units, "a power cut within a table's change");
}

/// The state file names another history: it is never started, and nothing of it is overwritten.
fn another_history(m: &Model, app: &str, units: &[String], uuid: &str) {
    let victim = &units[1];
    let other = "11111111-2222-3333-4444-555555555555";
    m.step(&format!("{victim} with another history"));
    let sum = "sha1sum /var/lib/mysql/data/ibdata1 | cut -c1-40";
    stopped(m, victim, &format!("sed -i 's/^uuid:.*/uuid:    {other}/' grastate.dat"));
    m.until("it says what it holds and what it should be", 90, || {
        let now = m.app(app).units.into_iter().find(|unit| unit.name == *victim).unwrap();
        let named = now.workload == "blocked" && now.message.contains(other) && now.message.contains(uuid);
        if named { Ok(()) } else { Err(now.message) }
    });
    let (before, after) = (m.on(victim, sum).out, m.on(victim, &format!("sleep 5; {sum}")).out);
    m.hold(before == after && before.len() > 40, "its data is left alone");
    m.step("give it its own history again");
    let mended = m.on(victim, &format!("sed -i 's/^uuid:.*/uuid:    {uuid}/' /var/lib/mysql/data/grastate.dat"));
    m.hold(mended.ok, "the file is mended");
    m.hold(m.one_cluster(app, 3, 180) == uuid, "the blocked state clears by itself");
    same_rows(m, units, "another history");
    let shown = m.run(&units[0], &["get-password", &format!("username={OPERATOR}")]);
    m.hold(shown["password"].is_string(), "and the cluster answers requests");
}
