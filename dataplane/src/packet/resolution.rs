//! Who has which address at which station, in the words of either family: ARP for IPv4, Neighbor
//! Discovery for IPv6.

use core::net::IpAddr;

use arrayvec::ArrayVec;

use super::arp::{self, Arp};
use super::ndp::{self, Ndp};
use crate::drop_reason::DropReason;
use crate::types::{Family, MacAddress};
use crate::wire::ethernet::{self, Ethernet};

/// A frame that asks or answers.
pub type ResolutionFrame = ArrayVec<u8, { ndp::FRAME_BYTES }>;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Where its sender, or who it is about, says to be.
    pub teller: Option<(IpAddr, MacAddress)>,
    message: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Arp(Arp),
    Ndp(Ndp),
}

impl Resolution {
    /// Judges a frame that [`super::parse`] took for one.
    ///
    /// # Errors
    /// It is malformed.
    pub fn parse(frame: &[u8]) -> Result<Resolution, DropReason> {
        let ethertype = Ethernet::of(frame).map(Ethernet::ethertype);
        if ethertype == Some(ethernet::IPV6) {
            let ndp = Ndp::parse(frame)?;
            let teller = match ndp.is_solicitation {
                true => ndp.link.map(|link| (ndp.source.into(), link)),
                false => Some((ndp.target.into(), ndp.link.unwrap_or(ndp.station))),
            };
            return Ok(Resolution { teller, message: Message::Ndp(ndp) });
        }
        let arp = Arp::parse(frame)?;
        let teller = Some((arp.sender.into(), arp.sender_mac));
        Ok(Resolution { teller, message: Message::Arp(arp) })
    }

    /// The address that is asked for, if one is.
    #[must_use]
    pub fn question(&self) -> Option<IpAddr> {
        match self.message {
            Message::Arp(arp) => arp.is_request.then_some(arp.target.into()),
            Message::Ndp(ndp) => ndp.is_solicitation.then_some(ndp.target.into()),
        }
    }

    /// The answer to its question: the address is at `mac`.
    #[must_use]
    pub fn answer(&self, mac: MacAddress) -> Option<ResolutionFrame> {
        match self.message {
            Message::Arp(arp) => of_arp(&arp.answer(mac)),
            Message::Ndp(ndp) => ndp.answer(mac),
        }
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.message {
            Message::Arp(_) => Family::V4,
            Message::Ndp(_) => Family::V6,
        }
    }
}

/// The question where `target` is, asked by `sender` at `mac`; `None` if they are of different
/// families.
#[must_use]
pub fn ask(mac: MacAddress, sender: IpAddr, target: IpAddr) -> Option<ResolutionFrame> {
    match (sender, target) {
        (IpAddr::V4(sender), IpAddr::V4(target)) => of_arp(&Arp::request(mac, sender, target)),
        (IpAddr::V6(sender), IpAddr::V6(target)) => ndp::solicitation(mac, sender, target),
        _ => None,
    }
}

/// Says to all that `address` is at `mac` now.
#[must_use]
pub fn announce(mac: MacAddress, address: IpAddr) -> Option<ResolutionFrame> {
    match address {
        IpAddr::V4(address) => of_arp(&Arp::request(mac, address, address)),
        IpAddr::V6(address) => ndp::announcement(mac, address),
    }
}

fn of_arp(arp: &Arp) -> Option<ResolutionFrame> {
    const _: () = assert!(arp::FRAME_BYTES <= ndp::FRAME_BYTES);
    ResolutionFrame::try_from(&arp.emit()[..]).ok()
}
