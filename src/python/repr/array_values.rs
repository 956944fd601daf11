//! What is in arrays of numpy and tables of pandas: the first values, as `tolist` has them.
//!
//! Checked against numpy 1.24, 1.26 and 2.4, pandas 2.0, 2.3 and 3.0. Of values in another order of bytes, of records,
//! and of pandas' arrays that are not made of numpy's, nothing is shown.

use super::builtin::short_name;
use super::{Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::TypeInfo;

/// Rows of a table that are shown, where the limits do not allow fewer.
const ROWS_SHOWN: usize = 5;
/// Bytes of a text in an array, at most.
const TEXT_LIMIT: u64 = 40_000;
/// `sizeof(PyArray_Descr)` of numpy 1 without the head of an object, at most; that of numpy 2 is larger.
const DESCRIPTOR_OF_NUMPY_1: i64 = 88;
/// `NPY_DATETIME_NAT`: not a time.
const NOT_A_TIME: i64 = i64::MIN;

/// How the elements of an array are written in memory.
#[derive(Clone, Copy)]
struct Element {
    /// `PyArray_Descr.kind`, one letter.
    kind: u8,
    /// Bytes.
    width: usize,
    /// Of times.
    unit: TimeUnit,
}

/// `PyArray_DatetimeMetaData` (ndarraytypes.h): times are counted in so many of these.
#[derive(Clone, Copy, Default)]
pub(super) struct TimeUnit {
    /// `NPY_DATETIMEUNIT`.
    base: i32,
    count: i32,
}

/// A column of a table, or any other row of values.
enum Column {
    Array {
        first: u64,
        stride: i64,
        element: Element,
    },
    /// Numbers of categories, and those.
    Categories {
        first: u64,
        stride: i64,
        width: usize,
        categories: Box<Column>,
        count: u64,
    },
    /// A range that counts from the first number by the second.
    Range(i128, i128),
}

/// How many columns of a table are shown at most, whatever the limits say.
const COLUMNS_LIMIT: usize = 1000;

impl Writer<'_, '_> {
    /// ` [1, 2, 3]`: the values of an array, `shape` its shape. Nothing where they are not known here.
    pub(super) fn numpy_values(&mut self, array: u64, shape: &[u64]) -> Written {
        let Some(element) = self.element_of(array)? else { return Ok(()) };
        let strides = self.strides(array, shape.len())?;
        let data = self.field(array, 0)?;
        self.plain(" ");
        self.axis(element, data, shape, &strides)
    }

    fn axis(&mut self, element: Element, address: u64, shape: &[u64], strides: &[i64]) -> Written {
        let ([length, shape @ ..], [stride, strides @ ..]) = (shape, strides) else {
            return self.element(element, address);
        };
        let mut result = Ok(());
        self.plain("[");
        self.separated(0..*length, *length, |writer, index| {
            let place = address.wrapping_add_signed(stride.wrapping_mul(index.cast_signed()));
            if result.is_ok() {
                result = writer.axis(element, place, shape, strides);
            }
        });
        self.plain("]");
        result
    }

    fn strides(&self, array: u64, count: usize) -> Result<Vec<i64>, ReadError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        Ok(self.objects.pointers(self.field(array, 3)?, count)?.into_iter().map(u64::cast_signed).collect())
    }

    /// `PyArray_Descr` (ndarraytypes.h): type, then kind, letter, order of bytes and flags, a byte each, an `int` that
    /// numbers the type. numpy 1 has the size of an element as an `int` next, numpy 2 flags and then the size.
    fn element_of(&self, array: u64) -> Result<Option<Element>, ReadError> {
        let descriptor = self.field(array, 5)?;
        let head = self.objects.layout().object.head_size;
        let kind = self.objects.byte(descriptor, head + 8)?;
        let letter = self.objects.byte(descriptor, head + 9)?;
        let order = self.objects.byte(descriptor, head + 10)?;
        if order == b'>' || cfg!(target_endian = "big") {
            return Ok(None);
        }
        let is_numpy1 = self.type_of(descriptor)?.basic_size - i64::from(head) <= DESCRIPTOR_OF_NUMPY_1;
        let size = match is_numpy1 {
            true => u64::from(self.objects.int(descriptor, head + 16)?.cast_unsigned()),
            false => self.objects.pointer(descriptor, head + 24)?,
        };
        let is_known = match kind {
            b'b' | b'i' | b'u' => matches!(size, 1 | 2 | 4 | 8),
            b'f' => matches!((letter, size), (b'f', 4) | (b'd', 8)),
            b'c' => matches!(size, 8 | 16),
            b'O' | b'M' | b'm' => size == 8,
            b'S' | b'U' => size <= TEXT_LIMIT,
            _ => false,
        };
        let mut unit = TimeUnit::default();
        if is_known && matches!(kind, b'M' | b'm') {
            // Behind the four words of an `NpyAuxData`.
            let metadata = self.field(descriptor, if is_numpy1 { 8 } else { 12 })?;
            unit = self.time_unit(metadata.wrapping_add(32))?;
        }
        let width = usize::try_from(size).unwrap_or(0);
        Ok(is_known.then_some(Element { kind, width, unit }))
    }

    fn time_unit(&self, address: u64) -> Result<TimeUnit, ReadError> {
        let [base, count] = [self.objects.int(address, 0)?, self.objects.int(address, 4)?];
        Ok(TimeUnit { base, count })
    }

    fn element(&mut self, element: Element, address: u64) -> Written {
        let Element { kind, width, unit } = element;
        if kind == b'O' {
            let object = self.objects.memory().read_u64(address)?;
            self.value(object);
            return Ok(());
        }
        let bytes = self.objects.memory().read_bytes(address, width as u64, width)?;
        let mut word = [0; 8];
        let low = bytes.len().min(8);
        word[..low].copy_from_slice(&bytes[..low]);
        let word = u64::from_ne_bytes(word);
        let shift = 64 - 8 * width.clamp(1, 8) as u32;
        let double = |part: &[u8]| match part.len() {
            4 => f64::from(f32::from_ne_bytes(part.try_into().unwrap_or_default())),
            _ => f64::from_ne_bytes(part.try_into().unwrap_or_default()),
        };
        match kind {
            b'b' => self.plain(if word == 0 { "False" } else { "True" }),
            b'i' => self.plain(&((word << shift).cast_signed() >> shift).to_string()),
            b'u' => self.plain(&word.to_string()),
            b'f' => self.plain(&number::float(double(&bytes))),
            b'c' => {
                let (real, imaginary) = bytes.split_at(width / 2);
                self.plain(&number::complex(double(real), double(imaginary)));
            }
            b'M' => {
                let text = time_text(word.cast_signed(), unit);
                self.output.quoted(&text);
            }
            b'm' => self.plain(&ticks_text(word.cast_signed())),
            b'S' => {
                let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                self.plain("b");
                self.output.bytes_literal(&bytes[..length]);
            }
            _ => {
                let points = bytes.as_chunks::<4>().0.iter().map(|point| u32::from_ne_bytes(*point));
                let mut points: Vec<u32> = points.collect();
                while points.last() == Some(&0) {
                    points.pop();
                }
                self.output.literal(points.iter().copied(), true);
            }
        }
        Ok(())
    }

    /// `np.datetime64('2020-01-01')`, `np.timedelta64(7,'D')`: value and unit behind the head
    /// (`PyDatetimeScalarObject`).
    pub(super) fn numpy_time(&mut self, object: u64, of: &TypeInfo) -> Written {
        let head = self.objects.layout().object.head_size;
        let value = self.field(object, 0)?.cast_signed();
        let unit = self.time_unit(object.wrapping_add(u64::from(head) + 8))?;
        let name = short_name(of).to_owned();
        let text = match (name.as_str(), value) {
            (_, NOT_A_TIME) => "'NaT'".to_owned(),
            ("datetime64", _) => format!("'{}'", time_text(value, unit)),
            _ => value.to_string(),
        };
        // The text of a time tells its unit, but for that of hours, of several units, and of none.
        let tells_unit = name == "datetime64" && value != NOT_A_TIME && unit.base != 5 && unit.count == 1;
        let unit = unit_name(unit).filter(|_| !tells_unit).map(|unit| format!(",'{unit}'"));
        self.plain(&format!("np.{name}({text}{})", unit.unwrap_or_default()));
        Ok(())
    }

    /// ` columns=['a', 'b'] rows=[(1, 1.5), …]` of a table, as far as that can be told.
    pub(super) fn table_values(&mut self, manager: u64, columns: u64, rows: u64) -> Written {
        let Some((names, count)) = self.column_of_index(columns)? else { return Ok(()) };
        self.plain(" columns=");
        self.column_values(&names, count)?;
        let of = self.type_of(manager)?;
        let blocks = match self.attribute(manager, &of, "blocks")? {
            Some(blocks) => blocks,
            None => self.field(manager, 1)?,
        };
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(self.limits.items + 1).min(COLUMNS_LIMIT);
        let mut found: Vec<Option<Column>> = (0..wanted).map(|_| None).collect();
        let (blocks, _) = self.objects.tuple_items(blocks, COLUMNS_LIMIT)?;
        for block in blocks {
            // `Block` (pandas/_libs/internals.pyx): table of methods, where its columns are, what refers to it, number
            // of dimensions, values.
            let (placement, values) = (self.field(block, 1)?, self.field(block, 4)?);
            for (row, column) in self.placement(placement)?.into_iter().enumerate() {
                if let Some(place) = usize::try_from(column).ok().and_then(|column| found.get_mut(column)) {
                    *place = self.column_of_array(values, row as u64)?.map(|(column, _)| column);
                }
            }
        }
        if rows == 0 || wanted == 0 {
            return Ok(());
        }
        self.plain(" rows=[");
        let shown = rows.min(ROWS_SHOWN as u64);
        let mut result = Ok(());
        self.separated(0..shown, shown, |writer, row| {
            writer.plain("(");
            writer.separated(found.iter(), count, |writer, column| {
                let written = match column {
                    Some(column) => writer.column_value(column, row),
                    None => {
                        writer.plain("?");
                        Ok(())
                    }
                };
                result = result.and(written);
            });
            writer.plain(if count == 1 { ",)" } else { ")" });
        });
        self.plain(if rows > shown && !self.output.is_full() { ", …]" } else { "]" });
        result
    }

    /// ` [1, 2, 3]` of a row of values of a pandas object: of an index itself, of a series what its manager holds.
    pub(super) fn series_values(&mut self, manager: Option<u64>, index: u64) -> Written {
        let column = match manager {
            None => self.column_of_index(index)?,
            Some(manager) => {
                let of = self.type_of(manager)?;
                let blocks = match self.attribute(manager, &of, "blocks")? {
                    Some(blocks) => blocks,
                    None => self.field(manager, 1)?,
                };
                let (blocks, _) = self.objects.tuple_items(blocks, 1)?;
                let Some(block) = blocks.first() else { return Ok(()) };
                self.column_of_array(self.field(*block, 4)?, 0)?
            }
        };
        let Some((column, count)) = column else { return Ok(()) };
        self.plain(" ");
        self.column_values(&column, count)
    }

    /// `<pandas.Categorical (3,) ['a', 'b', 'a'] categories=['a', 'b']>`.
    pub(super) fn categorical(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let Some((column, count)) = self.column_of_array(object, 0)? else { return Ok(false) };
        self.plain(&format!("<pandas.{} ({count},) ", short_name(of)));
        self.column_values(&column, count)?;
        if let Column::Categories { categories, count, .. } = &column {
            self.plain(" categories=");
            self.column_values(categories, *count)?;
        }
        self.plain(">");
        Ok(true)
    }

    /// The columns of a table that a block has (`BlockPlacement`): a slice, or else an array of numbers.
    fn placement(&self, placement: u64) -> Result<Vec<i128>, ReadError> {
        let has_slice = self.objects.int(placement, self.objects.layout().object.head_size + 24)? != 0;
        if has_slice {
            let slice = self.field(placement, 1)?;
            let number = |index| {
                let part = self.field(slice, index)?;
                Ok(if self.type_of(part)?.name == "int" { self.objects.small_int(part)? } else { None })
            };
            let (start, stop, step) = (number(0)?.unwrap_or(0), number(1)?, number(2)?.unwrap_or(1));
            let Some(stop) = stop else { return Ok(Vec::new()) };
            let is_inside = |column: &i128| if step > 0 { *column < stop } else { *column > stop };
            let columns = std::iter::successors(Some(start), |column| column.checked_add(step));
            return Ok(columns.take_while(is_inside).take(if step == 0 { 0 } else { COLUMNS_LIMIT }).collect());
        }
        let array = self.field(placement, 2)?;
        let length = self.numpy_shape(array)?.first().copied().unwrap_or(0);
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(COLUMNS_LIMIT);
        let numbers = self.objects.pointers(self.field(array, 0)?, count)?;
        Ok(numbers.into_iter().map(|number| i128::from(number.cast_signed())).collect())
    }

    /// The values of an index, and how many they are.
    fn column_of_index(&self, index: u64) -> Result<Option<(Column, u64)>, ReadError> {
        let of = self.type_of(index)?;
        if let Some(range) = self.attribute(index, &of, "_range")?
            && self.type_of(range)?.name == "range"
        {
            // Start, stop, step, length.
            let number = |field| Ok(self.objects.small_int(self.field(range, field)?)?.unwrap_or(0));
            let length = u64::try_from(number(3)?).unwrap_or(0);
            return Ok(Some((Column::Range(number(0)?, number(2)?), length)));
        }
        let Some(data) = self.attribute(index, &of, "_data")? else { return Ok(None) };
        self.column_of_array(data, 0)
    }

    /// The values of one row of an array of numpy, or of an array of pandas' that has one inside.
    fn column_of_array(&self, values: u64, row: u64) -> Result<Option<(Column, u64)>, ReadError> {
        let of = self.type_of(values)?;
        if of.name != "numpy.ndarray" {
            let mut is_backed = false;
            for base in self.objects.bases(of.address)? {
                is_backed |= short_name(&*self.printer.type_info(base)?) == "NDArrayBacked";
            }
            if !is_backed {
                return Ok(None);
            }
            // `NDArrayBacked` (pandas/_libs/arrays.pyx): table of methods, array, type.
            let inner = self.field(values, 1)?;
            if self.type_of(inner)?.name != "numpy.ndarray" {
                return Ok(None);
            }
            let Some((column, length)) = self.column_of_array(inner, row)? else { return Ok(None) };
            if short_name(&of) != "Categorical" {
                return Ok(Some((column, length)));
            }
            let dtype = self.field(values, 2)?;
            let dtype_type = self.type_of(dtype)?;
            let Some(index) = self.attribute(dtype, &dtype_type, "_categories")? else { return Ok(None) };
            return Ok(match (column, self.column_of_index(index)?) {
                (Column::Array { first, stride, element }, Some((categories, count))) if element.kind == b'i' => {
                    let categories = Box::new(categories);
                    let column = Column::Categories { first, stride, width: element.width, categories, count };
                    Some((column, length))
                }
                _ => None,
            });
        }
        let Some(element) = self.element_of(values)? else { return Ok(None) };
        let shape = self.numpy_shape(values)?;
        let strides = self.strides(values, shape.len())?;
        let data = self.field(values, 0)?;
        Ok(match (&shape[..], &strides[..]) {
            ([length], [stride]) => Some((Column::Array { first: data, stride: *stride, element }, *length)),
            ([rows, length], [row_stride, stride]) if row < *rows => {
                let first = data.wrapping_add_signed(row_stride.wrapping_mul(row.cast_signed()));
                Some((Column::Array { first, stride: *stride, element }, *length))
            }
            _ => None,
        })
    }

    fn column_values(&mut self, column: &Column, count: u64) -> Written {
        let mut result = Ok(());
        self.plain("[");
        self.separated(0..count, count, |writer, index| {
            if result.is_ok() {
                result = writer.column_value(column, index);
            }
        });
        self.plain("]");
        result
    }

    fn column_value(&mut self, column: &Column, index: u64) -> Written {
        let place = |first: u64, stride: i64| first.wrapping_add_signed(stride.wrapping_mul(index.cast_signed()));
        match column {
            Column::Range(start, step) => {
                self.plain(&start.saturating_add(step.saturating_mul(i128::from(index))).to_string());
                Ok(())
            }
            Column::Array { first, stride, element } => self.element(*element, place(*first, *stride)),
            Column::Categories { first, stride, width, categories, count } => {
                let width = (*width).min(8);
                let bytes = self.objects.memory().read_bytes(place(*first, *stride), width as u64, width)?;
                let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut word = if is_negative { [0xFF; 8] } else { [0; 8] };
                word[..bytes.len()].copy_from_slice(&bytes);
                match u64::try_from(i64::from_ne_bytes(word)) {
                    Ok(code) if code < *count => self.column_value(categories, code),
                    // −1 says that there is none.
                    _ => {
                        self.plain("nan");
                        Ok(())
                    }
                }
            }
        }
    }
}

