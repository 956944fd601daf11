//! A version of CPython.

use std::fmt;

/// `PY_VERSION_HEX` in parts (patchlevel.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2 or 3.
    pub major: u8,
    /// The feature release: 13 in 3.13.
    pub minor: u8,
    /// The bug-fix release.
    pub patch: u8,
    /// `PY_RELEASE_LEVEL` and `PY_RELEASE_SERIAL`: 0xF0 for a final release, 0xA1 for alpha 1, 0xB2 for beta 2, 0xC1
    /// for candidate 1.
    pub release: u8,
}

impl Version {
    /// A final release.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch, release: 0xF0 }
    }

    /// From `PY_VERSION_HEX`, as `Py_Version` (3.11+) and `_Py_DebugOffsets.version` (3.13+) hold it.
    pub const fn from_hex(hex: u32) -> Self {
        let [major, minor, patch, release] = hex.to_be_bytes();
        Self { major, minor, patch, release }
    }

    /// Major and minor.
    pub const fn feature(self) -> (u8, u8) {
        (self.major, self.minor)
    }

    /// Whether this is an alpha, beta or candidate.
    pub const fn is_prerelease(self) -> bool {
        self.release >> 4 != 0xF
    }

    /// Reads `3.8.18`, `2.7.18+`, `3.15.0b4` and the like, as `Py_GetVersion` begins.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split([' ', '\0']).next()?;
        let mut parts = word.trim_end_matches('+').splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let rest = parts.next()?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let patch = rest[..digits].parse().ok()?;
        let release = match rest[digits..].split_at_checked(1) {
            None => 0xF0,
            Some((level, serial)) => {
                let serial: u8 = serial.trim_start_matches('c').parse().ok().filter(|serial| *serial < 16)?;
                match level {
                    "a" => 0xA0 | serial,
                    "b" => 0xB0 | serial,
                    "r" | "c" => 0xC0 | serial,
                    _ => return None,
                }
            }
        };
        Some(Self { major, minor, patch, release })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)?;
        let serial = self.release & 0xF;
        match self.release >> 4 {
            0xA => write!(formatter, "a{serial}"),
            0xB => write!(formatter, "b{serial}"),
            0xC => write!(formatter, "rc{serial}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_mean_the_same() {
        assert_eq!(Version::parse("3.8.18 (default, Oct 1 2024)"), Some(Version::new(3, 8, 18)));
        assert_eq!(Version::parse("2.7.18+"), Some(Version::new(2, 7, 18)));
        assert_eq!(Version::parse("3.15.0b4"), Some(Version::from_hex(0x030f_00b4)));
        assert_eq!(Version::parse("3.13.0rc2").map(|version| version.to_string()).as_deref(), Some("3.13.0rc2"));
        assert_eq!(Version::from_hex(0x030e_0af0).to_string(), "3.14.10");
        assert!(Version::from_hex(0x030f_00b4).is_prerelease());
        for odd in ["", "3", "3.8", "3.x.1", "3.8.", "hello", "3.9.1z9"] {
            assert_eq!(Version::parse(odd), None, "{odd:?}");
        }
    }
}
