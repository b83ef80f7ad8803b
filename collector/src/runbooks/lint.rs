//! Whether runbooks are fit to be opened at night: whole, short where they must be, and true in what can be checked.
//!
//! A runbook that nobody holds to anything is a page of good intentions: its commands were renamed, its links lead nowhere,
//! and nobody ever ran it. What is checked here is what a program can know.

use std::collections::BTreeMap;

use jiff::civil::Date;

use driftline_alerts::{Condition, Rule};

use super::{Runbook, Runbooks, briefing, snippets, values};

/// What every runbook says, in this order.
const SECTIONS: [&str; 12] = [
    briefing::SECTION,
    "What it means",
    "Who is hurt",
    "Urgency",
    "First five minutes",
    "Decision tree",
    "Mitigate",
    "Verify",
    "Escalate",
    "False alarms and tuning",
    "After",
    "Changes",
];
/// What one of the configuration's folder may leave out.
const MAY_BE_LEFT_OUT: [&str; 4] = ["Urgency", "Decision tree", "After", "Changes"];
/// Fields that every head has.
const FIELDS: [&str; 5] = ["id", "rule", "severity", "owner", "boundary"];
/// Fields that those which ship have besides.
const SHIPPED_FIELDS: [&str; 2] = ["escalation", "slo"];
/// Words that are read in half a minute.
const FIRST_WORDS: usize = 90;
/// The metrics of collector and sidecar. Both binaries' tests hold this page to their code.
const METRICS: &str = include_str!("../../../docs/metrics.md");

/// Something about a runbook that is to be put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The runbook's id.
    pub(crate) runbook: String,
    /// The line of its file, from 1.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

/// The day, how old a runbook's last test may be, and when its alert was drilled, which is a test of the way to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age<'a> {
    pub(crate) today: Date,
    pub(crate) max_days: i32,
    /// The last drills that reached everybody, by the runbooks' ids.
    pub(crate) drilled: &'a BTreeMap<String, Date>,
}

/// Looks at all of them, against the rules that are in force. Only those of the configuration's folder must be used by a rule
/// and have been tested lately: a shipped one whose rule was taken out does no harm, and is tested where it is made.
pub(crate) fn lint(runbooks: &Runbooks, rules: &[Rule], age: Age<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for runbook in runbooks.iter() {
        let mut find = |line: usize, what: String| {
            findings.push(Finding { runbook: runbook.id.to_string(), line, what });
        };
        head(runbook, runbooks, &mut find);
        title(runbook, &mut find);
        sections(runbook, &mut find);
        commands(runbook, &mut find);
        snippets::spoken_commands(runbook, &mut find);
        if !runbook.is_own() {
            snippets::configuration(runbook, &mut find);
        }
        links(runbook, runbooks, &mut find);
        let own_rules: Vec<&Rule> = rules.iter().filter(|rule| *rule.runbook == *runbook.id).collect();
        match (runbook.field("rule"), own_rules.as_slice()) {
            (_, []) if runbook.is_own() => {
                find(1, "no rule names it; name it under a rule's 'runbook', or take it out".to_owned())
            }
            (_, []) => {}
            (Some(said), own) => {
                for (place, said) in said.split(',').map(str::trim).enumerate() {
                    of_rule(runbook, (place, said), own, &mut find);
                }
            }
            (None, _) => {}
        }
        if runbook.is_own() {
            tested(runbook, age, &mut find);
        }
    }
    findings.sort();
    findings
}