fn unit_name(unit: TimeUnit) -> Option<String> {
    const NAMES: [&str; 14] = ["Y", "M", "W", "", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"];
    let name = NAMES.get(usize::try_from(unit.base).ok()?)?;
    Some(if unit.count == 1 { (*name).to_owned() } else { format!("{}{name}", unit.count) })
}

fn ticks_text(ticks: i64) -> String {
    if ticks == NOT_A_TIME { "'NaT'".to_owned() } else { ticks.to_string() }
}

/// A time as numpy writes it, as exact as its unit. What is further from now than calendars go is a number of units.
fn time_text(ticks: i64, unit: TimeUnit) -> String {
    if ticks == NOT_A_TIME {
        return "NaT".to_owned();
    }
    let text = || {
        let count = i128::from(ticks).checked_mul(i128::from(unit.count))?;
        if let 0 | 1 = unit.base {
            let months = if unit.base == 0 { count.checked_mul(12)? } else { count };
            let (year, month) = (1970 + months.div_euclid(12), 1 + months.rem_euclid(12));
            return Some(if unit.base == 0 { format!("{year:04}") } else { format!("{year:04}-{month:02}") });
        }
        // As many units as a day has; of a week one day is the unit.
        let per_day: i128 = match unit.base {
            2 | 4 => 1,
            5 => 24,
            6 => 24 * 60,
            7..=13 => 24 * 60 * 60 * 1000_i128.pow(u32::try_from(unit.base - 7).ok()?),
            _ => return None,
        };
        let count = if unit.base == 2 { count * 7 } else { count };
        let days = i64::try_from(count.div_euclid(per_day)).ok()?;
        let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let (hours, rest) = {
            let of_day = count.rem_euclid(per_day);
            let per_hour = (per_day / 24).max(1);
            (of_day / per_hour, of_day % per_hour)
        };
        let per_minute = (per_day / (24 * 60)).max(1);
        let (minutes, rest) = (rest / per_minute, rest % per_minute);
        let per_second = (per_day / (24 * 60 * 60)).max(1);
        let (seconds, fraction) = (rest / per_second, rest % per_second);
        Some(match unit.base {
            5 => format!("{date}T{hours:02}"),
            6 => format!("{date}T{hours:02}:{minutes:02}"),
            7 => format!("{date}T{hours:02}:{minutes:02}:{seconds:02}"),
            base @ 8.. => {
                let digits = usize::try_from(3 * (base - 7)).unwrap_or(0);
                format!("{date}T{hours:02}:{minutes:02}:{seconds:02}.{fraction:0digits$}")
            }
            _ => date.to_string(),
        })
    };
    text().unwrap_or_else(|| ticks.to_string())
}
