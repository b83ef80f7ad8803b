//! What became of alerts, written in one transaction with what caused it: episodes, and what is to be said of them.

use driftline_alerts::{Action, Mute, Notification, Saying, Standing};
use rusqlite::{Connection, params};

use super::current::Current;
use super::entries::{self, Update};
use super::no_verdict;
use super::reactions::stored::questions;

/// Something that became of an episode. News are written in the order in which they came.
#[derive(Debug)]
pub(crate) enum News {
    /// It began.
    Began {
        /// What is known of it.
        notification: Box<Notification>,
        fingerprint: String,
        runbook: String,
        is_flapping: bool,
    },
    /// It stands otherwise than before.
    Stands { episode: String, standing: Standing },
    /// It is muted, or by other things than before, or not any more.
    Muted {
        episode: String,
        by: Vec<Mute>,
        /// How it is by now, for what waits to be said of it.
        current: Option<Current>,
    },
    /// Something is to be said of it.
    Said {
        episode: String,
        saying: Saying,
        /// Targets that are told of reminders.
        hearers: Vec<String>,
        /// How it is by now, if it did not just begin.
        current: Option<Current>,
    },
    /// Somebody is asked something about it, by a reminder: what is asked is stored already.
    Asked {
        episode: String,
        /// Targets that are told of reminders.
        hearers: Vec<String>,
    },
    /// It ended.
    Ended { notification: Box<Notification> },
}

impl News {
    /// Writes it.
    pub(crate) fn store(&self, db: &Connection, now: i64) -> rusqlite::Result<()> {
        match self {
            Self::Began { notification, fingerprint, runbook, is_flapping } => {
                begin(db, notification, fingerprint, runbook, *is_flapping)
            }
            Self::Stands { episode, standing } => {
                db.prepare_cached("UPDATE episodes SET standing = ?2 WHERE id = ?1")?
                    .execute(params![episode, standing.name()])?;
                Ok(())
            }
            Self::Muted { episode, by, current } => {
                if let (Some(current), true) = (current, by.is_empty()) {
                    entries::bring_up_to_date(db, episode, |waits| current.put_into(waits, true))?;
                }
                let by = (!by.is_empty()).then(|| serde_json::to_string(by).unwrap_or_default());
                db.prepare_cached("UPDATE episodes SET muted_by = ?2 WHERE id = ?1")?.execute(params![episode, by])?;
                Ok(())
            }
            Self::Said { episode, saying, hearers, current } => {
                say(db, episode, (saying, hearers), current.as_ref(), now)
            }
            Self::Asked { episode, hearers } => remind(db, known(db, episode)?, hearers, Update::News, now),
            Self::Ended { notification } => end(db, notification, now),
        }
    }
}

fn begin(
    db: &Connection,
    notification: &Notification,
    fingerprint: &str,
    runbook: &str,
    is_flapping: bool,
) -> rusqlite::Result<()> {
    let text = serde_json::to_string(notification).unwrap_or_default();
    db.prepare_cached(
        "INSERT OR REPLACE INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification, is_flapping)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        notification.episode,
        fingerprint,
        notification.rule,
        notification.severity.name(),
        runbook,
        notification.started_at,
        text,
        is_flapping
    ])?;
    Ok(())
}

fn say(
    db: &Connection,
    episode: &str,
    (saying, hearers): (&Saying, &[String]),
    current: Option<&Current>,
    now: i64,
) -> rusqlite::Result<()> {
    let Some(mut known) = known(db, episode)? else { return Ok(()) };
    if let Some(current) = current {
        let (is_told, subject) = (!entries::told(db, episode)?.is_empty(), known.subject.clone());
        current.put_into(&mut known, is_told);
        if known.subject != subject {
            file_under(db, episode, &known.subject)?;
        }
    }
    match saying {
        Saying::Trigger(targets) => entries::put_trigger(db, &known, targets, now),
        Saying::Remind => remind(db, Some(known), hearers, Update::Again, now),
    }
}

/// Has all that will be said of an episode filed under what is said first.
fn file_under(db: &Connection, episode: &str, subject: &str) -> rusqlite::Result<()> {
    let Some(begun) = entries::triggered(db, episode)? else { return Ok(()) };
    let text = serde_json::to_string(&Notification { subject: subject.to_owned(), ..begun }).unwrap_or_default();
    db.prepare_cached("UPDATE episodes SET notification = ?2 WHERE id = ?1")?.execute(params![episode, text])?;
    Ok(())
}

fn remind(
    db: &Connection,
    known: Option<Notification>,
    hearers: &[String],
    update: Update,
    now: i64,
) -> rusqlite::Result<()> {
    let Some(known) = known else { return Ok(()) };
    entries::put_update(db, &Notification { action: Action::Remind, ..known }, hearers, update, now)
}

/// What is said of an episode: what was known when it began, whenever that is said, and what it explains and asks by now.
fn known(db: &Connection, episode: &str) -> rusqlite::Result<Option<Notification>> {
    let Some(mut notification) = entries::triggered(db, episode)? else { return Ok(None) };
    let explained = explained(db, episode)?;
    if explained > 0 {
        let alerts = if explained == 1 { "1 more alert is" } else { &format!("{explained} more alerts are") };
        notification
            .facts
            .push(("Explains".to_owned(), format!("{alerts} explained by this, and nobody is told of it")));
    }
    notification.facts.extend(questions(db, episode)?);
    Ok(Some(notification))
}

