//! A disk in memory that forgets, tears and fails like a real one, by a seed.
//!
//! Promise: what was synced survives [`SimDisk::crash`]; of everything else, each 512-byte sector
//! and each directory change survives or not by the seed. The same seed and the same calls give
//! the same bytes. Files are sparse pages: a crash costs what was written since the last sync.
//!
//! What is modelled:
//! 1. A write is visible at once, durable only by a sync of its file. Sectors are lost independently,
//!    so writes are torn and reordered.
//! 2. A length is durable by a sync, too; without, the old, the new, or one in between is found.
//! 3. Creations, renames and removals are durable by a sync of the folder; without, a prefix of them is found.
//! 4. A failed sync loses what it should have written: a later "successful" one does not bring it back.
//! 5. After a power cut nothing works until [`SimDisk::crash`], and files opened before stay dead for ever.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use munim::disk::{Ahead, Disk};
use redb::StorageBackend;

const PAGE: u64 = 4096;
const SECTOR: usize = 512;

type Page = Box<[u8; PAGE as usize]>;

/// A small generator of seeded numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// True in `percent` of cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The operation fails and does nothing.
    Eio,
    /// The operation fails for want of space.
    Enospc,
    /// Of a write only the first part happens, then it fails. Other operations fail.
    ShortWrite,
    /// A sync fails, and what it should have written is gone. Other operations work.
    FailedSync,
    /// The power goes: this operation happens in part or not at all, and nothing works any more.
    PowerCut,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which changing operation, counted from 1 by [`SimDisk::operations`].
    pub at: u64,
    /// How.
    pub kind: FaultKind,
    /// At every later one too.
    pub is_lasting: bool,
}

/// What has happened, for tests that must know that something did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of the folder.
    pub folder_syncs: u64,
    /// Crashes.
    pub crashes: u64,
    /// Sectors that a crash lost.
    pub lost_sectors: u64,
    /// Directory changes that a crash lost.
    pub lost_names: u64,
    /// Operations that failed by a fault.
    pub faults: u64,
    /// Syncs that were tried on a file after one had failed on it.
    pub retried_syncs: u64,
    /// Of those, on files of the journal.
    pub retried_journal_syncs: u64,
}

/// A folder in memory. Clones are the same folder.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

struct World {
    dice: Dice,
    files: BTreeMap<u64, SimFile>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    /// Names after each unsynced change; the first is what is durable.
    history: Vec<BTreeMap<String, u64>>,
    generation: u64,
    has_power: bool,
    operations: u64,
    reads: u64,
    fault: Option<Fault>,
    failing_read: Option<u64>,
    is_full: bool,
    is_store_full: bool,
    tally: Tally,
    /// The file that is being used, `None` for the folder.
    touching: Option<u64>,
    /// Names of the files that faults struck since the last crash; the folder has none.
    struck: Vec<String>,
}

#[derive(Debug, Default)]
struct SimFile {
    len: u64,
    /// Lengths since the last sync; the first is the durable one.
    lens: Vec<u64>,
    pages: BTreeMap<u64, Page>,
    /// What pages were at the last sync, where they have changed since; `None`: zeros.
    before: BTreeMap<u64, Option<Page>>,
    /// The same for pages whose sync failed: they are durable only when written anew.
    forgotten: BTreeMap<u64, Option<Page>>,
    has_failed_sync: bool,
}

#[derive(Debug)]
struct SimBackend {
    disk: SimDisk,
    file: u64,
    generation: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({:?}, {:?})", self.names, self.tally)
    }
}

enum Verdict {
    Go,
    Fail(io::Error),
    Short,
    LoseSync,
}

impl SimDisk {
    /// An empty folder whose accidents follow a seed.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(World {
            dice: Dice::new(seed),
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            history: vec![BTreeMap::new()],
            generation: 0,
            has_power: true,
            operations: 0,
            reads: 0,
            fault: None,
            failing_read: None,
            is_full: false,
            is_store_full: false,
            tally: Tally::default(),
            touching: None,
            struck: Vec::new(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.world().reads
    }

    /// What has happened.
    pub fn tally(&self) -> Tally {
        self.world().tally
    }