/// What a head says of a rule, against those that name the runbook. Rules that ask for the same may share one: then it says one
/// severity for all of them, or each one's in their order.
fn of_rule(runbook: &Runbook, (place, said): (usize, &str), own: &[&Rule], find: &mut impl FnMut(usize, String)) {
    let severity = runbook.field("severity").and_then(|said| {
        let all: Vec<&str> = said.split(',').map(str::trim).collect();
        all.get(place).or(all.first().filter(|_| all.len() == 1)).copied()
    });
    match own.iter().find(|rule| rule.name == said) {
        None => find(1, format!("is for the rule '{said}', which does not name it; {} does", own[0].name)),
        Some(rule) if runbook.field("severity").is_some() && severity != Some(rule.severity.name()) => {
            find(1, format!("says another severity than its rule {}, which is {}", rule.name, rule.severity.name()));
        }
        Some(rule) => {
            let reads = match &rule.condition {
                Condition::Score { score, .. } => &**score,
                Condition::Sli { sli, .. } | Condition::Budget { sli, .. } => &**sli,
                // It may read several, and its text is in the rule.
                Condition::Expression { .. } => return,
            };
            let is_said = |said: &str| said.split(',').any(|name| name.trim() == reads);
            if runbook.field("slo").is_some_and(|said| !is_said(said)) {
                find(1, format!("says under 'slo' nothing of {reads}, which its rule {} reads", rule.name));
            }
        }
    }
}

fn head(runbook: &Runbook, runbooks: &Runbooks, find: &mut impl FnMut(usize, String)) {
    let shipped = SHIPPED_FIELDS.into_iter().filter(|_| !runbook.is_own());
    for name in FIELDS.into_iter().chain(shipped) {
        match runbook.field(name).map(str::trim) {
            None | Some("") => find(1, format!("the head says no '{name}'")),
            Some(id) if name == "id" && id != runbook.id => {
                find(1, format!("its id is '{id}', and its file's name another"))
            }
            Some(_) => {}
        }
    }
    let related = runbook.field("related").unwrap_or_default().split(',').map(str::trim);
    for id in related.filter(|id| !id.is_empty() && runbooks.find(id).is_none()) {
        find(1, format!("is related to '{id}', which is no runbook"));
    }
}

fn tested(runbook: &Runbook, age: Age<'_>, find: &mut impl FnMut(usize, String)) {
    let said = runbook.field("tested").map(|said| said.trim().parse::<Date>().ok());
    if said == Some(None) {
        find(1, "'tested' is no day, as in 2026-01-31".to_owned());
    }
    let how = "follow it once, and note the day in its head, as in 'tested: 2026-01-31'; or drill its alert";
    match said.flatten().max(age.drilled.get(&*runbook.id).copied()) {
        None if said.is_none() => find(1, format!("was never tested; {how}")),
        None => {}
        Some(day) => {
            let days = age.today.since(day).map_or(0, |span| span.get_days());
            if days > age.max_days {
                find(1, format!("was last tested {days} days ago; {how}"));
            }
        }
    }
}

/// A title stands in lists, where there is no alert that would fill it in.
fn title(runbook: &Runbook, find: &mut impl FnMut(usize, String)) {
    if let Some(place) = values::PLACES.into_iter().find(|place| runbook.title().contains(place)) {
        find(1, format!("its title has {place}, which only an alert fills in; say it without"));
    }
}

fn sections(runbook: &Runbook, find: &mut impl FnMut(usize, String)) {
    let headings: Vec<(usize, &str)> = lines(runbook)
        .filter(|line| !line.is_code)
        .filter_map(|line| Some((line.number, line.text.strip_prefix("## ")?)))
        .collect();
    let names: Vec<&str> = headings.iter().map(|(_, name)| *name).collect();
    let may_miss = |name: &str| runbook.is_own() && MAY_BE_LEFT_OUT.contains(&name) && !names.contains(&name);
    let all: Vec<&str> = SECTIONS.into_iter().filter(|name| !may_miss(name)).collect();
    if names != all {
        let place =
            names.iter().zip(&all).position(|(name, wanted)| name != wanted).unwrap_or(names.len().min(all.len()));
        let (line, wanted) = (headings.get(place).map_or(1, |(line, _)| *line), all.get(place));
        find(
            line,
            match wanted {
                Some(wanted) => {
                    format!("here the section '{wanted}' is wanted; all of them, in their order: {}", all.join(", "))
                }
                None => "has a section more than it should".to_owned(),
            },
        );
    }
    for line in lines(runbook).filter(|line| line.text.contains("TODO") || line.text.contains("FIXME")) {
        find(line.number, "something is left to do".to_owned());
    }
    let words: usize = section(runbook, SECTIONS[0]).map(|line| line.text.split_whitespace().count()).sum();
    if words > FIRST_WORDS {
        find(1, format!("its first section has {words} words, and {FIRST_WORDS} are read in 30 seconds"));
    }
    let mut step: Option<(usize, bool)> = None;
    let mut end = |step: &mut Option<(usize, bool)>| {
        if let Some((line, false)) = step.take() {
            find(line, "a step of Mitigate does not say how it is undone ('Undo: …')".to_owned());
        }
    };
    for line in section(runbook, "Mitigate") {
        let is_step = line.text.starts_with(|first: char| first.is_ascii_digit());
        if is_step && !line.is_code {
            end(&mut step);
            step = Some((line.number, false));
        }
        if let Some((_, has_undo)) = &mut step {
            *has_undo |= line.text.contains("ndo");
        }
    }
    end(&mut step);
}

