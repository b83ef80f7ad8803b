//! What is to be told, when, and what becomes of it.

use driftline_alerts::{Labels, Severity};

use super::*;

fn database() -> Connection {
    crate::store::in_memory().unwrap()
}

fn notification(action: Action) -> Notification {
    Notification {
        action,
        episode: "e".into(),
        rule: "R".into(),
        severity: Severity::Page,
        summary: "s".into(),
        subject: "s".into(),
        condition: String::new(),
        labels: Labels::new(),
        started_at: 0,
        resolved_at: None,
        acknowledged: None,
        reminder: 0,
        drill: false,
        briefing: Vec::new(),
        facts: Vec::new(),
        rows: Vec::new(),
        more_rows: 0,
        picture: None,
        page_url: String::new(),
        runbook_url: String::new(),
        dashboard_url: None,
    }
}

/// The episode that all is of.
fn episode(db: &Connection, muted_by: Option<&str>) {
    db.execute(
        "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification, muted_by)
         VALUES ('e', 'f', 'R', 'page', 'r', 0, '', ?1)",
        [muted_by],
    )
    .unwrap();
}

/// Begins to send an entry, and gives what its trigger's acceptance gave.
fn begun(db: &Connection, id: i64) -> Option<String> {
    begin(db, id).unwrap().unwrap().1.begun
}

fn due_ids(db: &Connection, target: &str, now: i64) -> Vec<i64> {
    due(db, Some(target), &[], now).unwrap().iter().map(|due| due.id).collect()
}

fn targets(db: &Connection, action: Action) -> Vec<String> {
    db.prepare("SELECT target FROM outbox WHERE action = ?1 ORDER BY id")
        .unwrap()
        .query_map([action.name()], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

#[test]
fn a_resolve_waits_for_its_trigger_at_the_same_target_only() {
    let db = database();
    put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 0).unwrap();
    assert_eq!((due_ids(&db, "a", 0), due_ids(&db, "b", 0)), (vec![1], vec![2]));
    accepted(&db, 2, None, 0).unwrap();
    postpone(&db, 1, false, "busy", 100, 0).unwrap();
    assert_eq!(due_ids(&db, "a", 0), [] as [i64; 0], "a's resolve waits with its trigger");
    assert_eq!((due_ids(&db, "a", 100), due_ids(&db, "b", 0)), (vec![1], vec![4]));
    accepted(&db, 1, None, 0).unwrap();
    assert_eq!(due_ids(&db, "a", 0), [3]);
}

#[test]
fn a_change_waits_for_nothing_but_for_what_is_said_of_episodes() {
    let db = database();
    let change = ChangeEvent {
        id: 1,
        summary: "m: version 2 was seen first".into(),
        source: "m".into(),
        kind: "version".into(),
        at: 0,
        page_url: String::new(),
    };
    put_change(&db, &change, "a", 0).unwrap();
    put(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 0).unwrap();
    let due: Vec<(i64, bool)> =
        due(&db, Some("a"), &[], 0).unwrap().iter().map(|due| (due.id, due.is_change)).collect();
    assert_eq!(due, [(2, false), (1, true)]);
    assert_eq!(changes_waiting(&db, "a").unwrap(), 1);
    give_up(&db, 1, false, "no such key", 7).unwrap();
    assert_eq!((changes_waiting(&db, "a").unwrap(), pending(&db).unwrap()), (0, 2));
}

#[test]
fn who_never_accepted_the_trigger_is_never_sent_the_resolve() {
    let db = database();
    put(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 0).unwrap();
    give_up(&db, 1, false, "no such key", 7).unwrap();
    assert_eq!(due_ids(&db, "a", 1000), [] as [i64; 0]);
    assert_eq!(pending(&db).unwrap(), 0);
}

#[test]
fn a_trigger_that_was_given_up_before_the_end_has_no_resolve() {
    let db = database();
    put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
    give_up(&db, 1, false, "no such key", 7).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 8).unwrap();
    assert_eq!(targets(&db, Action::Resolve), ["b"]);
    // Not even one that got into the outbox by another way.
    put(&db, &notification(Action::Resolve), &["a".to_owned()], 8).unwrap();
    assert_eq!(due_ids(&db, "a", 1000), [] as [i64; 0]);
}

#[test]
fn a_target_that_forgets_hears_again_of_what_is_open_and_of_what_has_just_ended() {
    let db = database();
    episode(&db, None);
    put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
    assert!(to_say_again(&db, "a", 0).unwrap().is_empty(), "it was not told yet");
    accepted(&db, 1, Some("C 1.2"), 1).unwrap();
    assert_eq!((to_say_again(&db, "a", 0).unwrap().len(), to_say_again(&db, "b", 0).unwrap().len()), (1, 0));
    db.execute("UPDATE episodes SET resolved_at = 5", []).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
    let end = due(&db, Some("a"), &[], 5).unwrap();
    assert_eq!(begun(&db, end[0].id).as_deref(), Some("C 1.2"), "the trigger's");
    accepted(&db, end[0].id, None, 6).unwrap();
    assert_eq!((to_say_again(&db, "a", 6).unwrap().len(), to_say_again(&db, "a", 7).unwrap().len()), (1, 0));
}

