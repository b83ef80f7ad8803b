//! Who of a mail's recipients has it. A server answers for each of them, so that one who left costs the others nothing.
//!
//! ```text
//!   to: ada, bob, eve      ada: 250    bob: 550    eve: 450      ada has it; bob never will; eve is tried again
//!                          eve: 250                              ada and eve hear of the end
//! ```

use std::collections::BTreeMap;

use lettre::Address;
use serde::{Deserialize, Serialize};

use super::http::retry;
use super::{Before, Delivery};
use crate::notification::{Action, shorten};

/// A server may say more than anybody reads.
const MAX_ANSWER_CHARS: usize = 300;

/// What a mail server answered to one recipient that it did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotTaken {
    pub(super) address: Address,
    pub(super) answer: String,
    /// Whether it will never be taken.
    pub(super) is_final: bool,
}

/// What is kept of an entry: the receipt of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    told: Vec<String>,
    /// Those who will never be, and what the server answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, String>,
}

impl Receipt {
    fn read(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }

    fn has_told(&self, address: &Address) -> bool {
        self.told.iter().any(|told| told == AsRef::<str>::as_ref(address))
    }

    fn has_refused(&self, address: &Address) -> bool {
        self.refused.contains_key(AsRef::<str>::as_ref(address))
    }
}

/// Whom a mail is for, and who of them has it already.
pub(super) struct Recipients {
    /// All of them: the beginning is for those whom the configuration names, and what follows it for those who have it.
    pub(super) all: Vec<Address>,
    so_far: Receipt,
}

impl Recipients {
    pub(super) fn of(action: Action, configured: impl Iterator<Item = Address>, before: &Before) -> Self {
        let so_far = Receipt::read(before.so_far.as_deref()).unwrap_or_default();
        let begun = Receipt::read(before.begun.as_deref()).filter(|_| action != Action::Trigger);
        let Some(begun) = begun else { return Self { all: configured.collect(), so_far } };
        let mut all: Vec<Address> = begun.told.iter().filter_map(|told| told.parse().ok()).collect();
        if before.begun_in_doubt && action == Action::Resolve {
            all.extend(configured.filter(|address| !begun.has_told(address)));
        }
        Self { all, so_far }
    }

    /// Those who are to get it now.
    pub(super) fn left(&self) -> Vec<Address> {
        let is_left = |address: &&Address| !self.so_far.has_told(address) && !self.so_far.has_refused(address);
        self.all.iter().filter(is_left).cloned().collect()
    }

    /// What became of the mail, when the server took it for all who were left but these.
    pub(super) fn answered(mut self, not_taken: &[NotTaken]) -> Delivery {
        let is_taken = |address: &Address| not_taken.iter().all(|not| not.address != *address);
        let told = self.left().into_iter().filter(is_taken).map(|address| address.to_string());
        self.so_far.told.extend(told);
        let waits: Vec<&NotTaken> = not_taken.iter().filter(|not| !not.is_final).collect();
        let refused = not_taken.iter().filter(|not| not.is_final);
        let refused = refused.map(|not| (not.address.to_string(), shorten(&not.answer, MAX_ANSWER_CHARS)));
        self.so_far.refused.extend(refused);
        let why = self.why(&waits);
        if self.so_far.told.is_empty() {
            return if waits.is_empty() { Delivery::Refused { why } } else { retry(why) };
        }
        // Of texts a JSON text can always be made.
        let receipt = serde_json::to_string(&self.so_far).unwrap_or_default();
        if self.so_far.refused.is_empty() && waits.is_empty() {
            return Delivery::Accepted { receipt: Some(receipt) };
        }
        Delivery::Partly { receipt, why, again: !waits.is_empty() }
    }

