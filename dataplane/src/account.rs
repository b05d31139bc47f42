//! What connections carried, to and from each backend, with each protocol.
//!
//! [`Accounts`] says which account a flow belongs to; it is a part of a generation, and an account
//! keeps its slot for as long as it is configured or its connection has flows, as a port pool does.
//! [`AccountPage`] is where a worker counts and anybody reads: one cell for each slot, which only
//! grows and is never set back, so that who reads it subtracts what a slot had counted when it
//! became another account's.
//!
//! Bounds: [`ACCOUNTS_MAX`] slots (I8), 32 bytes each for every worker, used as accounts are. When
//! there are more backends of connections than that, the flows of a connection that came too late
//! share one account, and when there are more connections, their flows share
//! [`AccountIndex::OTHERS`]: what cannot be told apart is counted together, never lost.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use hashbrown::HashMap;

use crate::hash::FixedMap;
use crate::limits::{ACCOUNTS_MAX, ACCOUNTS_PRECISE_MAX};
use crate::nat::{Usage, Usages};
use crate::record::{Count, Traffic};
use crate::snapshot::{Patch, Service, Snapshot};
use crate::sync::{AtomicU64, Ordering, Table, zeroed_tables};
use crate::types::{AccountIndex, Address, Direction, Family, LinkId, Protocol, ServiceIndex};

/// Whose traffic an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The connection.
    pub link: LinkId,
    /// Backend and protocol; `None`: those of the connection's for which there was no account.
    pub towards: Option<(Address, Protocol)>,
}

impl AccountKey {
    /// As the key of a [`FixedMap`], which those of backends of IPv6 do not fit.
    #[inline(always)]
    fn words(&self) -> Option<(u64, u32)> {
        let link = u64::from(self.link.0) << 32;
        match self.towards {
            None => Some((link, 0)),
            Some((backend, protocol)) if backend.family() == Family::V4 => {
                Some((link | u64::from(backend.last_word()), protocol as u32))
            }
            Some(_) => None,
        }
    }

    /// The key that has these words.
    #[expect(clippy::cast_possible_truncation, reason = "two words in one")]
    fn of_words((high, low): (u64, u32)) -> AccountKey {
        let protocol = Protocol::ALL.into_iter().find(|protocol| *protocol as u32 == low);
        let backend = Address::from(Ipv4Addr::from_bits(high as u32));
        let link = LinkId((high >> 32) as u32);
        AccountKey { link, towards: protocol.map(|protocol| (backend, protocol)) }
    }
}

/// Slots that generations share or have of their own.
const CHUNK: usize = 512;

/// Parts of the index by key that generations share or have of their own.
const SHARDS: usize = 64;

/// Slots one after the other.
type Chunk = [Option<AccountKey>; CHUNK];

/// A part of the index by key: that of all connections that meet in it.
#[derive(Clone, Debug)]
struct Shard {
    plain: FixedMap,
    /// Those whose keys have no words.
    wide: HashMap<AccountKey, AccountIndex>,
}

impl Shard {
    fn new() -> Shard {
        Shard { plain: FixedMap::build(&[]), wide: HashMap::new() }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "there are no more than ACCOUNTS_MAX")]
    fn get(&self, key: &AccountKey) -> Option<AccountIndex> {
        match key.words() {
            Some((high, low)) => self.plain.get(high, low).map(|slot| AccountIndex(slot as u16)),
            None => self.wide.get(key).copied(),
        }
    }

    fn insert(&mut self, key: AccountKey, account: AccountIndex) {
        match key.words() {
            Some(words) => self.plain.insert(words, account.0.into()),
            None => drop(self.wide.insert(key, account)),
        }
    }

    fn remove(&mut self, key: &AccountKey) -> Option<AccountIndex> {
        let account = self.get(key)?;
        match key.words() {
            Some(words) => self.plain.remove(words),
            None => drop(self.wide.remove(key)),
        }
        Some(account)
    }

    fn keys(&self) -> impl Iterator<Item = AccountKey> {
        let plain = self.plain.entries().map(|(words, _)| AccountKey::of_words(words));
        plain.chain(self.wide.keys().copied())
    }
}

