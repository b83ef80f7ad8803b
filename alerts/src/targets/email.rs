//! E-mail, by SMTP or into a folder.
//!
//! An episode is one thread: its first mail has a `Message-ID` made from the episode, and the last refers to it. A mail
//! that is sent twice after an unclear failure has the same `Message-ID`, so that a reader shows it once. Every mail says
//! that no person sent it, so that no out-of-office answer comes back.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::http::retry;
use super::recipients::Recipients;
use super::smtp::Smtp;
use super::{Before, Delivery};
use crate::html::escape_html;
use crate::notification::{Action, EvidenceRow, Notification, duration_in_words, shorten, time_in_words};
use crate::rule::Severity;

/// Readers cut subjects much earlier than this.
const MAX_SUBJECT_CHARS: usize = 200;

/// An address with an optional name: `Driftline <driftline@example.com>`.
pub use lettre::message::Mailbox;

/// Who gets mail, and how.
#[derive(Debug, Clone)]
pub struct Email {
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: Transport,
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub enum Transport {
    /// To a mail server.
    Smtp(Smtp),
    /// As `.eml` files into a folder.
    Directory(PathBuf),
}

impl Email {
    /// A target.
    pub fn new(from: Mailbox, to: Vec<Mailbox>, transport: Transport) -> Self {
        Self { from, to, transport }
    }

    pub(super) async fn deliver(&self, notification: &Notification, before: &Before) -> Delivery {
        let configured = self.to.iter().map(|to| to.email.clone());
        let recipients = Recipients::of(notification.action, configured, before);
        let message = match self.message(notification, &recipients.all) {
            Ok(message) => message,
            Err(error) => return Delivery::Refused { why: format!("the mail cannot be made: {error}") },
        };
        match &self.transport {
            Transport::Smtp(smtp) => match smtp.deliver(&self.from.email, &recipients.left(), &message).await {
                Ok(not_taken) => recipients.answered(&not_taken),
                Err(delivery) => delivery,
            },
            Transport::Directory(directory) => {
                let path = directory.join(format!("{}.eml", notification.key()));
                let (own, bytes) = (directory.clone(), message.formatted());
                let written = tokio::task::spawn_blocking(move || {
                    std::fs::create_dir_all(&own)?;
                    std::fs::write(&path, bytes)
                });
                match written.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                    Ok(()) => recipients.answered(&[]),
                    Err(error) => retry(format!("cannot write a mail into {}: {error}", directory.display())),
                }
            }
        }
    }

    fn message(&self, notification: &Notification, to: &[Address]) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let first = format!("<{}.{}@{domain}>", notification.episode, Action::Trigger.name());
        let mut message = Message::builder()
            .from(self.from.clone())
            .date(SystemTime::now())
            .message_id(Some(format!("<{}@{domain}>", notification.key())))
            .subject(subject(notification));
        for address in to {
            let named = self.to.iter().find(|to| to.email == *address).cloned();
            message = message.to(named.unwrap_or_else(|| Mailbox::new(None, address.clone())));
        }
        if notification.action != Action::Trigger {
            message = message.in_reply_to(first.clone()).references(first);
        }
        let html = SinglePart::html(html(notification));
        let html = match picture(notification) {
            Some(picture) => MultiPart::related().singlepart(html).singlepart(picture),
            None => MultiPart::related().singlepart(html),
        };
        let body = MultiPart::alternative().singlepart(SinglePart::plain(text(notification))).multipart(html);
        let mut message = message.multipart(body)?;
        let mut header = |name: &'static str, value: String| {
            let value = HeaderValue::new(HeaderName::new_from_ascii_str(name), one_line(&value));
            message.headers_mut().insert_raw(value);
        };
        // RFC 3834, and what Exchange listens to: nobody's absence note answers an alert.
        header("Auto-Submitted", "auto-generated".to_owned());
        header("X-Auto-Response-Suppress", "All".to_owned());
        header("X-Driftline-Rule", notification.rule.clone());
        header("X-Driftline-Severity", notification.severity.name().to_owned());
        header("X-Driftline-Status", notification.action.name().to_owned());
        if notification.severity == Severity::Page && notification.action == Action::Trigger {
            header("Importance", "high".to_owned());
        }
        Ok(message)
    }
}

