//! Every capacity of the data path, and how they must relate. Nothing here is computed at run time.
//!
//! Each table refuses at its limit and counts the refusal; none evicts a live entry (I8).

/// Frames that are handled together: long enough to hide memory latency behind prefetches, short
/// enough to stay in the first-level cache.
pub const BATCH_FRAMES_MAX: usize = if cfg!(loom) { 4 } else { 64 };

/// Bytes of a frame at most: the largest IPv4 packet (65,535) behind an Ethernet header, rounded
/// up.
pub const FRAME_BYTES_MAX: usize = 65_600;

/// The lowest port that a lease may be: 0 to 1023 are the class of well-known ports (RFC 4787
/// REQ-3).
pub const PORT_FIRST: u16 = 1024;

/// Leases of one port pool: every port from [`PORT_FIRST`] to 65,535; two blocks of two for a model
/// checker, which can try every order only in a small world.
pub const PORTS_PER_POOL: usize = if cfg!(loom) { 4 } else { 65_536 - PORT_FIRST as usize };

/// Ports of a block, the unit in which workers divide a pool; one bitmap word.
pub const PORTS_PER_BLOCK: usize = if cfg!(loom) { 2 } else { 64 };

/// Blocks of one port pool.
pub const BLOCKS_PER_POOL: usize = PORTS_PER_POOL / PORTS_PER_BLOCK;

/// Port pools at most, those that only drain included: a flow names its own in two bytes.
pub const POOLS_MAX: usize = 1 << 16;

/// Accounts of traffic at most, the one for all others included: a flow names its own in two bytes.
pub const ACCOUNTS_MAX: usize = if cfg!(loom) { 4 } else { 1 << 16 };

/// Of those: how many may be of one backend and protocol, so that later connections still get one.
pub const ACCOUNTS_PRECISE_MAX: usize = ACCOUNTS_MAX / 4 * 3;

/// Frames that wait for one worker from one other at most.
pub const HANDOVER_FRAMES_MAX: usize = if cfg!(loom) { 2 } else { 256 };

/// Frames of health probes that wait for the workers, and answers that wait for whoever probes.
pub const PROBE_FRAMES_MAX: usize = if cfg!(loom) { 2 } else { 256 };

/// Bytes of such a frame at most; whoever probes asks for no larger ones.
pub const PROBE_FRAME_BYTES_MAX: usize = 1_536;

/// NAT IPs of one service.
pub const NAT_IPS_MAX: usize = 8;

/// Workers at most; a holder of a lease is stored in 32 bits, six of them for the worker.
pub const WORKERS_MAX: usize = 64;

/// Flows of one worker at most; the rest of those 32 bits, less the value for "nobody".
pub const FLOWS_PER_WORKER_MAX: usize = (1 << 26) - 1;

/// Backends of one load-balancing rule at most: each new flow asks every one of them.
pub const BACKENDS_PER_RULE_MAX: usize = 1024;

/// Packets that one worker keeps while their next hops are resolved.
pub const HELD_FRAMES_MAX: usize = 64;

/// Packets that wait for one next hop (RFC 1122 2.3.2.2 asks for at least one).
pub const HELD_FRAMES_PER_NEIGHBOR_MAX: usize = 8;

/// Bytes of a packet that may wait for a next hop. A larger one is dropped and counted.
pub const HELD_FRAME_BYTES_MAX: usize = 9_216;

/// ICMP errors of adit's own that one worker keeps until they are sent; more are not made.
pub const ICMP_ERRORS_MAX: usize = 64;

/// ICMP messages that one worker originates for the hosts of one virtual network in a burst (RFC
/// 1812 4.3.2.8). One more may follow with each tick of 10 ms.
pub const ICMP_BURST_MAX: u32 = 50;

/// Groups of virtual networks that share such a burst: those whose numbers are equal modulo this.
pub const ICMP_BUCKETS: usize = 64;

/// Datagrams whose fragments one worker follows at a time.
pub const DATAGRAMS_MAX: usize = 256;

/// Fragments of one datagram: as many as the largest has on a path with an MTU of 1,280 bytes.
pub const FRAGMENTS_MAX: usize = 64;

/// Fragments that one worker keeps until the first one of their datagram comes.
pub const HELD_FRAGMENTS_MAX: usize = 128;

/// How long the fragments of a datagram are followed, in ticks: two seconds. What was reordered
/// comes within that; what was lost does not come at all (RFC 4963 4).
pub const FRAGMENT_TICKS: u32 = 200;

/// One in so many flows of a worker may wait for the acknowledgement of its PROXY header; and the
/// least that there is room for.
pub const HEADERS_SHARE: usize = 8;
/// See [`HEADERS_SHARE`].
pub const HEADERS_MIN: usize = 64;

/// Records of flows that wait for whoever reads them, for each worker: 12,000 flows that begin and
/// end in the time between two looks.
pub const RECORDS_MAX: usize = if cfg!(loom) { 2 } else { 1 << 14 };

/// Devices of a snapshot at most.
pub const DEVICES_MAX: usize = if cfg!(loom) { 2 } else { 1_024 };

const _: () = {
    assert!(BLOCKS_PER_POOL * PORTS_PER_BLOCK == PORTS_PER_POOL);
    assert!(PORTS_PER_POOL == 64_512 || cfg!(loom));
    assert!(FRAME_BYTES_MAX >= 65_535 + 14);
    // Cache lines, so that each frame of a batch begins at one; oddly many, so that their headers
    // do not compete for the same places of a cache.
    assert!(FRAME_BYTES_MAX.is_multiple_of(64) && FRAME_BYTES_MAX / 64 % 2 == 1);
    assert!(WORKERS_MAX * (FLOWS_PER_WORKER_MAX + 1) == 1 << 32);
    assert!(HELD_FRAMES_PER_NEIGHBOR_MAX <= HELD_FRAMES_MAX);
};