/// The accounts of one generation. See the module's documentation.
///
/// Clones share what they do not change: chunks of slots, and parts of the index.
#[derive(Clone, Debug)]
pub struct Accounts {
    chunks: Vec<Arc<Chunk>>,
    shards: [Arc<Shard>; SHARDS],
    count: usize,
    /// No slot before this one is free.
    free: usize,
    /// Those that no endpoint wants any more.
    leaving: Vec<AccountKey>,
}

/// What became of one slot from one generation to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotChange {
    /// Which slot.
    pub slot: AccountIndex,
    /// Whose it was.
    pub was: Option<AccountKey>,
    /// Whose it is.
    pub is: Option<AccountKey>,
}

impl Accounts {
    /// None at all.
    #[must_use]
    pub fn none() -> Accounts {
        Accounts {
            chunks: Vec::new(),
            shards: core::array::from_fn(|_| Arc::new(Shard::new())),
            count: 0,
            free: AccountIndex::OTHERS.slot() + 1,
            leaving: Vec::new(),
        }
    }

    /// The accounts of a snapshot.
    #[must_use]
    pub fn first(snapshot: &Snapshot) -> Accounts {
        Self::none().and(&wanted(snapshot))
    }

    /// The accounts of a new snapshot: those that stay keep their slots. So do those that were
    /// there until now, because a worker may still open a flow, and those of connections that have
    /// flows.
    #[must_use]
    pub fn next(&self, before: &Snapshot, snapshot: &Snapshot, usages: &Usages) -> Accounts {
        let is_kept = |key: &AccountKey| {
            has_flows(usages, key) || is_wanted(before, key) || is_wanted(snapshot, key)
        };
        let mut next = Self::none();
        for (slot, key) in self.iter().filter(|(_, key)| is_kept(key)) {
            next.put(slot, key);
            if !is_wanted(snapshot, &key) {
                next.leaving.push(key);
            }
        }
        next.and(&wanted(snapshot))
    }

    /// The same of the snapshot to which `patch` has led. An account that had no room before gets
    /// none here, but with the next change of the whole.
    #[must_use]
    pub fn with(&self, snapshot: &Snapshot, patch: &Patch, usages: &Usages) -> Accounts {
        let mut next = self.clone();
        let (stay, over): (Vec<AccountKey>, Vec<AccountKey>) =
            self.leaving.iter().partition(|key| has_flows(usages, key) || is_wanted(snapshot, key));
        over.iter().for_each(|key| next.remove(key));
        let gone = patch.gone.into_iter().flat_map(|link| self.keys_of(link));
        let is_leaving = |key: &AccountKey| !is_wanted(snapshot, key);
        next.leaving = stay.into_iter().chain(gone).filter(is_leaving).collect();
        next.leaving.sort_unstable();
        next.leaving.dedup();
        let new = patch.new.map(|new| wanted_by(snapshot, new.link, new.service));
        next.and(&new.unwrap_or_default())
    }

    /// With these, as far as there is room.
    fn and(mut self, wanted: &[AccountKey]) -> Accounts {
        for key in wanted {
            let room = if key.towards.is_some() { ACCOUNTS_PRECISE_MAX } else { ACCOUNTS_MAX };
            if self.count + 1 >= room || self.shard(key.link).get(key).is_some() {
                continue;
            }
            while self.key(index(self.free)).is_some() {
                self.free += 1;
            }
            self.put(index(self.free), *key);
        }
        self
    }

    /// Gives a free slot to an account that has none.
    fn put(&mut self, slot: AccountIndex, key: AccountKey) {
        while self.chunks.len() <= slot.slot() / CHUNK {
            self.chunks.push(Arc::new([None; CHUNK]));
        }
        if let Some(chunk) = self.chunks.get_mut(slot.slot() / CHUNK) {
            Arc::make_mut(chunk)[slot.slot() % CHUNK] = Some(key);
        }
        Arc::make_mut(self.shard_mut(key.link)).insert(key, slot);
        self.count += 1;
    }