/// How many open episodes an episode explains.
fn explained(db: &Connection, episode: &str) -> rusqlite::Result<u64> {
    db.prepare_cached(
        "SELECT count(*) FROM episodes
         WHERE resolved_at IS NULL AND muted_by IS NOT NULL
           AND EXISTS (SELECT 1 FROM json_each(muted_by) WHERE json_each.value = json(?1))",
    )?
    .query_row([mute_text(episode)], |row| row.get(0))
}

/// How `muted_by` names an episode that explains.
pub(crate) fn mute_text(episode: &str) -> String {
    serde_json::to_string(&Mute::Alert(episode.to_owned())).unwrap_or_default()
}

fn end(db: &Connection, notification: &Notification, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE episodes SET resolved_at = ?2 WHERE id = ?1")?
        .execute(params![notification.episode, notification.resolved_at])?;
    let mut resolve = notification.clone();
    if let Some(mut said) = entries::triggered(db, &notification.episode)? {
        // One subject, one thread; and as urgent as it was, also when the rule is gone by now.
        resolve.subject.clone_from(&said.subject);
        resolve.severity = said.severity;
        if let Some(fact) = notification.facts.iter().find(|(name, _)| name == no_verdict::FACT) {
            // Who reads of it later must not take its end for an all-clear.
            said.facts.push(fact.clone());
            let text = serde_json::to_string(&said).unwrap_or_default();
            db.prepare_cached("UPDATE episodes SET notification = ?2 WHERE id = ?1")?
                .execute(params![said.episode, text])?;
        }
    }
    entries::put_resolve(db, &resolve, now)
}

#[cfg(test)]
mod tests {
    use driftline_alerts::Labels;

    use super::*;
    use crate::alerting::book::Orphan;
    use crate::alerting::evidence;

    /// What is known of an episode, by way of one whose rule is gone.
    fn notification(episode: &str, action: Action, resolved_at: Option<i64>) -> Box<Notification> {
        let orphan = Orphan {
            fingerprint: String::new(),
            rule: "R".to_owned(),
            labels: Labels::new(),
            episode: episode.to_owned(),
            since: 1,
            triggered: None,
            resolved: None,
        };
        Box::new(Notification { action, resolved_at, ..evidence::orphaned(&orphan, "", 1) })
    }

    fn began(episode: &str) -> News {
        let notification = notification(episode, Action::Trigger, None);
        News::Began { notification, fingerprint: String::new(), runbook: String::new(), is_flapping: false }
    }

    fn said(db: &Connection, episode: &str) -> Vec<(String, Notification)> {
        db.prepare("SELECT target, notification FROM outbox WHERE episode = ?1 ORDER BY id")
            .unwrap()
            .query_map([episode], |row| Ok((row.get(0)?, serde_json::from_str(&row.get::<_, String>(1)?).unwrap())))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn an_end_without_a_verdict_is_none_for_whoever_reads_of_it_later() {
        let db = crate::store::in_memory().unwrap();
        began("A").store(&db, 1).unwrap();
        let mut notification = notification("A", Action::Resolve, Some(9));
        notification.facts = vec![("Window".to_owned(), "w".to_owned()), (no_verdict::FACT.to_owned(), "v".to_owned())];
        News::Ended { notification }.store(&db, 9).unwrap();
        let facts = entries::triggered(&db, "A").unwrap().unwrap().facts;
        assert_eq!(facts, [(no_verdict::FACT.to_owned(), "v".to_owned())], "besides what was known when it began");
    }

    #[test]
    fn a_cause_names_what_it_explains_and_an_end_is_told_to_who_was_told() {
        let db = crate::store::in_memory().unwrap();
        let to = |name: &str| Saying::Trigger(vec![name.to_owned()]);
        let of = |episode: &str, saying| News::Said {
            episode: episode.to_owned(),
            saying,
            hearers: vec!["a".to_owned()],
            current: None,
        };
        let mute = |by| News::Muted { episode: "child".to_owned(), by, current: None };
        for news in [
            began("cause"),
            began("child"),
            mute(vec![Mute::Silence("s".to_owned()), Mute::Alert("cause".to_owned())]),
            of("cause", to("a")),
            of("cause", Saying::Remind),
            mute(Vec::new()),
            of("cause", Saying::Remind),
            of("cause", to("b")),
            News::Ended { notification: notification("cause", Action::Resolve, Some(9)) },
            News::Ended { notification: notification("child", Action::Resolve, Some(9)) },
        ] {
            news.store(&db, 5).unwrap();
        }
        let told = said(&db, "cause");
        let what: Vec<_> = told.iter().map(|(target, said)| (target.as_str(), said.action)).collect();
        // The second reminder takes the place of the first one, which still waits.
        let ends = [("a", Action::Resolve), ("b", Action::Resolve)];
        assert_eq!(
            what,
            [&[("a", Action::Trigger), ("a", Action::Remind), ("b", Action::Trigger)][..], &ends].concat()
        );
        assert!(told[0].1.facts.iter().any(|(name, words)| name == "Explains" && words.starts_with("1 more alert is")));
        assert!(told[1].1.facts.is_empty() && told[2].1.facts.is_empty(), "by then it explains nothing any more");
        assert!(said(&db, "child").is_empty());
    }
}
