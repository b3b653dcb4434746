//! CRC-16/MODBUS (Modbus over Serial Line V1.02, 6.2.2): polynomial 0x8005 reflected, begun with 0xFFFF, sent low byte first.

/// How many bytes the checksum takes.
pub(super) const LENGTH: usize = 2;

static TABLE: [u16; 256] = table();

#[expect(clippy::indexing_slicing, reason = "it is evaluated by the compiler, which would say so")]
const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The checksum of no bytes.
pub(super) const BEGIN: u16 = 0xffff;

/// The checksum of these bytes.
pub(super) fn of(bytes: &[u8]) -> u16 {
    continued(BEGIN, bytes)
}

/// The checksum of bytes that follow those which have this one.
pub(super) fn continued(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        let entry = TABLE.get(usize::from(crc as u8 ^ byte)).copied().unwrap_or_default();
        (crc >> 8) ^ entry
    })
}

/// Whether the bytes end with the checksum of those before it. The checksum over both is 0 then.
pub(super) fn is_right(bytes: &[u8]) -> bool {
    bytes.len() > LENGTH && of(bytes) == 0
}
