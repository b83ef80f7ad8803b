//! How often alerts begin when nothing drifts, against the budget: simulated years of real flights.
//!
//! ```console
//! $ tests/calibration                       # figures for docs/calibration.md
//! $ tests/calibration --years 4 --columns 5
//! ```
//!
//! A year is 365 days after a reference of sixty, and each of these days is one of the 121 in the data, drawn with
//! replacement: nothing drifts, whatever happens within a day. With rows shuffled over all days before, nothing that
//! belongs together is left; with days as they were, rows of a window share its days' weather. The rules are the shipped
//! ones, two of three windows; a window is ten days, and one ends each day. `whole` runs such years through the binary, and
//! `expressions` asks it about rules that are expressions.

#![allow(clippy::unwrap_used, reason = "what fails here fails the measurement")]

mod flights;
mod judges;
mod peers;
mod power;
mod segmented;
mod whole;
mod years;

use clap::{Parser, ValueEnum};

use flights::Flights;
use judges::Judge;
use power::Found;
use whole::Told;
use years::{Plan, Split, Year};

#[derive(Debug, Parser)]
#[command(name = "tests/calibration", about = "How often alerts begin when nothing drifts, against the budget")]
struct Arguments {
    /// Simulated years of each split.
    #[arg(long, default_value_t = 40)]
    years: u64,
    /// Draws of days for each planted drift.
    #[arg(long, default_value_t = 20)]
    draws: u64,
    /// Columns, up to the twenty that there are.
    #[arg(long, default_value_t = 20)]
    columns: usize,
    /// Days of the reference.
    #[arg(long, default_value_t = 60)]
    reference_days: usize,
    /// Days of a window.
    #[arg(long, default_value_t = 10)]
    window_days: u32,
    /// False pages a month.
    #[arg(long, default_value_t = 1.0)]
    per_month: f64,
    /// Only this split.
    #[arg(long)]
    only: Option<Only>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Only {
    Rows,
    Days,
    Drifts,
    Order,
    Segments,
    Whole,
    Expressions,
}

fn main() {
    let arguments = Arguments::parse();
    if arguments.test {
        return;
    }
    let flights = Flights::read();
    let plan = Plan {
        columns: arguments.columns.min(flights.columns.len()),
        reference_days: arguments.reference_days,
        window_days: arguments.window_days,
        per_month: arguments.per_month,
    };
    println!(
        "{} rows of {} days, {} columns; {} false pages a month are allowed; {} years of each",
        flights.rows(),
        flights.days.len(),
        plan.columns,
        plan.per_month,
        arguments.years
    );
    for (only, split, name) in
        [(Only::Rows, Split::Rows, "rows shuffled"), (Only::Days, Split::Days, "whole days shuffled")]
    {
        if arguments.only.is_none_or(|wanted| wanted == only) {
            println!("\n### {name}\n");
            let years = years::for_seeds(arguments.years, |seed| years::year(&flights, &plan, split, seed));
            print_years(&years);
        }
    }
    if arguments.only.is_none_or(|wanted| wanted == Only::Drifts) {
        println!("\n### Planted drifts, whole days shuffled\n");
        let found = years::for_seeds(arguments.draws, |seed| power::find(&flights, &plan, seed));
        let installed = peers::installed();
        let peers = years::for_seeds(arguments.draws, |seed| peers::find(&flights, &plan, &installed, seed));
        print_found(&found, &installed, &peers);
    }
    if arguments.only.is_none_or(|wanted| wanted == Only::Order) {
        println!("\n### The real order: the first {} days as reference, then the others\n", plan.reference_days);
        years::in_order(&flights, &plan);
    }
    if arguments.only.is_none_or(|wanted| wanted == Only::Segments) {
        for (split, name) in [(Split::Rows, "rows shuffled"), (Split::Days, "whole days shuffled")] {
            println!("\n### Columns and their segments by origin, of one budget, {name}\n");
            let year = |seed| segmented::year(&flights, &plan, split, seed);
            print_segmented(&years::for_seeds(arguments.years, year));
        }
    }
    if arguments.only.is_none_or(|wanted| wanted == Only::Whole) {
        for (split, name) in [(Split::Rows, "rows shuffled"), (Split::Days, "whole days shuffled")] {
            println!("\n### The collector's rules, by `driftline backtest`, {name}\n");
            let told = |seed| whole::Year::write(&flights, &plan, split, seed).told(&plan, &whole::RULES);
            print_told(&whole::RULES, &years::for_seeds(arguments.years, told));
        }
    }
    if arguments.only.is_none_or(|wanted| wanted == Only::Expressions) {
        println!("\n### Expressions, by `driftline backtest`, each with the budget to itself, whole days shuffled\n");
        let told = |seed| {
            let year = whole::Year::write(&flights, &plan, Split::Days, seed);
            whole::EXPRESSIONS.map(|expression| year.told(&plan, &[expression])[0])
        };
        print_told(&whole::EXPRESSIONS, &years::for_seeds(arguments.years, told));
    }
}

fn print_years(years: &[Year]) {
    println!("| judge | pages a month, mean of the years | median year | days in alert |");
    println!("|---|---|---|---|");
    let row = |name: &str, pages: Spread, firing: String| {
        println!("| {name} | {:.2} ± {:.2} | {:.2} | {firing} |", pages.mean, pages.error, pages.median);
    };
    for judge in Judge::ALL {
        let firing = Spread::of(years.iter().map(|year| year.firing[judge as usize]).collect()).mean;
        let pages = Spread::of(years.iter().map(|year| year.pages[judge as usize] / year.months).collect());
        row(judge.name(), pages, format!("{:.0} %", 100.0 * firing));
    }
    println!();
    for (score, detector) in judges::WATCHED.iter().enumerate() {
        let pages = Spread::of(years.iter().map(|year| year.of_score[score] / year.months).collect());
        println!("Of the budget's, by {}: {:.2} ± {:.2}.", detector.name(), pages.mean, pages.error);
    }
    let level = Spread::of(years.iter().map(|year| year.level).collect()).mean;
    println!("Each score of each column may exceed its limit in one window of {:.0}.", 1.0 / level);
}

fn print_segmented(years: &[segmented::Year]) {
    println!(
        "| rules on segments | pages a month | of the whole's columns | of segments | a segment's column over in one window of |"
    );
    println!("|---|---|---|---|---|");
    for (rules, (name, _)) in segmented::RULES.iter().enumerate() {
        let of = |of: &dyn Fn(&segmented::Pages) -> f64| {
            let pages = Spread::of(years.iter().map(|year| of(&year[rules])).collect());
            format!("{:.2} ± {:.2}", pages.mean, pages.error)
        };
        let one_in = Spread::of(years.iter().map(|year| year[rules].one_window_in).collect()).mean;
        let [all, whole, segments] =
            [of(&|pages| pages.whole + pages.segments), of(&|pages| pages.whole), of(&|pages| pages.segments)];
        println!("| {name} | {all} | {whole} | {segments} | {one_in:.0} |");
    }
}

fn print_told<const N: usize>(rules: &[(&str, &str); N], years: &[[Told; N]]) {
    println!("| rule | alerts a month | days in alert |");
    println!("|---|---|---|");
    for (rule, (name, _)) in rules.iter().enumerate() {
        let of = |of: &dyn Fn(&Told) -> f64| Spread::of(years.iter().map(|year| of(&year[rule])).collect());
        let (alerts, days) = (of(&|told| told.alerts), of(&|told| told.days));
        println!("| {name} | {:.2} ± {:.2} | {:.0} % |", alerts.mean, alerts.error, 100.0 * days.mean);
    }
}

/// How many of the draws each judge found it in, and the median of the days that this took; and the same of the libraries
/// themselves, where they were asked.
fn print_found(found: &[Found], installed: &[peers::Peers], peers: &[peers::Found]) {
    let mut judges = Judge::ALL.map(Judge::name).to_vec();
    judges.extend(installed.iter().flat_map(|peers| peers.names));
    println!("| drift | size | {} |", judges.join(" | "));
    println!("|---|---|{}", "---|".repeat(judges.len()));
    for (kind, (_, column, says, sizes)) in power::KINDS.iter().enumerate() {
        for (size, value) in sizes.iter().enumerate() {
            let cell = |mut days: Vec<usize>, draws: usize| {
                days.sort_unstable();
                let share = 100.0 * days.len() as f64 / draws as f64;
                match days.get(days.len() / 2) {
                    Some(median) => format!("{share:.0} %, {median} d"),
                    None => "never".to_owned(),
                }
            };
            let of_judge = |judge: Judge| found.iter().filter_map(|found| found[kind][size][judge as usize]).collect();
            let mut cells = Judge::ALL.map(|judge| cell(of_judge(judge), found.len())).to_vec();
            let of_peer = |peer: usize| peers.iter().filter_map(|found| found[kind][size][peer]).collect();
            cells.extend((0..judges.len() - cells.len()).map(|peer| cell(of_peer(peer), peers.len())));
            println!("| {column}: {says} | {value} | {} |", cells.join(" | "));
        }
    }
}

/// Mean, its standard error and the median.
struct Spread {
    mean: f64,
    error: f64,
    median: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        values.sort_by(f64::total_cmp);
        Self { mean, error: (variance / n).sqrt(), median: values[values.len() / 2] }
    }
}