    /// Frees the slot of an account, if it has one.
    fn remove(&mut self, key: &AccountKey) {
        let shard = self.shard_mut(key.link);
        let Some(slot) = Arc::make_mut(shard).remove(key) else { return };
        if let Some(chunk) = self.chunks.get_mut(slot.slot() / CHUNK) {
            Arc::make_mut(chunk)[slot.slot() % CHUNK] = None;
        }
        self.count -= 1;
        self.free = self.free.min(slot.slot());
    }

    #[inline]
    fn shard(&self, link: LinkId) -> &Shard {
        &self.shards[link.0 as usize % SHARDS]
    }

    fn shard_mut(&mut self, link: LinkId) -> &mut Arc<Shard> {
        &mut self.shards[link.0 as usize % SHARDS]
    }

    fn keys_of(&self, link: LinkId) -> impl Iterator<Item = AccountKey> {
        self.shard(link).keys().filter(move |key| key.link == link)
    }

    /// The account of a new flow.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, link: LinkId, backend: Address, protocol: Protocol) -> AccountIndex {
        match self.shard(link).get(&AccountKey { link, towards: Some((backend, protocol)) }) {
            Some(account) => account,
            None => self.find_common(link),
        }
    }

    /// The account of flows of a connection that have none of their own.
    #[cold]
    fn find_common(&self, link: LinkId) -> AccountIndex {
        let common = self.shard(link).get(&AccountKey { link, towards: None });
        common.unwrap_or(AccountIndex::OTHERS)
    }

    /// Whether a connection has any: then it has the one for backends that have none.
    #[must_use]
    pub fn has(&self, link: LinkId) -> bool {
        self.shard(link).get(&AccountKey { link, towards: None }).is_some()
    }

    /// Whose account a slot is.
    #[must_use]
    pub fn key(&self, account: AccountIndex) -> Option<AccountKey> {
        self.chunks.get(account.slot() / CHUNK)?[account.slot() % CHUNK]
    }

    /// All accounts but [`AccountIndex::OTHERS`], those that only drain included.
    pub fn iter(&self) -> impl Iterator<Item = (AccountIndex, AccountKey)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots.enumerate().filter_map(|(at, key)| Some((index(at), (*key)?)))
    }

    /// The slots that are another account's than `before`, for the price of what is not shared.
    pub fn changes(&self, before: &Accounts) -> impl Iterator<Item = SlotChange> {
        let chunks = 0..self.chunks.len().max(before.chunks.len());
        chunks.flat_map(move |at| {
            let (was, is) = (before.chunks.get(at), self.chunks.get(at));
            let is_shared = was.zip(is).is_some_and(|(was, is)| Arc::ptr_eq(was, is));
            let slots = if is_shared { 0..0 } else { 0..CHUNK };
            slots.filter_map(move |slot| {
                let key = |chunk: Option<&Arc<Chunk>>| chunk.and_then(|chunk| chunk[slot]);
                let (was, is) = (key(was), key(is));
                let slot = index(at * CHUNK + slot);
                (was != is).then_some(SlotChange { slot, was, is })
            })
        })
    }
}

/// There are no more slots than two bytes can name.
fn index(slot: usize) -> AccountIndex {
    AccountIndex(u16::try_from(slot).unwrap_or(AccountIndex::OTHERS.0))
}

/// Whether the connection of an account has flows.
fn has_flows(usages: &Usages, key: &AccountKey) -> bool {
    usages.find(key.link).map_or(0, Usage::flows) > 0
}

/// Whether a snapshot wants an account.
fn is_wanted(snapshot: &Snapshot, key: &AccountKey) -> bool {
    let Some(endpoint) = snapshot.endpoint_of_link(key.link) else { return false };
    let serves = |towards| {
        let service = snapshot.service(endpoint.service);
        service.is_some_and(|service| service.is_served_by(towards))
    };
    key.towards.is_none_or(serves)
}

