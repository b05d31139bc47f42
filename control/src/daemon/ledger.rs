//! What connections and services carried, from accounts that come and go: totals never fall.
//!
//! A slot of the data path's accounts only counts up, whosever it is; so the ledger knows what had
//! been counted when it became its present account's. What an account had carried when it was
//! closed stays with its connection, and with its service when the connection is gone.
//!
//! Bounds: a number for each slot that was ever used again, for each connection and each service.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dataplane::account::{AccountKey, Accounts, SlotChange};
use dataplane::record::Traffic;
use dataplane::types::{AccountIndex, LinkId};

use super::directory::Known;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What had been counted in a slot when it became its present account's.
    bases: HashMap<AccountIndex, Traffic>,
    /// What accounts had carried that are closed, by connection.
    closed: HashMap<LinkId, Traffic>,
    /// The same of connections that are gone, by service.
    gone: HashMap<Arc<str>, Traffic>,
    services: HashMap<LinkId, Arc<str>>,
}

/// What a connection carried.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Altogether.
    pub(super) total: Traffic,
    /// By account, those without any traffic left out.
    pub(super) accounts: BTreeMap<AccountKey, Traffic>,
}

/// What everybody carried, at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    /// By connection.
    pub(super) connections: HashMap<LinkId, Book>,
    /// By service, connections that are gone included.
    pub(super) services: HashMap<Arc<str>, Traffic>,
    /// Of connections for which there was no account at all.
    pub(super) others: Traffic,
}

impl Ledger {
    /// Takes note of other accounts, before any worker works with them. `count` says what was
    /// counted in a slot.
    pub(super) fn follow(
        &mut self,
        (before, after): (&Accounts, &Accounts),
        known: &Known,
        count: impl Fn(AccountIndex) -> Traffic,
    ) {
        let mut left = Vec::new();
        for SlotChange { slot, was, is } in after.changes(before) {
            if let Some(key) = was {
                let counted = count(slot);
                let base = self.bases.insert(slot, counted).unwrap_or_default();
                *self.closed.entry(key.link).or_default() += counted.since(base);
                left.push(key.link);
            }
            if let Some(key) = is
                && let Some(ends) = known.connection(key.link)
            {
                self.services.entry(key.link).or_insert_with(|| Arc::clone(&ends.service));
            }
        }
        for link in left.into_iter().filter(|link| !after.has(*link)) {
            let closed = self.closed.remove(&link);
            if let Some((closed, service)) = closed.zip(self.services.remove(&link)) {
                *self.gone.entry(service).or_default() += closed;
            }
        }
    }

