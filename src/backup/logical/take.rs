//! Making a logical backup: sessions that see one moment write pieces of tables as files, and each file goes into the
//! stream and away as soon as it is whole.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::index::{self, Count, End, Index, Piece, Table};
use super::schema::{self, Schema};
use super::snapshot::{self, Snapshot};
use super::staging::Staging;
use super::{ACCOUNTS, END, INDEX, SCHEMA, TRIGGERS};
use crate::backup::attempt::Attempt;
use crate::backup::base;
use crate::backup::catalogue::Catalogue;
use crate::backup::error::{BackupError, concise};
use crate::backup::key;
use crate::backup::manifest::{self, Encryption, FORMAT, Kind, Manifest};
use crate::backup::private::Private;
use crate::backup::pump::{self, Broken};
use crate::backup::store::Store;
use crate::backup::stream::{Cuts, Sink};
use crate::backup::take::Order;
use crate::backup::{Phase, Progress};
use crate::host::pipe::{End as Stop, Row};
use crate::host::{Command, beside, clock};
use crate::mariadb::sql::{Session, SqlError, quote_identifier};

const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Beside what the tables need: for what is smaller than its text, and for everything that is always there.
const SPARE_BYTES: u64 = 64 << 20;
/// How often another moment is tried where tables change.
const TRY_COUNT: u64 = 5;
/// What is read and written at once: small blocks wake the programs more often than they do anything.
const BLOCK_BYTES: usize = 1 << 20;
/// So many names are told, and how many more there are.
const NAMED: usize = 5;

/// Makes one, of these databases or of all.
pub(in crate::backup) fn take(
    store: &dyn Store,
    catalogue: &Catalogue,
    order: &Order,
    databases: &[String],
    cuts: Cuts,
    told: &mut dyn FnMut(Progress),
) -> Result<Manifest, BackupError> {
    let mut session = Session::open_at(&order.socket.to_string_lossy(), ANSWER_LIMIT)?;
    let there = index::databases(&mut session).map_err(|why| in_the_way(why.into()))?;
    index::check(&there, databases)?;
    snapshot::end_orphans(&mut session)?;
    let staging = Staging::of(&mut session, &order.datadir, "dump")?;
    let mut work = Work { store, catalogue, order, databases, cuts, session, staging };
    Attempt::run(store, order, Kind::Logical, |attempt| work.copy(attempt, told))
}

/// A moment.
struct Seen {
    snapshot: Snapshot,
    index: Index,
    schema: Schema,
    pieces: Vec<Piece>,
}

struct Work<'a> {
    store: &'a dyn Store,
    catalogue: &'a Catalogue,
    order: &'a Order,
    databases: &'a [String],
    cuts: Cuts,
    session: Session,
    staging: Staging,
}

