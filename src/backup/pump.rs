//! A stream of bytes from programs into a store: one thread reads, one hashes and stores, and whoever called is asked now
//! and then to tell how far they are.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use super::attempt::Attempt;
use super::manifest::{Kind, Part};
use super::store::StoreError;
use super::stream::Sink;
use crate::host::pipe::Outflow;
use crate::host::{CommandError, clock};

/// How much is handed from hand to hand, and how many of them there are: a store that stops for a moment does not stop
/// the server's copy.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_COUNT: usize = 8;
/// How often somebody is told.
const TELL: Duration = Duration::from_secs(1);
/// How often the beginning is written anew, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5 * 60);

/// Why it did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    Store(StoreError),
    Programs(CommandError),
}

/// Moves everything; returns when all programs have ended well and all objects are there.
pub(super) fn run(
    outflow: Outflow,
    sink: Sink<'_>,
    attempt: &mut Attempt<'_>,
    tick: &mut dyn FnMut(Kind),
) -> Result<Vec<Part>, Broken> {
    let end = outflow.end();
    thread::scope(|scope| {
        let (full, filled) = mpsc::sync_channel(BLOCK_COUNT);
        let (empty, emptied) = mpsc::sync_channel(BLOCK_COUNT);
        let (over, wait) = mpsc::sync_channel::<()>(1);
        let reader = scope.spawn(move || fill(outflow, &emptied, &full));
        let writer = scope.spawn(move || {
            // Dropped at the end, also of a panic.
            let _over = over;
            store_all(sink, &filled, &empty)
        });
        let mut life = clock::Moment::now();
        while wait.recv_timeout(TELL) == Err(RecvTimeoutError::Timeout) {
            tick(attempt.kind());
            if life.elapsed() > SIGN_OF_LIFE {
                attempt.sign_of_life();
                life = clock::Moment::now();
            }
        }
        let stored = writer.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        if stored.is_err() {
            // The reader may wait for programs that wait for the server.
            end.now();
        }
        let read = reader.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        let files = stored.map_err(Broken::Store)?;
        read.and_then(Outflow::finish).map_err(Broken::Programs)?;
        Ok(files)
    })
}

/// Reads to the end, or until nobody wants more.
fn fill(
    mut outflow: Outflow,
    emptied: &Receiver<Vec<u8>>,
    full: &SyncSender<Vec<u8>>,
) -> Result<Outflow, CommandError> {
    use std::io::Read as _;
    let mut made = 0;
    loop {
        let mut block = match emptied.try_recv() {
            Ok(block) => block,
            Err(_) if made < BLOCK_COUNT => {
                made += 1;
                Vec::with_capacity(BLOCK_BYTES)
            }
            Err(_) => match emptied.recv() {
                Ok(block) => block,
                Err(_) => return Ok(outflow),
            },
        };
        block.clear();
        let read = outflow.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
        read.map_err(|source| CommandError::Talk { command: "the programs of a backup".to_owned(), source })?;
        if block.is_empty() || full.send(block).is_err() {
            return Ok(outflow);
        }
    }
}

fn store_all(
    mut sink: Sink<'_>,
    filled: &Receiver<Vec<u8>>,
    empty: &SyncSender<Vec<u8>>,
) -> Result<Vec<Part>, StoreError> {
    for block in filled {
        sink.put(&block)?;
        // At the end nobody takes it back.
        let _last = empty.send(block);
    }
    sink.finish()
}
