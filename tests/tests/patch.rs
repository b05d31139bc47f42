//! A generation that was patched, again and again, is what the whole would be: endpoints come, go,
//! change and are decided on at random, with flows in between, and both are compared each time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use dataplane::account::AccountKey;
use dataplane::classify::classify;
use dataplane::generation::Generation;
use dataplane::snapshot::{
    Endpoint, EndpointPlan, Gate, Local, Patch, Plan, ProbeSourcePlan, Quota, QuotaPlan, Reserves,
    SecurityGroupPlan, Snapshot,
};
use dataplane::types::{
    AccountIndex, Address, Addresses, LinkId, Prefix, ScopeId, SecurityGroupIndex, ServiceIndex,
    WorkerId,
};
use harness::Topology;
use harness::random::Random;
use harness::topology::backend;

const STEPS: usize = 4_000;
const SEEDS: [u64; 3] = [1, 2, 3];

/// Few, so that they are taken, given back and taken by another.
const ADDRESSES: usize = 12;

/// Two consumers and the provider, where endpoints may be too, and one network more than there is.
const SCOPES: u16 = 4;

fn address(number: usize) -> Address {
    let last = u8::try_from(number).expect("few");
    match number.is_multiple_of(3) {
        true => Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()]).into(),
        // The first ones of the provider are a NAT IP and one that only probes come from.
        false => Address::from([10, 1, 0, last + 3]),
    }
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a prefix");
    let (address, length) = (address.parse().expect("an address"), length.parse());
    Prefix::new(address, length.expect("a length")).expect("no host bits")
}

fn plan() -> Plan {
    let mut topology = Topology::with_backends(&[backend(0), backend(1)]);
    topology.plan.endpoints.clear();
    let other = topology.plan.services[0].clone();
    let nat_ips = vec![IpAddr::from([10, 1, 0, 200])];
    topology.plan.services.push(dataplane::snapshot::ServicePlan { nat_ips, ..other });
    let source = ProbeSourcePlan { scope: ScopeId(2), address: address(2).into() };
    topology.plan.probe_sources.push(source);
    // Another consumer reaches the provider's endpoints; the first names nobody.
    let space = ["10.1.0.0/16", "2001:db8::/64"].map(prefix);
    topology.set_peering(ScopeId(1), ScopeId(2), &space);
    topology.set_peering(ScopeId(2), ScopeId(1), &[prefix("10.0.0.0/16")]);
    topology.plan.security_groups = vec![SecurityGroupPlan::default(); 2];
    topology.plan
}

/// The plan that the whole is built from, with one endpoint as `patch` has it.
fn followed(plan: &Plan, patch: &Patch) -> Plan {
    let mut plan = plan.clone();
    if let Some(gone) = patch.gone {
        plan.endpoints.retain(|endpoint| endpoint.link != gone);
        plan.quotas.retain(|quota| quota.link != gone);
        plan.security_groups.iter_mut().for_each(|group| group.links.retain(|of| *of != gone));
    }
    let Some(new) = patch.new else { return plan };
    let Endpoint { link, scope, addresses, service, gate, answers_echo, quota, security } = new;
    plan.endpoints.push(EndpointPlan { link, scope, addresses, service, gate, answers_echo });
    plan.quotas.push(QuotaPlan { link, quota });
    if let Some(group) = security {
        plan.security_groups[group.slot()].links.push(link);
    }
    plan
}

