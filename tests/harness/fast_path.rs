//! A fast path in memory: keeps what it is given, carries nothing by itself, and knows whether what
//! it has been given may be there at all.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::address::v4;
use dataplane::engine::Engine;
use dataplane::fast_path::{Carried, Course, FastPath, Shortcut, ShortcutKey};
use dataplane::flow::FlowView;
use dataplane::types::{Address, Direction, FlowIndex, Instant};

/// What a fast path has been given. The clock of its last use is the test's.
#[derive(Default)]
struct Kept {
    epoch: u32,
    shortcuts: HashMap<ShortcutKey, (Shortcut, u32)>,
    used: HashMap<ShortcutKey, Instant>,
    carried_by: HashMap<ShortcutKey, Carried>,
    carried: Carried,
}

/// See the module's documentation. Clones are the same one.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    /// The shortcuts that count.
    #[must_use]
    pub fn in_force(&self) -> Vec<Shortcut> {
        let kept = self.kept();
        let counts =
            |(shortcut, epoch): &(Shortcut, u32)| (*epoch == kept.epoch).then_some(*shortcut);
        kept.shortcuts.values().filter_map(counts).collect()
    }

    /// All shortcuts, void ones too.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept().shortcuts.len()
    }

    /// Says that this was carried, next time it is asked.
    pub fn carry(&self, carried: Carried) {
        self.kept().carried = carried;
    }

    /// Says that a shortcut has carried this, when it is taken back.
    pub fn carry_by(&self, key: ShortcutKey, carried: Carried) {
        self.kept().carried_by.insert(key, carried);
    }

    /// Every shortcut carries a packet now.
    pub fn use_all(&self, now: Instant) {
        let mut kept = self.kept();
        let keys: Vec<ShortcutKey> = kept.shortcuts.keys().copied().collect();
        kept.used.extend(keys.into_iter().map(|key| (key, now)));
    }
}

impl FastPath for Memory {
    fn renew(&mut self) {
        self.kept().epoch += 1;
    }

    fn epoch(&self) -> u32 {
        self.kept().epoch
    }

    fn install(&mut self, shortcut: &Shortcut, epoch: u32) -> bool {
        self.kept().shortcuts.insert(shortcut.key, (*shortcut, epoch));
        true
    }

    fn remove(&mut self, key: &ShortcutKey) -> Carried {
        let mut kept = self.kept();
        kept.shortcuts.remove(key);
        kept.carried_by.remove(key).unwrap_or_default()
    }

    fn last_used(&self, key: &ShortcutKey) -> Option<Instant> {
        self.kept().used.get(key).copied()
    }

    fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.kept().carried)
    }
}

fn course(course: &Course) -> [SocketAddrV4; 2] {
    [course.source, course.destination]
}

/// Every shortcut that counts is that of a flow which still holds its lease (I1, I2).
///
/// # Errors
/// One is not; says which.
pub fn check(engines: &[Engine], memory: &Memory) -> Result<(), String> {
    let flows = engines.iter().map(Engine::flows).flat_map(|flows| {
        (0..flows.extent()).filter_map(|at| flows.get(FlowIndex(u32::try_from(at).ok()?)))
    });
    // Nobody carries those with an address of IPv6.
    let flows: Vec<FlowView<'_>> = flows.filter(|flow| !flow.is_wide()).collect();
    for shortcut in memory.in_force() {
        let is_its = |flow: &&FlowView<'_>| {
            let key = flow.key();
            let at = |(address, port): (Address, u16)| SocketAddrV4::new(v4(address.ip()), port);
            let client = at((key.client, key.client_port));
            let endpoint = at((key.endpoint, key.endpoint_port));
            let (nat, backend) = (at(flow.nat()), at(flow.target()));
            let (arrives, leaves) = (course(&shortcut.key.arrives), course(&shortcut.leaves));
            let forward = arrives == [client, endpoint]
                && leaves == [nat, backend]
                && shortcut.key.scope == key.scope;
            let back = arrives == [backend, nat] && leaves == [endpoint, client];
            let way = if forward { Direction::Forward } else { Direction::Return };
            (forward || back)
                && shortcut.key.protocol == key.protocol
                && (shortcut.account, shortcut.way) == (flow.account, way)
        };
        let count = flows.iter().filter(is_its).count();
        if count != 1 {
            return Err(format!("{count} flows have the shortcut {shortcut:x?}, of {flows:x?}"));
        }
    }
    Ok(())
}