    /// Plans an accident, or takes it back.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.world().fault = fault;
    }

    /// Lets the read with this number (from 1, by [`SimDisk::reads`]) and all later ones fail.
    pub fn set_failing_read(&self, at: Option<u64>) {
        self.world().failing_read = at;
    }

    /// Names of the files that faults struck since the last crash; "" for the folder.
    pub fn struck(&self) -> Vec<String> {
        self.world().struck.clone()
    }

    /// Whether nothing has gone wrong since the last crash.
    pub fn is_sound(&self) -> bool {
        let world = self.world();
        world.has_power && world.struck.is_empty()
    }

    /// Plans a power cut after some more operations.
    pub fn cut_power_in(&self, operations: u64) {
        let mut world = self.world();
        let at = world.operations + 1 + operations;
        world.fault = Some(Fault { at, kind: FaultKind::PowerCut, is_lasting: true });
    }

    /// False after a power cut, until the crash.
    pub fn has_power(&self) -> bool {
        self.world().has_power
    }

    /// See [`SimDisk::set_full`].
    pub fn is_full(&self) -> bool {
        self.world().is_full
    }

    /// Whether new space is refused: reservations and new files.
    pub fn set_full(&self, is_full: bool) {
        self.world().is_full = is_full;
    }

    /// Whether the store finds no space for anything at all, as redb does on a disk without a free block.
    pub fn set_store_full(&self, is_full: bool) {
        self.world().is_store_full = is_full;
    }

    /// The power goes (if it has not) and comes back: the folder is what was durable, and by luck more.
    pub fn crash(&self) {
        let mut world = self.world();
        let world = &mut *world;
        world.tally.crashes += 1;
        world.generation += 1;
        world.has_power = true;
        world.fault = None;
        world.failing_read = None;
        world.struck.clear();
        let changes = world.history.len() as u64;
        let kept = world.dice.below(changes) as usize;
        world.tally.lost_names += changes - 1 - kept as u64;
        world.names = world.history[kept].clone();
        world.history = vec![world.names.clone()];
        let luck = [0, 5, 50, 95, 100][world.dice.below(5) as usize];
        for file in world.files.values_mut() {
            world.tally.lost_sectors += file.crash(&mut world.dice, luck);
        }
        let reachable: Vec<u64> = world.names.values().copied().collect();
        world.files.retain(|file, _| reachable.contains(file));
    }

    /// Flips a bit of a file, now and on the disk.
    pub fn flip(&self, name: &str, byte: u64, bit: u8) {
        let mut world = self.world();
        let id = world.names[name];
        let file = world.files.get_mut(&id).expect("a named file exists");
        file.page_mut(byte / PAGE)[(byte % PAGE) as usize] ^= 1 << bit;
    }

    /// Length of a file.
    pub fn file_len(&self, name: &str) -> u64 {
        let world = self.world();
        world.files[&world.names[name]].len
    }

    /// An independent folder with the same content.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let copy = SimDisk::new(seed);
        for name in self.list().expect("the folder has power") {
            let bytes = self.read(&name).expect("a listed file can be read");
            copy.write_atomically(&name, &bytes).expect("a new folder has no faults");
        }
        copy.world().operations = 0;
        copy
    }

    fn backend(&self, file: u64) -> Box<dyn StorageBackend> {
        let generation = self.world().generation;
        Box::new(SimBackend { disk: self.clone(), file, generation })
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl World {
    /// Counts a changing operation and says what becomes of it.
    fn begin(&mut self) -> Verdict {
        if !self.has_power {
            return Verdict::Fail(power_is_off());
        }
        self.operations += 1;
        let Some(fault) = self.fault else { return Verdict::Go };
        let is_due = self.operations == fault.at || (fault.is_lasting && self.operations > fault.at);
        if !is_due {
            return Verdict::Go;
        }
        if fault.kind != FaultKind::FailedSync {
            self.tally.faults += 1;
            self.strike();
        }
        match fault.kind {
            FaultKind::Eio => Verdict::Fail(io::Error::other("input/output error")),
            FaultKind::Enospc => Verdict::Fail(io::ErrorKind::StorageFull.into()),
            FaultKind::ShortWrite => Verdict::Short,
            FaultKind::FailedSync => Verdict::LoseSync,
            FaultKind::PowerCut => {
                self.has_power = false;
                if self.dice.chance(50) { Verdict::Short } else { Verdict::Fail(power_is_off()) }
            }
        }
    }

    /// Notes whom a fault struck.
    fn strike(&mut self) {
        let name = self.names.iter().find(|(_, id)| Some(**id) == self.touching).map(|(name, _)| name.clone());
        self.struck.push(name.unwrap_or_default());
    }

    /// See [`SimDisk::set_store_full`].
    fn check_space(&self, id: u64) -> io::Result<()> {
        let is_store = self.names.get("store.redb") == Some(&id);
        if self.is_store_full && is_store { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// For operations that can only happen or not.
    fn begin_whole(&mut self) -> io::Result<()> {
        match self.begin() {
            Verdict::Go | Verdict::LoseSync => Ok(()),
            Verdict::Fail(error) => Err(error),
            Verdict::Short => Err(io::Error::other("input/output error")),
        }
    }

    fn check_read(&mut self) -> io::Result<()> {
        if !self.has_power {
            return Err(power_is_off());
        }
        self.reads += 1;
        if self.failing_read.is_some_and(|at| self.reads >= at) {
            self.tally.faults += 1;
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn names_changed(&mut self) {
        self.history.push(self.names.clone());
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new_file(&mut self, name: &str) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, SimFile { lens: vec![0], ..SimFile::default() });
        self.names.insert(name.to_owned(), id);
        self.names_changed();
        id
    }
}

impl SimFile {
    fn page_mut(&mut self, page: u64) -> &mut Page {
        self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]))
    }

    fn note_before(&mut self, page: u64) {
        if let Some(durable) = self.forgotten.remove(&page) {
            self.before.entry(page).or_insert(durable);
        }
        if !self.before.contains_key(&page) {
            self.before.insert(page, self.pages.get(&page).cloned());
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        for page in offset / PAGE..end.div_ceil(PAGE) {
            self.note_before(page);
            let start = page * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            self.page_mut(page)[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
        }
        if end > self.len {
            self.len = end;
            self.lens.push(end);
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for page in offset / PAGE..end.div_ceil(PAGE) {
            let start = page * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let part = &mut out[(from - offset) as usize..(to - offset) as usize];
            match self.pages.get(&page) {
                Some(bytes) => part.copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]),
                None => part.fill(0),
            }
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let whole = len.div_ceil(PAGE);
            let cut: Vec<u64> = self.pages.range(whole..).map(|(page, _)| *page).collect();
            for page in cut {
                self.note_before(page);
                self.pages.remove(&page);
            }
            if !len.is_multiple_of(PAGE) && self.pages.contains_key(&(len / PAGE)) {
                self.note_before(len / PAGE);
                self.page_mut(len / PAGE)[(len % PAGE) as usize..].fill(0);
            }
        }
        self.len = len;
        self.lens.push(len);
    }

    fn sync(&mut self) {
        self.before.clear();
        self.lens = vec![self.len];
    }

    fn fail_sync(&mut self) {
        self.has_failed_sync = true;
        let lost = std::mem::take(&mut self.before);
        for (page, durable) in lost {
            self.forgotten.entry(page).or_insert(durable);
        }
    }

    /// Keeps what is durable and, with `luck` percent each, the rest. Says how many sectors were lost.
    fn crash(&mut self, dice: &mut Dice, luck: u64) -> u64 {
        let mut lost = 0;
        for (page, durable) in std::mem::take(&mut self.forgotten) {
            lost += 8;
            self.restore(page, durable);
        }
        for (page, durable) in std::mem::take(&mut self.before) {
            let kept: Vec<bool> = (0..8).map(|_| dice.chance(luck)).collect();
            lost += kept.iter().filter(|kept| !**kept).count() as u64;
            let current = self.pages.get(&page).cloned();
            self.restore(page, durable);
            for sector in (0..8).filter(|sector| kept[*sector]) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                match &current {
                    Some(bytes) => self.page_mut(page)[range.clone()].copy_from_slice(&bytes[range]),
                    None => {
                        if let Some(bytes) = self.pages.get_mut(&page) {
                            bytes[range].fill(0);
                        }
                    }
                }
            }
        }
        let len = self.lens[dice.below(self.lens.len() as u64) as usize];
        self.lens = vec![len];
        self.len = len;
        self.pages.split_off(&len.div_ceil(PAGE));
        if !len.is_multiple_of(PAGE)
            && let Some(bytes) = self.pages.get_mut(&(len / PAGE))
        {
            bytes[(len % PAGE) as usize..].fill(0);
        }
        self.has_failed_sync = false;
        lost
    }

    fn restore(&mut self, page: u64, durable: Option<Page>) {
        match durable {
            Some(bytes) => self.pages.insert(page, bytes),
            None => self.pages.remove(&page),
        };
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes);
        bytes
    }
}

