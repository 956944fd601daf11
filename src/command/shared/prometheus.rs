//! The text form in which Prometheus takes numbers.

use std::fmt::{Display, Write};

/// Longer values of labels are cut, in characters.
const LONGEST_LABEL: usize = 100;

/// Numbers, in families that have a name.
#[derive(Debug, Default)]
pub(in crate::command) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Begins a family; `kind` is `gauge` or `counter`.
    pub(in crate::command) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A number of the family, with its labels.
    pub(in crate::command) fn number(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.family);
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
        if !labels.is_empty() {
            let _ = write!(self.text, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A family of one number without labels.
    pub(in crate::command) fn one(&mut self, name: &'static str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.number(&[], value);
    }

    /// All of it.
    pub(in crate::command) fn into_text(self) -> String {
        self.text
    }
}

/// A label's value: the format escapes these three characters; others that are none for a reader are left out.
fn label(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars().filter(|character| *character == '\n' || !character.is_control()).take(LONGEST_LABEL)
    {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_in_their_quotes() {
        assert_eq!(label("a\"b\\c\nd\u{1b}[1m"), "a\\\"b\\\\c\\nd[1m");
        assert_eq!(label(&"é".repeat(500)).chars().count(), LONGEST_LABEL);
    }

    #[test]
    fn numbers_follow_their_family() {
        let mut numbers = Exposition::default();
        numbers.one("a_total", "counter", "How many.", 3);
        numbers.family("b", "gauge", "Of each.");
        numbers.number(&[("pid", "1"), ("command", "x")], format_args!("{:.1}", 0.25));
        let text = "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n\
            # HELP b Of each.\n# TYPE b gauge\nb{pid=\"1\",command=\"x\"} 0.2\n";
        assert_eq!(numbers.into_text(), text);
    }
}
