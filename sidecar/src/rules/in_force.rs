//! The rules in force, as a thread sees them.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::Cache;

use super::{Rules, SharedRules};

thread_local! {
    /// What this thread read last. Rules are read three times for each exchange and replaced once a week: to see that they
    /// are still the same is one load, where holding on to them takes atomic operations that wait for each other.
    static LAST: RefCell<Option<Cache<SharedRules, Arc<Rules>>>> = const { RefCell::new(None) };
}

/// Reads the rules that are in force now. A thread keeps those that it read last until it reads again, so old ones are held
/// once for each thread at most.
pub(crate) fn with_rules<T>(shared: &SharedRules, read: impl FnOnce(&Rules) -> T) -> T {
    LAST.with(|last| {
        // Within itself, it is as good as its first reading.
        let Ok(mut last) = last.try_borrow_mut() else { return read(&shared.load()) };
        match &mut *last {
            Some(cache) if std::ptr::eq(cache.arc_swap(), &**shared) => read(cache.load()),
            other => read(other.insert(Cache::new(Arc::clone(shared))).load()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::rules;

    fn keeps(shared: &SharedRules, name: &str) -> bool {
        with_rules(shared, |rules| rules.header(name).is_some())
    }

    #[test]
    fn what_is_stored_is_in_force_at_the_next_reading_and_others_rules_are_others() {
        let (one, other) = (SharedRules::default(), SharedRules::default());
        assert!(!keeps(&one, "x-tenant"));
        let old = one.load_full();
        one.store(Arc::new(rules("headers: {keep: [X-Tenant]}")));
        assert!(keeps(&one, "x-tenant") && !keeps(&other, "x-tenant") && keeps(&one, "x-tenant"));
        assert_eq!(Arc::strong_count(&old), 1, "the old ones are let go");
        let within = with_rules(&one, |_| (keeps(&other, "x-tenant"), keeps(&one, "x-tenant")));
        assert_eq!(within, (false, true));
    }
}