fn commands(runbook: &Runbook, find: &mut impl FnMut(usize, String)) {
    for line in lines(runbook) {
        for word in line.text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            let base = word.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
            let is_known = METRICS.contains(&format!("`{base}`")) || METRICS.contains(&format!("`{word}`"));
            if word.starts_with("driftline_") && !is_known {
                find(line.number, format!("there is no metric {word}"));
            }
        }
        let command = line.text.trim().strip_prefix("driftline ").filter(|_| line.is_code);
        if let Some(command) = command
            && let Err(why) = super::parses(command)
        {
            find(line.number, format!("'driftline {command}' is no command: {why}"));
        }
    }
}

/// Links to other runbooks and within the page; what lies elsewhere is not asked.
fn links(runbook: &Runbook, runbooks: &Runbooks, find: &mut impl FnMut(usize, String)) {
    for line in lines(runbook).filter(|line| !line.is_code) {
        for target in line.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = match file.strip_prefix("/runbooks/").or_else(|| file.strip_suffix(".md")) {
                _ if file.is_empty() => Some(runbook),
                _ if file.contains("://") => None,
                Some(id) => match runbooks.find(id) {
                    None => {
                        find(line.number, format!("links to '{target}', which is no runbook"));
                        None
                    }
                    found => found,
                },
                None => None,
            };
            let has_heading = |page: &Runbook| {
                lines(page).any(|line| {
                    line.text.starts_with('#') && self::anchor(line.text.trim_start_matches(['#', ' '])) == anchor
                })
            };
            if page.is_some_and(|page| !anchor.is_empty() && !has_heading(page)) {
                find(line.number, format!("links to '{target}', and there is no such heading"));
            }
        }
    }
}

/// What a heading is linked to by.
pub(crate) fn anchor(heading: &str) -> String {
    heading.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// The lines of a section, without its heading.
fn section<'a>(runbook: &'a Runbook, name: &'a str) -> impl Iterator<Item = Line<'a>> {
    let rest = lines(runbook).skip_while(move |line| line.text.strip_prefix("## ") != Some(name)).skip(1);
    rest.take_while(|line| line.is_code || !line.text.starts_with("## "))
}

pub(super) struct Line<'a> {
    /// In the file, from 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
    /// Whether it is in a block of code.
    pub(super) is_code: bool,
}

