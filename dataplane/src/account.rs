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

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use hashbrown::HashMap;

use crate::limits::{ACCOUNTS_MAX, ACCOUNTS_PRECISE_MAX};
use crate::nat::{Usage, Usages};
use crate::record::{Count, Traffic};
use crate::snapshot::Snapshot;
use crate::sync::{AtomicU64, Ordering, Table, zeroed_tables};
use crate::types::{AccountIndex, Address, Direction, LinkId, Protocol};

/// Whose traffic an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountKey {
    /// The connection.
    pub link: LinkId,
    /// Backend and protocol; `None`: those of the connection's for which there was no account.
    pub towards: Option<(Address, Protocol)>,
}

impl Hash for AccountKey {
    /// One word: flows that open pay for each more.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (backend, protocol) = self.towards.map_or((0, 0), |(backend, protocol)| {
            let [high, low] = backend.halves();
            (high ^ low, u64::from(protocol as u8))
        });
        state.write_u64((u64::from(self.link.0) << 32 | backend).rotate_left(8) ^ protocol);
    }
}

/// The accounts of one generation. See the module's documentation.
#[derive(Debug)]
pub struct Accounts {
    slots: Box<[Option<AccountKey>]>,
    by_key: HashMap<AccountKey, AccountIndex>,
}

impl Accounts {
    /// The accounts of a snapshot.
    #[must_use]
    pub fn first(snapshot: &Snapshot) -> Accounts {
        Self::build(vec![None], &wanted(snapshot))
    }

    /// The accounts of a new snapshot: those that stay keep their slots. So do those that were
    /// there until now, because a worker may still open a flow, and those of connections that have
    /// flows.
    #[must_use]
    pub fn next(&self, before: &Snapshot, snapshot: &Snapshot, usages: &Usages) -> Accounts {
        let is_kept = |key: &AccountKey| {
            let has_flows = usages.find(key.link).map_or(0, Usage::flows) > 0;
            has_flows || is_wanted(before, key) || is_wanted(snapshot, key)
        };
        let kept = self.slots.iter().map(|slot| slot.filter(is_kept));
        Self::build(kept.collect(), &wanted(snapshot))
    }

    /// The first slot is [`AccountIndex::OTHERS`] and has no key.
    fn build(mut slots: Vec<Option<AccountKey>>, wanted: &[AccountKey]) -> Accounts {
        let numbered = slots.iter().enumerate();
        let taken = numbered.filter_map(|(at, key)| Some(((*key)?, index(at))));
        let mut by_key: HashMap<AccountKey, AccountIndex> = taken.collect();
        let mut free = 1;
        for key in wanted {
            let room = if key.towards.is_some() { ACCOUNTS_PRECISE_MAX } else { ACCOUNTS_MAX };
            if by_key.len() + 1 >= room || by_key.contains_key(key) {
                continue;
            }
            while slots.get(free).is_some_and(Option::is_some) {
                free += 1;
            }
            match slots.get_mut(free) {
                Some(slot) => *slot = Some(*key),
                None => slots.push(Some(*key)),
            }
            by_key.insert(*key, index(free));
        }
        Accounts { slots: slots.into_boxed_slice(), by_key }
    }

    /// The account of a new flow.
    #[must_use]
    pub fn find(&self, link: LinkId, backend: Address, protocol: Protocol) -> AccountIndex {
        let find = |towards| self.by_key.get(&AccountKey { link, towards }).copied();
        find(Some((backend, protocol))).or_else(|| find(None)).unwrap_or(AccountIndex::OTHERS)
    }

    /// Whose account a slot is.
    #[must_use]
    pub fn key(&self, account: AccountIndex) -> Option<AccountKey> {
        self.slots.get(account.slot()).copied().flatten()
    }

    /// All accounts but [`AccountIndex::OTHERS`], those that only drain included.
    pub fn iter(&self) -> impl Iterator<Item = (AccountIndex, AccountKey)> {
        self.slots.iter().enumerate().filter_map(|(at, key)| Some((index(at), (*key)?)))
    }
}

/// There are no more slots than two bytes can name.
fn index(slot: usize) -> AccountIndex {
    AccountIndex(u16::try_from(slot).unwrap_or(AccountIndex::OTHERS.0))
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
    let of = |link, towards| AccountKey { link, towards };
    let mut wanted: Vec<_> = links.iter().map(|&(link, _)| of(link, None)).collect();
    for (link, service) in links {
        if wanted.len() > ACCOUNTS_MAX {
            break;
        }
        let Some(service) = snapshot.service(service) else { continue };
        wanted.extend(service.serving().iter().map(|&towards| of(link, Some(towards))));
    }
    wanted
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

    fn key(link: u32, backend: Option<u8>) -> AccountKey {
        let towards = backend.map(|last| (Address::from([10, 1, 0, last]), Protocol::Tcp));
        AccountKey { link: LinkId(link), towards }
    }

    #[test]
    fn a_flow_without_an_account_of_its_own_has_its_connections_or_that_of_all_others() {
        let accounts = Accounts::build(vec![None], &[key(1, None), key(1, Some(4))]);
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
    fn precise_accounts_leave_room_for_later_connections() {
        let many = u32::try_from(ACCOUNTS_MAX).unwrap();
        let wanted: Vec<_> = (0..many).map(|link| key(link, Some(4))).collect();
        let accounts = Accounts::build(vec![None], &wanted);
        assert_eq!(accounts.iter().count(), ACCOUNTS_PRECISE_MAX - 1);
        let slots = accounts.slots.to_vec();
        let later: Vec<_> = (0..many).map(|link| key(link, None)).collect();
        let accounts = Accounts::build(slots, &later);
        assert_eq!(accounts.iter().count(), ACCOUNTS_MAX - 1);
        let distinct: BTreeSet<_> = accounts.iter().map(|(account, _)| account).collect();
        assert_eq!(distinct.len(), ACCOUNTS_MAX - 1);
        assert!(!distinct.contains(&AccountIndex::OTHERS));
    }

    #[test]
    fn slots_that_became_free_are_used_before_others() {
        let slots = vec![None, Some(key(1, None)), None, Some(key(2, None))];
        let accounts = Accounts::build(slots, &[key(3, None), key(4, None)]);
        let at = |slot| accounts.key(AccountIndex(slot));
        assert_eq!([at(1), at(2), at(3), at(4)], [1, 3, 2, 4].map(|link| Some(key(link, None))));
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