    /// What everybody carried until now.
    pub(super) fn read(
        &self,
        accounts: &Accounts,
        known: &Known,
        count: impl Fn(AccountIndex) -> Traffic,
    ) -> Books {
        let mut books = Books {
            services: self.gone.clone(),
            others: count(AccountIndex::OTHERS),
            ..Books::default()
        };
        for (slot, key) in accounts.iter() {
            let base = self.bases.get(&slot).copied().unwrap_or_default();
            let traffic = count(slot).since(base);
            let book = books.connections.entry(key.link).or_default();
            book.total += traffic;
            if traffic != Traffic::default() {
                book.accounts.insert(key, traffic);
            }
        }
        for (&link, &traffic) in &self.closed {
            let book = books.connections.entry(link).or_default();
            book.total += traffic;
            *book.accounts.entry(AccountKey { link, towards: None }).or_default() += traffic;
        }
        for (link, book) in &books.connections {
            let own = self.services.get(link);
            let service = own.or_else(|| known.connection(*link).map(|ends| &ends.service));
            if let Some(service) = service {
                *books.services.entry(Arc::clone(service)).or_default() += book.total;
            }
        }
        books
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dataplane::generation::Generation;
    use dataplane::record::Count;
    use dataplane::types::Protocol;

    use super::*;
    use crate::compile::compile;
    use crate::config::{Name, check};
    use crate::daemon::directory::Directory;
    use crate::state::Registry;

    fn traffic(packets: u64) -> Traffic {
        let count = |packets| Count { packets, bytes: packets * 100 };
        Traffic { forward: count(packets), back: count(packets * 2) }
    }

    /// A daemon's ledger over successive configurations, and what its slots have counted.
    struct Play {
        registry: Registry,
        generation: Generation,
        directory: Directory,
        ledger: Ledger,
        counted: HashMap<AccountIndex, u64>,
    }

    impl Play {
        fn new(text: &str) -> Play {
            let config = check(text).unwrap().config;
            let (snapshot, registry) = compile(&config, &Registry::default()).unwrap();
            let directory = Directory::default();
            directory.learn(&registry);
            let generation = Generation::first(snapshot, 1);
            let (mut ledger, counted) = (Ledger::default(), HashMap::new());
            let accounts = (&Accounts::none(), &*generation.accounts);
            ledger.follow(accounts, &directory.read(), |_| Traffic::default());
            Play { registry, generation, directory, ledger, counted }
        }

        fn reload(&mut self, text: &str) {
            let config = check(text).unwrap().config;
            let (snapshot, registry) = compile(&config, &self.registry).unwrap();
            self.directory.learn(&registry);
            let next = self.generation.next(snapshot, 1);
            let accounts = (&*self.generation.accounts, &*next.accounts);
            let counted = &self.counted;
            let count = |slot| traffic(counted.get(&slot).copied().unwrap_or(0));
            self.ledger.follow(accounts, &self.directory.read(), count);
            (self.registry, self.generation) = (registry, next);
        }

        fn link(&self, endpoint: &str) -> LinkId {
            self.registry.connection(&Name::new(endpoint).unwrap()).unwrap().link
        }

        fn carry(&mut self, endpoint: &str, packets: u64) {
            let backend = [10, 1, 0, 10].into();
            let link = self.link(endpoint);
            let account = self.generation.accounts.find(link, backend, Protocol::Tcp);
            assert_ne!(account, AccountIndex::OTHERS);
            *self.counted.entry(account).or_default() += packets;
        }

        fn books(&self) -> Books {
            let count = |slot| traffic(self.counted.get(&slot).copied().unwrap_or(0));
            self.ledger.read(&self.generation.accounts, &self.directory.read(), count)
        }
    }

    #[test]
    fn totals_never_fall_and_a_slot_that_is_used_again_begins_at_nothing() {
        let both = include_str!("../../adit.example.toml");
        let at = both.find("[[private_endpoint]]").unwrap();
        let second = at + 1 + both[at + 1..].find("[[private_endpoint]]").unwrap();
        let end = both[second + 1..].find("\n[[").map_or(both.len(), |to| second + 1 + to);
        let without = format!("{}{}", &both[..second], &both[end..]);
        let other = both.replace("\"pe-b\"", "\"pe-c\"");
        let mut play = Play::new(both);
        play.carry("pe-a", 3);
        play.carry("pe-b", 4);
        let (a, b) = (play.link("pe-a"), play.link("pe-b"));
        let service: Arc<str> = "web".into();
        assert_eq!(play.books().services.get(&service), Some(&traffic(7)));
        // Kept for one more configuration, because a worker may be behind.
        for _ in 0..3 {
            play.reload(&without);
            let books = play.books();
            assert_eq!(books.services.get(&service), Some(&traffic(7)));
            assert_eq!(books.connections[&a].total, traffic(3));
        }
        assert!(!play.books().connections.contains_key(&b));
        play.reload(&other);
        let c = play.link("pe-c");
        assert_eq!(play.books().connections[&c].total, Traffic::default());
        play.carry("pe-c", 5);
        let books = play.books();
        assert_eq!(books.connections[&c].total, traffic(5));
        assert_eq!(books.connections[&c].accounts.len(), 1);
        assert_eq!(books.services.get(&service), Some(&traffic(12)));
    }
}
