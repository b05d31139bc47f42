//! Carries out the verdicts of a batch: frames to devices and to peers, in order, grouped so that
//! each device is called once; and tells the engine what became of them (I9).

use arrayvec::ArrayVec;

use super::attachments::Attachments;
use super::handover::Handover;
use super::seat::Shared;
use super::trace::Tracer;
use crate::device::{Batch, Device, Frame, Transmitted};
use crate::drop_reason::DropReason;
use crate::engine::{Engine, Origin, Outcome, Verdict, Verdicts};
use crate::limits::{BATCH_FRAMES_MAX, PROBE_FRAMES_MAX};
use crate::stats::StatsPage;
use crate::types::{DeviceIndex, Instant, WorkerId};

/// Sends what is to be sent. Returns the peers that were given frames, a bit for each.
pub(super) fn dispatch<D: Device>(
    batch: &Batch,
    verdicts: &Verdicts,
    engine: &mut Engine,
    devices: &mut Attachments<D>,
    handover: &Handover,
    shared: &Shared,
) -> u64 {
    let stats = &shared.stats;
    let mut peers = 0;
    let mut done = 0_u64;
    for (at, frame) in batch.frames().iter().enumerate() {
        if done >> at & 1 == 1 {
            continue;
        }
        match verdicts[at] {
            Verdict::Drop(_) | Verdict::Consume | Verdict::Hold => {}
            Verdict::TakeUp => {
                let scope = engine.generation().snapshot.device_scope(frame.ingress);
                scope.into_iter().for_each(|scope| shared.probes.take_up(scope, frame));
            }
            Verdict::HandOver(worker) => {
                engine.settle(give(handover, worker, frame));
                peers |= 1 << worker.0;
            }
            verdict @ (Verdict::Forward(device) | Verdict::Reply(device)) => {
                let mut frames = ArrayVec::<&Frame, BATCH_FRAMES_MAX>::new();
                for (other, frame) in batch.frames().iter().enumerate().skip(at) {
                    if verdicts[other] == verdict {
                        done |= 1 << other;
                        frames.push(frame);
                    }
                }
                let is_reply = matches!(verdict, Verdict::Reply(_));
                let kind = if is_reply { Kind::Reply } else { Kind::Packet };
                transmit(&frames, kind, device, engine, devices, stats);
            }
        }
    }
    peers
}

/// Sends what the engine wants sent before the batch.
pub(super) fn send_ahead<D: Device>(
    spare: &mut Frame,
    engine: &mut Engine,
    devices: &mut Attachments<D>,
    stats: &StatsPage,
    (tracer, now): (&Tracer, Instant),
) {
    while let Some(device) = engine.poll_ahead(spare) {
        tracer.sent(spare, (device, Origin::Own), &engine.generation().snapshot, now);
        transmit(&[spare], Kind::Request, device, engine, devices, stats);
    }
}

/// Sends what whoever probes wants sent, as far as that is possible now.
pub(super) fn send_probes<D: Device>(
    spare: &mut Frame,
    engine: &mut Engine,
    devices: &mut Attachments<D>,
    shared: &Shared,
) {
    for _ in 0..PROBE_FRAMES_MAX {
        let Some(backend) = shared.probes.next(spare) else { break };
        if let Some(device) = engine.send_probe(backend, spare) {
            transmit(&[spare], Kind::Request, device, engine, devices, &shared.stats);
        }
    }
}

/// Sends what the engine wants sent by itself: held packets, own requests and answers. Returns the
/// peers that were given frames, a bit for each.
pub(super) fn drain<D: Device>(
    spare: &mut Frame,
    engine: &mut Engine,
    devices: &mut Attachments<D>,
    handover: &Handover,
    stats: &StatsPage,
    (tracer, now): (&Tracer, Instant),
) -> u64 {
    while let Some((device, origin)) = engine.poll_transmit(spare) {
        tracer.sent(spare, (device, origin), &engine.generation().snapshot, now);
        let kind = match origin {
            Origin::Held => Kind::Packet,
            Origin::Own => Kind::Request,
        };
        transmit(&[spare], kind, device, engine, devices, stats);
    }
    let mut peers = 0;
    while let Some(worker) = engine.poll_hand_over(spare) {
        engine.settle(give(handover, worker, spare));
        peers |= 1 << worker.0;
    }
    peers
}

/// Under which counter a sent frame belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packet,
    Reply,
    Request,
}

fn transmit<D: Device>(
    frames: &[&Frame],
    kind: Kind,
    device: DeviceIndex,
    engine: &mut Engine,
    devices: &mut Attachments<D>,
    stats: &StatsPage,
) {
    let Transmitted { sent, full, rejected, gone } = devices.transmit(device, frames);
    stats.count_device(device, 0, sent);
    match kind {
        Kind::Reply => engine.settle(Outcome::Replied(sent)),
        Kind::Request => engine.settle(Outcome::Originated(sent)),
        Kind::Packet => {
            // Which ones were refused is not told; bytes are those of as many frames.
            let bytes = frames.iter().take(sent).map(|frame| frame.bytes().len()).sum();
            engine.settle(Outcome::Forwarded(sent, bytes));
            engine.settle(Outcome::Dropped(DropReason::TransmitFull, full));
            engine.settle(Outcome::Dropped(DropReason::TransmitRejected, rejected));
            engine.settle(Outcome::Dropped(DropReason::DeviceDown, gone));
        }
    }
}

fn give(handover: &Handover, worker: WorkerId, frame: &Frame) -> Outcome {
    if handover.give(worker, frame) {
        Outcome::HandedOver(1)
    } else {
        Outcome::Dropped(DropReason::HandoverFull, 1)
    }
}
