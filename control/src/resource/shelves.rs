//! Private endpoints by network and by service, so that a request about one need not look through
//! ten thousand.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Values};
use std::sync::Arc;

use super::Key;
use super::model::Endpoint;

/// Endpoints in the order of their keys.
type Shelf = BTreeMap<Key, Arc<Endpoint>>;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shelves {
    of_network: HashMap<Key, Shelf>,
    of_service: HashMap<Key, Shelf>,
    of_subscription: HashMap<String, usize>,
}

impl Shelves {
    /// An endpoint that was not there.
    pub(super) fn put(&mut self, endpoint: &Arc<Endpoint>) {
        let key = endpoint.head.key();
        let count = self.of_subscription.entry(key.subscription.clone()).or_default();
        *count += 1;
        let network = self.of_network.entry(endpoint.place.subnet.network.clone());
        network.or_default().insert(key.clone(), Arc::clone(endpoint));
        let service = self.of_service.entry(endpoint.service.clone());
        service.or_default().insert(key, Arc::clone(endpoint));
    }

    /// An endpoint is gone.
    pub(super) fn take(&mut self, endpoint: &Endpoint) {
        let key = endpoint.head.key();
        if let Some(count) = self.of_subscription.get_mut(&key.subscription) {
            *count -= 1;
        }
        take_from(&mut self.of_network, &endpoint.place.subnet.network, &key);
        take_from(&mut self.of_service, &endpoint.service, &key);
    }

    /// Those of a virtual network.
    pub(super) fn of_network(&self, network: &Key) -> Values<'_, Key, Arc<Endpoint>> {
        self.of_network.get(network).map(BTreeMap::values).unwrap_or_default()
    }

    /// Those that lead to a service.
    pub(super) fn of_service(&self, service: &Key) -> Values<'_, Key, Arc<Endpoint>> {
        self.of_service.get(service).map(BTreeMap::values).unwrap_or_default()
    }

    /// How many a subscription has.
    pub(super) fn count_of_subscription(&self, subscription: &str) -> usize {
        self.of_subscription.get(&subscription.to_ascii_lowercase()).copied().unwrap_or(0)
    }
}

fn take_from(shelves: &mut HashMap<Key, Shelf>, of: &Key, key: &Key) {
    let Some(shelf) = shelves.get_mut(of) else { return };
    shelf.remove(key);
    if shelf.is_empty() {
        shelves.remove(of);
    }
}
