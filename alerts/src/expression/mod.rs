//! Conditions on several named values: `psi > 0.2 and missing_share < 5% and availability[5m] >= 0.99`.
//!
//! ```text
//!   or         = and { "or" and }
//!   and        = not { "and" not }
//!   not        = "not" not | comparison
//!   comparison = sum [ ("=" | "!=" | "<" | "<=" | ">" | ">=") sum ]
//!   sum        = product { ("+" | "-") product }
//!   product    = factor { ("*" | "/") factor }
//!   factor     = "-" factor | "(" or ")" | number | name
//!   number     = digits, with a unit if it has one: 5%, 250ms, 30s, 5m, 6h, 10d
//!   name       = letters, digits, "_" and ".", what is asked of its labels: {outcome="failed", target=~"mail.*"},
//!                and of what is added up over a time that time: latency[5m]
//! ```
//!
//! Which names there are, and of which unit, whoever reads an expression says; what does not go together is refused then, and
//! not found out at night. A value that is not there makes unknown what depends on it, and nothing else: `psi > 0.2 or ks > 0.1`
//! holds by the one that is there.

mod parse;
mod possible;
mod series;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

pub use self::series::{Series, Source};
use crate::rule::Labels;
use crate::selector::Selector;

/// An expression that is true, false or unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    variables: Vec<Variable>,
    /// Of each name, in their order, whether it is looked at as a window closes.
    of_window: Vec<bool>,
    root: Node,
}

/// A name in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// What is asked of the labels of its series; nothing of what has none.
    pub labels: Vec<Selector>,
    /// Over how long a time it is taken; none for what has no such time.
    pub over: Option<Duration>,
}

impl Variable {
    /// Labels that one may ask of.
    pub const MAX_LABELS: usize = 8;

    /// Whether a series with these labels is meant. A label that is not there is empty.
    pub fn selects(&self, labels: &Labels) -> bool {
        let value = |asked: &Selector| labels.get(asked.label()).map_or("", String::as_str);
        self.labels.iter().all(|asked| asked.accepts(value(asked)))
    }

    /// Whether all series that are meant have one value of a label.
    pub fn fixes(&self, label: &str) -> bool {
        self.value_of(label).is_some()
    }

    /// The value of a label that all series that are meant have; none where there may be several.
    pub fn value_of(&self, label: &str) -> Option<&str> {
        self.labels.iter().filter(|asked| asked.label() == label).find_map(Selector::one_value)
    }
}

/// As it is written: `psi`, `latency[5m]`, `driftline_reactions_total{outcome="failed"}[1h]`.
impl fmt::Display for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if !self.labels.is_empty() {
            let asked: Vec<String> = self.labels.iter().map(Selector::to_string).collect();
            write!(formatter, "{{{}}}", asked.join(", "))?;
        }
        let Some(over) = self.over else { return Ok(()) };
        let millis = over.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let unit = units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit));
        let (unit, name) = unit.unwrap_or((1, "ms"));
        write!(formatter, "[{}{name}]", millis / unit)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// Of which unit its values are.
    pub unit: Unit,
    /// Whether it is of a window that closes, and not of the time at which somebody looks.
    pub of_window: bool,
}

/// What has no time in brackets is of a window, unless more is said.
impl From<Unit> for Meaning {
    fn from(unit: Unit) -> Self {
        Self { unit, of_window: true }
    }
}

/// What a value is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number, a count or a share.
    Number,
    /// Seconds.
    Time,
    /// True or false.
    Truth,
}

impl Unit {
    fn in_words(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Time => "a time",
            Self::Truth => "true or false",
        }
    }
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The character at which it is wrong, from 1.
    pub character: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at character {}: {}", self.character, self.what)
    }
}