#[test]
fn entries_of_targets_that_are_gone_have_a_queue_of_their_own() {
    let db = database();
    put(&db, &notification(Action::Trigger), &["a".to_owned(), "gone".to_owned()], 0).unwrap();
    let left = due(&db, None, &["a".to_owned()], 0).unwrap();
    assert_eq!(left.iter().map(|due| due.target.as_str()).collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn nothing_but_the_end_is_due_while_an_episode_is_muted() {
    let db = database();
    episode(&db, None);
    let (a, b) = (["a".to_owned()], ["b".to_owned()]);
    put_trigger(&db, &notification(Action::Trigger), &a, 0).unwrap();
    accepted(&db, 1, None, 1).unwrap();
    db.execute("UPDATE episodes SET muted_by = '[]'", []).unwrap();
    put_trigger(&db, &notification(Action::Trigger), &b, 2).unwrap();
    put_update(&db, &notification(Action::Remind), &a, Update::Again, 2).unwrap();
    assert!(due_ids(&db, "a", 9).is_empty() && due_ids(&db, "b", 9).is_empty());
    db.execute("UPDATE episodes SET muted_by = NULL", []).unwrap();
    assert_eq!((due_ids(&db, "a", 9), due_ids(&db, "b", 9)), (vec![3], vec![2]));
    db.execute("UPDATE episodes SET muted_by = '[]', resolved_at = 9", []).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 9).unwrap();
    assert_eq!((due_ids(&db, "a", 9), due_ids(&db, "b", 9)), (vec![4], vec![]), "b was never told");
    assert_eq!(pending(&db).unwrap(), 1);
}

/// An episode that is muted and over, whose trigger is on its way to `a` or was not begun yet.
fn over_and_muted(is_begun: bool) -> Connection {
    let db = database();
    episode(&db, None);
    put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
    assert!(!is_begun || begin(&db, 1).unwrap().is_some());
    db.execute("UPDATE episodes SET muted_by = '[]', resolved_at = 5", []).unwrap();
    put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
    db
}

#[test]
fn a_trigger_that_is_on_its_way_is_not_taken_back_and_has_its_end() {
    let db = over_and_muted(true);
    accepted(&db, 1, Some("C 1.2"), 6).unwrap();
    let end = due_ids(&db, "a", 6)[0];
    assert_eq!(begun(&db, end).as_deref(), Some("C 1.2"));
    let db = over_and_muted(false);
    assert_eq!((targets(&db, Action::Resolve), pending(&db).unwrap()), (Vec::new(), 0));
    assert!(begin(&db, 1).unwrap().is_none(), "it was taken back, though a round still holds it");
}

#[test]
fn a_trigger_that_did_not_arrive_before_a_silent_end_is_taken_back_with_it() {
    let db = over_and_muted(true);
    postpone(&db, 1, true, "no answer", 7, 6).unwrap();
    assert_eq!(due_ids(&db, "a", 7), [1], "it may have arrived");
    postpone(&db, 1, false, "429", 8, 7).unwrap();
    assert_eq!(pending(&db).unwrap(), 0);
}

#[test]
fn who_may_have_accepted_a_trigger_that_was_given_up_is_told_of_the_end() {
    for is_over in [true, false] {
        let db = database();
        episode(&db, None);
        put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
        let end = || put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
        if is_over {
            end();
        }
        give_up(&db, 1, true, "no answer", 6).unwrap();
        if !is_over {
            assert!(due_ids(&db, "a", 6).is_empty());
            end();
        }
        assert_eq!(due_ids(&db, "a", 6), [2]);
    }
}

#[test]
fn what_a_process_was_killed_over_is_in_doubt() {
    let db = database();
    episode(&db, None);
    put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
    begin(&db, 1).unwrap();
    // Here it was killed.
    let again = due(&db, Some("a"), &[], 1).unwrap().remove(0);
    assert_eq!((again.attempts, again.in_doubt), (1, true));
}

/// Begins to send an entry, and gives what it says.
fn sent(db: &Connection, id: i64) -> Notification {
    serde_json::from_str(&begin(db, id).unwrap().unwrap().0).unwrap()
}

/// A reminder that asks something.
fn question(asks: &str) -> Notification {
    Notification { facts: vec![("asks".into(), asks.into())], ..notification(Action::Remind) }
}

#[test]
fn news_take_the_place_of_what_waits_and_follow_what_may_have_been_heard() {
    let db = database();
    episode(&db, None);
    let a = ["a".to_owned()];
    put_trigger(&db, &notification(Action::Trigger), &a, 0).unwrap();
    accepted(&db, 1, None, 0).unwrap();
    put_update(&db, &notification(Action::Remind), &a, Update::Again, 1).unwrap();
    put_update(&db, &question("first"), &a, Update::News, 2).unwrap();
    assert_eq!(due_ids(&db, "a", 9), [2], "one reminder");
    let first = sent(&db, 2);
    assert_eq!((first.reminder, first.facts[0].1.as_str()), (1, "first"));
    // It is on its way, and may have arrived.
    put_update(&db, &notification(Action::Remind), &a, Update::Again, 3).unwrap();
    put_update(&db, &question("second"), &a, Update::News, 3).unwrap();
    assert_eq!(due_ids(&db, "a", 9), [2, 3]);
    let second = sent(&db, 3);
    assert_eq!((second.reminder, second.facts[0].1.as_str()), (2, "second"));
    postpone(&db, 3, false, "429", 9, 4).unwrap();
    put_update(&db, &question("third"), &a, Update::News, 5).unwrap();
    assert_eq!((due_ids(&db, "a", 9), sent(&db, 3).facts[0].1.as_str()), (vec![2, 3], "third"), "it did not arrive");
}

#[test]
fn what_waits_is_brought_up_to_date_unless_somebody_may_have_heard_it() {
    let db = database();
    episode(&db, Some("[]"));
    let all = ["a", "b", "c"].map(str::to_owned);
    put_trigger(&db, &notification(Action::Trigger), &all, 0).unwrap();
    begin(&db, 2).unwrap();
    accepted_in_part(&db, (3, false), "r", "not to all", Some(9), 1).unwrap();
    bring_up_to_date(&db, "e", |waits| waits.summary = "now".into()).unwrap();
    assert_eq!([1, 2, 3].map(|id| sent(&db, id).summary), ["now", "s", "s"]);
}

#[test]
fn an_end_does_not_wait_for_those_behind_a_target_who_did_not_take_the_beginning() {
    let ended = |is_in_flight: bool| {
        let db = database();
        episode(&db, None);
        put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
        begin(&db, 1).unwrap();
        accepted_in_part(&db, (1, false), "x has it", "y is full", Some(2), 1).unwrap();
        put_update(&db, &notification(Action::Remind), &["a".to_owned()], Update::Again, 1).unwrap();
        assert_eq!(due_ids(&db, "a", 2), [1, 2], "who has it hears what follows");
        let before = begin(&db, 2).unwrap().unwrap().1;
        assert_eq!((before.begun.as_deref(), before.so_far), (Some("x has it"), None));
        if is_in_flight {
            assert_eq!(begin(&db, 1).unwrap().unwrap().1.so_far.as_deref(), Some("x has it"));
        }
        db.execute("UPDATE episodes SET resolved_at = 3", []).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 3).unwrap();
        db
    };
    let (over, in_flight) = (ended(false), ended(true));
    assert_eq!(due_ids(&over, "a", 3), [3]);
    assert_eq!(due_ids(&in_flight, "a", 3), [1], "it may be arriving at y");
    postpone(&in_flight, 1, false, "y is full", 9, 4).unwrap();
    assert_eq!(due_ids(&in_flight, "a", 4), [3]);
    assert_eq!(begun(&in_flight, 3).as_deref(), Some("x has it"));
}

