//! numpy and pandas: arrays by their element type and shape, scalars by value, tables by shape; then what is in them.
//!
//! Checked against numpy 1.24, 1.26 and 2.4, pandas 2.0, 2.3 and 3.0; another memory layout shows as an unknown
//! object, or with `?` for a length.

use super::builtin::short_name;
use super::kind::Kind;
use super::{Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo};

/// More dimensions no array has (`NPY_MAXDIMS`).
const DIMENSIONS_LIMIT: usize = 64;

impl Writer<'_, '_> {
    /// `<numpy.ndarray float64 (2, 2) [[0.0, 1.0], [2.0, 3.0]]>`.
    pub(super) fn numpy_array(&mut self, object: u64, of: &TypeInfo) -> Written {
        let shape = self.numpy_shape(object)?;
        let lengths: Vec<String> = shape.iter().map(u64::to_string).collect();
        let comma = if shape.len() == 1 { "," } else { "" };
        // PyArray_Descr (ndarraytypes.h) begins with the type of the scalars.
        let element = self.field(self.field(object, 5)?, 0)?;
        let element = self.printer.type_info(element)?;
        let element = element.name.strip_prefix("numpy.").unwrap_or(&element.name).to_owned();
        let open = format!("<{} {element} ({}{comma})", of.name, lengths.join(", "));
        self.nested(object, &open, ">", "<...>", |writer| writer.numpy_values(object, &shape))
    }

    /// `PyArrayObject_fields` (ndarraytypes.h): data, number of dimensions (an `int`), dimensions, strides, base,
    /// descriptor.
    pub(super) fn numpy_shape(&self, object: u64) -> Result<Vec<u64>, ReadError> {
        let count = self.objects.int(object, self.objects.layout().object.head_size + 8)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= DIMENSIONS_LIMIT);
        let count = count.ok_or_else(|| ReadError::implausible(object))?;
        if count == 0 {
            return Ok(Vec::new());
        }
        self.objects.pointers(self.field(object, 2)?, count)
    }

    /// `<pandas.DataFrame (3, 2) columns=['a', 'b'] rows=[…]>`, `<pandas.Series (3,) […]>`, `<pandas.Index (3,) […]>`;
    /// `false` for what is none of them.
    /// `base` is the class of pandas that says how it is written.
    pub(super) fn pandas_value(&mut self, object: u64, of: &TypeInfo, base: &str) -> Result<bool, ReadError> {
        let manager = self.attribute(object, of, "_mgr")?;
        let axes = match (base, manager) {
            ("DataFrame" | "Series", Some(manager)) => {
                // In the order columns, rows.
                let Some(axes) = self.axes(manager)? else { return Ok(false) };
                self.objects.list_items(axes, 2)?.0
            }
            ("Categorical", _) => return self.categorical(object, of),
            _ if base.ends_with("Index") => vec![object],
            _ => return Ok(false),
        };
        let lengths: Vec<Option<i128>> =
            axes.iter().rev().map(|axis| self.length_of_index(*axis).ok().flatten()).collect();
        let texts = lengths.iter().map(|length| length.map_or_else(|| "?".to_owned(), |length| length.to_string()));
        let comma = if lengths.len() == 1 { "," } else { "" };
        let open = format!("<pandas.{} ({}{comma})", short_name(of), texts.collect::<Vec<_>>().join(", "));
        self.nested(object, &open, ">", "<...>", |writer| match (&axes[..], manager) {
            ([columns, _], Some(manager)) => {
                let rows = lengths.first().copied().flatten().and_then(|rows| u64::try_from(rows).ok());
                writer.table_values(manager, *columns, rows.unwrap_or(0))
            }
            ([_], Some(manager)) => writer.series_values(Some(manager), object),
            _ => writer.series_values(None, object),
        })?;
        Ok(true)
    }

    /// The list of indices in a manager of blocks: an attribute, or in a `BlockManager` (pandas/_libs/internals.pyx)
    /// the word after the table of methods and the blocks.
    fn axes(&self, manager: u64) -> Result<Option<u64>, ReadError> {
        let of = self.type_of(manager)?;
        let axes = match self.attribute(manager, &of, "axes")? {
            Some(axes) => axes,
            None => self.field(manager, 2)?,
        };
        Ok(self.objects.flags_of(axes)?.contains(TypeFlags::LIST).then_some(axes))
    }

    /// How long an index is: that of its range, or of the array in it, which may be an array around another one.
    fn length_of_index(&self, index: u64) -> Result<Option<i128>, ReadError> {
        let of = self.type_of(index)?;
        if let Some(range) = self.attribute(index, &of, "_range")?
            && self.type_of(range)?.name == "range"
        {
            // Start, stop, step, length.
            return self.objects.small_int(self.field(range, 3)?);
        }
        let Some(data) = self.attribute(index, &of, "_data")? else { return Ok(None) };
        let of = self.type_of(data)?;
        let array = match self.attribute(data, &of, "_ndarray")? {
            _ if of.name == "numpy.ndarray" => Some(data),
            Some(array) => Some(array),
            // `NDArrayBacked` (pandas/_libs/arrays.pyx): the array is behind the table of methods.
            None if of.basic_size >= 32 => Some(self.field(data, 1)?),
            None => None,
        };
        match array {
            Some(array) if self.type_of(array)?.name == "numpy.ndarray" => {
                Ok(self.numpy_shape(array)?.first().map(|length| i128::from(*length)))
            }
            _ => Ok(None),
        }
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
