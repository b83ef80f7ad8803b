//! Of texts, without knowing their language: how long they are, what their characters are, and how many of their words the
//! reference never saw.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::Derived;
use crate::categorical::category_hash;

/// Words that a reference remembers. Of more, it remembers a part that is drawn by their hashes, and looks for no others.
pub const MAX_WORDS: usize = 16_384;

pub(super) const COLUMNS: [&str; 8] =
    ["length", "words", "letters", "other_letters", "digits", "punctuation", "whitespace", "new_words"];

/// The words of a reference, by their hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// Only words whose hash ends in so many zero bits are looked for.
    zeros: u32,
    /// [`category_hash`] of each, in lower case, ascending.
    hashes: Vec<u64>,
}

impl Vocabulary {
    fn looks_for(&self, hash: u64) -> bool {
        hash.trailing_zeros() >= self.zeros
    }

    fn holds(&self, hash: u64) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }

    /// Whether the hashes are in order, so that they are found.
    pub(crate) fn is_in_order(&self) -> bool {
        self.hashes.is_sorted()
    }
}

/// Which words a column of texts holds.
#[derive(Debug, Default)]
pub struct VocabularySurvey {
    zeros: u32,
    words: HashMap<u64, Seen, RandomState>,
}

#[derive(Debug)]
struct Seen {
    first_row: u64,
    in_others: bool,
}

impl VocabularySurvey {
    pub(super) fn add(&mut self, row: u64, text: &str) {
        each_word(text, &mut |word| {
            let hash = category_hash(word);
            if hash.trailing_zeros() < self.zeros {
                return;
            }
            let seen = self.words.entry(hash).or_insert(Seen { first_row: row, in_others: false });
            seen.in_others |= seen.first_row != row;
            while self.words.len() > MAX_WORDS {
                self.zeros += 1;
                let zeros = self.zeros;
                self.words.retain(|hash, _| hash.trailing_zeros() >= zeros);
            }
        });
    }

    /// The words that more than one row has, and all.
    pub(super) fn finish(self) -> (Vocabulary, Vocabulary) {
        let vocabulary = |is_wanted: &dyn Fn(&Seen) -> bool| {
            let words = self.words.iter().filter(|(_, seen)| is_wanted(seen));
            let mut hashes: Vec<u64> = words.map(|(hash, _)| *hash).collect();
            hashes.sort_unstable();
            Vocabulary { zeros: self.zeros, hashes }
        };
        (vocabulary(&|seen| seen.in_others), vocabulary(&|_| true))
    }
}

/// Lengths are counted in characters, classes are shares of them. The share of new words is missing where no word is looked
/// for, and so are all shares of an empty text.
pub(super) fn derive(text: &str, vocabulary: &Vocabulary) -> [Derived; 8] {
    let (mut characters, mut classes) = (0u64, [0u64; 5]);
    for character in text.chars() {
        characters += 1;
        if let Some(class) = class(character) {
            classes[class] += 1;
        }
    }
    let (mut words, mut looked_for, mut new) = (0u64, 0u64, 0u64);
    each_word(text, &mut |word| {
        words += 1;
        let hash = category_hash(word);
        if vocabulary.looks_for(hash) {
            looked_for += 1;
            new += u64::from(!vocabulary.holds(hash));
        }
    });
    let share = |part: u64, whole: u64| {
        if whole == 0 { Derived::Missing } else { Derived::Number(part as f64 / whole as f64) }
    };
    let [letters, other_letters, digits, punctuation, whitespace] = classes.map(|count| share(count, characters));
    [
        Derived::Number(characters as f64),
        Derived::Number(words as f64),
        letters,
        other_letters,
        digits,
        punctuation,
        whitespace,
        share(new, looked_for),
    ]
}

/// The last letter of the blocks of Latin letters that follow each other from the beginning of Unicode.
const LAST_LATIN: char = '\u{24f}';

/// Latin letters, other letters, digits, punctuation, white space; none for symbols and controls.
fn class(character: char) -> Option<usize> {
    match character {
        'a'..='z' | 'A'..='Z' => Some(0),
        _ if character.is_whitespace() => Some(4),
        _ if character.is_ascii_punctuation() => Some(3),
        // General punctuation, and that of Chinese and Japanese.
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' => {
            Some(3)
        }
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' => Some(3),
        _ if character.is_numeric() => Some(2),
        _ if character.is_alphabetic() => Some(usize::from(character > LAST_LATIN)),
        _ => None,
    }
}

/// Whether a character is a word by itself: those of scripts that put no spaces between words.
fn is_word(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && character.is_alphabetic()
}

/// Hands over each word in lower case: letters and digits that follow each other.
fn each_word(text: &str, take: &mut dyn FnMut(&str)) {
    let mut word = String::new();
    for character in text.chars() {
        let stands_alone = is_word(character);
        if !word.is_empty() && (stands_alone || !character.is_alphanumeric()) {
            take(&word);
            word.clear();
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        if stands_alone {
            take(&word);
            word.clear();
        }
    }
    if !word.is_empty() {
        take(&word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        each_word(text, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_are_letters_and_digits_together_and_signs_of_their_own_in_chinese() {
        assert_eq!(words("It's 20 °C — ÄRGER!"), ["it", "s", "20", "c", "ärger"]);
        assert_eq!(words("型号A7很好"), ["型", "号", "a7", "很", "好"]);
        assert!(words(" \n… ").is_empty());
    }

    #[test]
    fn characters_are_told_apart_without_their_language() {
        let numbers: Vec<Derived> = derive("Ab é! 12 да 😀", &Vocabulary::default()).to_vec();
        let number = |value: f64| Derived::Number(value);
        let expected = [13.0, 4.0, 3.0 / 13.0, 2.0 / 13.0, 2.0 / 13.0, 1.0 / 13.0, 4.0 / 13.0, 1.0].map(number);
        assert_eq!(numbers, expected);
        let empty = derive("", &Vocabulary::default());
        assert_eq!(empty[..2], [number(0.0), number(0.0)]);
        assert_eq!(empty[2..], [Derived::Missing; 6]);
    }

    #[test]
    fn a_row_of_the_reference_is_held_against_the_others() {
        let mut survey = VocabularySurvey::default();
        survey.add(0, "the flight was late late");
        survey.add(1, "the flight was early");
        let (of_others, all) = survey.finish();
        // "late" is there twice, and in one row only.
        assert_eq!(derive("the flight was late late", &of_others)[7], Derived::Number(0.4));
        assert_eq!(derive("the flight was late late", &all)[7], Derived::Number(0.0));
        assert_eq!(derive("a late train", &all)[7], Derived::Number(2.0 / 3.0));
    }

    #[test]
    fn past_its_bound_a_vocabulary_looks_for_a_part_of_all_words() {
        let mut survey = VocabularySurvey::default();
        for row in 0..100_000u64 {
            survey.add(row, &format!("word{} all", row % 50_000));
        }
        let (of_others, all) = survey.finish();
        assert!(of_others == all && all.hashes.len() <= MAX_WORDS && all.hashes.len() > MAX_WORDS / 3);
        let text = |words: std::ops::Range<u64>| words.map(|i| format!("word{i} ")).collect::<String>();
        assert_eq!(derive(&text(0..5000), &all)[7], Derived::Number(0.0));
        let Derived::Number(new) = derive(&text(48_000..52_000), &all)[7] else { panic!() };
        assert!((new - 0.5).abs() < 0.05, "{new}");
    }
}