impl SimBackend {
    fn with<T>(&self, act: impl FnOnce(&mut World, u64) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.world();
        if world.generation != self.generation {
            return Err(power_is_off());
        }
        world.touching = Some(self.file);
        let done = act(&mut world, self.file);
        world.touching = None;
        done
    }
}

fn file(world: &mut World, id: u64) -> &mut SimFile {
    world.files.get_mut(&id).expect("an open file exists")
}

impl StorageBackend for SimBackend {
    fn len(&self) -> io::Result<u64> {
        self.with(|world, id| if world.has_power { Ok(file(world, id).len) } else { Err(power_is_off()) })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|world, id| {
            world.check_read()?;
            let file = file(world, id);
            if offset + out.len() as u64 > file.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.read(offset, out);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world, id| {
            world.begin_whole()?;
            file(world, id).set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|world, id| {
            if file(world, id).has_failed_sync {
                world.tally.retried_syncs += 1;
                let is_journal = world.names.iter().any(|(name, named)| *named == id && name.starts_with("journal"));
                world.tally.retried_journal_syncs += u64::from(is_journal);
            }
            match world.begin() {
                Verdict::Go => {
                    world.tally.syncs += 1;
                    file(world, id).sync();
                    Ok(())
                }
                Verdict::Fail(error) => Err(error),
                Verdict::Short | Verdict::LoseSync => {
                    world.tally.faults += 1;
                    world.strike();
                    file(world, id).fail_sync();
                    Err(io::Error::other("input/output error in sync"))
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|world, id| {
            world.check_space(id)?;
            match world.begin() {
                Verdict::Go | Verdict::LoseSync => {
                    file(world, id).write(offset, data);
                    Ok(())
                }
                Verdict::Fail(error) => Err(error),
                Verdict::Short => {
                    let sectors = (data.len() / SECTOR) as u64;
                    let kept = world.dice.below(sectors + 1) as usize * SECTOR;
                    file(world, id).write(offset, &data[..kept]);
                    Err(io::Error::other("short write"))
                }
            }
        })
    }
}

/// The space ahead of a simulated file: refused while the disk is full.
#[derive(Debug)]
struct SimAhead(SimDisk);

impl Ahead for SimAhead {
    fn reserve(&self, _: u64) -> io::Result<()> {
        let mut world = self.0.world();
        world.begin_whole()?;
        if world.is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn fill(&self, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.check_read()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let id = {
            let mut world = self.world();
            world.check_read()?;
            world.id(name)?
        };
        Ok(self.backend(id))
    }

    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        let id = {
            let mut world = self.world();
            world.begin_whole()?;
            if world.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if world.is_full && reserve_bytes > 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.new_file(name)
        };
        Ok(self.backend(id))
    }

    fn open_ahead(&self, name: &str) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        Ok((self.open(name)?, Arc::new(SimAhead(self.clone()))))
    }

    fn create_ahead(&self, name: &str, reserve_bytes: u64) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        Ok((self.create(name, reserve_bytes)?, Arc::new(SimAhead(self.clone()))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.begin_whole()?;
        let id = world.id(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), id);
        world.names_changed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.begin_whole()?;
        world.id(name)?;
        world.names.remove(name);
        world.names_changed();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world();
        match world.begin() {
            Verdict::Go => {}
            Verdict::Fail(error) => return Err(error),
            Verdict::Short | Verdict::LoseSync => {
                world.tally.faults += 1;
                world.strike();
                return Err(io::Error::other("input/output error in sync"));
            }
        }
        world.tally.folder_syncs += 1;
        world.history = vec![world.names.clone()];
        Ok(())
    }

    fn make_read_only(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.begin_whole()?;
        world.id(name).map(|_| ())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut world = self.world();
        world.check_read()?;
        let id = world.id(name)?;
        Ok(file(&mut world, id).bytes())
    }

    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = format!("{name}.new");
        let id = {
            let mut world = self.world();
            world.begin_whole()?;
            if world.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.new_file(&beside)
        };
        let backend = self.backend(id);
        backend.write(0, bytes)?;
        backend.sync_data()?;
        self.rename(&beside, name)?;
        self.sync_dir()
    }

    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        munim::disk::hash_in_pieces(&*self.open(name)?)
    }

    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        let mut world = self.world();
        let id = world.id(name)?;
        Ok(file(&mut world, id).pages.len() as u64 * PAGE)
    }
}