struct Play {
    random: Random,
    plan: Plan,
    whole: Generation,
    patched: Generation,
    next_link: u32,
    /// Flows that are open, by connection and worker.
    flows: Vec<(LinkId, WorkerId)>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let plan = plan();
        let first = || {
            Generation::first(Snapshot::build(plan.clone()).expect("the plan is consistent"), seed)
        };
        let (whole, patched) = (first(), first());
        Play { random: Random::new(seed), whole, patched, next_link: 1, flows: Vec::new(), plan }
    }

    fn known(&mut self) -> Option<Endpoint> {
        let all = self.whole.snapshot.endpoints();
        if all.is_empty() { None } else { Some(*self.random.pick(all)) }
    }

    fn draw_endpoint(&mut self) -> Endpoint {
        let random = &mut self.random;
        self.next_link += 1;
        // Now and then one that is there already, or a network or service that is not.
        let link = if random.one_in(20) { self.next_link / 2 } else { self.next_link };
        let service = if random.one_in(20) { 2 } else { u32::from(random.one_in(2)) };
        let scope = if random.one_in(20) { SCOPES } else { random.half() % 3 };
        // One of four has an address of each family.
        let one = Addresses::from(address(random.below(ADDRESSES)));
        let other = address(random.below(ADDRESSES));
        let addresses = one.and(other).filter(|_| random.one_in(2)).unwrap_or(one);
        let gates = [Gate::Approved, Gate::Approved, Gate::Pending, Gate::Rejected];
        Endpoint {
            link: LinkId(link),
            scope: ScopeId(scope),
            addresses,
            service: ServiceIndex(service),
            gate: *random.pick(&gates),
            answers_echo: random.one_in(2),
            quota: Quota {
                reserved: *random.pick(&[0, 0, 1, 3]),
                most: *random.pick(&[u32::MAX, 4]),
            },
            security: random.pick(&[None, None, Some(0), Some(1)]).map(SecurityGroupIndex),
        }
    }

    fn draw_patch(&mut self) -> Patch {
        let known = self.known();
        match (self.random.below(6), known) {
            (0, Some(known)) => Patch { gone: Some(known.link), new: None },
            (1, Some(known)) => {
                let gates = [Gate::Approved, Gate::Rejected, Gate::Disconnected];
                Patch::gate(&self.patched.snapshot, known.link, *self.random.pick(&gates))
            }
            (2, Some(known)) => Patch { gone: Some(known.link), new: Some(self.draw_endpoint()) },
            // The same connection, of which everything else is another.
            (3, Some(known)) => {
                let new = Endpoint { link: known.link, ..self.draw_endpoint() };
                Patch { gone: Some(known.link), new: Some(new) }
            }
            (4, _) => Patch { gone: Some(LinkId(u32::MAX)), new: None },
            _ => Patch { gone: None, new: Some(self.draw_endpoint()) },
        }
    }

    fn change(&mut self) -> bool {
        let patch = self.draw_patch();
        let plan = followed(&self.plan, &patch);
        let whole = Snapshot::build(plan.clone());
        let patched = self.patched.with(&patch);
        let said = format!("{patch:?}");
        // Which of two contradictions is named is left open.
        assert_eq!(whole.is_err(), patched.is_err(), "{said}");
        let (Ok(whole), Ok(patched)) = (whole, patched) else { return false };
        self.whole = self.whole.next(whole, 1);
        (self.plan, self.patched) = (plan, patched);
        assert_eq!(self.patched.number, self.whole.number);
        same_snapshot(&self.patched.snapshot, &self.whole.snapshot, &said);
        same_tables(&self.patched, &self.whole, &said);
        true
    }

    /// Flows of connections that are there open, and others end.
    fn carry(&mut self) {
        if let Some(known) = self.known() {
            let worker = WorkerId(self.random.half().to_le_bytes()[0] % 4);
            for generation in [&self.whole, &self.patched] {
                assert!(
                    generation
                        .usages
                        .find(known.link)
                        .expect("it has a cell")
                        .open(worker, u32::MAX)
                );
            }
            self.flows.push((known.link, worker));
        }
        for _ in 0..self.random.below(3) {
            if self.flows.is_empty() {
                return;
            }
            let at = self.random.below(self.flows.len());
            let (link, worker) = self.flows.swap_remove(at);
            for generation in [&self.whole, &self.patched] {
                generation.usages.find(link).expect("it has flows").close(worker);
            }
        }
    }
}

