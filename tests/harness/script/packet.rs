//! The packets of scripts: from a line of words to the bytes of a frame.
//!
//! * `tcp IP:PORT > IP:PORT FLAGS [OPTION…]`, flags of `SFRPAUEC` or `none`;
//! * `udp IP:PORT > IP:PORT [OPTION…]`, `ip PROTOCOL IP > IP`;
//! * `part START..END [id=N] [ttl=N] [ip-flags=N] of PACKET`, a fragment with these bytes of what
//!   is behind the packet's IPv4 header;
//! * `icmp IP > IP [OPTION…] [about PACKET]`, an echo request unless it is about a packet;
//! * `arp who-has IP tell IP [OPTION…]`, `arp IP is-at for IP [OPTION…]`; `ndp` alike, for IPv6;
//! * `raw HEX…`.
//!
//! A frame that arrives has TTL 64 and goes from its host's station to adit's; one that leaves has
//! TTL 63 and goes from adit's station to its host's. Options override: `ttl=`, `tos=`, `id=`,
//! `ip-flags=`, `offset=` (fragment), `version=`, `ihl=`, `total=`, `ip-sum=+ERROR`,
//! `ip-options=HEX`; for IPv6, whose ends are `[IP]:PORT`, `label=N` and `ext=NUMBER:HEX`, the
//! number of the first extension header and all of them;
//! `seq=`, `ack=`, `window=`, `tcp-options=HEX`, `doff=`, `udp-length=`; `sum=+ERROR|none|partial`;
//! `data=TEXT`, `hex=HEX`, `len=BYTES`, `pad=BYTES`, `cut=BYTES`, `gso=BYTES`, `partial-start=`;
//! `from=MAC|IP`, `to=MAC|IP` (stations), `vlan=`, `ethertype=`, `fault=`;
//! `flip=BIT` (of the whole frame, counted from its first byte's highest bit);
//! for ICMP `type=`, `code=`, `mtu=`, `pointer=`, `words=` (RFC 4884), `quote=BYTES` (cut or padded
//! with zeros), `extension=HEX`, `echo=BYTES`;
//! for ARP `sender-mac=`, `operation=`, `hardware=`; for NDP `station=`, `no-station=yes`, `hops=`,
//! `code=`, `sum=`, `flags=`, `to-ip=`.

use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;

use dataplane::device::FrameFault;
use pnet_base::MacAddr;
use pnet_packet::ipv4::MutableIpv4Packet;

use crate::encode::{ArpShape, Image, Shape, Sum, TCP, UDP, flags, mac_of};
use crate::icmp::{ECHO_REQUEST, IcmpShape, UNREACHABLE};
use crate::ndp::NdpShape;
use crate::sum::sum;

/// What a line does not say of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    station: MacAddr,
    arrives: bool,
}

impl Side {
    /// A frame that arrives at this station of adit's.
    #[must_use]
    pub fn arriving(station: MacAddr) -> Side {
        Side { station, arrives: true }
    }

    /// The station of whoever sends, in the name of an address.
    fn speaker(&self, address: IpAddr) -> MacAddr {
        if self.arrives { mac_of(address) } else { self.station }
    }

    /// The station of whoever receives.
    fn hearer(&self, address: IpAddr) -> MacAddr {
        if self.arrives { self.station } else { mac_of(address) }
    }

    /// A frame that leaves from this station of adit's.
    #[must_use]
    pub fn leaving(station: MacAddr) -> Side {
        Side { station, arrives: false }
    }
}

/// What the words of a packet say, before it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// IP, and what a device found wrong with the frame.
    Ipv4(Shape, Option<FrameFault>),
    /// ARP.
    Arp(ArpShape),
    /// Neighbor Discovery.
    Ndp(NdpShape),
    /// Bytes of any kind.
    Raw(Vec<u8>),
}

impl Described {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Image {
        match self {
            Described::Ipv4(shape, fault) => Image { fault: *fault, ..shape.encode() },
            Described::Arp(shape) => shape.encode(),
            Described::Ndp(shape) => shape.encode(),
            Described::Raw(bytes) => Image::from(bytes.clone()),
        }
    }
}

