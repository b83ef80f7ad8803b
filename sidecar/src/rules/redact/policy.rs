//! What the owner's rules say of a value, by its name and its place.

use std::collections::{HashMap, HashSet};

use crate::rules::key::HmacKey;

/// What is done to a value. Where several rules speak of one, the strictest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rules) enum Action {
    /// Replaced by its pseudonym: equal values stay equal.
    Hmac,
    /// Replaced by `***`.
    Mask,
    /// Taken out.
    Drop,
}

/// Most JSON pointers of a policy: which of them still fit is kept in as many bits.
pub(in crate::rules) const MAX_POINTERS: usize = 64;

/// The rules for the values inside bodies.
#[derive(Debug, Clone, Default)]
pub(in crate::rules) struct Policy {
    actions: HashMap<String, Action>,
    /// Some when only what is named here may leave.
    allowed: Option<HashSet<String>>,
    pointers: Vec<Pointer>,
    /// Some names have dots, and may mean names inside names.
    any_dots: bool,
    /// Length of the longest name; nothing longer need be looked up.
    longest: usize,
    pub(in crate::rules) key: Option<HmacKey>,
}

/// A JSON pointer (RFC 6901) in which `*` stands for any name or position.
#[derive(Debug, Clone)]
struct Pointer {
    tokens: Vec<Token>,
    effect: Effect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Any,
    This { name: String, index: Option<usize> },
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Do(Action),
    Allow,
}

/// Pointers that fit the way to a value so far, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fitting(u64);

/// One step into a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// What holds for a value: what is done to it, and whether it may leave at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) action: Option<Action>,
    pub(super) allowed: bool,
}

impl Verdict {
    /// Both hold: the stricter action, and what one of them allows.
    pub(super) fn and(self, other: Self) -> Self {
        Self { action: self.action.max(other.action), allowed: self.allowed || other.allowed }
    }

    pub(super) fn is_dropped(self) -> bool {
        self.action == Some(Action::Drop)
    }
}

impl Policy {
    /// Whether no rule can touch any value.
    pub(in crate::rules) fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.allowed.is_none() && self.pointers.is_empty()
    }

    /// From now on only what is allowed may leave.
    pub(in crate::rules) fn allow_nothing_else(&mut self) {
        self.allowed.get_or_insert_default();
    }

    /// What a rule does to everything of a name.
    pub(in crate::rules) fn act_on_field(&mut self, name: &str, action: Action) {
        self.note(name);
        let strictest = self.actions.entry(name.to_owned()).or_insert(action);
        *strictest = action.max(*strictest);
    }

    pub(in crate::rules) fn allow_field(&mut self, name: &str) {
        self.note(name);
        self.allowed.get_or_insert_default().insert(name.to_owned());
    }

    fn note(&mut self, name: &str) {
        self.any_dots |= name.contains('.');
        self.longest = self.longest.max(name.len());
    }

    /// What a rule does to a place. False when the pointer is none, or one too many.
    pub(in crate::rules) fn act_on_pointer(&mut self, pointer: &str, action: Action) -> bool {
        self.add(pointer, Effect::Do(action))
    }

    pub(in crate::rules) fn allow_pointer(&mut self, pointer: &str) -> bool {
        self.add(pointer, Effect::Allow)
    }

    fn add(&mut self, pointer: &str, effect: Effect) -> bool {
        let Some(tokens) = tokens(pointer).filter(|_| self.pointers.len() < MAX_POINTERS) else { return false };
        self.pointers.push(Pointer { tokens, effect });
        true
    }

    /// What holds for a whole body.
    pub(super) fn root(&self) -> Verdict {
        Verdict { action: None, allowed: self.allowed.is_none() }
    }

    /// All pointers fit a body.
    pub(super) fn all_fitting(&self) -> Fitting {
        Fitting(if self.pointers.len() < MAX_POINTERS { (1 << self.pointers.len()) - 1 } else { u64::MAX })
    }

    /// Whether rules may speak of what lies inside a value.
    pub(super) fn may_speak_inside(&self, fitting: Fitting, verdict: Verdict) -> bool {
        !verdict.allowed || verdict.action.is_some() || !self.actions.is_empty() || fitting.0 != 0
    }

    /// Whether names are to be compared with the names around them.
    pub(super) fn needs_way(&self) -> bool {
        self.any_dots
    }

    /// What the rules say of a name alone. `way` holds the names around it and itself, joined by dots, where that is
    /// needed.
    pub(super) fn field(&self, name: &str, way: &str) -> Verdict {
        let about = |name: &str| Verdict {
            action: self.actions.get(name).copied(),
            allowed: self.allowed.as_ref().is_some_and(|allowed| allowed.contains(name)),
        };
        let mut verdict = about(name);
        if self.any_dots {
            // Every ending of the way that begins at a name, from the shortest to the longest that a rule could mean.
            let ends = way.rmatch_indices('.').map(|(dot, _)| dot + 1).chain([0]);
            for ending in ends.filter_map(|at| way.get(at..)).take_while(|ending| ending.len() <= self.longest) {
                verdict = verdict.and(about(ending));
            }
        }
        verdict
    }

    /// What pointers say after one more step, of which there have been `depth` before it; and which may still say more.
    pub(super) fn step(&self, fitting: Fitting, depth: usize, step: Step<'_>) -> (Fitting, Verdict) {
        let mut verdict = Verdict { action: None, allowed: false };
        let (mut left, mut still) = (fitting.0, 0);
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let Some(pointer) = self.pointers.get(bit as usize) else { break };
            if !pointer.tokens.get(depth).is_some_and(|token| token.fits(step)) {
                continue;
            }
            if pointer.tokens.len() == depth + 1 {
                verdict = verdict.and(match pointer.effect {
                    Effect::Do(action) => Verdict { action: Some(action), allowed: false },
                    Effect::Allow => Verdict { action: None, allowed: true },
                });
            } else {
                still |= 1 << bit;
            }
        }
        (Fitting(still), verdict)
    }
}