/// Control characters would end a header line and begin another.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same for all mails of an episode: some readers file by subject, and only look past a "Re:".
fn subject(notification: &Notification) -> String {
    let prefix = match notification.action {
        Action::Trigger => "",
        Action::Remind | Action::Acknowledge | Action::Resolve => "Re: ",
    };
    format!("{prefix}{}", shorten(&one_line(&notification.subject), MAX_SUBJECT_CHARS))
}

const PICTURE_ID: &str = "picture";

fn picture(notification: &Notification) -> Option<SinglePart> {
    let png = STANDARD.decode(&notification.picture.as_ref()?.png_base64).ok()?;
    Some(Attachment::new_inline(PICTURE_ID.to_owned()).body(png, ContentType::parse("image/png").ok()?))
}

fn when(notification: &Notification) -> String {
    let since = time_in_words(notification.started_at);
    match notification.resolved_at {
        None => format!("since {since}"),
        Some(resolved) => {
            let lasted = duration_in_words(resolved - notification.started_at);
            format!("from {since} to {}, {lasted}", time_in_words(resolved))
        }
    }
}

fn text(notification: &Notification) -> String {
    let mut text = String::new();
    let state = match notification.standing().as_str() {
        "" => String::new(),
        standing => format!("{}: ", standing.to_uppercase()),
    };
    // Writing to a String cannot fail.
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
    line(format_args!("{state}{}\n", notification.summary));
    for (name, words) in notification.briefing() {
        line(format_args!("{name} {words}"));
    }
    if !notification.briefing().is_empty() {
        line(format_args!(""));
    }
    let graphs = notification.dashboard_url.as_deref().unwrap_or_default();
    let links =
        [("Runbook:", notification.runbook_url.as_str()), ("Alert:", &notification.page_url), ("Graphs:", graphs)];
    // A rule that is gone has no runbook.
    for (name, address) in links.into_iter().filter(|(_, address)| !address.is_empty()) {
        line(format_args!("{name:<9} {address}"));
    }
    line(format_args!(""));
    line(format_args!(
        "Rule:     {} ({}), {}",
        notification.rule,
        notification.severity.name(),
        notification.condition
    ));
    line(format_args!("When:     {}", when(notification)));
    if let Some(said) = &notification.acknowledged {
        line(format_args!("Acknowledged {}", said.in_words()));
    }
    for (name, value) in &notification.facts {
        line(format_args!("{:<9} {value}", format!("{name}:")));
    }
    if !notification.rows.is_empty() {
        line(format_args!(""));
        let width = notification.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0).min(40);
        for row in &notification.rows {
            line(format_args!("  {:<width$}  {}", row.what, row.in_words()));
        }
        if notification.more_rows > 0 {
            line(format_args!("  and {} more", notification.more_rows));
        }
    }
    text
}

