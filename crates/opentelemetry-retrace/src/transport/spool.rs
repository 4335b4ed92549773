//! Directory of runs that could not be delivered.
//!
//! Each run is one file, written under another name and renamed when it is complete, so that a process that
//! dies while writing leaves no partial run. Every process writes; only the one that holds the lock reads and
//! sends.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::SpoolSettings;
use crate::delivery::RecordName;

const LOCK: &str = "lock";
/// Extension of a file while it is written.
const UNFINISHED: &str = "tmp";
/// An unfinished file of this age belongs to a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Interval at which the directory is searched for records of other processes.
const LOOK: Duration = Duration::from_secs(60);

/// Spool directory.
#[derive(Debug)]
pub(crate) struct Spool {
    settings: SpoolSettings,
    /// While this lock is held, no other process reads.
    lock: Option<File>,
    to_read: VecDeque<RecordName>,
    /// Serials of records that this process has read or written.
    read: HashSet<u64>,
    looks_at: Option<Instant>,
    random: fastrand::Rng,
}

/// Spans that were dropped to keep the spool within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub too_old: u64,
    pub no_room: u64,
}

impl Spool {
    pub(crate) fn new(settings: SpoolSettings) -> Self {
        let (lock, to_read, read, looks_at) = (None, VecDeque::new(), HashSet::new(), None);
        Self { settings, lock, to_read, read, looks_at, random: fastrand::Rng::new() }
    }

    /// Checks the directory: creates it, and writes and removes a file in it.
    pub(crate) fn check(settings: &SpoolSettings) -> io::Result<()> {
        make_dir(&settings.dir)?;
        let probe = settings.dir.join(format!("{:016x}.{UNFINISHED}", fastrand::u64(..)));
        owners(OpenOptions::new().write(true).create_new(true)).open(&probe)?.write_all(b"\n")?;
        fs::remove_file(&probe)
    }

    /// Writes a record; drops the oldest ones if there is no room for it.
    pub(crate) fn write(&mut self, bytes: &[u8], spans: u64, now: SystemTime) -> io::Result<Dropped> {
        let dropped = self.make_room(bytes.len() as u64)?;
        let name = RecordName { since: millis(now), serial: self.random.u64(..), spans, tried: false };
        let unfinished = self.settings.dir.join(format!("{:016x}.{UNFINISHED}", name.serial));
        let written = owners(OpenOptions::new().write(true).create_new(true))
            .open(&unfinished)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&unfinished, self.path(&name)));
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        // This process does not read its own records again: the next one does.
        self.read.insert(name.serial);
        Ok(dropped)
    }

    fn make_room(&mut self, bytes: u64) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        if bytes > self.settings.max_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        make_dir(&self.settings.dir)?;
        let all = self.records()?;
        let mut total: u64 = all.iter().map(|(_, length)| length).sum();
        for (name, length) in all {
            if total + bytes <= self.settings.max_bytes {
                break;
            }
            // A record that another process has just settled is no loss.
            if fs::remove_file(self.path(&name)).is_ok() {
                dropped.no_room += name.spans;
            }
            total -= length;
        }
        Ok(dropped)
    }

    /// Returns when [`Spool::look`] next has work to do.
    pub(crate) fn looks_at(&self) -> Option<Instant> {
        self.looks_at
    }

    /// Searches for records of earlier processes, unless the last search was recent or another process holds
    /// the lock.
    pub(crate) fn look(&mut self, now: SystemTime) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        if self.looks_at.is_some_and(|at| Instant::now() < at) {
            return Ok(dropped);
        }
        self.looks_at = Some(Instant::now() + LOOK);
        if !self.settings.dir.is_dir() || !self.has_lock()? {
            return Ok(dropped);
        }
        let oldest = millis(now.checked_sub(self.settings.max_age).unwrap_or(UNIX_EPOCH));
        for (name, _) in self.records()? {
            if self.read.contains(&name.serial) {
                continue;
            }
            if name.since < oldest {
                fs::remove_file(self.path(&name))?;
                dropped.too_old += name.spans;
            } else if !self.to_read.iter().any(|known| known.serial == name.serial) {
                self.to_read.push_back(name);
            }
        }
        self.remove_abandoned(now)?;
        Ok(dropped)
    }

    /// Returns the next record to send. From then on its name marks it as possibly sent.
    pub(crate) fn next(&mut self) -> Option<(RecordName, Vec<u8>)> {
        loop {
            let name = self.to_read.pop_front()?;
            self.read.insert(name.serial);
            let (now_called, was_called) = (RecordName { tried: true, ..name.clone() }, name);
            let renamed = fs::rename(self.path(&was_called), self.path(&now_called));
            if let (Ok(()), Ok(bytes)) = (renamed, fs::read(self.path(&now_called))) {
                // The old name shows whether it was read before; the new one is for the next reader.
                return Some((RecordName { tried: was_called.tried, ..now_called }, bytes));
            }
        }
    }

    /// Removes a record that is not needed any more.
    pub(crate) fn settle(&self, name: &RecordName) {
        let tried = RecordName { tried: true, ..name.clone() };
        // A record that cannot be removed is sent once more later, and the receiver knows it then.
        let _ = fs::remove_file(self.path(&tried));
    }

    fn has_lock(&mut self) -> io::Result<bool> {
        if self.lock.is_none() {
            let path = self.settings.dir.join(LOCK);
            let lock = owners(OpenOptions::new().write(true).create(true).truncate(false)).open(path)?;
            match lock.try_lock() {
                Ok(()) => self.lock = Some(lock),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(self.lock.is_some())
    }

    /// Returns all records with their lengths, oldest first.
    fn records(&self) -> io::Result<Vec<(RecordName, u64)>> {
        let mut records: Vec<_> = fs::read_dir(&self.settings.dir)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = RecordName::parse(entry.file_name().to_str()?)?;
                Some((name, entry.metadata().ok()?.len()))
            })
            .collect();
        records.sort();
        Ok(records)
    }

    fn remove_abandoned(&self, now: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.settings.dir)? {
            let entry = entry?;
            let path = entry.path();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
            if path.extension().is_some_and(|end| end == UNFINISHED) && age.is_some_and(|age| age > ABANDONED) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &RecordName) -> PathBuf {
        self.settings.dir.join(name.to_string())
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Sets permissions for the owner only.
fn owners(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn make_dir(dir: &std::path::Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests;
