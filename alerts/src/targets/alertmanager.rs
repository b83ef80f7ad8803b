//! Alertmanager, by its API v2.
//!
//! It holds an alert for as long as it hears of it, so what fires is sent again every so often with an end that lies four times
//! as far ahead, and to every replica: replicas tell each other of notifications, not of alerts. They are told side by side, so
//! that one that hangs keeps nothing from the others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Delivery;
use super::http::{Http, retry};
use super::webhook::{annotations, labels};
use crate::notification::{Notification, time_rfc3339};
use crate::state::Micros;

/// A replica that does not answer for so long, or for as long as is between two rounds, is told with the next one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// All replicas of one Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    /// Where each is reached, such as `http://alertmanager-0:9093`.
    urls: Vec<String>,
    resend: Duration,
    answering: Answering,
    http: Http,
}

impl Alertmanager {
    /// How often what fires is sent again unless the configuration says otherwise: as often as Prometheus does.
    pub const RESEND: Duration = Duration::from_secs(60);
    /// For how many times as long an alert that is not heard of any more goes on. Prometheus takes four times, too.
    const ENDS_AFTER: u32 = 4;

    /// A target that sends to all of these replicas, and sends what fires again every `resend`.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(urls: Vec<String>, resend: Duration) -> Result<Self, String> {
        let answering = Answering(Mutex::new(vec![None; urls.len()]));
        Ok(Self { urls, resend, answering, http: Http::new()? })
    }

    pub(super) fn resend(&self) -> Duration {
        self.resend
    }

    /// It has the alert when one replica has: the others hear of it when it is sent again.
    ///
    /// # Cancel safety
    /// A dropped delivery may have reached some of the replicas.
    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as Micros;
        let body = json!([alert(notification, now, self.resend * Self::ENDS_AFTER)]).to_string();
        let mut asked = JoinSet::new();
        let patience = ANSWER_TIMEOUT.min(self.resend);
        for replica in self.answering.worth_a_try(self.resend) {
            let url = &self.urls[replica];
            let (http, url, body) =
                (self.http.clone(), format!("{}/api/v2/alerts", url.trim_end_matches('/')), body.clone());
            asked.spawn(async move {
                let answer = timeout(patience, http.post(&url, HeaderMap::new(), body)).await;
                let late =
                    || Delivery::Retry { after: None, why: format!("no answer within {patience:?}"), in_doubt: true };
                let delivery = answer
                    .map_or_else(|_| late(), |answer| answer.map_or_else(|none| none, |answer| answer.delivery()));
                (replica, delivery)
            });
        }
        let deliveries = asked.join_all().await;
        self.answering.note(&deliveries);
        together(deliveries.into_iter().map(|(_, delivery)| delivery))
    }
}

/// When each replica did not take something last. Of all that is said in a round one thing waits for it, and not each.
#[derive(Debug)]
struct Answering(Mutex<Vec<Option<Instant>>>);

impl Answering {
    /// Replicas that are worth a try: all but those that did not take something within `lately`, or all if none did.
    fn worth_a_try(&self, lately: Duration) -> Vec<usize> {
        let silent_since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silent = |replica: &usize| silent_since[*replica].is_some_and(|since| since.elapsed() < lately);
        let (silent, others): (Vec<usize>, Vec<usize>) = (0..silent_since.len()).partition(is_silent);
        if others.is_empty() { silent } else { others }
    }

    fn note(&self, deliveries: &[(usize, Delivery)]) {
        let mut silent_since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (replica, delivery) in deliveries {
            silent_since[*replica] = matches!(delivery, Delivery::Retry { .. }).then(Instant::now);
        }
    }
}

/// What came of all replicas: it has it if one has; it may have it if one may; it will never take it if all say so.
fn together(deliveries: impl IntoIterator<Item = Delivery>) -> Delivery {
    deliveries.into_iter().reduce(both).unwrap_or_else(|| retry("no replica is configured".to_owned()))
}

fn both(one: Delivery, other: Delivery) -> Delivery {
    match (one, other) {
        (accepted @ (Delivery::Accepted { .. } | Delivery::Partly { .. }), _)
        | (_, accepted @ (Delivery::Accepted { .. } | Delivery::Partly { .. })) => accepted,
        (
            Delivery::Retry { after, why, in_doubt },
            Delivery::Retry { after: other_after, why: other_why, in_doubt: other_in_doubt },
        ) => Delivery::Retry {
            after: after.max(other_after),
            why: if why == other_why { why } else { format!("{why}; {other_why}") },
            in_doubt: in_doubt || other_in_doubt,
        },
        (again @ Delivery::Retry { .. }, Delivery::Refused { .. })
        | (Delivery::Refused { .. }, again @ Delivery::Retry { .. }) => again,
        (refused @ Delivery::Refused { .. }, Delivery::Refused { .. }) => refused,
    }
}

fn alert(notification: &Notification, now: Micros, ends_after: Duration) -> Value {
    let ends = notification.resolved_at.unwrap_or(now + ends_after.as_micros() as Micros);
    json!({
        "labels": labels(notification),
        "annotations": annotations(notification),
        "startsAt": time_rfc3339(notification.started_at),
        "endsAt": time_rfc3339(ends),
        "generatorURL": notification.page_url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Action;
    use crate::notification::tests::notification;

    #[test]
    fn what_fires_ends_a_few_minutes_ahead_and_what_is_over_when_it_ended() {
        let now = 1_373_550_000_000_000;
        let firing = alert(&notification(Action::Trigger), now, Duration::from_secs(240));
        assert_eq!(firing["endsAt"], time_rfc3339(now + 240_000_000));
        let resolved = alert(&notification(Action::Resolve), now, Duration::from_secs(240));
        assert_eq!(resolved["endsAt"], time_rfc3339(1_373_600_000_000_000));
        assert_eq!(resolved["labels"], firing["labels"], "or it would be another alert");
    }

    #[test]
    fn one_replica_that_has_it_is_enough_and_a_refusal_counts_only_if_all_refuse() {
        let accepted = || Delivery::Accepted { receipt: None };
        let again = |why: &str, in_doubt| Delivery::Retry { after: None, why: why.to_owned(), in_doubt };
        let refused = || Delivery::Refused { why: "400".to_owned() };
        assert_eq!(together(vec![refused(), again("away", true), accepted()]), accepted());
        assert_eq!(together(vec![refused(), again("away", false)]), again("away", false));
        assert_eq!(together(vec![again("a", false), again("b", true)]), again("a; b", true));
        assert_eq!(together(vec![refused(), refused()]), refused());
        assert!(matches!(together(Vec::new()), Delivery::Retry { in_doubt: false, .. }));
    }

    #[test]
    fn a_replica_that_does_not_answer_is_asked_once_in_a_round_unless_none_does() {
        let (answering, lately) = (Answering(Mutex::new(vec![None; 2])), Duration::from_secs(60));
        assert_eq!(answering.worth_a_try(lately), [0, 1]);
        answering.note(&[(0, retry("away".to_owned())), (1, Delivery::Accepted { receipt: None })]);
        assert_eq!(answering.worth_a_try(lately), [1]);
        assert_eq!(answering.worth_a_try(Duration::ZERO), [0, 1], "it is tried again");
        answering.note(&[(1, retry("away".to_owned()))]);
        assert_eq!(answering.worth_a_try(lately), [0, 1]);
        answering.note(&[(0, Delivery::Refused { why: "400".to_owned() })]);
        assert_eq!(answering.worth_a_try(lately), [0], "it answers");
    }
}
