//! The program by which the kernel names a worker for each frame: the one that owns its flow.
//!
//! For packets to a NAT IP that is the one whose home the port's block is (`nat::Home`): a port
//! that was leased elsewhere, because a home was full, goes astray and is handed over. For all
//! others it is the owner of the client's address and port (`FlowKey::owner`). What is no TCP or
//! UDP right behind a plain header of either family, and fragments, go to one worker, in their
//! order. Classic BPF: any process may set it. Addresses of IPv6 are compared by the xor of their
//! words: what is mistaken for another is handed over.
//!
//! Bounds: [`NAT_IPS_MAX`] addresses of each family are told apart; answers to others are handed
//! over.

use std::net::IpAddr;

use libc::sock_filter;

use crate::limits::{PORT_FIRST, PORTS_PER_BLOCK};
use crate::types::{Address, OWNER_MULTIPLIER, WorkerId};

/// Addresses that fit behind jumps of eight bits.
const NAT_IPS_MAX: usize = 200;

// From linux/bpf_common.h, where instructions are sums of these.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_STORED: u16 = 0x60;
const STORE: u16 = 0x02;
const TO_X: u16 = 0x07;
const SUBTRACT: u16 = 0x14;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const REMAINDER: u16 = 0x94;
const XOR_X: u16 = 0xac;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// From linux/filter.h: where the IPv4 header begins, and the number of the frame's protocol.
const HEADER: u32 = libc::SKF_NET_OFF.cast_unsigned();
const ETHERTYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL).cast_unsigned();

const fn does(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips `hit` instructions if the comparison holds, else `miss`.
const fn jumps(code: u16, k: u32, hit: u8, miss: u8) -> sock_filter {
    sock_filter { code, jt: hit, jf: miss, k }
}

/// Where a family's packets have what tells their owner, in bytes of the packet.
struct Layout {
    source: &'static [u32],
    destination: &'static [u32],
    ports: u32,
}

const IPV4: Layout = Layout { source: &[12], destination: &[16], ports: 20 };
const IPV6: Layout = Layout { source: &[8, 12, 16, 20], destination: &[24, 28, 32, 36], ports: 40 };

/// The program for sockets that belong to `members`, by position, of `workers`. A worker without a
/// socket is stood in for by the first.
pub(super) fn program(workers: u8, members: &[WorkerId], nat_ips: &[IpAddr]) -> Vec<sock_filter> {
    let of_family = |is_ipv4| {
        let own = nat_ips.iter().filter(move |nat_ip| nat_ip.is_ipv4() == is_ipv4);
        own.take(NAT_IPS_MAX).map(|nat_ip| Address::from(*nat_ip).folded()).collect::<Vec<_>>()
    };
    let mut ipv4 = plain_ipv4_only();
    ipv4.extend(owner(&IPV4, workers, members, &of_family(true)));
    let mut program = vec![
        does(LOAD_HALF, ETHERTYPE),
        jumps(IF_EQUAL, 0x86dd, 0, 1),
        does(JUMP, u32::try_from(ipv4.len()).unwrap_or(0)),
    ];
    program.extend(ipv4);
    program.extend(plain_ipv6_only());
    program.extend(owner(&IPV6, workers, members, &of_family(false)));
    program
}

/// Of a packet that has its ports where they are expected: the position of its owner's socket.
fn owner(layout: &Layout, workers: u8, members: &[WorkerId], nat_ips: &[u32]) -> Vec<sock_filter> {
    let workers = u32::from(workers.max(1));
    let mut program = load(layout.destination);
    let forward = owner_of_client(layout, workers);
    // Over the addresses that follow, the code for clients' packets, and the jump behind it.
    let behind_forward = forward.len() + 1;
    for (at, nat_ip) in nat_ips.iter().enumerate() {
        let distance = nat_ips.len() - at - 1 + behind_forward;
        let distance = u8::try_from(distance).unwrap_or(u8::MAX);
        program.push(jumps(IF_EQUAL, *nat_ip, distance, 0));
    }
    let back = home_of_port(layout, workers);
    program.extend(forward);
    program.push(does(JUMP, u32::try_from(back.len()).unwrap_or(0)));
    program.extend(back);
    for (position, worker) in members.iter().enumerate() {
        program.push(jumps(IF_EQUAL, u32::from(worker.0), 0, 1));
        program.push(does(RETURN, u32::try_from(position).unwrap_or(0)));
    }
    program.push(does(RETURN, 0));
    program
}

/// Ends the program for what has no ports where they are expected.
fn plain_ipv4_only() -> Vec<sock_filter> {
    vec![
        does(LOAD_HALF, ETHERTYPE),
        jumps(IF_EQUAL, 0x0800, 0, 7),
        does(LOAD_BYTE, HEADER),
        jumps(IF_EQUAL, 0x45, 0, 5),
        does(LOAD_BYTE, HEADER + 9),
        jumps(IF_EQUAL, 6, 1, 0),
        jumps(IF_EQUAL, 17, 0, 2),
        does(LOAD_HALF, HEADER + 6),
        jumps(IF_ANY_BIT, 0x3fff, 0, 1),
        does(RETURN, 0),
    ]
}

/// The same, of a frame that carries IPv6: what has extension headers goes to one worker.
fn plain_ipv6_only() -> Vec<sock_filter> {
    vec![
        does(LOAD_BYTE, HEADER + 6),
        jumps(IF_EQUAL, 6, 2, 0),
        jumps(IF_EQUAL, 17, 1, 0),
        does(RETURN, 0),
    ]
}

/// The xor of these words of the packet, as [`Address::folded`] computes it.
fn load(words: &[u32]) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            program.push(does(TO_X, 0));
        }
        program.push(does(LOAD_WORD, HEADER + word));
        if at > 0 {
            program.push(does(XOR_X, 0));
        }
    }
    program
}

/// Of the packet's source, which is a client; see `FlowKey::owner`.
fn owner_of_client(layout: &Layout, workers: u32) -> Vec<sock_filter> {
    let mut program = load(layout.source);
    program.extend([
        does(STORE, 0),
        does(SHIFT_RIGHT, 16),
        does(TO_X, 0),
        does(LOAD_STORED, 0),
        does(XOR_X, 0),
        does(TO_X, 0),
        does(LOAD_HALF, HEADER + layout.ports),
        does(XOR_X, 0),
        does(MULTIPLY, OWNER_MULTIPLIER),
        does(SHIFT_RIGHT, 16),
        does(REMAINDER, workers),
    ]);
    program
}

/// Of the packet's destination port, which is leased; see `nat::Home`.
fn home_of_port(layout: &Layout, workers: u32) -> Vec<sock_filter> {
    const BLOCK_BITS: u32 = PORTS_PER_BLOCK.ilog2();
    const _: () = assert!(PORTS_PER_BLOCK.is_power_of_two());
    vec![
        does(LOAD_HALF, HEADER + layout.ports + 2),
        does(SUBTRACT, PORT_FIRST as u32),
        does(SHIFT_RIGHT, BLOCK_BITS),
        does(REMAINDER, workers),
    ]
}

const _: () = assert!(NAT_IPS_MAX + 22 <= u8::MAX as usize);
