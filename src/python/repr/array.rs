//! numpy: arrays by their element type and shape, scalars by value.

use super::builtin::short_name;
use super::kind::Kind;
use super::{Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::TypeInfo;

/// More dimensions no array has (`NPY_MAXDIMS`).
const DIMENSIONS_LIMIT: usize = 64;

impl Writer<'_, '_> {
    /// `<numpy.ndarray float64 (3, 4)>`.
    pub(super) fn numpy_array(&mut self, object: u64, of: &TypeInfo) -> Written {
        let shape = self.numpy_shape(object)?;
        let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
        let comma = if shape.len() == 1 { "," } else { "" };
        // PyArray_Descr (ndarraytypes.h) begins with the type of the scalars.
        let element = self.field(self.field(object, 5)?, 0)?;
        let element = self.printer.type_info(element)?;
        let element = element.name.strip_prefix("numpy.").unwrap_or(&element.name).to_owned();
        self.plain(&format!("<{} {element} ({}{comma})>", of.name, shape.join(", ")));
        Ok(())
    }

    /// `PyArrayObject_fields` (ndarraytypes.h): data, number of dimensions (an `int`), dimensions, strides, base, descriptor.
    pub(super) fn numpy_shape(&self, object: u64) -> Result<Vec<u64>, ReadError> {
        let count = self.objects.int(object, self.objects.layout().object.head_size + 8)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= DIMENSIONS_LIMIT);
        let count = count.ok_or_else(|| ReadError::implausible(object))?;
        if count == 0 {
            return Ok(Vec::new());
        }
        self.objects.pointers(self.field(object, 2)?, count)
    }

    /// `np.int64(5)`: the value lies behind the head (`PyInt64ScalarObject` and the like, arrayscalars.h).
    pub(super) fn numpy_scalar(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        let name = short_name(of).to_owned();
        let word = self.field(object, 0)?.to_ne_bytes();
        let bits: u32 = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(64);
        let width = (bits / 8).clamp(1, 8) as usize;
        let mut bytes = [0; 8];
        let place = if cfg!(target_endian = "little") { 0..width } else { 8 - width..8 };
        bytes[place].copy_from_slice(&word[..width]);
        let value = u64::from_ne_bytes(bytes);
        let shift = 64 - 8 * width as u32;
        let text = match (kind, width) {
            (Kind::NumpyBool, _) => {
                return {
                    self.plain(if word[0] == 0 { "np.False_" } else { "np.True_" });
                    Ok(())
                };
            }
            (Kind::NumpySigned, _) => ((value << shift).cast_signed() >> shift).to_string(),
            (Kind::NumpyFloat, 4) => number::float32(f32::from_bits((value & 0xFFFF_FFFF) as u32)),
            (Kind::NumpyFloat, _) => number::float(f64::from_bits(value)),
            _ => value.to_string(),
        };
        self.plain(&format!("np.{name}({text})"));
        Ok(())
    }
}