pub(super) fn lines(runbook: &Runbook) -> impl Iterator<Item = Line<'_>> {
    let mut is_code = false;
    (runbook.head_lines() + 1..).zip(runbook.body().lines()).map(move |(number, text)| {
        let is_fence = text.trim_start().starts_with("```");
        is_code ^= is_fence;
        Line { number, text, is_code: is_code && !is_fence }
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const NEVER: BTreeMap<String, Date> = BTreeMap::new();
    const AGE: Age<'_> = Age { today: jiff::civil::date(2026, 6, 1), max_days: 180, drilled: &NEVER };

    #[test]
    fn what_ships_has_nothing_to_find() {
        let rules = Config::parse("", "", Path::new("")).unwrap().alerting.rules;
        assert_eq!(lint(&Runbooks::shipped(), &rules, AGE), []);
    }

    fn found(text: &str) -> Vec<String> {
        found_with(text, AGE)
    }

    fn found_with(text: &str, age: Age<'_>) -> Vec<String> {
        let mut runbooks = Runbooks::shipped();
        let id = Cow::Borrowed("slow");
        runbooks.0.insert(id.clone(), Runbook { id, text: Cow::Owned(text.to_owned()), is_own: true });
        let rule = "alerts:\n  runbooks: x\n  rules:\n    - {name: Slow, severity: page, runbook: slow, when: {sli: latency, below: 0.9, over: 5m}}\n";
        let rules = Config::parse("", rule, Path::new("")).unwrap().alerting.rules;
        lint(&runbooks, &rules, age)
            .into_iter()
            .map(|found| format!("{}:{}: {}", found.runbook, found.line, found.what))
            .collect()
    }

    fn whole() -> String {
        let head =
            "---\nid: slow\nrule: Slow\nseverity: page\nowner: me\nboundary: mine\ntested: 2026-05-01\n---\n# Slow\n\n";
        let section = |name: &str| match name {
            "Mitigate" => "## Mitigate\n\n1. Do. Undo: do not.\n2. More.\n   Undo: less.\n".to_owned(),
            name => format!("## {name}\n\nText.\n"),
        };
        head.to_owned() + &SECTIONS.map(section).concat()
    }

    #[test]
    fn what_is_whole_passes_and_each_fault_is_found_at_its_line() {
        assert_eq!(found(&whole()), [""; 0]);
        let long = "word ".repeat(91);
        let cases: &[(&str, &str, &str)] = &[
            ("id: slow", "id: other", "slow:1: its id is 'other'"),
            ("rule: Slow", "rule: Fast", "slow:1: is for the rule 'Fast', which does not name it; Slow does"),
            ("rule: Slow", "rule: Slow, Fast", "slow:1: is for the rule 'Fast', which does not name it; Slow does"),
            (
                "severity: page",
                "severity: ticket, page",
                "slow:1: says another severity than its rule Slow, which is page",
            ),
            ("severity: page", "severity: info", "slow:1: says another severity than its rule Slow, which is page"),
            ("owner: me\n", "", "slow:1: the head says no 'owner'"),
            ("# Slow\n", "# {model} is slow\n", "slow:1: its title has {model}, which only an alert fills in"),
            ("tested: 2026-05-01\n", "", "slow:1: was never tested"),
            ("boundary: mine", "boundary: mine\nslo: availability", "slow:1: says under 'slo' nothing of latency"),
            ("2026-05-01", "May", "slow:1: 'tested' is no day"),
            ("2026-05-01", "2025-05-01", "slow:1: was last tested 396 days ago"),
            ("boundary: mine", "boundary: mine\nrelated: latency-slo, nowhere", "slow:1: is related to 'nowhere'"),
            ("## Verify\n", "## Check\n", "slow:34: here the section 'Verify' is wanted"),
            ("2. More.\n   Undo: less.", "2. More.", "slow:32: a step of Mitigate does not say how it is undone"),
            ("## Who is hurt\n\nText.", "## Who is hurt\n\nTODO", "slow:19: something is left to do"),
            (
                "## In 30 seconds\n\nText.",
                &format!("## In 30 seconds\n\n{long}"),
                "slow:1: its first section has 91 words",
            ),
            ("Text.", "`driftline_scor`", "slow:13: there is no metric driftline_scor"),
            ("Text.", "```sh\ndriftline chekc\n```", "slow:14: 'driftline chekc' is no command"),
            ("Text.", "`driftline silence ad --for 1h`", "slow:13: 'driftline silence ad --for 1h' is no command"),
            ("Text.", "[there](fast.md)", "slow:13: links to 'fast.md', which is no runbook"),
            (
                "Text.",
                "[there](latency-slo.md#nothing)",
                "slow:13: links to 'latency-slo.md#nothing', and there is no such heading",
            ),
        ];
        for (from, to, wanted) in cases {
            let said = found(&whole().replacen(from, to, 1));
            assert!(said.iter().any(|said| said.starts_with(wanted)), "{to}: {said:?}");
        }
        for fine in [
            "[there](latency-slo.md#verify)",
            "[here](#verify)",
            "[else](https://example.com/x.md)",
            "`driftline_score`",
        ] {
            assert_eq!(found(&whole().replacen("Text.", fine, 1)), [""; 0], "{fine}");
        }
    }

    #[test]
    fn own_ones_may_be_shorter_and_shipped_ones_may_not() {
        let short =
            MAY_BE_LEFT_OUT.iter().fold(whole(), |text, name| text.replace(&format!("## {name}\n\nText.\n"), ""));
        assert_eq!(found(&short), [""; 0]);
        let turned = short
            .replace("## Mitigate", "## Decision tree\n\nText.\n## Mitigate")
            .replace("## Verify", "## Urgency\n\nText.\n## Verify");
        assert!(found(&turned)[0].contains("here the section 'Urgency' is wanted"), "{:?}", found(&turned));

        let mut runbooks = Runbooks::shipped();
        let shipped =
            runbooks.find("latency-slo").unwrap().text.replace("## Urgency", "## Hurry").replace("\nslo: ", "\nsli: ");
        let id = Cow::Borrowed("latency-slo");
        runbooks.0.insert(id.clone(), Runbook { id, text: Cow::Owned(shipped), is_own: false });
        let rules = Config::parse("", "", Path::new("")).unwrap().alerting.rules;
        let said: Vec<String> = lint(&runbooks, &rules, AGE).into_iter().map(|found| found.what).collect();
        assert!(said.iter().any(|said| said.contains("here the section 'Urgency' is wanted")), "{said:?}");
        assert!(said.iter().any(|said| said == "the head says no 'slo'"), "{said:?}");
    }

    #[test]
    fn configuration_that_is_none_is_found_in_what_ships() {
        let mut runbooks = Runbooks::shipped();
        let id = Cow::Borrowed("latency-slo");
        let shipped = runbooks.find("latency-slo").unwrap().text.clone();
        let wrong = shipped.replacen("```yaml\nmodels:\n", "```yaml\nrepaet: 4h\nmodels:\n", 1);
        assert_ne!(wrong, shipped);
        runbooks.0.insert(id.clone(), Runbook { id, text: Cow::Owned(wrong), is_own: false });
        let rules = Config::parse("", "", Path::new("")).unwrap().alerting.rules;
        let said: Vec<String> = lint(&runbooks, &rules, AGE).into_iter().map(|found| found.what).collect();
        assert!(
            matches!(said.as_slice(), [said] if said.contains("is no configuration") && said.contains("repaet")),
            "{said:?}"
        );
    }

    #[test]
    fn a_drill_is_a_test_of_it() {
        let on = |day: Date| BTreeMap::from([("slow".to_owned(), day)]);
        let old = whole().replace("2026-05-01", "2025-05-01");
        let said = |drilled: &BTreeMap<String, Date>, text: &str| found_with(text, Age { drilled, ..AGE });
        assert_eq!(said(&on(jiff::civil::date(2026, 5, 31)), &old), [""; 0]);
        assert_eq!(said(&on(jiff::civil::date(2026, 5, 31)), &whole().replace("tested: 2026-05-01\n", "")), [""; 0]);
        let both_old = said(&on(jiff::civil::date(2025, 6, 1)), &old);
        assert!(both_old[0].starts_with("slow:1: was last tested 365 days ago"), "{both_old:?}");
    }

    #[test]
    fn a_runbook_that_no_rule_names_is_found() {
        let mut runbooks = Runbooks::shipped();
        let id = Cow::Borrowed("slow");
        runbooks.0.insert(id.clone(), Runbook { id, text: Cow::Owned(whole()), is_own: true });
        let found = lint(&runbooks, &[], AGE);
        assert!(found.iter().any(|found| found.what.starts_with("no rule names it")), "{found:?}");
    }
}
