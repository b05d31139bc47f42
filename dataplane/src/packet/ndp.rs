//! Neighbor Discovery for IPv6 over Ethernet (RFC 4861 4.3, 4.4, RFC 2464): solicitations and
//! advertisements judged and written. adit is a host: it sends and hears nothing of routers.

use core::net::Ipv6Addr;

use arrayvec::ArrayVec;

use crate::drop_reason::DropReason;
use crate::types::MacAddress;
use crate::wire::checksum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv6::{self, Ipv6, Ipv6Mut};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Bytes of a message without options: type, code, checksum, flags, target.
const MESSAGE_BYTES: usize = 24;

/// Bytes of an option with a station.
const OPTION_BYTES: usize = 8;

const SOURCE_STATION: u8 = 1;
const TARGET_STATION: u8 = 2;

/// In advertisements: in answer to a solicitation.
const SOLICITED: u8 = 0x40;
/// In advertisements: what was known is replaced.
const OVERRIDE: u8 = 0x20;

/// No router forwards it: nobody from elsewhere can have sent it (RFC 4861 11.2).
const HOP_LIMIT: u8 = 255;

/// All hosts of the segment.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Bytes of a frame with a message of adit's.
pub const FRAME_BYTES: usize =
    ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + MESSAGE_BYTES + OPTION_BYTES;

/// A frame with such a message.
pub type NdpFrame = ArrayVec<u8, FRAME_BYTES>;

/// Whether ICMPv6 is Neighbor Discovery between hosts, whatever else it says.
#[must_use]
pub fn is_resolution(message: &[u8]) -> bool {
    matches!(message.first(), Some(&(SOLICITATION | ADVERTISEMENT)))
}

/// A well-formed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ndp {
    /// Whether it asks; else it answers.
    pub is_solicitation: bool,
    /// Who sent it; unspecified by one who wants to know whether an address is free (RFC 4862
    /// 5.4).
    pub source: Ipv6Addr,
    /// The station that the frame came from.
    pub station: MacAddress,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// The station of the source of a solicitation, or of the target of an advertisement.
    pub link: Option<MacAddress>,
}

impl Ndp {
    /// Judges a frame whose IPv6 header held and carries [`is_resolution`].
    ///
    /// # Errors
    /// [`DropReason::NdpInvalid`]: what RFC 4861 7.1.1 and 7.1.2 ask for does not hold.
    pub fn parse(frame: &[u8]) -> Result<Ndp, DropReason> {
        Self::judge(frame).ok_or(DropReason::NdpInvalid)
    }

    fn judge(frame: &[u8]) -> Option<Ndp> {
        let station = Ethernet::of(frame)?.source();
        let packet = frame.get(ethernet::HEADER_BYTES..)?;
        let header = Ipv6::of(packet)?;
        let length = header.payload_length();
        let message = packet.get(ipv6::HEADER_BYTES..ipv6::HEADER_BYTES + usize::from(length))?;
        let (source, destination) = (header.source(), header.destination());
        let fixed: &[u8; MESSAGE_BYTES] = message.first_chunk()?;
        let target = Ipv6Addr::from(*fixed[8..].first_chunk::<16>()?);
        let is_sound = header.hop_limit() == HOP_LIMIT
            && fixed[1] == 0
            && sum(header, message) == u16::MAX
            && !target.is_multicast()
            && !source.is_multicast()
            // Neither may look like one of IPv4, which it would then be taken for.
            && [target, source].iter().all(|address| address.to_ipv4_mapped().is_none());
        if !is_sound {
            return None;
        }
        let is_solicitation = fixed[0] == SOLICITATION;
        let wanted = if is_solicitation { SOURCE_STATION } else { TARGET_STATION };
        let link = find_station(&message[MESSAGE_BYTES..], wanted)?;
        let is_probe = source.is_unspecified();
        let fits = match is_solicitation {
            true => !is_probe || link.is_none() && destination == solicited_node(target),
            false => !is_probe && (!destination.is_multicast() || fixed[4] & SOLICITED == 0),
        };
        fits.then_some(Ndp { is_solicitation, source, station, target, link })
    }