/// The accounts that a snapshot wants, first one for each connection; no more than there can be.
fn wanted(snapshot: &Snapshot) -> Vec<AccountKey> {
    let mut links: Vec<_> = snapshot.endpoints().iter().map(|at| (at.link, at.service)).collect();
    links.sort_unstable();
    let mut wanted: Vec<_> =
        links.iter().map(|&(link, _)| AccountKey { link, towards: None }).collect();
    for (link, service) in links {
        if wanted.len() > ACCOUNTS_MAX {
            break;
        }
        wanted.extend(wanted_by(snapshot, link, service).into_iter().skip(1));
    }
    wanted
}

/// The accounts that a snapshot wants for one connection.
fn wanted_by(snapshot: &Snapshot, link: LinkId, service: ServiceIndex) -> Vec<AccountKey> {
    let served = snapshot.service(service).map_or(&[][..], Service::serving);
    let towards = [None].into_iter().chain(served.iter().copied().map(Some));
    towards.map(|towards| AccountKey { link, towards }).collect()
}

/// Packets and bytes, by [`Direction`].
type Cell = [AtomicU64; 4];

/// What one worker has carried, by account. One writer, any number of readers: each number is
/// whole; two of them may be from different packets.
pub struct AccountPage {
    cells: Table<Cell, ACCOUNTS_MAX>,
}

impl AccountPage {
    /// A page of zeros.
    #[must_use]
    pub fn new() -> AccountPage {
        let cells = zeroed_tables(1).pop();
        AccountPage { cells: cells.unwrap_or_else(|| unreachable!("one page is one table")) }
    }

    /// Where packets are counted. For the worker alone.
    #[inline(always)]
    #[must_use]
    pub fn cells(&self) -> Cells<'_> {
        Cells(&self.cells)
    }

    /// What was counted in a slot, whosever account it was.
    #[must_use]
    pub fn read(&self, account: AccountIndex) -> Traffic {
        let Some(cell) = self.cells.get(account.slot()) else { return Traffic::default() };
        let [forward, forward_bytes, back, back_bytes] =
            cell.each_ref().map(|count| count.load(Ordering::Relaxed));
        Traffic {
            forward: Count { packets: forward, bytes: forward_bytes },
            back: Count { packets: back, bytes: back_bytes },
        }
    }
}

/// Where packets are counted: what the way of a packet needs of an [`AccountPage`], at hand.
#[derive(Clone, Copy)]
pub struct Cells<'p>(&'p [Cell; ACCOUNTS_MAX]);

impl Cells<'_> {
    /// Counts a packet of so many bytes.
    #[inline(always)]
    pub fn count(self, account: AccountIndex, direction: Direction, bytes: u64) {
        if let Some(cell) = self.0.get(account.slot()) {
            let at = direction as usize * 2;
            add(&cell[at], 1);
            add(&cell[at + 1], bytes);
        }
    }
}

impl Default for AccountPage {
    fn default() -> Self {
        Self::new()
    }
}

