//! E-mail, by SMTP or into a folder.
//!
//! An episode is one thread: its first mail has a `Message-ID` made from the episode, and the last refers to it. A mail
//! that is sent twice after an unclear failure has the same `Message-ID`, so that a reader shows it once. Every mail says
//! that no person sent it, so that no out-of-office answer comes back.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::Delivery;
use crate::html::escape_html;
use crate::notification::{Action, Notification, shorten, time_in_words};
use crate::rule::Severity;
use crate::secret::{SecretSource, Withheld};

/// For one command; the delivery as a whole has its own limit.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);
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
    Smtp {
        /// Its name, which its certificate must carry.
        host: String,
        /// Its port: by custom 587 for STARTTLS, 465 for implicit TLS.
        port: u16,
        /// Whether and when the connection is encrypted.
        tls: SmtpTls,
        /// A PEM file of further certificates to trust.
        ca_file: Option<PathBuf>,
        /// User name and password.
        credentials: Option<(String, SecretSource)>,
    },
    /// As `.eml` files into a folder.
    Directory(PathBuf),
}

/// Whether and when a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// By STARTTLS, and not at all without it.
    StartTls,
    /// From the first byte.
    Implicit,
    /// Never: for a relay on the same machine.
    None,
}

/// Why a mail could not be made or sent.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// The secret, a certificate or a folder.
    #[error("{0}")]
    Setup(String),
    /// The message's parts do not fit together.
    #[error("the mail cannot be made: {0}")]
    Message(#[from] lettre::error::Error),
    /// The server, or the way to it.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
}

impl Email {
    /// A target.
    pub fn new(from: Mailbox, to: Vec<Mailbox>, transport: Transport) -> Self {
        Self { from, to, transport }
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        match self.send(notification).await {
            Ok(()) => Delivery::Accepted { receipt: None },
            Err(EmailError::Smtp(error)) if error.is_permanent() => Delivery::Refused { why: self.why(&error) },
            Err(EmailError::Message(error)) => Delivery::Refused { why: error.to_string() },
            // A server that ended the conversation may have taken the mail before.
            Err(error) => {
                Delivery::Retry { after: None, in_doubt: matches!(error, EmailError::Smtp(_)), why: self.why(&error) }
            }
        }
    }

    /// What went wrong, without the password: a server may repeat what it was sent, as it was sent.
    fn why(&self, error: &dyn std::fmt::Display) -> String {
        let mut withheld = Withheld::default();
        if let Transport::Smtp { credentials: Some((user, password)), .. } = &self.transport
            && let Ok(password) = password.read()
        {
            let password = password.reveal();
            withheld.add(password);
            withheld.add(&STANDARD.encode(password));
            withheld.add(&STANDARD.encode(format!("\0{user}\0{password}")));
        }
        withheld.out_of(&error.to_string())
    }

