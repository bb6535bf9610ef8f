//! Lookup by the names that users type.
//!
//! The programs people come from spell the same sampler as `dpm++2m`, `dpm++_2m`, `dpmpp_2m` or `DPM++ 2M`.
//! [`key`] maps all of them to one string, and [`find`] compares keys. A name without a match is an
//! [`UnknownName`] with the known names and the nearest of them: never a silent default.

use std::fmt;

/// A name may differ from a known one by at most this part of its length, rounded up, to be suggested: one
/// letter in three still reads as a typing mistake, more than that as another word.
const MAX_TYPO_SHARE: usize = 3;

/// A thing that is looked up by name.
pub trait Named {
    /// The name shown in lists and errors.
    fn name(&self) -> &'static str;

    /// Further spellings that are understood, other than those that [`key`] already maps to the name.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }
}

/// A name without a match in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What was looked for, as in "sampler".
    pub what: &'static str,
    /// The name as it was given.
    pub given: String,
    /// The known name with the fewest differing letters, if it is near enough to be what was meant.
    pub nearest: Option<&'static str>,
    /// All names of the list, in its order.
    pub known: Vec<&'static str>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} \"{}\"", self.what, self.given)?;
        if let Some(nearest) = self.nearest {
            write!(f, ", did you mean \"{nearest}\"?")?;
        }
        write!(f, " (known: {})", self.known.join(", "))
    }
}

impl std::error::Error for UnknownName {}

/// The form of a name that is compared: lower case, `+` as `p`, without spaces, `_` and `-`.
#[must_use]
pub fn key(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .map(|c| if c == '+' { 'p' } else { c })
        .collect()
}

/// The entry of `all` whose name or alias is `given`.
///
/// # Errors
/// [`UnknownName`] if there is none; `what` says there what was looked for.
pub fn find<'a, T: Named + ?Sized>(
    what: &'static str,
    given: &str,
    all: impl IntoIterator<Item = &'a T>,
) -> Result<&'a T, UnknownName> {
    let wanted = key(given);
    let mut known = Vec::new();
    let mut nearest: Option<(usize, &'static str)> = None;
    for entry in all {
        known.push(entry.name());
        for spelling in std::iter::once(&entry.name()).chain(entry.aliases()) {
            let spelling = key(spelling);
            if spelling == wanted {
                return Ok(entry);
            }
            let distance = edit_distance(&wanted, &spelling);
            let longest = wanted.chars().count().max(spelling.chars().count());
            let near = distance <= longest.div_ceil(MAX_TYPO_SHARE);
            if near && nearest.is_none_or(|(best, _)| distance < best) {
                nearest = Some((distance, entry.name()));
            }
        }
    }
    Err(UnknownName { what, given: given.to_owned(), nearest: nearest.map(|(_, name)| name), known })
}

/// The minimum number of letters to insert, delete or replace to make `b` of `a` (Levenshtein's distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // row[j]: the distance of the part of `a` read so far to the first j letters of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fruit(&'static str);

    impl Named for Fruit {
        fn name(&self) -> &'static str {
            self.0
        }
        fn aliases(&self) -> &'static [&'static str] {
            if self.0 == "apple" { &["pomme"] } else { &[] }
        }
    }

    const FRUIT: [Fruit; 3] = [Fruit("apple"), Fruit("dpm++_2m"), Fruit("pear")];

    #[test]
    fn distances() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("karras", "karas"), 1);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn spellings_of_one_name() {
        for given in ["dpm++2m", "dpm++_2m", "DPM++ 2M", "dpmpp_2m", "Dpm++-2m"] {
            assert_eq!(find("fruit", given, &FRUIT).unwrap().0, "dpm++_2m", "{given}");
        }
        assert_eq!(find("fruit", "Pomme", &FRUIT).unwrap().0, "apple");
    }

    #[test]
    fn unknown_name_suggests_the_nearest() {
        let error = find("fruit", "appel", &FRUIT).map(|f| f.0).unwrap_err();
        assert_eq!(error.nearest, Some("apple"));
        assert_eq!(
            error.to_string(),
            "unknown fruit \"appel\", did you mean \"apple\"? (known: apple, dpm++_2m, pear)"
        );
    }

    #[test]
    fn unknown_name_far_from_all_suggests_nothing() {
        for given in ["", "strawberry", "x"] {
            let error = find("fruit", given, &FRUIT).map(|f| f.0).unwrap_err();
            assert_eq!(error.nearest, None, "{given}");
        }
    }
}
