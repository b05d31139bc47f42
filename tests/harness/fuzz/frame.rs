//! Any bytes arrive as a frame, while a TCP and a UDP flow are open.
//!
//! The first byte says by which device, and whether the frame is mended first: a right header
//! checksum and adit's own station, which chance would hardly ever find. The rest is the frame.

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::types::DeviceIndex;

use crate::check::CANARY;
use crate::encode::{Image, Shape, flags};
use crate::form;
use crate::observe::{Observed, observe};
use crate::topology::{A, B, CLIENT, ENDPOINT, P, Topology, backend};
use crate::world::{Kind, World, WorldConfig};

/// Bit of the first byte: mend the frame.
pub(super) const MEND: u8 = 0x80;

/// See the module's documentation.
///
/// # Panics
/// The verdict contradicts what the bytes say, a packet passed that should not have or not so, or
/// a dropped frame changed something.
pub fn frame(bytes: &[u8]) {
    let Some((&control, bytes)) = bytes.split_first() else {
        return;
    };
    let mut world = world();
    let (device, image) = arrival(&world, control, bytes);
    judge(&mut world, device, &image);
}

/// A world in which client port 40000 has a TCP flow, and 40001 a UDP flow.
pub(super) fn world() -> World {
    let config = WorldConfig { flows_max: 16, check_tables: false, ..WorldConfig::default() };
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config);
    let tcp = Shape::tcp((CLIENT, 40_000), (ENDPOINT, 443), flags::SYN);
    for request in [tcp, datagram()] {
        let request = request.to_station(world.topology.station(A)).encode();
        assert_eq!(world.arrive(A, &request), Verdict::Forward(P));
    }
    world.left.clear();
    world
}

fn datagram() -> Shape {
    Shape::udp((CLIENT, 40_001), (ENDPOINT, 53), b"?")
}

/// The device that the first byte names, and the frame.
pub(super) fn arrival(world: &World, control: u8, bytes: &[u8]) -> (DeviceIndex, Image) {
    let device = [A, B, P, P][usize::from(control & 3)];
    let mut image = Image::from(bytes.to_vec());
    if control & MEND != 0 {
        form::mend(&mut image.bytes, world.topology.station(device));
    }
    (device, image)
}

/// Lets a frame arrive and judges what became of it.
pub(super) fn judge(world: &mut World, device: DeviceIndex, image: &Image) -> Verdict {
    // The checkers believe that who says so is that tenant.
    if image.bytes.windows(CANARY.len()).any(|window| window == CANARY) {
        return Verdict::Consume;
    }
    let faults = form::faults(image, world.topology.station(device));
    let verdict = world.arrive(device, image);
    world.check_tables();
    match verdict {
        Verdict::Drop(reason) => {
            assert_ne!(reason, DropReason::Internal);
            let for_its_form = form::REASONS.contains(&reason);
            let expected = if faults.is_empty() { !for_its_form } else { faults.contains(&reason) };
            assert!(expected, "dropped for {reason:?}; its faults are {faults:?}");
            assert!(world.left.is_empty(), "a dropped frame makes nothing leave");
            check_nothing_changed(world);
        }
        _ => assert!(faults.is_empty(), "{verdict:?} in spite of {faults:?}"),
    }
    if let Verdict::Reply(to) = verdict {
        assert_eq!(to, device, "an answer goes back where the question came from");
        check_answer(world, image);
    }
    verdict
}

/// The flows that were open are, and serve.
fn check_nothing_changed(world: &mut World) {
    assert_eq!(world.sessions().len(), 2);
    let request = datagram().to_station(world.topology.station(A)).encode();
    assert_eq!(world.arrive(A, &request), Verdict::Forward(P));
    world.left.clear();
}

fn check_answer(world: &World, question: &Image) {
    let answer = world.left.back().expect("an answer left");
    assert_eq!(answer.kind, Kind::Replied);
    let asked = observe(&question.bytes);
    let said = observe(&answer.image.bytes);
    let Observed::Arp { operation: 1, target: wanted, sender: asker, .. } = asked else {
        panic!("only questions are answered: {asked:?}");
    };
    let Observed::Arp { operation: 2, sender, sender_mac, target, .. } = said else {
        panic!("a question is answered by an answer: {said:?}");
    };
    assert_eq!((sender, target), (wanted, asker));
    assert_eq!(sender_mac, world.topology.station(answer.device), "in adit's own name");
}
