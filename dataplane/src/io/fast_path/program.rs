//! The program and its maps, as the library has them, and errors in words.

use std::error::Error;
use std::os::fd::AsFd;

use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::SchedClassifier;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions, TcAttachType};
use aya::{Ebpf, EbpfLoader};

use super::entry::{CELLS, Entry, Inbox, Key, Passed, cell};
use super::sys::Cells;
use super::{FastPathError, sys};
use crate::fast_path::Carried;
use crate::io::sys::Errno;
use crate::types::{AccountIndex, Direction};

/// Shortcuts that there is room for, two for each flow; other flows go by the engine.
pub const SHORTCUTS_MAX: u32 = 1 << 19;

/// What is loaded; built from `shortcut.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("shortcut.bpf.o");

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
    inboxes: HashMap<MapData, u32, Inbox>,
    entries: HashMap<MapData, Key, Entry>,
    epoch: Array<MapData, u32>,
    account: PerCpuArray<MapData, Passed>,
    /// What has been told of the account.
    told: Carried,
    accounts: Cells,
    processors: u32,
    /// What it lies in.
    _accounts: Array<MapData, Passed>,
}

/// Loads the program, which runs nowhere yet.
pub(super) fn load() -> Result<(Program, Maps), FastPathError> {
    let mut loader = EbpfLoader::new();
    // The program needs nothing of the kernel's own types.
    let processors = u32::try_from(aya::util::nr_cpus().map_err(|(_, error)| explain(&error))?);
    let processors = processors.map_err(|error| explain(&error))?;
    let cells = processors.saturating_mul(CELLS);
    loader.btf(None).map_max_entries("entries", SHORTCUTS_MAX).map_max_entries("accounts", cells);
    let mut ebpf = loader.load(OBJECT).map_err(|error| explain(&error))?;
    let accounts: Array<MapData, Passed> = typed(&mut ebpf, "accounts")?;
    let in_place = Cells::of(accounts.map().fd().as_fd(), cells as usize);
    let maps = Maps {
        inboxes: typed(&mut ebpf, "inboxes")?,
        entries: typed(&mut ebpf, "entries")?,
        epoch: typed(&mut ebpf, "epoch")?,
        account: typed(&mut ebpf, "account")?,
        told: Carried::default(),
        accounts: in_place.map_err(|error| explain(&error))?,
        processors,
        _accounts: accounts,
    };
    let mut program = Program(ebpf);
    program
        .classifier()
        .ok_or_else(|| FastPathError(format!("there is no program {NAME}")))?
        .load()
        .map_err(|error| explain(&error))?;
    Ok((program, maps))
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
    pub(super) fn set_epoch(&mut self, epoch: u32) -> Result<(), String> {
        self.epoch.set(0, epoch, 0).map_err(|error| chain(&error))
    }

    pub(super) fn set_inbox(&mut self, interface: u32, inbox: Inbox) -> Result<(), Errno> {
        self.inboxes.insert(interface, inbox, 0).map_err(|error| errno(&error))
    }

    /// Gone already if the interface is.
    pub(super) fn remove_inbox(&mut self, interface: u32) {
        let _ = self.inboxes.remove(&interface);
    }

    /// `false` if there is no room.
    pub(super) fn set_entry(&mut self, key: Key, entry: Entry) -> bool {
        self.entries.insert(key, entry, 0).is_ok()
    }

    /// Removes an entry and gives it as it was; `None` if there is none.
    pub(super) fn remove_entry(&mut self, key: Key) -> Option<Entry> {
        sys::take(self.entries.map().fd().as_fd(), &key).ok()
    }

    pub(super) fn entry(&self, key: Key) -> Option<Entry> {
        self.entries.get(&key, 0).ok()
    }

    /// What was counted in an account's slot, in one direction.
    pub(super) fn carried_by(&self, account: AccountIndex, way: Direction) -> Carried {
        let of = |processor: u32| (processor * CELLS + cell(account, way)) as usize;
        let all = (0..self.processors).map(|processor| self.accounts.read(of(processor)));
        all.fold(Carried::default(), |sum, passed| Carried {
            packets: sum.packets.wrapping_add(passed.packets),
            bytes: sum.bytes.wrapping_add(passed.bytes),
        })
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