/// What the words describe.
///
/// # Errors
/// They describe nothing; why.
pub fn parse_packet(words: &[&str], side: &Side) -> Result<Described, String> {
    match words {
        ["raw", bytes @ ..] => Ok(Described::Raw(hex(&bytes.concat())?)),
        ["arp", rest @ ..] => arp(rest, side).map(Described::Arp),
        ["ndp", rest @ ..] => ndp(rest, side).map(Described::Ndp),
        ["tcp", from, ">", to, set, options @ ..] => {
            let mut shape = Shape::new(TCP, end(from)?, end(to)?);
            shape.flags = control_bits(set)?;
            ipv4(shape, options, side)
        }
        ["udp", from, ">", to, options @ ..] => {
            ipv4(Shape::new(UDP, end(from)?, end(to)?), options, side)
        }
        ["icmp", from, ">", to, rest @ ..] => icmp((number(from)?, number(to)?), rest, side),
        ["part", range, options @ ..] => part(range, options, side),
        ["ip", protocol, from, ">", to, options @ ..] => {
            let ends = ((number(from)?, 0), (number(to)?, 0));
            ipv4(Shape::new(number(protocol)?, ends.0, ends.1), options, side)
        }
        _ => Err("no such packet".to_owned()),
    }
}

/// The fragment of a packet with these bytes of it, counted behind its IP header; the options
/// before the word `of` are the fragment's.
fn part(range: &str, words: &[&str], side: &Side) -> Result<Described, String> {
    let (start, end) = range.split_once("..").ok_or("a part is START..END")?;
    let (start, end): (usize, usize) = (number(start)?, number(end)?);
    let of = words.iter().position(|word| *word == "of").ok_or("a part is of a packet")?;
    let mut bytes = parse_packet(&words[of + 1..], side)?.encode().bytes;
    let is_ipv6 = bytes[14] >> 4 == 6;
    let payload_bytes = bytes.len() - if is_ipv6 { 54 } else { 34 };
    let end = end.min(payload_bytes);
    let mut id = None;
    let mut more = end < payload_bytes;
    for option in &words[..of] {
        match option.split_once('=').ok_or("an option is NAME=VALUE")? {
            ("id", value) => id = Some(number(value)?),
            ("ttl", value) => bytes[if is_ipv6 { 21 } else { 22 }] = number(value)?,
            ("more", value) => more = value == "yes",
            _ => return Err(format!("no such option of a part: {option}")),
        }
    }
    fragment(bytes, start..end, (more, id)).map(Described::Raw)
}

/// The fragment of a packet without options with these bytes of it, counted behind its IP header:
/// whether more follow, and another identification.
///
/// # Errors
/// The packet does not have these bytes.
pub fn fragment(
    mut bytes: Vec<u8>,
    range: Range<usize>,
    (more, id): (bool, Option<u32>),
) -> Result<Vec<u8>, String> {
    let is_ipv6 = bytes[14] >> 4 == 6;
    let payload = bytes.split_off(if is_ipv6 { 54 } else { 34 });
    let units = u16::try_from(range.start / 8).map_err(|_| "too far")?;
    let body = payload.get(range).ok_or("no such part")?;
    let long = |_| "too long";
    if is_ipv6 {
        let place = units << 3 | u16::from(more);
        bytes[18..20].copy_from_slice(&u16::try_from(8 + body.len()).map_err(long)?.to_be_bytes());
        let next = std::mem::replace(&mut bytes[20], 44);
        bytes.extend([next, 0]);
        bytes.extend(place.to_be_bytes());
        bytes.extend(id.unwrap_or(0_u32).to_be_bytes());
        bytes.extend(body);
        return Ok(bytes);
    }
    bytes.extend(body);
    let mut header = MutableIpv4Packet::new(&mut bytes[14..]).ok_or("no IPv4 packet")?;
    header.set_total_length(u16::try_from(20 + body.len()).map_err(long)?);
    header.set_flags(u8::from(more));
    header.set_fragment_offset(units);
    if let Some(id) = id {
        header.set_identification(u16::try_from(id & 0xffff).map_err(long)?);
    }
    header.set_checksum(0);
    let checksum = !sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// `icmp` behind its addresses: its own options and those of the packet around it; behind the word
/// `about`, the packet that an error quotes.
fn icmp(ends: (IpAddr, IpAddr), words: &[&str], side: &Side) -> Result<Described, String> {
    let mut own = words.split(|word| *word == "about");
    let (options, quoted) = (own.next().unwrap_or_default(), own.next());
    let is_ipv6 = ends.0.is_ipv6();
    let kind = if is_ipv6 { 128 } else { ECHO_REQUEST };
    let mut shape = IcmpShape::echo(kind, 0x1234, 1, &[]);
    if let Some(quoted) = quoted {
        // Neither arrives nor leaves: only what is behind the stations is quoted.
        let packet = parse_packet(quoted, &Side::arriving(MacAddr::zero()))?;
        let unreachable = if is_ipv6 { 1 } else { UNREACHABLE };
        shape = IcmpShape::about(unreachable, 0, &packet.encode().bytes[14..], usize::MAX);
    }
    let (mut outer, mut extension) = (Vec::new(), Vec::new());
    for option in options {
        let (name, value) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
        match name {
            "type" => shape.kind = number(value)?,
            "code" => shape.code = number(value)?,
            "mtu" => shape.word[2..].copy_from_slice(&number::<u16>(value)?.to_be_bytes()),
            "pointer" => shape.word[if is_ipv6 { 3 } else { 0 }] = number(value)?,
            "words" => shape.word[usize::from(!is_ipv6)] = number(value)?,
            "quote" => shape.body.resize(number(value)?, 0),
            "extension" => extension = hex(value)?,
            "echo" => shape.body = pattern(number(value)?),
            "sum" => shape.error = number(value)?,
            _ => outer.push(*option),
        }
    }
    shape.body.extend(extension);
    ipv4(shape.between(ends.0, ends.1), &outer, side)
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("cannot read `{word}`"))
}