/// What adit is under an address for the hosts of a network, with the connection behind it instead
/// of a number.
fn under(snapshot: &Snapshot, scope: ScopeId, address: Address) -> Option<(Local, Option<LinkId>)> {
    let local = classify(snapshot, scope, address).ok()?;
    let Local::Endpoint(at) = local else { return Some((local, None)) };
    let endpoint = snapshot.endpoint(at).expect("a number that is somebody's");
    let is_of_peer = (scope, endpoint.scope) == (ScopeId(1), ScopeId(2));
    assert!(endpoint.scope == scope || is_of_peer, "{endpoint:?} in {scope:?}");
    assert!(endpoint.addresses.contains(address), "{endpoint:?} under {address}");
    Some((Local::NatIp, Some(endpoint.link)))
}

fn same_snapshot(patched: &Snapshot, whole: &Snapshot, said: &str) {
    let by_link = |snapshot: &Snapshot| -> BTreeMap<LinkId, Endpoint> {
        snapshot.endpoints().iter().map(|endpoint| (endpoint.link, *endpoint)).collect()
    };
    let endpoints = by_link(patched);
    assert_eq!(endpoints.len(), patched.endpoints().len(), "{said}");
    assert_eq!(endpoints, by_link(whole), "{said}");
    for (link, endpoint) in &endpoints {
        assert_eq!(patched.endpoint_of_link(*link), Some(endpoint), "{said}");
    }
    for gone in (0..64).map(LinkId).filter(|link| !endpoints.contains_key(link)) {
        assert_eq!(patched.endpoint_of_link(gone), None, "{said}");
    }
    for scope in (0..SCOPES).map(ScopeId) {
        for address in (0..ADDRESSES).map(address) {
            let found = under(patched, scope, address);
            assert_eq!(found, under(whole, scope, address), "{said} at {address} of {scope:?}");
        }
        assert_eq!(patched.speaks_ipv6(scope), whole.speaks_ipv6(scope), "{said} in {scope:?}");
    }
    same_reserves(patched.reserves(), whole.reserves(), said);
    for service in (0..2).map(ServiceIndex) {
        let reserves = |of: &Snapshot| of.service(service).expect("it is there").reserves.clone();
        same_reserves(&reserves(patched), &reserves(whole), said);
    }
}

fn same_reserves(patched: &Reserves, whole: &Reserves, said: &str) {
    assert_eq!(patched.is_empty(), whole.is_empty(), "{said}");
    for room in 0..40 {
        for flows in 0..4 {
            let leave = |of: &Reserves| of.leave(room, |link| link.0 % 3 * flows);
            assert_eq!(leave(patched), leave(whole), "{said}");
        }
    }
}

fn same_tables(patched: &Generation, whole: &Generation, said: &str) {
    let cells = |of: &Generation| -> BTreeMap<LinkId, u32> {
        of.usages.iter().map(|cell| (cell.link(), cell.flows())).collect()
    };
    assert_eq!(cells(patched), cells(whole), "{said}");
    assert_eq!(patched.usages.iter().count(), cells(patched).len(), "{said}");
    for (link, flows) in cells(patched) {
        assert_eq!(patched.usages.find(link).expect("it has a cell").flows(), flows, "{said}");
    }
    let accounts = |of: &Generation| -> BTreeMap<AccountKey, AccountIndex> {
        of.accounts.iter().map(|(slot, key)| (key, slot)).collect()
    };
    assert_eq!(accounts(patched), accounts(whole), "{said}");
    for (key, slot) in accounts(patched) {
        let Some((backend, protocol)) = key.towards else { continue };
        assert_eq!(patched.accounts.find(key.link, backend, protocol), slot, "{said}");
    }
    assert_eq!(patched.pools.iter().count(), whole.pools.iter().count(), "{said}");
    assert_eq!(patched.neighbors.len(), whole.neighbors.len(), "{said}");
}

#[test]
fn a_patched_generation_is_what_the_whole_would_be() {
    for seed in SEEDS {
        let mut play = Play::new(seed);
        let (mut made, mut refused) = (0, 0);
        for _ in 0..STEPS {
            if play.change() {
                made += 1;
            } else {
                refused += 1;
            }
            play.carry();
        }
        assert!(made > STEPS / 2, "seed {seed}: only {made} changes were made");
        assert!(refused > STEPS / 20, "seed {seed}: only {refused} changes were refused");
    }
}
