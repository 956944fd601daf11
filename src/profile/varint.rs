//! Whole numbers in as few bytes as they need: seven bits a byte, low bits first.

/// Appends a number.
pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a number that is small in either direction.
pub(crate) fn put_signed_varint(bytes: &mut Vec<u8>, number: i64) {
    put_varint(bytes, (number << 1 ^ number >> 63) as u64);
}

/// Takes a number off the front; `None` when there is no whole one.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes what [`put_signed_varint`] appended.
pub(crate) fn take_signed_varint(bytes: &mut &[u8]) -> Option<i64> {
    let number = take_varint(bytes)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let signed = [0, -1, 1, 63, -64, i64::MIN, i64::MAX];
        let mut bytes = vec![];
        numbers.iter().for_each(|number| put_varint(&mut bytes, *number));
        signed.iter().for_each(|number| put_signed_varint(&mut bytes, *number));
        let mut rest = bytes.as_slice();
        assert_eq!(numbers.map(|_| take_varint(&mut rest).unwrap()), numbers);
        assert_eq!(signed.map(|_| take_signed_varint(&mut rest).unwrap()), signed);
        assert_eq!(take_varint(&mut rest), None);
    }

    #[test]
    fn damaged_numbers_are_refused() {
        assert_eq!(take_varint(&mut [0x80].as_slice()), None);
        assert_eq!(take_varint(&mut [0xFF; 11].as_slice()), None);
    }
}
