//! What connections must have carried, to and from each backend: the engine's accounts beside sums
//! over the model's packets.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use dataplane::account::{AccountKey, Accounts};
use dataplane::engine::Engine;
use dataplane::generation::Generation;
use dataplane::record::{Count, Traffic};
use dataplane::types::{AccountIndex, Direction, LinkId, Protocol};

use super::play::agree;
use super::rules::{Key, Model};
use crate::encode::{TCP, UDP};

/// Whose packets, to and from which backend, of which protocol.
pub(super) type Carrier = (LinkId, IpAddr, u8);

impl Model {
    /// A packet of so many bytes was translated.
    pub(super) fn account(&mut self, key: &Key, direction: Direction, bytes: u64) {
        let flow = &self.flows[key];
        let carrier = (flow.link, flow.choice.backend, flow.protocol);
        let [packets, sum] = &mut self.carried.entry(carrier).or_default()[direction as usize];
        *packets += 1;
        *sum += bytes;
    }
}

/// What the engines' slots had counted when they became the present accounts'.
#[derive(Default)]
pub(super) struct Bases(HashMap<AccountIndex, Traffic>);

impl Bases {
    /// Other accounts are about to come into force: those that are closed are compared for the last
    /// time, and forgotten on both sides.
    pub(super) fn follow(
        &mut self,
        (before, after): (&Accounts, &Accounts),
        engines: &[Engine],
        model: &mut Model,
    ) -> Result<(), String> {
        for (slot, key) in before.iter().filter(|(slot, key)| after.key(*slot) != Some(*key)) {
            self.compare_one((slot, key), engines, model)?;
            self.0.insert(slot, counted(engines, slot));
            if let Some(carrier) = carrier(&key) {
                model.carried.remove(&carrier);
            }
        }
        Ok(())
    }

    /// Every packet is in its account, and in no other.
    pub(super) fn compare(
        &self,
        generation: &Generation,
        engines: &[Engine],
        model: &Model,
    ) -> Result<(), String> {
        let mut known = BTreeMap::new();
        for (slot, key) in generation.accounts.iter() {
            self.compare_one((slot, key), engines, model)?;
            known.extend(carrier(&key).map(|carrier| (carrier, slot)));
        }
        let strays: Vec<_> = model.carried.keys().filter(|key| !known.contains_key(key)).collect();
        agree("packets without an account", &Vec::new(), &strays)?;
        let others = counted(engines, AccountIndex::OTHERS);
        agree("the account of all others", &Traffic::default(), &others)
    }

    fn compare_one(
        &self,
        (slot, key): (AccountIndex, AccountKey),
        engines: &[Engine],
        model: &Model,
    ) -> Result<(), String> {
        let carried = carrier(&key).and_then(|carrier| model.carried.get(&carrier));
        let [forward, back] = carried.copied().unwrap_or_default();
        let count = |[packets, bytes]: [u64; 2]| Count { packets, bytes };
        let expected = Traffic { forward: count(forward), back: count(back) };
        let base = self.0.get(&slot).copied().unwrap_or_default();
        let seen = counted(engines, slot).since(base);
        agree(&format!("what {key:?} carried"), &expected, &seen)
    }
}

fn counted(engines: &[Engine], slot: AccountIndex) -> Traffic {
    let mut sum = Traffic::default();
    engines.iter().for_each(|engine| sum += engine.accounts().read(slot));
    sum
}

fn carrier(key: &AccountKey) -> Option<Carrier> {
    let (backend, protocol) = key.towards?;
    let number = if protocol == Protocol::Tcp { TCP } else { UDP };
    Some((key.link, backend.ip(), number))
}
