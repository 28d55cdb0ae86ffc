//! Writing much at once past the page cache: what is written for later does not push out what the server reads now, and
//! nothing is left to be written when it is synced.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// How much is written at once.
const BLOCK_BYTES: usize = 1 << 20;
/// What memory, offsets and lengths have to be multiples of: the largest that a block device asks for (open(2), `O_DIRECT`).
const ALIGN_BYTES: usize = 4096;

/// A new file that is written from its beginning to its end.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// A block, from `start` on.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    is_direct: bool,
}

impl Direct {
    /// Of this file, which is empty. Where the file system cannot do it, it is written as usual.
    pub(super) fn new(file: File) -> Self {
        let memory = vec![0; BLOCK_BYTES + ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES).min(ALIGN_BYTES);
        let mut direct = Self { file, memory, start, filled: 0, is_direct: true };
        direct.is_direct = direct.set(true).is_ok();
        direct
    }

    /// Returns when all of it is on disk.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        self.through_the_cache()?;
        self.write_block()?;
        self.file.sync_all()
    }

    fn set(&self, direct: bool) -> Result<(), Errno> {
        let mut flags = rustix::fs::fcntl_getfl(&self.file)?;
        flags.set(OFlags::DIRECT, direct);
        rustix::fs::fcntl_setfl(&self.file, flags)
    }

    /// From here on: no whole blocks any more, or the file system takes none.
    fn through_the_cache(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_direct) {
            self.set(false)?;
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.filled {
            match self.file.write(&self.memory[self.start + written..self.start + self.filled]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count;
                    if count % ALIGN_BYTES != 0 {
                        self.through_the_cache()?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.is_direct && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    self.through_the_cache()?;
                }
                Err(error) => {
                    // What was written is not written twice by whoever tries again.
                    self.memory.copy_within(self.start + written..self.start + self.filled, self.start);
                    self.filled -= written;
                    return Err(error);
                }
            }
        }
        self.filled = 0;
        Ok(())
    }
}

impl Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == BLOCK_BYTES {
            self.write_block()?;
        }
        let count = bytes.len().min(BLOCK_BYTES - self.filled);
        let at = self.start + self.filled;
        self.memory[at..at + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        Ok(count)
    }

    /// Nothing: a block is written when it is full, and the last one by `sync_all`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn write(path: &Path, pieces: &[&[u8]]) -> bool {
        let mut direct = Direct::new(File::create(path).unwrap());
        for piece in pieces {
            direct.write_all(piece).unwrap();
        }
        let was_direct = direct.is_direct;
        direct.sync_all().unwrap();
        was_direct
    }

    #[test]
    fn what_is_written_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let much: Vec<u8> = (0..3 * BLOCK_BYTES + 5).map(|place| (place % 251) as u8).collect();
        for lengths in
            [vec![0], vec![1], vec![BLOCK_BYTES], vec![BLOCK_BYTES, 1], vec![7, BLOCK_BYTES, 2 * BLOCK_BYTES - 2]]
        {
            let mut rest = much.as_slice();
            let pieces: Vec<&[u8]> = lengths.iter().map(|length| rest.split_off(..*length).unwrap()).collect();
            write(&path, &pieces);
            assert_eq!(fs::read(&path).unwrap(), pieces.concat(), "{lengths:?}");
        }
    }

    #[test]
    fn a_file_system_that_cannot_is_written_as_usual() {
        // A pipe in packets would be the only other one that every machine has.
        let path = Path::new("/dev/shm").join(format!("direct-{}", std::process::id()));
        let much = vec![1; 2 * BLOCK_BYTES + 1];
        write(&path, &[&much]);
        let there = fs::read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(there.unwrap(), much);
    }

    #[test]
    fn a_full_disk_is_said() {
        let mut direct = Direct::new(File::options().write(true).open("/dev/full").unwrap());
        direct.write_all(b"text").unwrap();
        assert_eq!(direct.sync_all().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
