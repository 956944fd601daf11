//! Memory that is a set of byte ranges of our own: what tests and saved images are read from.

use super::{Memory, ReadError, ReadFailure};

/// Byte ranges, each at an address of the target.
#[derive(Debug, Clone, Default)]
pub struct Image {
    segments: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// An image with nothing mapped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps `bytes` at `address`; a range mapped earlier wins where two overlap.
    pub fn map(&mut self, address: u64, bytes: Vec<u8>) {
        self.segments.push((address, bytes));
    }

    /// Writes over bytes that are mapped already; what lies outside of the segment is left alone.
    pub fn patch(&mut self, address: u64, bytes: &[u8]) {
        for (start, segment) in &mut self.segments {
            let Some(offset) = address.checked_sub(*start).and_then(|offset| usize::try_from(offset).ok()) else {
                continue;
            };
            if let Some(place) = segment.get_mut(offset..offset.saturating_add(bytes.len())) {
                place.copy_from_slice(bytes);
                return;
            }
        }
    }
}

impl Memory for Image {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let found = self.segments.iter().find_map(|(start, segment)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            segment.get(offset..offset.checked_add(buffer.len())?)
        });
        match found {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(ReadError::new(address, buffer.len(), ReadFailure::Unmapped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_needs_all_of_its_bytes() {
        let mut image = Image::new();
        image.map(0x1000, vec![1, 2, 3, 4]);
        assert_eq!(image.read_array::<2>(0x1001), Ok([2, 3]));
        assert_eq!(image.read_u64(0x1000).unwrap_err().failure, ReadFailure::Unmapped);
        assert!(image.read_u8(u64::MAX).is_err());
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_memory_is_taken() {
        let image = Image::new();
        let error = image.read_bytes(0x1000, u64::MAX, 100).unwrap_err();
        assert_eq!(error.failure, ReadFailure::Implausible);
    }
}