    /// The answer that the target is at `mac`: to who asked, or to all if that is nobody yet (RFC
    /// 4861 7.2.4).
    #[must_use]
    pub fn answer(&self, mac: MacAddress) -> Option<NdpFrame> {
        let is_probe = self.source.is_unspecified();
        let (to, station, flags) = match is_probe {
            true => (ALL_NODES, group(ALL_NODES), OVERRIDE),
            false => (self.source, self.link.unwrap_or(self.station), SOLICITED | OVERRIDE),
        };
        emit((mac, station), (self.target, to), (ADVERTISEMENT, flags, self.target))
    }
}

/// The question where `target` is, asked by `sender` at `mac` (RFC 4861 7.2.2).
#[must_use]
pub fn solicitation(mac: MacAddress, sender: Ipv6Addr, target: Ipv6Addr) -> Option<NdpFrame> {
    let to = solicited_node(target);
    emit((mac, group(to)), (sender, to), (SOLICITATION, 0, target))
}

/// Says to all that `address` is at `mac` now (RFC 4861 7.2.6).
#[must_use]
pub fn announcement(mac: MacAddress, address: Ipv6Addr) -> Option<NdpFrame> {
    emit((mac, group(ALL_NODES)), (address, ALL_NODES), (ADVERTISEMENT, OVERRIDE, address))
}

/// The station in the options; `None` if they contradict themselves.
fn find_station(mut options: &[u8], wanted: u8) -> Option<Option<MacAddress>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units, ..] = *options else { return None };
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if let (true, [_, _, a, b, c, d, e, f]) = (kind == wanted, option) {
            let station = MacAddress([*a, *b, *c, *d, *e, *f]);
            found = Some(Some(station).filter(|station| station.is_unicast())?);
        }
        if units == 0 {
            return None;
        }
        options = rest;
    }
    Some(found)
}

/// The group that whoever has an address listens to (RFC 4291 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The station of a group (RFC 2464 7).
fn group(address: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = address.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

/// The one's complement sum over pseudo-header and message; 0xFFFF if the checksum is right.
fn sum(header: Ipv6<'_>, message: &[u8]) -> u16 {
    let parts = [
        checksum::sum(header.addresses()),
        header.payload_length(),
        u16::from(ipv6::ICMP),
        checksum::sum(message),
    ];
    parts.into_iter().fold(0, checksum::add)
}

fn emit(
    (from, to): (MacAddress, MacAddress),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    (kind, flags, target): (u8, u8, Ipv6Addr),
) -> Option<NdpFrame> {
    const AT: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES;
    let mut frame = [0; FRAME_BYTES];
    ethernet::set_stations(&mut frame, to, from);
    frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
    let mut header = Ipv6Mut::of(&mut frame[ethernet::HEADER_BYTES..])?;
    header.set_class(0);
    header.set_payload_length(u16::try_from(MESSAGE_BYTES + OPTION_BYTES).ok()?);
    header.set_next_header(ipv6::ICMP);
    header.set_hop_limit(HOP_LIMIT);
    header.set_addresses(source, destination);
    let option = if kind == SOLICITATION { SOURCE_STATION } else { TARGET_STATION };
    let message = &mut frame[AT..];
    (message[0], message[4]) = (kind, flags);
    message[8..24].copy_from_slice(&target.octets());
    (message[24], message[25]) = (option, 1);
    message[26..].copy_from_slice(&from.0);
    let sum = !sum(Ipv6::of(&frame[ethernet::HEADER_BYTES..])?, &frame[AT..]);
    frame[AT + 2..AT + 4].copy_from_slice(&sum.to_be_bytes());
    Some(NdpFrame::from(frame))
}
