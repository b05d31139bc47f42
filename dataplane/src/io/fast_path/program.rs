//! The program and its maps, as the library has them, and errors in words.

use std::error::Error;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use aya::maps::{Array, IterableMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::SchedClassifier;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions, TcAttachType};
use aya::{Ebpf, EbpfLoader};

use super::FastPathError;
use super::slot::{CELLS, Inbox, Passed, SLOTS_PER_BUCKET, Settings, Slot, cell, place};
use super::sys::Words;
use super::table::{PASSED_WORDS, SLOT_WORDS, SLOTS, Table};
use crate::fast_path::Carried;
use crate::io::sys::Errno;
use crate::types::{AccountIndex, Direction};

/// Shortcuts that there is room for, two for each flow; other flows go by the engine, and so does
/// one in a thousand when the table is full to eight tenths.
pub const SHORTCUTS_MAX: usize = SLOTS;

/// What is loaded; built from `shortcut.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("shortcut.bpf.o");

/// Words of the settings.
const SETTINGS_WORDS: usize = size_of::<Settings>() / size_of::<u64>();

/// The function in it.
const NAME: &str = "shortcut";

/// The loaded program.
pub(super) struct Program(Ebpf);

/// The program on an interface; taken off when this is dropped.
pub(super) struct OnInterface {
    _link: SchedClassifierLink,
}

/// Its maps.
pub(super) struct Maps {
    inboxes: Array<MapData, Inbox>,
    pub(super) table: Table,
    settings: Words,
    account: PerCpuArray<MapData, Passed>,
    /// What has been told of the account.
    told: Carried,
    accounts: Words,
    processors: u32,
    /// What settings, table and accounts lie in.
    _settings: Array<MapData, Settings>,
    _buckets: Array<MapData, [Slot; SLOTS_PER_BUCKET]>,
    _arrays: [Array<MapData, Passed>; 2],
}

/// Loads the program, which runs nowhere yet. `seeds` are those of its hash.
pub(super) fn load(seeds: [u64; 2]) -> Result<(Program, Maps), FastPathError> {
    let mut loader = EbpfLoader::new();
    // The program needs nothing of the kernel's own types.
    let processors = u32::try_from(aya::util::nr_cpus().map_err(|(_, error)| explain(&error))?);
    let processors = processors.map_err(|error| explain(&error))?;
    let cells = processors.saturating_mul(CELLS);
    loader.btf(None).map_max_entries("accounts", cells);
    let mut ebpf = loader.load(OBJECT).map_err(|error| explain(&error))?;
    let buckets: Array<MapData, [Slot; SLOTS_PER_BUCKET]> = typed(&mut ebpf, "buckets")?;
    let carried: Array<MapData, Passed> = typed(&mut ebpf, "carried")?;
    let accounts: Array<MapData, Passed> = typed(&mut ebpf, "accounts")?;
    let settings: Array<MapData, Settings> = typed(&mut ebpf, "settings")?;
    let in_force = in_place(&settings, SETTINGS_WORDS)?;
    for (word, seed) in in_force.of(0, SETTINGS_WORDS).iter().skip(1).zip(seeds) {
        word.store(seed, Ordering::Relaxed);
    }
    let slots = in_place(&buckets, SLOTS * SLOT_WORDS)?;
    let maps = Maps {
        inboxes: typed(&mut ebpf, "inboxes")?,
        table: Table::new(slots, in_place(&carried, SLOTS * PASSED_WORDS)?, seeds),
        settings: in_force,
        account: typed(&mut ebpf, "account")?,
        told: Carried::default(),
        accounts: in_place(&accounts, cells as usize * PASSED_WORDS)?,
        processors,
        _settings: settings,
        _buckets: buckets,
        _arrays: [carried, accounts],
    };
    let mut program = Program(ebpf);
    program
        .classifier()
        .ok_or_else(|| FastPathError(format!("there is no program {NAME}")))?
        .load()
        .map_err(|error| explain(&error))?;
    Ok((program, maps))
}

/// A map that is read and written where it lies.
fn in_place<V: aya::Pod>(map: &Array<MapData, V>, words: usize) -> Result<Words, FastPathError> {
    Words::of_map(map.map().fd().as_fd(), words).map_err(|error| explain(&error))
}

fn typed<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<T, FastPathError> {
    let map = ebpf.take_map(name);
    let map = map.ok_or_else(|| FastPathError(format!("the program has no map {name}")))?;
    T::try_from(map).map_err(|error| explain(&error))
}

impl Program {
    /// Puts it on an interface of the calling thread's namespace.
    pub(super) fn put_on(&mut self, interface: &str) -> Result<OnInterface, Errno> {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let program = self.classifier().ok_or(libc::ENOENT)?;
        let link = program
            .attach_with_options(interface, TcAttachType::Ingress, options)
            .map_err(|error| errno(&error))?;
        let link = program.take_link(link).map_err(|error| errno(&error))?;
        Ok(OnInterface { _link: link })
    }

    fn classifier(&mut self) -> Option<&mut SchedClassifier> {
        self.0.program_mut(NAME)?.try_into().ok()
    }
}

impl Maps {
    /// Puts an epoch in force: shortcuts of any other are void when this returns.
    pub(super) fn set_epoch(&mut self, epoch: u32) {
        if let Some(in_force) = self.settings.of(0, SETTINGS_WORDS).first() {
            // Seen by all processors before anything that is done next.
            in_force.store(epoch.into(), Ordering::SeqCst);
        }
    }

    pub(super) fn set_inbox(&mut self, inbox: Inbox) -> Result<(), Errno> {
        self.inboxes.set(place(inbox.of).into(), inbox, 0).map_err(|error| errno(&error))
    }

    /// What was counted in an account's slot, in one direction.
    pub(super) fn carried_by(&self, account: AccountIndex, way: Direction) -> Carried {
        let of = |processor: u32| (processor * CELLS + cell(account, way)) as usize;
        let all =
            (0..self.processors).map(|processor| self.accounts.of(of(processor), PASSED_WORDS));
        let sum = |at: usize| {
            let counts = all.clone().filter_map(|cell| cell.get(at));
            counts.fold(0, |sum: u64, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
        };
        Carried { packets: sum(0), bytes: sum(1) }
    }

    /// What all processors have carried since the last call.
    pub(super) fn take_carried(&mut self) -> Carried {
        let Ok(account) = self.account.get(&0, 0) else { return Carried::default() };
        let sum = |of: fn(&Passed) -> u64| account.iter().map(of).fold(0, u64::wrapping_add);
        let now =
            Carried { packets: sum(|passed| passed.packets), bytes: sum(|passed| passed.bytes) };
        let before = std::mem::replace(&mut self.told, now);
        Carried {
            packets: now.packets.wrapping_sub(before.packets),
            bytes: now.bytes.wrapping_sub(before.bytes),
        }
    }
}

/// An error with its causes, each once and its first line only: a verifier says more than anybody
/// wants to read.
fn chain(error: &dyn Error) -> String {
    let first_line = |error: &dyn Error| {
        error.to_string().lines().next().unwrap_or_default().trim_end().to_owned()
    };
    let mut text = first_line(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = first_line(error);
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}

fn explain(error: &dyn Error) -> FastPathError {
    FastPathError(chain(error))
}

/// The number of the error that is behind another.
fn errno(error: &(dyn Error + 'static)) -> Errno {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if let Some(number) = number {
            return number;
        }
        cause = error.source();
    }
    libc::EIO
}
