//! Lends flows to a fast path: when, and for how long (see `fast_path`).
//!
//! A flow has shortcuts from the moment both sides have spoken until its state is no longer the
//! usual one, it ends, or the epoch does. The engine keeps them in step with every fact that they
//! copy: another configuration, another station, a device that comes or goes begins another epoch
//! (I11); a client that moves takes back its own. They are gone before the lease is given back
//! (I2).
//!
//! A flow's packets that the fast path carries leave no trace in its record. So whoever is about to
//! believe that a flow was silent for too long asks [`Engine::has_expired`], which asks the fast
//! path. Without one, all of this costs a comparison, and nothing on the short way.

use alloc::boxed::Box;
use alloc::vec;
use core::net::SocketAddrV4;

use super::Engine;
use crate::fast_path::{Course, FastPath, InterfaceNumber, Shortcut, ShortcutKey};
use crate::flow::{FlowView, State};
use crate::limits::DEVICES_MAX;
use crate::record::Count;
use crate::types::{DeviceIndex, Direction, FlowIndex, Hop, Instant, ScopeId, Tick};

/// In the order of the numbers.
const WAYS: [Direction; 2] = [Direction::Forward, Direction::Return];

/// The fast path and what is lent to it.
pub(super) struct Shortcuts {
    path: Box<dyn FastPath>,
    /// The interfaces that take part, by device.
    interfaces: Box<[Option<InterfaceNumber>]>,
    /// The epoch in which a flow's shortcuts were installed, by the flow's number; 0: it has none.
    installed: Box<[u32]>,
    /// The epoch that this engine may install in: read before anything else in a turn.
    epoch: u32,
}

impl Shortcuts {
    fn interface(&self, device: DeviceIndex) -> Option<InterfaceNumber> {
        self.interfaces.get(device.slot()).copied().flatten()
    }

    fn epoch_of(&self, flow: FlowIndex) -> u32 {
        self.installed.get(flow.slot()).copied().unwrap_or(0)
    }
}

impl Engine {
    /// From now on the usual packets of flows go by this fast path, where both devices take part
    /// ([`Engine::lend_device`]). Shortcuts that somebody left there are void.
    pub fn accelerate(&mut self, mut path: Box<dyn FastPath>) {
        path.renew();
        self.shortcuts = Some(Shortcuts {
            epoch: path.epoch(),
            path,
            interfaces: vec![None; DEVICES_MAX].into_boxed_slice(),
            installed: vec![0; self.flows.capacity()].into_boxed_slice(),
        });
    }

    /// The interface of a device if it takes part in the fast path.
    pub fn lend_device(&mut self, device: DeviceIndex, interface: Option<InterfaceNumber>) {
        let Some(shortcuts) = &mut self.shortcuts else { return };
        if let Some(slot) = shortcuts.interfaces.get_mut(device.slot()) {
            *slot = interface;
        }
    }

    /// Whether a device's usual packets do not come to the engine at all, so that those which do
    /// are worth a look.
    pub(super) fn is_lent(&self, device: DeviceIndex) -> bool {
        self.shortcuts.as_ref().is_some_and(|shortcuts| shortcuts.interface(device).is_some())
    }

    /// Makes all shortcuts void: something that they copy has changed.
    pub(super) fn renew_shortcuts(&mut self) {
        if let Some(shortcuts) = &mut self.shortcuts {
            shortcuts.path.renew();
            shortcuts.epoch = shortcuts.path.epoch();
        }
    }

    /// Takes notice of epochs that others began. Before anything is decided.
    pub(super) fn follow_shortcuts(&mut self) {
        if let Some(shortcuts) = &mut self.shortcuts {
            shortcuts.epoch = shortcuts.path.epoch();
        }
    }

    /// Counts what the fast path carried.
    pub(super) fn count_shortcuts(&mut self) {
        let Some(shortcuts) = &mut self.shortcuts else { return };
        let carried = shortcuts.path.take_carried();
        let counters = &mut self.counters;
        counters.received += carried.packets;
        counters.received_bytes += carried.bytes;
        counters.forwarded += carried.packets;
        counters.forwarded_bytes += carried.bytes;
        counters.shortcut += carried.packets;
    }

    /// A packet of the flow has passed: lends the flow if it can be lent and is not yet, takes it
    /// back if its state is no longer the usual one.
    #[inline]
    pub(super) fn lend(&mut self, number: FlowIndex) {
        if self.shortcuts.is_some() {
            self.lend_or_take_back(number);
        }
    }

    #[cold]
    fn lend_or_take_back(&mut self, number: FlowIndex) {
        let (Some(flow), Some(shortcuts)) = (self.flows.get(number), &self.shortcuts) else {
            return;
        };
        // Behind a header every packet's numbers change, which no shortcut does.
        if !flow.is_plain() || self.is_watched(flow) {
            return;
        }
        let installed = shortcuts.epoch_of(number);
        if !matches!(flow.state, State::Udp | State::Established) {
            if !flow.state.is_established() && installed != 0 {
                self.take_back(number);
            }
            return;
        }
        if installed == shortcuts.epoch || flow.generation != self.generation.number {
            return;
        }
        let both = WAYS.map(|way| self.shortcut(flow, way));
        let [Some(forward), Some(back)] = both else { return };
        // What void ones have carried is not forgotten.
        self.take_back(number);
        let Some(shortcuts) = &mut self.shortcuts else { return };
        let epoch = shortcuts.epoch;
        // Noted first: what was begun must be taken back, too.
        if let Some(slot) = shortcuts.installed.get_mut(number.slot()) {
            *slot = epoch;
            let _ = shortcuts.path.install(&forward, epoch) && shortcuts.path.install(&back, epoch);
        }
    }