    /// Who does not have it, what was answered, and what to do.
    fn why(&self, waits: &[&NotTaken]) -> String {
        let mut said: Vec<String> =
            self.so_far.refused.iter().map(|(address, answer)| format!("{address} is refused: {answer}")).collect();
        if !said.is_empty() {
            said.push("put the address right under `to`, or take it out".to_owned());
        }
        said.extend(waits.iter().map(|not| {
            let answer = shorten(&not.answer, MAX_ANSWER_CHARS);
            format!("{} is not taken yet: {answer}", not.address)
        }));
        if !self.so_far.told.is_empty() {
            said.push("the others have it".to_owned());
        }
        said.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(names: &[&str]) -> Vec<Address> {
        names.iter().map(|name| format!("{name}@example.com").parse().unwrap()).collect()
    }

    fn not(name: &str, answer: &str) -> NotTaken {
        let is_final = answer.starts_with('5');
        NotTaken { address: addresses(&[name]).remove(0), answer: answer.to_owned(), is_final }
    }

    fn recipients(action: Action, before: &Before) -> Recipients {
        Recipients::of(action, addresses(&["ada", "bob", "eve"]).into_iter(), before)
    }

    fn partly(delivery: Delivery) -> (String, String, bool) {
        let Delivery::Partly { receipt, why, again } = delivery else { panic!("{delivery:?}") };
        (receipt, why, again)
    }

    #[test]
    fn who_can_have_it_has_it_once_and_who_cannot_is_named() {
        let first = recipients(Action::Trigger, &Before::default());
        let (receipt, why, again) = partly(first.answered(&[not("bob", "550 no such user"), not("eve", "450 later")]));
        assert!(again && why.contains("bob@example.com is refused: 550 no such user; put the address right"), "{why}");
        assert!(why.contains("eve@example.com is not taken yet: 450 later; the others have it"));
        let before = Before { so_far: Some(receipt), ..Before::default() };
        assert_eq!(recipients(Action::Trigger, &before).left(), addresses(&["eve"]));
        let (receipt, why, again) = partly(recipients(Action::Trigger, &before).answered(&[]));
        assert!(!again && why.contains("bob@") && !why.contains("eve@"), "{why}");
        let begun = Before { begun: Some(receipt), ..Before::default() };
        assert_eq!(recipients(Action::Resolve, &begun).left(), addresses(&["ada", "eve"]), "who has the beginning");
        let Delivery::Accepted { .. } = recipients(Action::Resolve, &begun).answered(&[]) else { panic!() };
    }

    #[test]
    fn whom_nobody_told_of_the_beginning_nobody_tells_of_the_end_unless_it_may_have_arrived() {
        let first = recipients(Action::Trigger, &Before::default());
        let (receipt, ..) = partly(first.answered(&[not("bob", "550 gone"), not("eve", "450 later")]));
        let of = |begun_in_doubt| Before { begun: Some(receipt.clone()), begun_in_doubt, so_far: None };
        assert_eq!(recipients(Action::Resolve, &of(false)).all, addresses(&["ada"]));
        assert_eq!(recipients(Action::Resolve, &of(true)).all, addresses(&["ada", "bob", "eve"]));
        assert_eq!(recipients(Action::Remind, &of(true)).all, addresses(&["ada"]), "only an end goes to who may know");
        // One that came into the configuration meanwhile does not know what ends, and one that left it does.
        let Delivery::Accepted { receipt } = recipients(Action::Trigger, &Before::default()).answered(&[]) else {
            panic!()
        };
        let before = Before { begun: receipt, ..Before::default() };
        let later = Recipients::of(Action::Resolve, addresses(&["ada", "new"]).into_iter(), &before);
        assert_eq!(later.left(), addresses(&["ada", "bob", "eve"]));
        // Before receipts were kept everybody had it.
        assert_eq!(recipients(Action::Resolve, &Before::default()).all, addresses(&["ada", "bob", "eve"]));
    }

    #[test]
    fn what_nobody_takes_is_refused_or_tried_again() {
        let all = |answers: [&str; 3]| {
            let not_taken: Vec<NotTaken> =
                ["ada", "bob", "eve"].iter().zip(answers).map(|(name, answer)| not(name, answer)).collect();
            recipients(Action::Trigger, &Before::default()).answered(&not_taken)
        };
        assert!(matches!(all(["550 a", "550 b", "550 c"]), Delivery::Refused { why } if why.contains("eve@")));
        let mixed = all(["550 a", "450 b", "550 c"]);
        assert!(matches!(mixed, Delivery::Retry { in_doubt: false, .. }), "{mixed:?}");
    }

    #[test]
    fn a_server_that_talks_is_cut_short() {
        let long = format!("550 {}", "x".repeat(9999));
        let (receipt, why, _) = partly(recipients(Action::Trigger, &Before::default()).answered(&[not("bob", &long)]));
        assert!(receipt.len() < 500 && why.len() < 500);
    }
}