impl Work<'_> {
    fn copy(&mut self, attempt: &mut Attempt<'_>, told: &mut dyn FnMut(Progress)) -> Result<Manifest, BackupError> {
        let order = self.order;
        let Seen { mut snapshot, index, schema, pieces } = self.see()?;
        let total = index.tables.iter().map(|table| table.bytes).sum();
        self.check_room(&pieces, total)?;
        let note = note(&index, &schema, self.databases, snapshot.held);

        let private = Private::new()?;
        let row = programs(order, &private)?;
        let sessions = std::mem::take(&mut snapshot.sessions);
        let sink = Sink::new(self.store, &attempt.id, self.cuts);
        let (files, raw_bytes) = self.stream(row, sink, sessions, &index, &schema, pieces, attempt, (total, told))?;
        let recipients = order.recipients.clone();
        Ok(Manifest {
            format: FORMAT,
            id: attempt.id.clone(),
            kind: Kind::Logical,
            parent: None,
            databases: self.databases.to_vec(),
            position: snapshot.position,
            gtid: snapshot.gtid,
            binlog: snapshot.binlog,
            lsn: None,
            unit: order.unit.clone(),
            application: order.application.clone(),
            model_uuid: order.model_uuid.clone(),
            cluster: order.cluster.clone(),
            incarnation: None,
            server_version: snapshot.server_version,
            tool: tool(),
            compression: "zstd".to_owned(),
            encryption: (!recipients.is_empty()).then_some(Encryption { recipients }),
            raw_bytes,
            stored_bytes: files.iter().map(|part| part.bytes).sum(),
            chunk_bytes: self.cuts.chunk_bytes,
            files,
            began: attempt.at(),
            ended: manifest::now(),
            who: order.who.clone(),
            why: order.why.clone(),
            note: Some(note),
        })
    }

    /// The moment and what there is in it. Where tables change all the time, some other moment may do.
    fn see(&mut self) -> Result<Seen, BackupError> {
        let mut again = 0;
        loop {
            again += 1;
            match self.see_once().map_err(in_the_way) {
                Err(BackupError::TablesChanged { .. }) if again < TRY_COUNT => {
                    clock::sleep(Duration::from_millis(200 * again));
                }
                seen => return seen,
            }
        }
    }

    fn see_once(&mut self) -> Result<Seen, BackupError> {
        let mut snapshot = Snapshot::open(&self.order.socket, self.order.threads)?;
        let index = Index::read(&mut self.session, self.databases)?;
        let names: Vec<&str> = index.databases.iter().map(|database| database.name.as_str()).collect();
        let schema = schema::read(&self.order.socket.to_string_lossy(), &names, self.databases.is_empty())?;
        // Both are of a later moment than the rows: only when nobody has changed tables meanwhile they belong together.
        if Index::read(&mut self.session, self.databases)?.names() != index.names() {
            return Err(BackupError::TablesChanged { table: "the tables".to_owned() });
        }
        let pieces = match snapshot.sessions.first_mut() {
            Some(session) => index.pieces(&mut |table| range(session, table))?,
            None => Vec::new(),
        };
        Ok(Seen { snapshot, index, schema, pieces })
    }

    /// In the store for all of it, and where files are handed over for the largest pieces.
    fn check_room(&self, pieces: &[Piece], total: u64) -> Result<(), BackupError> {
        base::check_room_for(self.store, self.catalogue, self.order, Kind::Logical, total)?;
        // One that is written and one that waits for each session, and one that goes into the stream.
        let mut largest: Vec<u64> = pieces.iter().map(|piece| piece.bytes).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let at_once = 2 * self.order.threads.max(1) as usize + 1;
        self.staging.check_room(largest.iter().take(at_once).sum::<u64>() * 3 / 2 + SPARE_BYTES)
    }

    #[expect(clippy::too_many_arguments, reason = "everything that moves at the same time")]
    fn stream(
        &self,
        row: Row,
        sink: Sink<'_>,
        sessions: Vec<Session>,
        index: &Index,
        schema: &Schema,
        pieces: Vec<Piece>,
        attempt: &mut Attempt<'_>,
        (total, told): (u64, &mut dyn FnMut(Progress)),
    ) -> Result<(Vec<manifest::Part>, u64), BackupError> {
        let program = |source| BackupError::Program { what: "compress a backup", source: concise(source) };
        let (feed, outflow) = row.through().map_err(program)?;
        let shared = Shared::new(pieces, outflow.end());
        let ids: Vec<u32> = sessions.iter().map(Session::id).collect();
        let pumped = thread::scope(|scope| {
            let (send, filled) = mpsc::sync_channel(sessions.len());
            for session in sessions {
                let (send, shared, folder) = (send.clone(), &shared, self.staging.path());
                scope.spawn(move || write_pieces(session, index, folder, shared, &send));
            }
            drop(send);
            let feeder = &shared;
            scope.spawn(move || feed_all(Counted { to: feed, shared: feeder }, index, schema, &filled, feeder));
            let pumped = pump::run(outflow, sink, attempt, &mut |_| {
                let done = shared.state().bytes.min(total);
                told(Progress { phase: Phase::Copying, done, total });
            });
            if pumped.is_err() {
                shared.give_up(None);
                self.end_statements(&ids);
            }
            pumped
        });
        let state = shared.into_state();
        match (state.problem, pumped) {
            (Some(why), _) => Err(why),
            (None, Ok(files)) => Ok((files, state.bytes)),
            (None, Err(Broken::Store(why))) => Err(why.into()),
            (None, Err(Broken::Programs(why))) => Err(program(why)),
        }
    }

    /// Those that write files do not notice that nobody wants them.
    fn end_statements(&self, ids: &[u32]) {
        let Ok(mut session) = Session::open_at(&self.order.socket.to_string_lossy(), ANSWER_LIMIT) else { return };
        for id in ids {
            // It may have ended by itself.
            let _ended = session.run("end a copy", &format!("KILL {id}"));
        }
    }
}

