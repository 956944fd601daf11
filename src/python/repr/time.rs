//! `datetime` and `decimal`, which are written in C.

use super::builtin::short_name;
use super::kind::Kind;
use super::{Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::TypeInfo;

/// How many words of 19 digits of a `Decimal` are read.
const DECIMAL_WORDS_LIMIT: u64 = 500;

impl Writer<'_, '_> {
    /// The types of `datetime` (datetime.h). After the head: hash; then `hastzinfo` and packed bytes, or for a
    /// `timedelta` three `int`s.
    pub(super) fn time_value(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        let name = &of.name;
        match kind {
            Kind::Date => {
                let [year_high, year_low, month, day] = self.packed(object)?;
                self.plain(&format!("{name}({}, {month}, {day})", u16::from_be_bytes([year_high, year_low])));
                Ok(())
            }
            Kind::DateTime => {
                let [year_high, year_low, month, day, hour, minute, second, microseconds @ .., fold] =
                    self.packed::<11>(object)?;
                let year = u16::from_be_bytes([year_high, year_low]);
                self.plain(&format!("{name}({year}, {month}, {day}, {hour}, {minute}"));
                self.seconds(second, microseconds);
                self.fold_and_zone(object, fold, 3)
            }
            Kind::Time => {
                let [hour, minute, second, microseconds @ .., fold] = self.packed::<7>(object)?;
                self.plain(&format!("{name}({hour}, {minute}"));
                self.seconds(second, microseconds);
                self.fold_and_zone(object, fold, 2)
            }
            Kind::TimeDelta => self.time_delta(object, of),
            _ => {
                let (offset, zone_name) = (self.field(object, 0)?, self.field(object, 1)?);
                if zone_name == 0 && self.is_zero_delta(offset)? {
                    self.plain(&format!("{name}.utc"));
                    return Ok(());
                }
                self.plain(&format!("{name}("));
                self.value(offset);
                if zone_name != 0 {
                    self.plain(", ");
                    self.value(zone_name);
                }
                self.plain(")");
                Ok(())
            }
        }
    }

    /// The bytes after `hastzinfo`.
    fn packed<const N: usize>(&self, object: u64) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        let start = object.wrapping_add(u64::from(self.objects.layout().object.head_size) + 9);
        self.objects.memory().read(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Seconds and microseconds where they are not zero.
    fn seconds(&mut self, second: u8, [high, middle, low]: [u8; 3]) {
        let microseconds = u32::from_be_bytes([0, high, middle, low]);
        match (second, microseconds) {
            (0, 0) => {}
            (second, 0) => self.plain(&format!(", {second}")),
            (second, microseconds) => self.plain(&format!(", {second}, {microseconds}")),
        }
    }

    /// `fold` (3.6+), the time zone in the word `zone_field` if `hastzinfo` says that there is one, and the end.
    fn fold_and_zone(&mut self, object: u64, fold: u8, zone_field: u32) -> Written {
        if fold != 0 && !self.is_python2() {
            self.plain(&format!(", fold={fold}"));
        }
        let has_zone = self.objects.byte(object, self.objects.layout().object.head_size + 8)?;
        if has_zone != 0 {
            self.plain(", tzinfo=");
            let zone = self.field(object, zone_field)?;
            return self.nested(object, "", ")", "...)", |writer| {
                writer.value(zone);
                Ok(())
            });
        }
        self.plain(")");
        Ok(())
    }

    fn delta_parts(&self, object: u64) -> Result<[i32; 3], ReadError> {
        let first = self.objects.layout().object.head_size + 8;
        Ok([
            self.objects.int(object, first)?,
            self.objects.int(object, first + 4)?,
            self.objects.int(object, first + 8)?,
        ])
    }

    fn is_zero_delta(&self, object: u64) -> Result<bool, ReadError> {
        Ok(self.type_of(object)?.name == "datetime.timedelta" && self.delta_parts(object)? == [0; 3])
    }

    /// `datetime.timedelta(days=1)`; up to 3.6 by position.
    fn time_delta(&mut self, object: u64, of: &TypeInfo) -> Written {
        let parts = self.delta_parts(object)?;
        let [days, seconds, microseconds] = parts;
        let inside = if self.is_since(3, 7) {
            let named = ["days", "seconds", "microseconds"].into_iter().zip(parts).filter(|(_, part)| *part != 0);
            let named: Vec<String> = named.map(|(name, part)| format!("{name}={part}")).collect();
            if named.is_empty() { "0".to_owned() } else { named.join(", ") }
        } else {
            match (seconds, microseconds) {
                (0, 0) => days.to_string(),
                (_, 0) => format!("{days}, {seconds}"),
                _ => format!("{days}, {seconds}, {microseconds}"),
            }
        };
        self.plain(&format!("{}({inside})", of.name));
        Ok(())
    }

    /// `PyDecObject` (Modules/_decimal): hash, then an `mpd_t` {flags, exponent, digits, words in use, words there,
    /// pointer to the words}; a word holds 19 decimal digits, the lowest first.
    pub(super) fn decimal(&mut self, object: u64, of: &TypeInfo) -> Written {
        const NEGATIVE: u8 = 1;
        const INFINITE: u8 = 2;
        const NAN: u8 = 4;
        const SIGNALING_NAN: u8 = 8;
        let flags = self.objects.byte(object, self.objects.layout().object.head_size + 8)?;
        let (exponent, count) = (self.field(object, 2)?.cast_signed(), self.field(object, 4)?);
        let sign = if flags & NEGATIVE != 0 { "-" } else { "" };
        let mut digits = String::new();
        if flags & INFINITE == 0 {
            if count > DECIMAL_WORDS_LIMIT {
                self.plain(&format!("<huge {} at {object:#x}>", short_name(of)));
                return Ok(());
            }
            let words = self.objects.pointers(self.field(object, 6)?, usize::try_from(count).unwrap_or(0))?;
            for word in words.iter().rev() {
                digits.push_str(&if digits.is_empty() { word.to_string() } else { format!("{word:019}") });
            }
        }
        let text = if flags & INFINITE != 0 {
            format!("{sign}Infinity")
        } else if flags & (NAN | SIGNALING_NAN) != 0 {
            let payload = digits.trim_start_matches('0');
            format!("{sign}{}NaN{payload}", if flags & SIGNALING_NAN != 0 { "s" } else { "" })
        } else {
            number::decimal(flags & NEGATIVE != 0, &digits, exponent)
        };
        // Its `__repr__` says so for subclasses too.
        self.plain(&format!("Decimal('{text}')"));
        Ok(())
    }
}
