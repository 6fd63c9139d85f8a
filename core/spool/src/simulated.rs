//! A disk in memory that cuts the power, tears writes, fails, hangs, is full and lies, all by a seed.
//!
//! It keeps what was synced apart from what was only written. When the power is cut, of each write since the last sync
//! any part may be there, of each file its name or not. After a failed sync the file looks as before, and what was written
//! is lost all the same, as it is on Linux.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};

/// A simulated disk. Copies of it are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: Random,
    /// Every file that ever was, by an id that is not used again.
    files: BTreeMap<u64, File>,
    /// The names as a process sees them, and as they are durable.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// What was done to names since the directory was synced.
    name_changes: Vec<NameChange>,
    next_file: u64,
    is_locked: bool,
    steps: u64,
    power_until: Option<u64>,
    syncs_failing: u32,
    directory_syncs_failing: u32,
    opens_until_failure: Option<u32>,
    bytes_max: Option<u64>,
    lies: bool,
    hangs: bool,
    /// How often the power was cut: a file that was opened before is gone.
    boots: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, u64),
    Remove(String),
    /// The second name in place of the first, both or neither.
    Rename(String, String, u64),
}

impl SimulatedDisk {
    /// An empty disk. All that it does by chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            next_file: 0,
            is_locked: false,
            steps: 0,
            power_until: None,
            syncs_failing: 0,
            directory_syncs_failing: 0,
            opens_until_failure: None,
            bytes_max: None,
            lies: false,
            hangs: false,
            boots: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many changes were asked for so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// After so many more changes, every access fails until [`SimulatedDisk::restart`].
    pub fn cut_power_after(&self, steps: u64) {
        let mut state = self.state();
        state.power_until = Some(state.steps + steps);
    }

    /// Cuts the power, if it is not cut yet, and turns it on again: what was not synced is there in part or not at all.
    pub fn restart(&self) {
        self.state().restart();
    }

    /// So many of the next syncs of files fail.
    pub fn fail_syncs(&self, count: u32) {
        self.state().syncs_failing = count;
    }

    /// So many of the next syncs of the directory fail.
    pub fn fail_directory_syncs(&self, count: u32) {
        self.state().directory_syncs_failing = count;
    }

    /// After so many more files that are opened, one cannot be.
    pub fn fail_open_after(&self, opens: u32) {
        self.state().opens_until_failure = Some(opens);
    }

    /// All files together hold no more bytes than this from now on.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.state().bytes_max = bytes_max;
    }

    /// Whether a sync says yes and does nothing.
    pub fn set_lies(&self, lies: bool) {
        self.state().lies = lies;
    }

    /// Whether a sync does not come back until it is told otherwise, as on a network disk whose server is away.
    pub fn set_hangs(&self, hangs: bool) {
        self.state().hangs = hangs;
    }

    /// Changes the bytes of a file, those that are durable too.
    pub fn spoil(&self, name: &str, spoil: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names.get(name).copied();
        if let Some(file) = id.and_then(|it| state.files.get_mut(&it)) {
            spoil(&mut file.seen);
            spoil(&mut file.durable);
            file.changes.clear();
        }
    }
}

impl State {
    /// A change is asked for: finds out whether there is power for it. If not, a write may be done in part.
    fn step(&mut self) -> io::Result<()> {
        self.power()?;
        self.steps += 1;
        self.power()
    }

    fn power(&self) -> io::Result<()> {
        match self.power_until {
            Some(until) if self.steps > until => Err(io::Error::other("there is no power")),
            _ => Ok(()),
        }
    }