#[test]
fn updates_go_to_those_who_were_told_one_at_a_time_and_end_with_the_episode() {
    let db = database();
    episode(&db, None);
    let both = ["a".to_owned(), "b".to_owned()];
    put_trigger(&db, &notification(Action::Trigger), &both, 0).unwrap();
    put_trigger(&db, &notification(Action::Trigger), &both, 1).unwrap();
    assert_eq!(targets(&db, Action::Trigger), ["a", "b"], "nobody is told of a beginning twice");
    accepted(&db, 1, Some("C 1.2"), 1).unwrap();
    for now in [2, 3] {
        let hearers = ["a".to_owned(), "c".to_owned()];
        put_update(&db, &notification(Action::Remind), &hearers, Update::Again, now).unwrap();
    }
    assert_eq!(targets(&db, Action::Remind), ["a"]);
    assert_eq!(begun(&db, 3).as_deref(), Some("C 1.2"));
    accepted(&db, 3, None, 3).unwrap();
    put_update(&db, &notification(Action::Remind), &both, Update::Again, 4).unwrap();
    let second = due(&db, Some("a"), &[], 4).unwrap().remove(0);
    assert_eq!(sent(&db, second.id).reminder, 2);
    put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
    let left = |target: &str| due_ids(&db, target, 9).len();
    assert_eq!((left("a"), left("b")), (1, 1), "a's end, and b's trigger");
}