impl std::error::Error for ExpressionError {}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Variable(usize),
    Negative(Box<Node>),
    Calculate(Box<Node>, Calculation, Box<Node>),
    Compare(Box<Node>, Comparison, Box<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calculation {
    Plus,
    Minus,
    Times,
    Divided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expression {
    /// Longer ones are refused.
    pub const MAX_BYTES: usize = 1000;
    /// Different names that one may have.
    pub const MAX_VARIABLES: usize = 8;

    /// Reads an expression. The function says what a name stands for, its unit at least, or why there is none such.
    ///
    /// ```
    /// use driftline_alerts::{Expression, Unit};
    ///
    /// let unit = |variable: &driftline_alerts::Variable| match variable.name.as_str() {
    ///     "psi" | "rows" => Ok(Unit::Number),
    ///     name => Err(format!("there is no '{name}'")),
    /// };
    /// let expression = Expression::parse("psi > 20% and rows >= 100", unit).unwrap();
    /// assert_eq!(expression.holds(&[Some(0.3), Some(500.0)]), Some(true));
    /// assert_eq!(expression.holds(&[Some(0.1), None]), Some(false));
    /// assert_eq!(expression.holds(&[Some(0.3), None]), None);
    /// let error = Expression::parse("psi > 5m", unit).unwrap_err();
    /// assert_eq!(error.to_string(), "at character 5: a number is compared with a time");
    /// ```
    ///
    /// # Errors
    /// What is wrong with it first, and where.
    pub fn parse<M: Into<Meaning>>(
        text: &str,
        meaning: impl Fn(&Variable) -> Result<M, String>,
    ) -> Result<Self, ExpressionError> {
        let (root, named) = parse::parse(text, &|variable| meaning(variable).map(Into::into))?;
        let of_window = named.iter().map(|(variable, of_window)| variable.over.is_none() && *of_window).collect();
        let variables = named.into_iter().map(|(variable, _)| variable).collect();
        Ok(Self { text: text.to_owned(), variables, of_window, root })
    }

    /// Whether it names what is of a window: then it is looked at as one closes.
    pub fn is_of_windows(&self) -> bool {
        self.of_window.contains(&true)
    }

    /// Whether it names nothing but what is of a window.
    pub fn is_of_windows_alone(&self) -> bool {
        !self.of_window.contains(&false)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its names, each once, in the order in which they come.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Whether it holds for values of its names, in their order; none when they do not say.
    pub fn holds(&self, values: &[Option<f64>]) -> Option<bool> {
        self.root.truth(values)
    }
}

impl Node {
    fn truth(&self, values: &[Option<f64>]) -> Option<bool> {
        match self {
            Self::Not(node) => node.truth(values).map(|truth| !truth),
            Self::And(a, b) => match (a.truth(values), b.truth(values)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.truth(values), b.truth(values)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Compare(a, comparison, b) => Some(comparison.holds(a.number(values)?, b.number(values)?)),
            // What is read is true or false, by its units.
            Self::Number(_) | Self::Variable(_) | Self::Negative(_) | Self::Calculate(..) => None,
        }
    }

    /// A number, or none when it is not known, or is none: a division by zero says nothing.
    fn number(&self, values: &[Option<f64>]) -> Option<f64> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Variable(index) => (*values.get(*index)?)?,
            Self::Negative(node) => -node.number(values)?,
            Self::Calculate(a, calculation, b) => calculation.of(a.number(values)?, b.number(values)?),
            Self::Not(_) | Self::And(..) | Self::Or(..) | Self::Compare(..) => return None,
        };
        number.is_finite().then_some(number)
    }
}

impl Calculation {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Plus => a + b,
            Self::Minus => a - b,
            Self::Times => a * b,
            Self::Divided => a / b,
        }
    }

    /// The unit of what comes out; none when these do not go together.
    fn unit(self, a: Unit, b: Unit) -> Option<Unit> {
        match (self, a, b) {
            (_, Unit::Truth, _) | (_, _, Unit::Truth) => None,
            (_, Unit::Number, Unit::Number) => Some(Unit::Number),
            (Self::Plus | Self::Minus, Unit::Time, Unit::Time) => Some(Unit::Time),
            (Self::Times, Unit::Time, Unit::Number) | (Self::Times, Unit::Number, Unit::Time) => Some(Unit::Time),
            (Self::Divided, Unit::Time, Unit::Number) => Some(Unit::Time),
            (Self::Divided, Unit::Time, Unit::Time) => Some(Unit::Number),
            _ => None,
        }
    }
}

impl Comparison {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

/// The name among those that there are that is nearest to one that is none of them; none when none is near.
///
/// ```
/// assert_eq!(driftline_alerts::nearest("psy", ["ks", "psi"]), Some("psi"));
/// assert_eq!(driftline_alerts::nearest("weather", ["ks", "psi"]), None);
/// ```
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let pairs = |text: &str| -> BTreeSet<(char, char)> {
        let padded = || std::iter::once(' ').chain(text.chars());
        padded().zip(padded().skip(1)).collect()
    };
    let own = pairs(name);
    let share = |other: &str| {
        let theirs = pairs(other);
        2.0 * own.intersection(&theirs).count() as f64 / (own.len() + theirs.len()).max(1) as f64
    };
    names
        .into_iter()
        .map(|other| (share(other), other))
        .filter(|(share, _)| *share >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests;
