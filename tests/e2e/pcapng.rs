//! Reads files of packets in the pcapng format, by the document alone
//! (draft-ietf-opsawg-pcapng-02): whatever is not as it says is an error.

use crate::case::Failure;

/// A packet of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// Name of its interface.
    pub(crate) interface: String,
    /// Nanoseconds since the beginning of 1970.
    pub(crate) at_ns: u64,
    pub(crate) bytes: Vec<u8>,
    /// Bytes that it had.
    pub(crate) length: usize,
    pub(crate) comment: String,
    /// 1: inbound, 2: outbound.
    pub(crate) way: u32,
    pub(crate) id: u64,
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Failure> {
    let word = bytes.get(at..at + 4).ok_or("a word is missing")?;
    Ok(u32::from_le_bytes(word.try_into()?))
}

/// Options up to the one that ends them: code and value.
fn options(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, Failure> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let head = word(bytes, 0)?.to_le_bytes();
        let code = u16::from_le_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        if code == 0 {
            ensure!(length == 0 && bytes.len() == 4, "nothing comes behind the last option");
            return Ok(found);
        }
        found.push((code, bytes.get(4..4 + length).ok_or("an option is cut")?));
        bytes = bytes.get(4 + length.next_multiple_of(4)..).ok_or("an option is cut")?;
    }
    Err("options have no end".into())
}

/// The packets of a file that was written to its end.
pub(crate) fn read(mut file: &[u8]) -> Result<Vec<Block>, Failure> {
    let (mut interfaces, mut blocks, mut is_first) = (Vec::new(), Vec::new(), true);
    while !file.is_empty() {
        let (kind, length) = (word(file, 0)?, word(file, 4)? as usize);
        ensure!(length >= 12 && length % 4 == 0, "a block of {length} bytes");
        let body = file.get(8..length - 4).ok_or("a block is cut")?;
        ensure!(word(file, length - 4)? as usize == length, "its length stands behind it too");
        ensure!(is_first == (kind == 0x0a0d_0d0a), "one section, and it comes first");
        is_first = false;
        match kind {
            0x0a0d_0d0a => {
                ensure!(word(body, 0)? == 0x1a2b_3c4d, "the order of bytes");
                ensure!(word(body, 4)? == 1, "version 1.0");
                options(&body[16..])?;
            }
            1 => interfaces.push(interface(body)?),
            6 => blocks.push(packet(body, &interfaces)?),
            other => return Err(format!("a block of kind {other}").into()),
        }
        file = &file[length..];
    }
    Ok(blocks)
}

fn interface(body: &[u8]) -> Result<String, Failure> {
    ensure!(word(body, 0)? == 1, "Ethernet");
    let options = options(&body[8..])?;
    let find = |code| options.iter().find(|(known, _)| *known == code).map(|(_, value)| *value);
    ensure!(find(9) == Some(&[9]), "times are in nanoseconds");
    let name = find(2).ok_or("an interface has a name")?;
    Ok(String::from_utf8(name.to_vec())?)
}

fn packet(body: &[u8], interfaces: &[String]) -> Result<Block, Failure> {
    let interface = interfaces.get(word(body, 0)? as usize).ok_or("its interface is known")?;
    let kept = word(body, 12)? as usize;
    let bytes = body.get(20..20 + kept).ok_or("a packet is cut")?.to_vec();
    let mut block = Block {
        interface: interface.clone(),
        at_ns: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
        bytes,
        length: word(body, 16)? as usize,
        ..Block::default()
    };
    for (code, value) in options(&body[20 + kept.next_multiple_of(4)..])? {
        match code {
            1 => block.comment = String::from_utf8(value.to_vec())?,
            2 => block.way = word(value, 0)? & 3,
            5 => block.id = u64::from_le_bytes(value.try_into()?),
            other => return Err(format!("an option {other} of a packet").into()),
        }
    }
    Ok(block)
}