#[test]
fn what_was_synced_survives_every_crash_and_the_rest_is_torn_by_sectors() {
    let mut torn = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = disk.create("a", 0).unwrap();
        file.write(0, &[1; 8192]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write(1024, &[2; 4096]).unwrap();
        disk.create("b", 0).unwrap();
        disk.crash();
        assert!(file.write(0, &[3]).is_err(), "files opened before a crash are dead");
        let bytes = disk.read("a").unwrap();
        assert!(bytes[..1024].iter().chain(&bytes[5120..]).all(|byte| *byte == 1));
        let sectors: Vec<u8> = bytes[1024..5120].chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(bytes[1024..5120].chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        torn += u64::from(sectors.contains(&1) && sectors.contains(&2));
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_failed_sync_loses_its_writes_even_if_a_later_one_succeeds() {
    let disk = SimDisk::new(1);
    let file = disk.create("a", 0).unwrap();
    disk.sync_dir().unwrap();
    file.write(0, &[1; 512]).unwrap();
    file.sync_data().unwrap();
    file.write(0, &[2; 512]).unwrap();
    disk.set_fault(Some(Fault { at: disk.operations() + 1, kind: FaultKind::FailedSync, is_lasting: false }));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.tally().retried_syncs, 1);
    assert_eq!(disk.read("a").unwrap()[0], 2, "visible");
    disk.crash();
    assert_eq!(disk.read("a").unwrap()[0], 1, "and gone");
}