    async fn send(&self, notification: &Notification) -> Result<(), EmailError> {
        let message = self.message(notification)?;
        match &self.transport {
            Transport::Directory(directory) => {
                let path = directory.join(format!("{}.eml", notification.key()));
                let (directory, bytes) = (directory.clone(), message.formatted());
                let written = tokio::task::spawn_blocking(move || {
                    std::fs::create_dir_all(&directory)?;
                    std::fs::write(&path, bytes).map(|()| path)
                });
                let setup = |error: &dyn std::fmt::Display| {
                    EmailError::Setup(format!("cannot write a mail into {}: {error}", self.place()))
                };
                written.await.map_err(|error| setup(&error))?.map_err(|error| setup(&error))?;
            }
            Transport::Smtp { host, port, tls, ca_file, credentials } => {
                let parameters = tls_parameters(host, ca_file.as_ref())?;
                let mut smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
                    .port(*port)
                    .timeout(Some(SMTP_TIMEOUT))
                    .tls(match tls {
                        SmtpTls::StartTls => Tls::Required(parameters),
                        SmtpTls::Implicit => Tls::Wrapper(parameters),
                        SmtpTls::None => Tls::None,
                    });
                if let Some((user, password)) = credentials {
                    let password = password.read().map_err(EmailError::Setup)?;
                    smtp = smtp.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
                }
                smtp.build().send(message).await?;
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        match &self.transport {
            Transport::Smtp { host, port, .. } => format!("{host}:{port}"),
            Transport::Directory(directory) => directory.display().to_string(),
        }
    }

    fn message(&self, notification: &Notification) -> Result<Message, EmailError> {
        let domain = self.from.email.domain();
        let first = format!("<{}.{}@{domain}>", notification.episode, Action::Trigger.name());
        let mut message = Message::builder()
            .from(self.from.clone())
            .date(SystemTime::now())
            .message_id(Some(format!("<{}@{domain}>", notification.key())))
            .subject(subject(notification));
        for to in &self.to {
            message = message.to(to.clone());
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

fn tls_parameters(host: &str, ca_file: Option<&PathBuf>) -> Result<TlsParameters, EmailError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let setup = |error: &dyn std::fmt::Display| {
            EmailError::Setup(format!("the certificates in {} cannot be read: {error}", path.display()))
        };
        let pem = std::fs::read(path).map_err(|error| setup(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| setup(&error))?);
    }
    Ok(builder.build_rustls()?)
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
        Some(resolved) => format!("from {since} to {}", time_in_words(resolved)),
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
    line(format_args!("Runbook:  {}", notification.runbook_url));
    line(format_args!("Alert:    {}", notification.page_url));
    notification.dashboard_url.iter().for_each(|address| line(format_args!("Graphs:   {address}")));
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
            line(format_args!(
                "  {:<width$}  {:>10} (limit {})  n = {}  {}",
                row.what, row.value, row.threshold, row.n, row.sparkline
            ));
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
    let mut rows = String::new();
    if !notification.rows.is_empty() {
        rows.push_str("<table style=\"border-collapse:collapse;margin:16px 0 0 0;font-size:14px;\"><tr>");
        for head in ["", "Value", "Limit", "Rows", "Last windows"] {
            rows.push_str(&format!("<th style=\"{cell}color:#5b6472;font-weight:normal;\">{head}</th>"));
        }
        rows.push_str("</tr>");
        for row in &notification.rows {
            rows.push_str(&format!(
                "<tr><td style=\"{cell}\"><b>{}</b></td><td style=\"{cell}\">{}</td><td style=\"{cell}\">{}</td><td style=\"{cell}\">{}</td><td style=\"{cell}font-family:monospace;word-break:break-all;\">{}</td></tr>",
                escape_html(&row.what), escape_html(&row.value), escape_html(&row.threshold), escape_html(&row.n), escape_html(&row.sparkline)
            ));
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
    let dashboard = notification.dashboard_url.as_ref().map_or_else(String::new, |address| {
        format!("<a href=\"{}\" style=\"{quiet}\">Dashboard</a>", escape_html(address))
    });
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{summary}</title></head>\
<body style=\"margin:0;padding:24px;background:#ffffff;color:#1c2430;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:15px;line-height:1.45;\">\
<div style=\"max-width:640px;border-top:4px solid {accent};padding-top:16px;\">\
<p style=\"margin:0;color:{accent};font-weight:600;\">{state}</p>\
<h1 style=\"margin:4px 0 16px 0;font-size:20px;line-height:1.3;\">{summary}</h1>\
<p style=\"margin:0 0 8px 0;\"><a href=\"{runbook}\" style=\"{button}background:{accent};color:#ffffff;\">Open the runbook</a>\
<a href=\"{page}\" style=\"{quiet}\">See the alert</a>{dashboard}</p>\
<table style=\"border-collapse:collapse;font-size:14px;\">{facts}</table>{rows}{picture}\
</div></body></html>",
        summary = escape_html(&notification.summary),
        runbook = escape_html(&notification.runbook_url),
        page = escape_html(&notification.page_url),
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
        String::from_utf8(email().message(notification).unwrap().formatted()).unwrap()
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
    fn the_text_part_says_it_all() {
        let text = text(&notification(Action::Trigger));
        for part in [
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
