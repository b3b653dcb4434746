//! What the Modbus framings have in common: bodies, which are the unit id and the PDU (function and data), as in Modbus
//! Application Protocol V1.1b3. Frames pass byte for byte; here is only what sharing a device needs to know of them.

use super::{Intent, ProtocolError, Refusal, wrong};

/// The shortest body: unit and function.
pub const LEAST: usize = 2;
/// The longest body: a unit and a PDU of 253 bytes.
pub const MOST: usize = 254;
/// The bit that makes a function an exception.
const EXCEPTION: u8 = 0x80;

/// What a device keeps its values in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Bits that can be written.
    Coils,
    /// Bits that can't.
    DiscreteInputs,
    /// Words that can be written.
    HoldingRegisters,
    /// Words that can't.
    InputRegisters,
}

/// Consecutive values of a table. There is at least one, and the last has an address below 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Area {
    /// Where they are.
    pub table: Table,
    /// The address of the first, as in the frame (counted from 0).
    pub address: u16,
    /// How many there are.
    pub count: u16,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The unit id.
    pub unit: u8,
    /// The function.
    pub function: u8,
    /// Whether it may change something. What is not known, or malformed, may.
    pub writes: bool,
    /// What it reads or, if it writes, what it writes; nothing where that is not known, or the request is malformed. Who
    /// allows some areas only must refuse a write without one.
    pub area: Option<Area>,
}

/// What the request of this body asks for; nothing, if it has no function.
pub fn ask(body: &[u8]) -> Option<Ask> {
    let (&[unit, function], data) = body.split_first_chunk()?;
    let area = area(function, data);
    let reads = match function {
        1..=4 => area.is_some(),
        7 | 11 | 12 | 17 => data.is_empty(),
        20 => matches!(data, [count @ 7..=245, records @ ..] if usize::from(*count) == records.len() && count % 7 == 0),
        43 => matches!(data, [14, _, _]),
        _ => false,
    };
    Some(Ask { unit, function, writes: !reads, area })
}

fn area(function: u8, data: &[u8]) -> Option<Area> {
    let table = match function {
        1 | 5 | 15 => Table::Coils,
        2 => Table::DiscreteInputs,
        3 | 6 | 16 | 22 | 23 => Table::HoldingRegisters,
        4 => Table::InputRegisters,
        _ => return None,
    };
    let (address, count) = match (function, data) {
        (1..=4, &[a, b, c, d]) => {
            let count = word(c, d);
            (word(a, b), if count <= if function < 3 { 2000 } else { 125 } { count } else { 0 })
        }
        (5 | 6, &[a, b, _, _]) | (22, &[a, b, _, _, _, _]) => (word(a, b), 1),
        (15 | 16, &[a, b, c, d, bytes, ref values @ ..]) | (23, &[_, _, _, _, a, b, c, d, bytes, ref values @ ..]) => {
            let count = word(c, d);
            let fits = usize::from(bytes) == values.len() && values.len() == size(function == 15, count);
            (word(a, b), if fits { count } else { 0 })
        }
        _ => return None,
    };
    let ends = u32::from(address) + u32::from(count);
    (count > 0 && ends <= 0x1_0000).then_some(Area { table, address, count })
}

fn word(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

/// How many bytes so many bits or words take.
fn size(bits: bool, count: u16) -> usize {
    if bits { usize::from(count).div_ceil(8) } else { usize::from(count) * 2 }
}

/// Whether the request of this body may be sent twice.
pub fn intent(body: &[u8]) -> Intent {
    if ask(body).is_some_and(|ask| !ask.writes) { Intent::Read } else { Intent::Write }
}

/// The exception with this code that answers the request of this body; empty, if that has no function.
pub fn exception(body: &[u8], code: u8) -> Vec<u8> {
    match body.first_chunk() {
        Some(&[unit, function]) => vec![unit, function | EXCEPTION, code],
        None => Vec::new(),
    }
}

/// The exception for this reason, if the request has a function.
pub fn refuse(body: &[u8], why: Refusal) -> Option<Vec<u8>> {
    let code = match why {
        Refusal::Silent => 0x0b,    // gateway target device failed to respond
        Refusal::NoPath => 0x0a,    // gateway path unavailable
        Refusal::Busy => 0x06,      // server device busy
        Refusal::Denied => 0x01,    // illegal function
        Refusal::Malformed => 0x03, // illegal data value
        Refusal::BadAnswer => 0x04, // server device failure
    };
    Some(exception(body, code)).filter(|answer| !answer.is_empty())
}

/// The answer by which a device confirms the write of this body; nothing, if it is none, if it is malformed, or if its
/// answer has values that only the device knows.
pub fn success(body: &[u8]) -> Option<Vec<u8>> {
    let Ask { function, area: Some(_), .. } = ask(body)? else { return None };
    match function {
        5 | 6 | 22 => Some(body.to_vec()),
        15 | 16 => body.get(..6).map(<[u8]>::to_vec),
        _ => None,
    }
}

/// Why `answer` is surely none to `request`, both being bodies.
pub fn mismatch(request: &[u8], answer: &[u8]) -> Option<ProtocolError> {
    let (Some((&[unit, function], asked)), Some((&[its_unit, its_function], data))) = (request.split_first_chunk(), answer.split_first_chunk())
    else {
        return Some(wrong("an answer without a function"));
    };
    // Many devices answer with their own unit when they are asked with one that means "whoever is there".
    if its_unit != unit && !matches!(unit, 0 | 255) {
        return Some(wrong(format!("an answer of unit {its_unit} to a request to unit {unit}")));
    }
    if its_function != function && its_function != function | EXCEPTION {
        return Some(wrong(format!("an answer to function {its_function}, but {function} was asked")));
    }
    if its_function != function {
        return (data.len() != 1).then(|| wrong(format!("an exception with {} bytes of data, but it has one", data.len())));
    }
    match (function, asked) {
        (1..=4 | 23, &[_, _, c, d, ..]) => read_mismatch(size(function < 3, word(c, d)), data),
        (5 | 6 | 22, _) if data != asked => Some(wrong("an answer that does not repeat what was to be written")),
        (15 | 16, _) if Some(data) != asked.get(..4) => Some(wrong("an answer that confirms the write of something else")),
        _ => None,
    }
}

fn read_mismatch(expected: usize, data: &[u8]) -> Option<ProtocolError> {
    let Some((announced, values)) = data.split_first() else { return Some(wrong("an answer without a byte count")) };
    if usize::from(*announced) != expected {
        return Some(wrong(format!("an answer of {announced} bytes, but {expected} were asked for")));
    }
    (values.len() != expected).then(|| wrong(format!("an answer that announces {expected} bytes and has {}", values.len())))
}