    fn file(&mut self, id: u64, boot: u64) -> io::Result<&mut File> {
        self.power()?;
        if boot != self.boots {
            return Err(io::Error::other("the file was opened before the power was cut"));
        }
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|it| self.files.get(it)).map(|it| it.seen.len() as u64).sum()
    }

    fn restart(&mut self) {
        let Self { random, files, durable_names, name_changes, .. } = self;
        for change in name_changes.drain(..) {
            // Each of them by itself: file systems promise no order.
            if random.one_in(2) {
                apply_name(durable_names, change);
            }
        }
        for file in files.values_mut() {
            for change in std::mem::take(&mut file.changes) {
                match change {
                    Change::Cut(bytes) if random.one_in(2) => file.durable.truncate(bytes as usize),
                    Change::Cut(_) => {}
                    Change::Write(..) if random.one_in(3) => {}
                    Change::Write(at, bytes) => {
                        // Torn at any byte, at either end; what lies before is then a hole.
                        let start = if random.one_in(4) { random.below(bytes.len() as u64 + 1) } else { 0 } as usize;
                        let end =
                            if random.one_in(2) { random.below(bytes.len() as u64 + 1) } else { bytes.len() as u64 };
                        let end = (end as usize).max(start);
                        write(&mut file.durable, at + start as u64, &bytes[start..end]);
                    }
                }
            }
            file.seen = file.durable.clone();
        }
        self.names = self.durable_names.clone();
        let kept: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| kept.contains(id));
        self.is_locked = false;
        self.power_until = None;
        self.boots += 1;
    }
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Add(name, id) => {
            names.insert(name, id);
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
        NameChange::Rename(from, to, id) => {
            names.remove(&from);
            names.insert(to, id);
        }
    }
}

fn write(to: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at as usize..end].copy_from_slice(bytes);
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.power()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, File::default());
        state.names.insert(name.to_owned(), id);
        state.name_changes.push(NameChange::Add(name.to_owned(), id));
        Ok(Box::new(OpenFile { disk: self.clone(), id, boot: state.boots }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.power()?;
        match &mut state.opens_until_failure {
            Some(0) => {
                state.opens_until_failure = None;
                return Err(io::Error::other("too many open files"));
            }
            Some(opens) => *opens -= 1,
            None => {}
        }
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(OpenFile { disk: self.clone(), id, boot: state.boots }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        state.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.name_changes.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.directory_syncs_failing > 0 {
            state.directory_syncs_failing -= 1;
            return Err(io::Error::other("input/output error"));
        }
        if !state.lies {
            state.name_changes.clear();
            state.durable_names = state.names.clone();
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut state = self.state();
        state.power()?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock { disk: self.clone(), boot: state.boots })))
    }

    fn place(&self) -> String {
        "simulated".to_owned()
    }
}

struct Lock {
    disk: SimulatedDisk,
    boot: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boots == self.boot {
            state.is_locked = false;
        }
    }
}

struct OpenFile {
    disk: SimulatedDisk,
    id: u64,
    boot: u64,
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let file = state.file(self.id, self.boot)?;
        let from = (offset as usize).min(file.seen.len());
        let n = to.len().min(file.seen.len() - from);
        to[..n].copy_from_slice(&file.seen[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let had_power = state.power().is_ok();
        let powered = state.step();
        let room = state.bytes_max.map_or(u64::MAX, |it| it.saturating_sub(state.used()));
        let boots = state.boots;
        if !had_power || boots != self.boot {
            return powered.and(Err(io::Error::other("the file was opened before the power was cut")));
        }
        let Some(file) = state.files.get_mut(&self.id) else { return Err(io::ErrorKind::NotFound.into()) };
        let overwrites = (file.seen.len() as u64).saturating_sub(offset);
        // A full disk takes what fits, and then says that it is full.
        let fits = bytes.len().min(usize::try_from(room.saturating_add(overwrites)).unwrap_or(usize::MAX));
        write(&mut file.seen, offset, &bytes[..fits]);
        file.changes.push(Change::Write(offset, bytes[..fits].to_vec()));
        powered?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        while self.disk.state().hangs {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.disk.state();
        state.step()?;
        let fails = state.syncs_failing > 0;
        state.syncs_failing = state.syncs_failing.saturating_sub(1);
        let lies = state.lies;
        let file = state.file(self.id, self.boot)?;
        if fails {
            file.changes.clear();
            return Err(io::Error::other("input/output error"));
        }
        if !lies {
            for change in file.changes.drain(..) {
                match change {
                    Change::Write(at, bytes) => write(&mut file.durable, at, &bytes),
                    Change::Cut(bytes) => file.durable.truncate(bytes as usize),
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let file = state.file(self.id, self.boot)?;
        file.seen.resize(bytes as usize, 0);
        file.changes.push(Change::Cut(bytes));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.id, self.boot)?.seen.len() as u64)
    }
}

/// SplitMix64: small, and good enough to choose among faults.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another one.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.any() % end }
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
