//! Every IPv4 header length, total length and truncation up to 120 bytes, and every length that TCP
//! and UDP say of themselves in it, against the harness's own judgement of form.
//!
//! Packets are the client's, so one without a fault must be forwarded, and the checkers judge its
//! bytes. The header checksum is right wherever the claimed header is within the frame, so that it
//! hides nothing that is judged later.

use std::collections::BTreeMap;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use harness::encode::{TCP, UDP, flags};
use harness::form::{faults, mend};
use harness::topology::{A, CLIENT, ENDPOINT, P, backend};
use harness::{Image, Shape, Topology, World, WorldConfig};

/// Bytes behind the Ethernet header at most.
const BYTES: u16 = 120;

/// What became of how many frames.
#[derive(Default)]
struct Judged {
    forwarded: u32,
    dropped: BTreeMap<DropReason, u32>,
}

struct Judge {
    world: World,
    waiting: Vec<Image>,
    judged: Judged,
}

impl Judge {
    fn new() -> Judge {
        let config = WorldConfig { check_tables: false, ..WorldConfig::default() };
        let world = World::with(Topology::with_backends(&[backend(0)]), config);
        Judge { world, waiting: Vec::new(), judged: Judged::default() }
    }

    /// A frame in which the transport header follows a header of so many words.
    fn template(&self, protocol: u8, header_words: u8) -> Vec<u8> {
        let port = if protocol == TCP { 443 } else { 53 };
        let mut shape = Shape::new(protocol, (CLIENT, 4000), (ENDPOINT, port));
        shape.flags = flags::SYN;
        shape.udp_length = Some(8);
        // Claimed headers below 20 bytes are faults, whatever follows.
        shape.ip_options = vec![1; usize::from(header_words.max(5) - 5) * 4];
        shape.padding = vec![0xa5; 200];
        let mut bytes = shape.to_station(self.world.topology.station(A)).encode().bytes;
        bytes[14] = 0x40 | header_words;
        bytes
    }

    /// Judges the frame with this total length, cut off behind so many bytes.
    fn judge(&mut self, template: &[u8], total: u16, kept: u16) {
        let mut bytes = template[..14 + usize::from(kept)].to_vec();
        if let Some(field) = bytes.get_mut(16..18) {
            field.copy_from_slice(&total.to_be_bytes());
        }
        mend(&mut bytes, self.world.topology.station(A));
        self.waiting.push(Image::from(bytes));
        if self.waiting.len() == 64 {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let images = std::mem::take(&mut self.waiting);
        let verdicts = self.world.arrive_at(0, A, &images);
        self.world.left.clear();
        let station = self.world.topology.station(A);
        for (image, verdict) in images.iter().zip(verdicts) {
            let faults = faults(image, station);
            match verdict {
                Verdict::Forward(P) if faults.is_empty() => self.judged.forwarded += 1,
                Verdict::Drop(reason) if faults.contains(&reason) => {
                    *self.judged.dropped.entry(reason).or_default() += 1;
                }
                _ => panic!("{verdict:?} in spite of {faults:?}: {:x?}", image.bytes),
            }
        }
    }

    /// What became of all; drops are for just these reasons.
    fn finish(mut self, reasons: &[DropReason]) -> Judged {
        self.settle();
        let seen: Vec<DropReason> = self.judged.dropped.keys().copied().collect();
        assert_eq!(seen, reasons);
        self.judged
    }
}

#[test]
fn every_header_length_total_length_and_truncation() {
    for (protocol, reason) in
        [(TCP, DropReason::TcpHeaderInvalid), (UDP, DropReason::UdpHeaderInvalid)]
    {
        let mut judge = Judge::new();
        for header_words in 0..16 {
            let template = judge.template(protocol, header_words);
            for total in 0..=BYTES {
                for kept in 0..=BYTES {
                    judge.judge(&template, total, kept);
                }
            }
        }
        let judged = judge.finish(&[
            DropReason::Ipv4Truncated,
            DropReason::Ipv4HeaderInvalid,
            DropReason::Ipv4TotalLength,
            reason,
        ]);
        // For each header, the totals from both headers to 120, each with no less kept.
        let least = |words: u32| words * 4 + if protocol == TCP { 20 } else { 8 };
        let passing = |words| (1..=u32::from(BYTES) + 1 - least(words)).sum::<u32>();
        assert_eq!(judged.forwarded, (5..16).map(passing).sum::<u32>());
    }
}

#[test]
fn every_total_length_of_all_in_a_frame_of_any_size() {
    let mut judge = Judge::new();
    for protocol in [TCP, UDP] {
        let template = judge.template(protocol, 5);
        for total in 0..=u16::MAX {
            for kept in [20, 28, 40, 60, BYTES] {
                judge.judge(&template, total, kept);
            }
        }
    }
    let judged = judge.finish(&[
        DropReason::Ipv4TotalLength,
        DropReason::TcpHeaderInvalid,
        DropReason::UdpHeaderInvalid,
    ]);
    // From the least that both headers need to all that was kept.
    let passing = |least: u32| [28_u32, 40, 60, 120].map(|kept| (kept + 1).saturating_sub(least));
    let both = passing(40).into_iter().chain(passing(28));
    assert_eq!(judged.forwarded, both.sum::<u32>());
}

#[test]
fn every_length_that_tcp_and_udp_say() {
    let mut judge = Judge::new();
    for header_words in 5..16 {
        let transport = 14 + usize::from(header_words) * 4;
        let mut template = judge.template(TCP, header_words);
        for words in 0..16 {
            template[transport + 12] = words << 4;
            (0..=BYTES).for_each(|total| judge.judge(&template, total, BYTES));
        }
        let mut template = judge.template(UDP, header_words);
        for length in (0..=BYTES).chain([0x7fff, 0x8000, 0xffff]) {
            template[transport + 4..transport + 6].copy_from_slice(&length.to_be_bytes());
            (0..=BYTES).for_each(|total| judge.judge(&template, total, BYTES));
        }
    }
    let judged = judge.finish(&[
        DropReason::Ipv4TotalLength,
        DropReason::TcpHeaderInvalid,
        DropReason::UdpHeaderInvalid,
    ]);
    assert!(judged.forwarded > 10_000, "only {} pass", judged.forwarded);
}