/// One writer: a load and a store, no locked instruction.
#[inline(always)]
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    fn key(link: u32, backend: Option<u8>) -> AccountKey {
        let towards = backend.map(|last| (Address::from([10, 1, 0, last]), Protocol::Tcp));
        AccountKey { link: LinkId(link), towards }
    }

    #[test]
    fn a_flow_without_an_account_of_its_own_has_its_connections_or_that_of_all_others() {
        let accounts = Accounts::none().and(&[key(1, None), key(1, Some(4))]);
        let find = |link, last, protocol| {
            accounts.find(LinkId(link), Address::from([10, 1, 0, last]), protocol)
        };
        let own = find(1, 4, Protocol::Tcp);
        assert_eq!(accounts.key(own), Some(key(1, Some(4))));
        for (last, protocol) in [(4, Protocol::Udp), (5, Protocol::Tcp)] {
            assert_eq!(accounts.key(find(1, last, protocol)), Some(key(1, None)));
        }
        assert_eq!(find(2, 4, Protocol::Tcp), AccountIndex::OTHERS);
        assert_eq!((accounts.key(AccountIndex::OTHERS), accounts.iter().count()), (None, 2));
    }

    #[test]
    fn accounts_of_both_families_come_and_go() {
        let of = |address: Address, protocol| AccountKey {
            link: LinkId(5),
            towards: Some((address, protocol)),
        };
        let ipv6 = Address::from(core::net::Ipv6Addr::from_bits(7 << 96 | 0x0a01_0004));
        let ipv4 = Address::from([10, 1, 0, 4]);
        let mut keys = vec![AccountKey { link: LinkId(5), towards: None }];
        for protocol in Protocol::ALL {
            keys.extend([of(ipv4, protocol), of(ipv6, protocol)]);
        }
        let mut accounts = Accounts::none().and(&keys);
        let known = |accounts: &Accounts| accounts.keys_of(LinkId(5)).collect::<BTreeSet<_>>();
        while let Some(key) = keys.pop() {
            let expected: BTreeSet<_> = keys.iter().copied().chain([key]).collect();
            assert_eq!((known(&accounts), accounts.iter().count()), (expected, keys.len() + 1));
            accounts.remove(&key);
        }
        assert_eq!((known(&accounts).len(), accounts.has(LinkId(5))), (0, false));
    }

    #[test]
    fn precise_accounts_leave_room_for_later_connections() {
        let many = u32::try_from(ACCOUNTS_MAX).unwrap();
        let wanted: Vec<_> = (0..many).map(|link| key(link, Some(4))).collect();
        let accounts = Accounts::none().and(&wanted);
        assert_eq!(accounts.iter().count(), ACCOUNTS_PRECISE_MAX - 1);
        let later: Vec<_> = (0..many).map(|link| key(link, None)).collect();
        let accounts = accounts.and(&later);
        assert_eq!(accounts.iter().count(), ACCOUNTS_MAX - 1);
        let distinct: BTreeSet<_> = accounts.iter().map(|(account, _)| account).collect();
        assert_eq!(distinct.len(), ACCOUNTS_MAX - 1);
        assert!(!distinct.contains(&AccountIndex::OTHERS));
    }

    #[test]
    fn slots_that_became_free_are_used_before_others() {
        let first = Accounts::none().and(&[1, 9, 2].map(|link| key(link, None)));
        let mut accounts = first.clone();
        accounts.remove(&key(9, None));
        let accounts = accounts.and(&[key(3, None), key(4, None)]);
        let at = |slot| accounts.key(AccountIndex(slot));
        assert_eq!([at(1), at(2), at(3), at(4)], [1, 3, 2, 4].map(|link| Some(key(link, None))));
        let change = |slot, was: Option<u32>, is| {
            let of = |link: Option<u32>| link.map(|link| key(link, None));
            SlotChange { slot: AccountIndex(slot), was: of(was), is: of(is) }
        };
        let changes: Vec<_> = accounts.changes(&first).collect();
        assert_eq!(changes, [change(2, Some(9), Some(3)), change(4, None, Some(4))]);
        assert_eq!(first.changes(&first.clone()).count(), 0);
        assert!(first.has(LinkId(9)) && !accounts.has(LinkId(9)));
    }

    #[test]
    fn a_page_counts_by_account_and_direction() {
        let page = AccountPage::new();
        let (account, other) = (AccountIndex(3), AccountIndex(2));
        page.cells().count(account, Direction::Forward, 60);
        page.cells().count(account, Direction::Forward, 90);
        page.cells().count(account, Direction::Return, 1_500);
        let count = |packets, bytes| Count { packets, bytes };
        let expected = Traffic { forward: count(2, 150), back: count(1, 1_500) };
        assert_eq!((page.read(account), page.read(other)), (expected, Traffic::default()));
        page.cells().count(AccountIndex(u16::MAX), Direction::Return, 7);
        assert_eq!(page.read(AccountIndex(u16::MAX)).back, count(1, 7), "the last slot");
    }
}