/// Tables and inline styles: what mail readers agree on. No remote picture, no script, and nothing that is wider than a phone:
/// lines of blocks are broken there.
fn html(notification: &Notification) -> String {
    let (accent, severity) = match (notification.action, notification.severity) {
        (Action::Resolve, _) => ("#1a7f4b", ""),
        (Action::Acknowledge, _) => ("#2f5fb3", ""),
        (_, Severity::Page) => ("#c62828", "Page"),
        (_, Severity::Ticket) => ("#b45309", "Ticket"),
        (_, Severity::Info) => ("#2f5fb3", "Info"),
    };
    let standing = notification.standing();
    let state: Vec<&str> = [severity, &standing].into_iter().filter(|words| !words.is_empty()).collect();
    let state = escape_html(&state.join(", "));
    let cell = "padding:4px 12px 4px 0;text-align:left;vertical-align:top;";
    let mut facts = String::new();
    let mut fact = |name: &str, value: &str| {
        let (name, value) = (escape_html(name), escape_html(value));
        facts.push_str(&format!(
            "<tr><td style=\"{cell}color:#5b6472;\">{name}</td><td style=\"{cell}\">{value}</td></tr>"
        ));
    };
    fact("Rule", &format!("{}: {}", notification.rule, notification.condition));
    fact("When", &when(notification));
    if let Some(said) = &notification.acknowledged {
        fact("Acknowledged", &said.in_words());
    }
    for (name, value) in &notification.facts {
        fact(name, value);
    }
    let briefing: String = notification
        .briefing()
        .iter()
        .map(|(name, words)| {
            format!("<p style=\"margin:0 0 8px 0;\"><b>{}</b> {}</p>", escape_html(name), escape_html(words))
        })
        .collect();
    let mut rows = String::new();
    if !notification.rows.is_empty() {
        rows.push_str("<table style=\"border-collapse:collapse;margin:16px 0 0 0;font-size:14px;\"><tr>");
        let figures = EvidenceRow::figures(&notification.rows);
        for head in [""].into_iter().chain(figures.iter().map(|figure| figure.name)) {
            rows.push_str(&format!("<th style=\"{cell}color:#5b6472;font-weight:normal;\">{head}</th>"));
        }
        rows.push_str("</tr>");
        for row in &notification.rows {
            rows.push_str(&format!("<tr><td style=\"{cell}\"><b>{}</b></td>", escape_html(&row.what)));
            for figure in &figures {
                let more = if figure.is_line { "font-family:monospace;word-break:break-all;" } else { "" };
                rows.push_str(&format!("<td style=\"{cell}{more}\">{}</td>", escape_html(figure.of(row))));
            }
            rows.push_str("</tr>");
        }
        rows.push_str("</table>");
        if notification.more_rows > 0 {
            rows.push_str(&format!("<p style=\"margin:4px 0;\">and {} more</p>", notification.more_rows));
        }
    }
    let picture = notification.picture.as_ref().map_or_else(String::new, |picture| {
        format!(
            "<p style=\"margin:20px 0 4px 0;color:#5b6472;\">{caption}</p><img src=\"cid:{PICTURE_ID}\" alt=\"{caption}\" width=\"560\" style=\"max-width:100%;height:auto;border:1px solid #e3e6ea;\">",
            caption = escape_html(&picture.caption)
        )
    });
    let button = "display:inline-block;padding:8px 14px;margin:0 8px 8px 0;border-radius:4px;text-decoration:none;";
    let quiet = format!("{button}border:1px solid #c8ced6;color:#1c2430;");
    let loud = format!("{button}background:{accent};border:1px solid {accent};color:#ffffff;");
    let link = |name: &str, address: &str, style: &str| {
        // A rule that is gone has no runbook.
        let link = format!("<a href=\"{}\" style=\"{style}\">{name}</a>", escape_html(address));
        if address.is_empty() { String::new() } else { link }
    };
    let (runbook, page) = (notification.runbook_url.as_str(), notification.page_url.as_str());
    // Once it is over nobody needs to be told what to do.
    let mut links = match notification.action {
        Action::Resolve => link("See what happened", page, &loud) + &link("Open the runbook", runbook, &quiet),
        _ => link("Open the runbook", runbook, &loud) + &link("See the alert", page, &quiet),
    };
    links.extend(notification.dashboard_url.iter().map(|address| link("Dashboard", address, &quiet)));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{summary}</title></head>\
<body style=\"margin:0;padding:24px;background:#ffffff;color:#1c2430;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:15px;line-height:1.45;\">\
<div style=\"max-width:640px;border-top:4px solid {accent};padding-top:16px;\">\
<p style=\"margin:0;color:{accent};font-weight:600;\">{state}</p>\
<h1 style=\"margin:4px 0 16px 0;font-size:20px;line-height:1.3;\">{summary}</h1>{briefing}\
<p style=\"margin:0 0 8px 0;\">{links}</p>\
<table style=\"border-collapse:collapse;font-size:14px;\">{facts}</table>{rows}{picture}\
</div></body></html>",
        summary = escape_html(&notification.summary),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notification::tests::notification;

    /// Of a mail in a thread.
    const HEADERS: [&str; 14] = [
        "From",
        "Date",
        "Message-ID",
        "Subject",
        "To",
        "In-Reply-To",
        "References",
        "MIME-Version",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "X-Driftline-Rule",
        "X-Driftline-Severity",
        "X-Driftline-Status",
        "Content-Type",
    ];

    fn email() -> Email {
        let from = "Driftline <driftline@example.com>".parse().unwrap();
        Email::new(from, vec!["oncall@example.com".parse().unwrap()], Transport::Directory("unused".into()))
    }

    fn formatted(notification: &Notification) -> String {
        let to = ["oncall@example.com".parse().unwrap()];
        String::from_utf8(email().message(notification, &to).unwrap().formatted()).unwrap()
    }

    #[test]
    fn an_episode_is_one_thread_and_no_machine_answers_it() {
        let (trigger, resolve) = (formatted(&notification(Action::Trigger)), formatted(&notification(Action::Resolve)));
        assert!(trigger.contains("Message-ID: <episode-1.trigger@example.com>"), "{trigger}");
        assert!(resolve.contains("In-Reply-To: <episode-1.trigger@example.com>"), "{resolve}");
        assert!(resolve.contains("References: <episode-1.trigger@example.com>"));
        let subject = |mail: &str| mail.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned();
        assert_eq!(subject(&resolve), format!("Re: {}", subject(&trigger)));
        assert!(trigger.contains("Auto-Submitted: auto-generated"));
        assert!(trigger.contains("Content-Type: image/png"));
    }

    #[test]
    fn text_from_outside_neither_breaks_headers_nor_becomes_markup() {
        let mut notification = notification(Action::Trigger);
        notification.subject = "drift\r\nBcc: everyone@example.com\r\n\r\n<script>".into();
        notification.summary.clone_from(&notification.subject);
        notification.rule = "Rule\r\nX-Evil: 1".into();
        notification.rows[0].what = "<img src=x onerror=alert(1)>".into();
        let message = formatted(&notification);
        let head = message.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc") || line.starts_with("X-Evil")), "{head}");
        let html = html(&notification);
        assert!(!html.contains("<script>") && !html.contains("<img src=x"));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_header_of_its_own(text in "([\\PC\r\n\t\u{0}\u{85}\u{2028}]|\r\nBcc: a@b|: ){0,60}", cut in 0usize..300) {
            let mut said = notification(Action::Acknowledge);
            // Where a line of a header is folded changes with its length.
            said.subject = format!("{}{text}", "s".repeat(cut));
            (said.summary, said.rule, said.condition) = (said.subject.clone(), said.subject.clone(), text.clone());
            let message = formatted(&said);
            let (head, _) = message.split_once("\r\n\r\n").unwrap();
            let own = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
            let names: Vec<&str> = own.map(|line| line.split_once(": ").map_or(line, |(name, _)| name)).collect();
            prop_assert_eq!(names, HEADERS);
        }
    }

    #[test]
    fn what_comes_between_is_in_the_thread_and_says_who_is_on_it() {
        let [reminder, acknowledged] =
            [Action::Remind, Action::Acknowledge].map(|action| formatted(&notification(action)));
        for mail in [&reminder, &acknowledged] {
            assert!(mail.contains("In-Reply-To: <episode-1.trigger@") && mail.contains("Subject: Re: "), "{mail}");
        }
        assert!(reminder.contains("Message-ID: <episode-1.remind.1@") && reminder.contains("STILL FIRING: "));
        assert!(acknowledged.contains("ACKNOWLEDGED BY ADA: ") && acknowledged.contains("looking at the feed"));
    }

    #[test]
    fn a_rule_that_is_gone_has_no_runbook_and_no_line_for_it() {
        let gone = Notification { runbook_url: String::new(), ..notification(Action::Resolve) };
        let text = text(&gone);
        assert!(!text.contains("Runbook:") && text.contains("Alert:    http"), "{text}");
    }

    #[test]
    fn the_text_part_says_it_all() {
        let text = text(&notification(Action::Trigger));
        for part in [
            "Real? Yes.",
            "First: Look at the shape (step 3).",
            "http://driftline/runbooks/feature-drift",
            "https://grafana/d/driftline",
            "psi above 0.2 in 2 of 3 windows",
            "temp",
            "n = 13068",
            "▁▁█",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