    /// Takes a flow's shortcuts back. When this returns, no packet of it passes but by the engine.
    pub(super) fn take_back(&mut self, number: FlowIndex) {
        let Some(shortcuts) = &self.shortcuts else { return };
        if shortcuts.epoch_of(number) == 0 {
            return;
        }
        let keys = self.shortcut_keys(number);
        let Some(shortcuts) = &mut self.shortcuts else { return };
        for (way, key) in WAYS.into_iter().zip(keys) {
            let Some(key) = key else { continue };
            let carried = shortcuts.path.remove(&key);
            let count = Count { packets: carried.packets, bytes: carried.packet_bytes() };
            if let Some(flow) = self.flows.get_mut(number) {
                self.records.tallies.add(number, way, flow, count);
            }
        }
        if let Some(slot) = shortcuts.installed.get_mut(number.slot()) {
            *slot = 0;
        }
    }

    /// The client speaks from elsewhere: answers must not go to where it was.
    #[inline]
    pub(super) fn notice_client(&mut self, number: FlowIndex, client: Hop) {
        let moved = || self.flows.get(number).is_some_and(|flow| flow.client() != Some(client));
        if self.shortcuts.is_some() && moved() {
            self.take_back(number);
        }
    }

    /// Whether a flow was silent for too long, by its record and by the fast path; the record
    /// learns what the fast path knows.
    pub(super) fn has_expired(&mut self, number: FlowIndex, now: Tick) -> bool {
        let Some(flow) = self.flows.get(number) else { return false };
        if !flow.is_expired(now) {
            return false;
        }
        let last_used = self.last_used(number);
        let Some(flow) = self.flows.get_mut(number) else { return true };
        if let Some(used) = last_used.filter(|used| used.since(flow.last_seen) > 0) {
            flow.last_seen = used;
        }
        flow.is_expired(now)
    }

    /// When the fast path last carried a packet of a flow that is lent to it.
    pub(super) fn last_used(&self, number: FlowIndex) -> Option<Tick> {
        let shortcuts = self.shortcuts.as_ref().filter(|all| all.epoch_of(number) != 0)?;
        let keys = self.shortcut_keys(number);
        let used = keys.iter().flatten().filter_map(|key| shortcuts.path.last_used(key));
        used.max().map(Instant::tick)
    }

    fn shortcut_keys(&self, number: FlowIndex) -> [Option<ShortcutKey>; 2] {
        let key = |way| {
            let flow = self.flows.get(number)?;
            self.shortcut_key(flow, way)
        };
        WAYS.map(key)
    }

    fn shortcut_key(&self, flow: FlowView<'_>, way: Direction) -> Option<ShortcutKey> {
        let scope = match way {
            Direction::Forward => flow.scope(),
            Direction::Return => self.provider(flow)?,
        };
        Some(ShortcutKey { scope, protocol: flow.protocol(), arrives: arrives(flow, way) })
    }

    fn provider(&self, flow: FlowView<'_>) -> Option<ScopeId> {
        self.generation.pools.pool(flow.pool).map(|pool| pool.key().scope)
    }

    /// What becomes of a flow's packets in one direction; `None` if that is not known now, or a
    /// device does not take part.
    fn shortcut(&self, flow: FlowView<'_>, way: Direction) -> Option<Shortcut> {
        let shortcuts = self.shortcuts.as_ref()?;
        let client = flow.client()?;
        let client_interface = shortcuts.interface(client.device)?;
        let (hop, from) = match way {
            Direction::Forward => {
                let hop = self.generation.neighbors.lookup(flow.neighbor())?;
                (hop, Some((client_interface, client.mac)))
            }
            Direction::Return => (client, None),
        };
        let link = self.link(hop.device)?;
        Some(Shortcut {
            key: self.shortcut_key(flow, way)?,
            from,
            leaves: leaves(flow, way),
            by: shortcuts.interface(hop.device)?,
            to: hop.mac,
            mtu: link.mtu,
            account: flow.account,
            way,
            counts: self.records.tallies.counts(),
        })
    }
}

/// With what a flow's packets arrive.
fn arrives(flow: FlowView<'_>, way: Direction) -> Course {
    // One direction leaves with the inverse of what the other arrives with (I4).
    let Course { source, destination } = leaves(flow, opposite(way));
    Course { source: destination, destination: source }
}

fn leaves(flow: FlowView<'_>, way: Direction) -> Course {
    let to = flow.plain_rewrite(way).to;
    let at = |(address, port)| SocketAddrV4::new(address, port);
    Course { source: at(to.source()), destination: at(to.destination()) }
}

fn opposite(way: Direction) -> Direction {
    match way {
        Direction::Forward => Direction::Return,
        Direction::Return => Direction::Forward,
    }
}