fn programs(order: &Order, private: &Private) -> Result<Row, BackupError> {
    let compressor = Command::new("zstd").args(["-1", "-q", "-c", &format!("-T{}", order.threads.max(1))]);
    let row = Row::of(compressor);
    if order.recipients.is_empty() {
        return Ok(row);
    }
    let recipients = private.write("recipients", &key::lines(&order.recipients))?;
    Ok(row.then(Command::new("age").arg("-R").arg(recipients)))
}

fn tool() -> String {
    let said = Command::new("mariadb-dump").arg("--version").run();
    let version = said.map(|output| output.stdout_text().trim().to_owned()).unwrap_or_default();
    format!("SELECT INTO OUTFILE; {version}")
}

/// From where to where a table's numbers go, in the snapshot.
fn range(session: &mut Session, table: &Table) -> Result<Option<index::Range>, BackupError> {
    let Some(number) = &table.number else { return Ok(None) };
    let number = quote_identifier(number);
    let query = format!("SELECT CONVERT(MIN({number}), CHAR), CONVERT(MAX({number}), CHAR) FROM {}", table.shown());
    let rows = session.rows("measure a table", &query).map_err(|why| changed(table, why))?;
    snapshot::let_go(session)?;
    let mut numbers = rows.into_iter().flatten().flatten().filter_map(|text| text.parse().ok());
    Ok(numbers.next().zip(numbers.next()))
}

/// Whether it is because somebody has changed the table since the snapshot.
fn changed(table: &Table, why: SqlError) -> BackupError {
    // ER_TABLE_DEF_CHANGED, ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_NO_SUCH_TABLE_IN_ENGINE.
    if why.code().is_some_and(|code| [1412, 1146, 1054, 1932].contains(&code)) || is_in_the_way(&why) {
        return BackupError::TablesChanged { table: table.shown() };
    }
    BackupError::Table { table: table.shown(), source: why }
}

/// What a session is told that stood in the way of a change on all members: ER_LOCK_DEADLOCK, ER_QUERY_INTERRUPTED.
fn is_in_the_way(why: &SqlError) -> bool {
    why.code().is_some_and(|code| [1213, 1317].contains(&code))
}

/// Whoever lists tables may be in the way too.
fn in_the_way(why: BackupError) -> BackupError {
    if matches!(&why, BackupError::Sql(source) if is_in_the_way(source)) {
        return BackupError::TablesChanged { table: "the tables".to_owned() };
    }
    why
}

