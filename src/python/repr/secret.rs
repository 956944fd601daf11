//! Which names say that what they name is a secret, so that its value is not shown unless that is asked for.
//!
//! Limits: a secret under another name is not known as one, nor is one inside of a text, such as a URL.

/// Words each of which alone says it.
const WORDS: [&str; 11] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "credential",
    "credentials",
    "authorization",
    "apikey",
];

/// Words that say it one after the other.
const PAIRS: [[&str; 2]; 3] = [["api", "key"], ["private", "key"], ["access", "key"]];

/// Longer names are judged by so many characters of their beginning.
pub(super) const NAME_LIMIT: usize = 100;

/// Whether a variable, attribute or key of this name holds a secret: one of its words says so. Words end at what is no
/// letter and where a capital begins the next one: `db_password`, `API_KEY`, `accessToken`, `X-Api-Key` are names of
/// secrets; `key`, `tokens` and `monkey` are not.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let is_pair = |pair: &[String]| PAIRS.iter().any(|known| pair == known);
    words.iter().any(|word| WORDS.contains(&word.as_str())) || words.windows(2).any(is_pair)
}

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = name.chars().take(NAME_LIMIT).peekable();
    let mut previous = ' ';
    while let Some(character) = characters.next() {
        // `accessToken`, and `HTTPToken`, in which the last capital belongs to the second word.
        let next_is_small = characters.peek().is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && (previous.is_lowercase() || previous.is_uppercase() && next_is_small) {
            words.push(String::new());
        }
        if !character.is_alphabetic() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
        previous = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_by_whole_words() {
        let secret = "password passwd secret token api_key private_key access_token db_password PASSWORD password2 \
            _token API_KEY apiKey APIKey X-Api-Key accessToken HTTPToken AWS_SECRET_ACCESS_KEY client-secret \
            Authorization --token= user.password credentials";
        for name in secret.split_whitespace() {
            assert!(is_secret_name(name), "{name}");
        }
        let plain = "key keys tokens monkey tokenize tokenizer passworded secretary api keyboard private access \
            api_keys key_api bypass_word compass author authorizations _ 2";
        for name in plain.split_whitespace().chain(["", "api", "\u{130}"]) {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name(&"x".repeat(1_000_000)));
    }
}
