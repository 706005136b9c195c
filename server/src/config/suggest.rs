//! "Did you mean": the known word that is nearest to what was typed, by the number of letters that
//! must be inserted, removed, changed or swapped with their neighbour.

/// The nearest of `known` to `typed`, if it is near enough to be worth naming: one edit for every
/// three letters.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = typed.chars().count();
    let allowed = (letters / 3).clamp(1, 4).min(letters.saturating_sub(1));
    known
        .into_iter()
        .map(|word| (distance(&typed.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Edits between two words; two neighbouring letters that changed places count once. Words are
/// short: the three rows of the classic table suffice.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().take(64).collect();
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in to.iter().enumerate() {
            let changed = last[j] + usize::from(a != b);
            let mut edits = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && from[i - 1] == b {
                let swapped: &Vec<usize> = &before_last;
                edits = edits.min(swapped[j - 1] + 1);
            }
            row.push(edits);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("header", "header"), 0);
        assert_eq!(distance("haeder", "header"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn nearest_or_none() {
        let known = ["header_bytes", "header_fields", "body_bytes"];
        assert_eq!(nearest("haeder_bytes", known), Some("header_bytes"));
        assert_eq!(nearest("Body-Bytes", known), Some("body_bytes"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", ["y"]), None, "a word of one letter has nothing in common");
    }
}