fn note(index: &Index, schema: &Schema, databases: &[String], held: Duration) -> String {
    let mut notes = Vec::new();
    if !databases.is_empty() {
        notes.push(format!("only of {}", named(databases)));
    }
    notes.push(format!("commits were held for {} ms", held.as_millis()));
    let others: Vec<String> = index.tables.iter().filter(|table| !table.is_in_snapshot()).map(Table::shown).collect();
    if !others.is_empty() {
        notes.push(format!("not of the same moment, because not InnoDB: {}", named(&others)));
    }
    if !schema.left_out.is_empty() {
        notes.push(format!("left out, because they show nothing any more: {}", named(&schema.left_out)));
    }
    notes.join("; ")
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names[..names.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// What all threads look at.
struct Shared {
    state: Mutex<State>,
    stop: Stop,
}

struct State {
    /// Left to do, the last one first.
    pieces: Vec<Piece>,
    bytes: u64,
    problem: Option<BackupError>,
    over: bool,
}

impl Shared {
    fn new(mut pieces: Vec<Piece>, stop: Stop) -> Self {
        pieces.reverse();
        Self { state: Mutex::new(State { pieces, bytes: 0, problem: None, over: false }), stop }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_state(self) -> State {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Piece> {
        let mut state = self.state();
        if state.over { None } else { state.pieces.pop() }
    }

    /// Nobody goes on; the first one says why, and those that follow suffer from it.
    fn give_up(&self, why: Option<BackupError>) {
        let mut state = self.state();
        if !state.over {
            state.over = true;
            state.problem = why;
        }
        drop(state);
        self.stop.now();
    }

    fn is_over(&self) -> bool {
        self.state().over
    }
}

/// A piece that is whole.
struct Written {
    count: Count,
    path: PathBuf,
}

fn write_pieces(mut session: Session, index: &Index, folder: &Path, shared: &Shared, send: &SyncSender<Written>) {
    while let Some(piece) = shared.next() {
        let Some(table) = index.tables.get(piece.table) else { continue };
        let path = folder.join(piece.name.trim_start_matches(super::DATA));
        let rows = session.change("copy a table", &table.select(&piece, &path));
        match rows.and_then(|rows| snapshot::let_go(&mut session).map(|()| rows)) {
            Ok(rows) => {
                let written = Written { count: Count { name: piece.name, rows }, path };
                if send.send(written).is_err() {
                    return;
                }
            }
            Err(why) => return shared.give_up(Some(changed(table, why))),
        }
    }
}

fn feed_all(to: Counted<'_>, index: &Index, schema: &Schema, filled: &Receiver<Written>, shared: &Shared) {
    if let Err(why) = feed(to, index, schema, filled, shared) {
        // A program that does not read any more says why itself.
        let why = (why.kind() != io::ErrorKind::BrokenPipe).then_some(BackupError::Staged { source: why });
        shared.give_up(why);
    }
}

fn feed(
    to: Counted<'_>,
    index: &Index,
    schema: &Schema,
    filled: &Receiver<Written>,
    shared: &Shared,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(BLOCK_BYTES, to));
    let index = serde_json::to_vec(index).map_err(io::Error::other)?;
    add(&mut tar, INDEX, &index)?;
    for (name, text) in [(SCHEMA, &schema.schema), (TRIGGERS, &schema.triggers), (ACCOUNTS, &schema.accounts)] {
        add(&mut tar, name, text)?;
    }
    let mut end = End::default();
    for written in filled {
        let bytes = beside::size_opt(&written.path)?.unwrap_or(0);
        let file = beside::reader_opt(&written.path)?.ok_or(io::ErrorKind::NotFound)?;
        tar.append_data(&mut header(bytes), &written.count.name, BufReader::with_capacity(BLOCK_BYTES, file))?;
        beside::remove_passing(&written.path)?;
        end.pieces.push(written.count);
    }
    // Whoever gave up has told nobody else: what is left must not look like the whole.
    if shared.is_over() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let end = serde_json::to_vec(&end).map_err(io::Error::other)?;
    add(&mut tar, END, &end)?;
    tar.into_inner()?.flush()
}

fn add(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(bytes.len() as u64), name, bytes)
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(clock::now().unix_seconds()).unwrap_or(0));
    header
}

/// Counts what goes by.
struct Counted<'a> {
    to: crate::host::pipe::Feed,
    shared: &'a Shared,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.shared.state().bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
