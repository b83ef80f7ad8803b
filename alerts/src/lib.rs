//! From named values to the right person, once.
//!
//! This crate knows nothing of models: it takes named values with labels ([`Observation`]), and rules about them
//! ([`Rule`]). What it decides ([`Transition`]) and what it says ([`Notification`]) is the caller's to store; where it
//! is said is a [`Target`].
//!
//! ```text
//!   observations ─▶ Alert::observe(rule, …, now, …) ─▶ Transition ─▶ Notification ─▶ (the caller's outbox) ─▶ Target
//!                   while it fires: Muting::of, Routes::of, Open::say(…, now) ─▶ Saying ─────┘
//!                                   Reaction::decide(…, now) ─▶ Decision ─▶ (the caller's record) ─▶ Starter
//! ```
//!
//! States are pure: time is an argument, and the same history gives the same episodes.
//!
//! ```
//! use driftline_alerts::{Alert, Condition, KofM, Labels, Observation, Reading, Recovery, Rule, Severity, Transition, Wording};
//!
//! let rule = Rule {
//!     name: "FeatureDrift".into(),
//!     severity: Severity::Ticket,
//!     runbook: "feature-drift".into(),
//!     condition: Condition::Score {
//!         score: "psi".into(),
//!         matching: Labels::new(),
//!         above: None,
//!         windows: KofM::new(1, 1).unwrap(),
//!     },
//!     group_by: vec!["model".into()],
//!     targets: vec![],
//!     repeat: None,
//!     escalate: vec![],
//!     explained_by: vec![],
//!     recovery: Recovery::default(),
//!     wording: Wording::default(),
//! };
//! let labels = Labels::from([("model".into(), "flights".into()), ("column".into(), "temp".into())]);
//! let mut alert = Alert::new(&rule, Alert::group(&rule, &labels).unwrap());
//! let reading = Reading::Score { value: 14.5, threshold: 0.2, noise: 0.01, n: 29_425 };
//! // A member that is not observed for a day, while others are, is forgotten.
//! let forget_after = 86_400_000_000;
//! let observed = alert.observe(&rule, &[Observation { name: "psi".into(), labels, reading }], 0, forget_after);
//! assert!(matches!(observed, Some(Transition::Fired { .. })));
//! ```

mod approval;
mod change_event;
mod delivery;
mod drill;
mod expression;
mod few;
#[cfg(test)]
mod histories;
mod html;
mod maintenance;
mod matching;
mod muting;
mod notification;
mod objective_state;
mod period;
mod reach;
mod reaction;
mod routing;
mod rule;
mod schedule;
mod secret;
mod selector;
mod silence;
mod slo;
mod starters;
mod state;
mod targets;
mod telling;
mod template;

pub use approval::{is_signed_approval, sign_approval};
pub use change_event::ChangeEvent;
pub use delivery::{Gate, Rate, Rest, is_given_up, pause_after};
pub use drill::DRILL_LABEL;
pub use expression::{Expression, ExpressionError, Meaning, Series, Source, Unit, Variable, nearest};
pub use few::{Few, FewEvents, LastEvents};
pub use html::escape_html;
pub use maintenance::Maintenance;
pub use matching::{Matchers, Pattern};
pub use muting::{Mute, Muting};
pub use notification::{
    Acknowledgement, Action, EvidenceRow, Figure, MAX_ROWS, Notification, Picture, shorten, sparkline,
};
pub use objective_state::{EventSource, ObjectiveEvents, ObjectiveState};
pub use period::{CalendarUnit, Period};
pub use reach::{Brings, Reach};
pub use reaction::{Approval, Decision, Hold, Lapse, Reaction, Situation, Stage};
pub use routing::{Route, Routed, Routes};
pub use rule::{
    Condition, ExplainedBy, Flapping, KofM, Labels, Recovery, Rule, Severity, Step, Wording, share_in_words,
    span_in_words,
};
pub use schedule::{Hours, Schedule, Stretch};
pub use secret::{Secret, SecretSource, Withheld};
pub use selector::Selector;
pub use silence::Silence;
pub use slo::{Budget, Counts, EvidenceBound, Objective, Pace, Pair};
pub use starters::{
    AirflowDag, AirflowLogin, AirflowVersion, Beginning, DatabricksJob, EventWebhook, GitHubDispatch, Order, Starter,
};
pub use state::{
    Alert, Ended, MAX_MEMBERS, Member, Micros, Observation, Open, Patience, Phase, Reading, Standing, Transition,
    Unjudged,
};
pub use targets::{
    Alertmanager, Before, Datadog, Delivery, Email, Heartbeat, Mailbox, Opsgenie, PagerDuty, Pictures, Slack, SlackWay,
    Smtp, SmtpTls, Target, Teams, Transport, Webhook,
};
pub use telling::{Saying, Told};
pub use template::{Template, TemplateError, TemplateFault};