impl Token {
    fn fits(&self, step: Step<'_>) -> bool {
        match (self, step) {
            (Self::Any, _) => true,
            (Self::This { name, .. }, Step::Name(found)) => name == found,
            (Self::This { index, .. }, Step::Index(found)) => *index == Some(found),
        }
    }
}

/// The tokens of a pointer. None when it is none: it begins with `/`, and `~` is only in `~0` and `~1`.
fn tokens(pointer: &str) -> Option<Vec<Token>> {
    let token = |text: &str| {
        if text == "*" {
            return Some(Token::Any);
        }
        if text.replace("~0", "").replace("~1", "").contains('~') {
            return None;
        }
        let index = if text == "0" || !text.starts_with(['0', '+']) { text.parse().ok() } else { None };
        Some(Token::This { name: text.replace("~1", "/").replace("~0", "~"), index })
    };
    pointer.strip_prefix('/')?.split('/').map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_fit_step_by_step() {
        let mut policy = Policy::default();
        assert!(policy.act_on_pointer("/instances/*/3", Action::Hmac));
        assert!(policy.act_on_pointer("/a~1b/~0", Action::Drop));
        assert!(!policy.act_on_pointer("a", Action::Drop) && !policy.act_on_pointer("/a~2", Action::Drop));
        let walk = |steps: &[Step<'_>]| {
            let mut fitting = policy.all_fitting();
            let mut verdict = policy.root();
            for (depth, step) in steps.iter().enumerate() {
                (fitting, verdict) = policy.step(fitting, depth, *step);
            }
            verdict.action
        };
        use Step::{Index, Name};
        assert_eq!(walk(&[Name("instances"), Index(7), Index(3)]), Some(Action::Hmac));
        assert_eq!(walk(&[Name("instances"), Name("x"), Name("3")]), Some(Action::Hmac));
        assert_eq!(walk(&[Name("instances"), Index(7), Index(4)]), None);
        assert_eq!(walk(&[Name("instances"), Index(7)]), None);
        assert_eq!(walk(&[Name("a/b"), Name("~")]), Some(Action::Drop));
        for _ in 2..MAX_POINTERS {
            assert!(policy.allow_pointer("/x"));
        }
        assert!(!policy.allow_pointer("/x"), "one too many");
        assert_eq!(policy.all_fitting(), Fitting(u64::MAX));
    }

    #[test]
    fn the_strictest_of_several_rules_holds() {
        let mut policy = Policy::default();
        policy.act_on_field("a", Action::Drop);
        policy.act_on_field("a", Action::Hmac);
        policy.act_on_field("b.c", Action::Mask);
        assert_eq!(policy.field("a", "a").action, Some(Action::Drop));
        assert_eq!(policy.field("c", "x.b.c").action, Some(Action::Mask));
        assert_eq!(policy.field("c", "xb.c").action, None);
    }
}