fn end(word: &str) -> Result<(IpAddr, u16), String> {
    let (address, port) = word.rsplit_once(':').ok_or("an end is IP:PORT")?;
    Ok((number(address.trim_matches(['[', ']']))?, number(port)?))
}

fn hex(word: &str) -> Result<Vec<u8>, String> {
    let byte = |at| u8::from_str_radix(word.get(at..at + 2).unwrap_or("?"), 16);
    let bytes = (0..word.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().map_err(|_| format!("`{word}` is not hexadecimal"))
}

fn control_bits(word: &str) -> Result<u8, String> {
    if word == "none" {
        return Ok(0);
    }
    word.chars().try_fold(0, |bits, letter| {
        let bit = match letter {
            'S' => flags::SYN,
            'F' => flags::FIN,
            'R' => flags::RST,
            'P' => flags::PSH,
            'A' => flags::ACK,
            'U' => flags::URG,
            'E' => flags::ECE,
            'C' => flags::CWR,
            _ => return Err(format!("no such flag: {letter}")),
        };
        Ok(bits | bit)
    })
}

fn station(word: &str) -> Result<MacAddr, String> {
    match word.parse::<IpAddr>() {
        Ok(host) => Ok(mac_of(host)),
        Err(_) => number(word),
    }
}

/// Bytes that differ from their neighbors.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let byte = |at: usize| at.wrapping_mul(7).wrapping_add(33).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

fn ipv4(mut shape: Shape, options: &[&str], side: &Side) -> Result<Described, String> {
    shape.from_mac = side.speaker(shape.source);
    shape.to_mac = side.hearer(shape.destination);
    shape.ttl = if side.arrives { 64 } else { 63 };
    let mut fault = None;
    for option in options {
        let (name, value) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
        let known = set_ip(&mut shape, name, value)?
            || set_transport(&mut shape, name, value)?
            || set_frame(&mut shape, name, value)?;
        match (known, name) {
            (true, _) => {}
            (false, "fault") => fault = Some(parse_fault(value)?),
            (false, _) => return Err(format!("no such option: {name}")),
        }
    }
    Ok(Described::Ipv4(shape, fault))
}

fn parse_fault(word: &str) -> Result<FrameFault, String> {
    match word {
        "offload" => Ok(FrameFault::OffloadInvalid),
        "truncated" => Ok(FrameFault::Truncated),
        "vlan" => Ok(FrameFault::VlanTagged),
        _ => Err("no such fault".to_owned()),
    }
}

fn set_ip(shape: &mut Shape, name: &str, value: &str) -> Result<bool, String> {
    match name {
        "ttl" => shape.ttl = number(value)?,
        "tos" => shape.tos = number(value)?,
        "id" => shape.id = number(value)?,
        "ip-flags" => shape.fragment_flags = number(value)?,
        "offset" => shape.fragment_offset = number(value)?,
        "version" => shape.version = number(value)?,
        "ihl" => shape.header_words = Some(number(value)?),
        "total" => shape.total_length = Some(number(value)?),
        "ip-sum" => shape.header_error = number(value)?,
        "ip-options" => shape.ip_options = hex(value)?,
        "label" => shape.flow_label = number(value)?,
        "ext" => {
            let (first, bytes) = value.split_once(':').ok_or("it is NUMBER:HEX")?;
            shape.extensions = (number(first)?, hex(bytes)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_transport(shape: &mut Shape, name: &str, value: &str) -> Result<bool, String> {
    match name {
        "seq" => shape.sequence = number(value)?,
        "ack" => shape.acknowledgement = number(value)?,
        "window" => shape.window = number(value)?,
        "tcp-options" => shape.tcp_options = hex(value)?,
        "doff" => shape.data_offset = Some(number(value)?),
        "udp-length" => shape.udp_length = Some(number(value)?),
        "data" => shape.payload = value.as_bytes().to_vec(),
        "hex" => shape.payload = hex(value)?,
        "len" => shape.payload = pattern(number(value)?),
        "sum" => {
            shape.sum = match value {
                "none" => Sum::Absent,
                "partial" => Sum::Partial,
                error => Sum::Off(number(error)?),
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_frame(shape: &mut Shape, name: &str, value: &str) -> Result<bool, String> {
    match name {
        "pad" => shape.padding = pattern(number(value)?),
        "cut" => shape.cut = Some(number(value)?),
        "gso" => shape.segment_bytes = Some(number(value)?),
        "partial-start" => shape.partial_start = Some(number(value)?),
        "from" => shape.from_mac = station(value)?,
        "to" => shape.to_mac = station(value)?,
        "vlan" => shape.vlan = Some(number(value)?),
        "ethertype" => shape.ethertype = Some(number(value)?),
        "flip" => shape.flip = Some(number(value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn ndp(words: &[&str], side: &Side) -> Result<NdpShape, String> {
    let (mut shape, options) = match words {
        ["who-has", target, "tell", sender, options @ ..] => {
            let sender = number(sender)?;
            (NdpShape::who_has(number(target)?, (sender, side.speaker(sender))), options)
        }
        [target, "is-at", "for", asker, options @ ..] => {
            let (target, asker) = (number(target)?, number(asker)?);
            let told = (target, side.speaker(target));
            (NdpShape::is_at(told, (asker, side.hearer(asker))), options)
        }
        _ => return Err("no such NDP packet".to_owned()),
    };
    for option in options {
        let (name, value) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
        match name {
            "station" => shape.station = Some(station(value)?),
            "no-station" => shape.station = None,
            "from" => shape.from.0 = station(value)?,
            "to" => shape.to.0 = station(value)?,
            "to-ip" => shape.to.1 = number(value)?,
            "hops" => shape.hops = number(value)?,
            "code" => shape.code = number(value)?,
            "flags" => shape.flags = number(value)?,
            "sum" => shape.error = number(value)?,
            "cut" => shape.cut = Some(number(value)?),
            _ => return Err(format!("no such option: {name}")),
        }
    }
    Ok(shape)
}

fn arp(words: &[&str], side: &Side) -> Result<ArpShape, String> {
    let (mut shape, options) = match words {
        ["who-has", target, "tell", sender, options @ ..] => {
            let sender = number(sender)?;
            let asks = (sender, side.speaker(sender));
            (ArpShape::who_has(number(target)?, asks), options)
        }
        [sender, "is-at", "for", asker, options @ ..] => {
            let (sender, asker) = (number(sender)?, number(asker)?);
            let answers = (sender, side.speaker(sender));
            (ArpShape::is_at(answers, (asker, side.hearer(asker))), options)
        }
        _ => return Err("no such ARP packet".to_owned()),
    };
    for option in options {
        let (name, value) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
        match name {
            "sender-mac" => shape.sender_mac = station(value)?,
            "from" => shape.from_mac = station(value)?,
            "to" => shape.to_mac = station(value)?,
            "operation" => shape.operation = number(value)?,
            "hardware" => shape.hardware = number(value)?,
            "cut" => shape.cut = Some(number(value)?),
            _ => return Err(format!("no such option: {name}")),
        }
    }
    Ok(shape)
}
