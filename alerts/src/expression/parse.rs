//! From text to an expression whose units go together.

use std::time::Duration;

use super::{Calculation, Comparison, Expression, ExpressionError, Meaning, Node, Unit, Variable};
use crate::selector::Selector;

/// How deep parentheses, signs and `not` may nest.
const MAX_DEPTH: u32 = 64;

type Parsed<T> = Result<T, ExpressionError>;

/// What a name means, or why there is none such.
type Means<'m> = &'m dyn Fn(&Variable) -> Result<Meaning, String>;

/// Reads an expression, and the names in it, each with whether it is of a window.
pub(super) fn parse(text: &str, meaning: Means<'_>) -> Parsed<(Node, Vec<(Variable, bool)>)> {
    let fail = |what: &str| Err(ExpressionError { character: 1, what: what.to_owned() });
    if text.len() > Expression::MAX_BYTES {
        return fail(&format!("it is longer than {} bytes", Expression::MAX_BYTES));
    }
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        end: text.chars().count() + 1,
        depth: 0,
        meaning,
        variables: Vec::new(),
    };
    let (node, found) = parser.or()?;
    if let Some(token) = parser.tokens.get(parser.at) {
        return parser.fail(token.at, "'and', 'or' or the end is expected".to_owned());
    }
    if found != Unit::Truth {
        return fail(&format!("it is {}, and has to be true or false, as in psi > 0.2", found.in_words()));
    }
    Ok((node, parser.variables))
}

/// A token, and the character at which it begins.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    at: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Number(f64, Unit),
    /// A name, what is asked of its labels, and the text in brackets behind them.
    Name(String, Vec<Selector>, Option<String>),
    And,
    Or,
    Not,
    Compare(Comparison),
    Calculate(Calculation),
    Open,
    Close,
}

fn tokens(text: &str) -> Parsed<Vec<Token>> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&char) = chars.get(at) {
        if char.is_whitespace() {
            at += 1;
            continue;
        }
        let (kind, length) = if char.is_ascii_digit() {
            number(&chars[at..])
        } else if char.is_ascii_alphabetic() || char == '_' {
            name(&chars[at..])
        } else {
            sign(&chars[at..])
        }
        .map_err(|what| ExpressionError { character: at + 1, what })?;
        tokens.push(Token { at: at + 1, kind });
        at += length;
    }
    Ok(tokens)
}

/// The text of the first characters for which something holds.
fn taken(chars: &[char], holds: impl Fn(char) -> bool) -> String {
    chars.iter().copied().take_while(|char| holds(*char)).collect()
}

fn number(chars: &[char]) -> Result<(Kind, usize), String> {
    let digits = taken(chars, |char| char.is_ascii_digit() || char == '.');
    let unit = match chars.get(digits.len()) {
        Some('%') => "%".to_owned(),
        _ => taken(&chars[digits.len()..], |char| char.is_alphanumeric() || char == '_'),
    };
    let value: f64 = digits.parse().map_err(|_| format!("'{digits}' is no number"))?;
    let (factor, kind) = match unit.as_str() {
        "" => (1.0, Unit::Number),
        "%" => (0.01, Unit::Number),
        "ms" => (0.001, Unit::Time),
        "s" => (1.0, Unit::Time),
        "m" => (60.0, Unit::Time),
        "h" => (3600.0, Unit::Time),
        "d" => (86_400.0, Unit::Time),
        _ => return Err(format!("'{unit}' is no unit; units are %, ms, s, m, h and d")),
    };
    Ok((Kind::Number(value * factor, kind), digits.len() + unit.chars().count()))
}

fn name(chars: &[char]) -> Result<(Kind, usize), String> {
    let name = taken(chars, |char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.'));
    let kind = match name.as_str() {
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
        _ => {
            let (labels, of_labels) = match chars.get(name.len()) {
                Some('{') => labels(&name, &chars[name.len()..])?,
                _ => (Vec::new(), 0),
            };
            let rest = &chars[name.len() + of_labels..];
            let Some('[') = rest.first() else {
                return Ok((Kind::Name(name.clone(), labels, None), name.len() + of_labels));
            };
            let inside = taken(&rest[1..], |char| char != ']');
            let length = inside.chars().count() + 2;
            if rest.len() < length {
                return Err(format!("'{name}[' has no ']'"));
            }
            let all = name.len() + of_labels + length;
            return Ok((Kind::Name(name, labels, Some(inside)), all));
        }
    };
    Ok((kind, name.len()))
}

/// What is asked of labels, in braces, and its length. Commas and braces may stand in a value's quotes.
fn labels(name: &str, chars: &[char]) -> Result<(Vec<Selector>, usize), String> {
    let (mut labels, mut text, mut quoted) = (Vec::new(), String::new(), false);
    for (at, &char) in chars.iter().enumerate().skip(1) {
        quoted ^= char == '"';
        if quoted || !matches!(char, ',' | '}') {
            text.push(char);
            continue;
        }
        if !text.trim().is_empty() {
            let read = Selector::parse(text.trim());
            labels.push(read.map_err(|why| format!("what is asked of the labels of '{name}' {why}"))?);
        }
        if labels.len() > Variable::MAX_LABELS {
            return Err(format!("'{name}' asks of more than {} labels", Variable::MAX_LABELS));
        }
        if char == '}' {
            return Ok((labels, at + 1));
        }
        text.clear();
    }
    Err(format!("'{name}{{' has no '}}'"))
}

fn sign(chars: &[char]) -> Result<(Kind, usize), String> {
    let two = |next: char| chars.get(1) == Some(&next);
    Ok(match chars[0] {
        '<' if two('=') => (Kind::Compare(Comparison::LessOrEqual), 2),
        '>' if two('=') => (Kind::Compare(Comparison::GreaterOrEqual), 2),
        '!' if two('=') => (Kind::Compare(Comparison::NotEqual), 2),
        '<' => (Kind::Compare(Comparison::Less), 1),
        '>' => (Kind::Compare(Comparison::Greater), 1),
        '=' => (Kind::Compare(Comparison::Equal), if two('=') { 2 } else { 1 }),
        '+' => (Kind::Calculate(Calculation::Plus), 1),
        '-' => (Kind::Calculate(Calculation::Minus), 1),
        '*' => (Kind::Calculate(Calculation::Times), 1),
        '/' => (Kind::Calculate(Calculation::Divided), 1),
        '(' => (Kind::Open, 1),
        ')' => (Kind::Close, 1),
        other => return Err(format!("'{}' means nothing here", other.escape_default())),
    })
}

struct Parser<'p> {
    tokens: Vec<Token>,
    at: usize,
    /// The character after the last.
    end: usize,
    depth: u32,
    meaning: Means<'p>,
    variables: Vec<(Variable, bool)>,
}

impl Parser<'_> {
    fn fail<T>(&self, character: usize, what: String) -> Parsed<T> {
        Err(ExpressionError { character, what })
    }

    fn kind(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    /// The character at which the next token begins.
    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |token| token.at)
    }

    fn or(&mut self) -> Parsed<(Node, Unit)> {
        self.chain(&Kind::Or, Self::and, Node::Or)
    }

    fn and(&mut self) -> Parsed<(Node, Unit)> {
        self.chain(&Kind::And, Self::not, Node::And)
    }

    /// What is true or false, joined by a word.
    fn chain(
        &mut self,
        word: &Kind,
        part: fn(&mut Self) -> Parsed<(Node, Unit)>,
        join: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Parsed<(Node, Unit)> {
        let begins = self.place();
        let (mut node, mut unit) = part(self)?;
        while self.kind() == Some(word) {
            self.truth(begins, unit)?;
            self.at += 1;
            let place = self.place();
            let (next, next_unit) = part(self)?;
            self.truth(place, next_unit)?;
            (node, unit) = (join(Box::new(node), Box::new(next)), Unit::Truth);
        }
        Ok((node, unit))
    }

    fn truth(&self, place: usize, unit: Unit) -> Parsed<()> {
        match unit {
            Unit::Truth => Ok(()),
            unit => self.fail(place, format!("this is {}, and has to be true or false", unit.in_words())),
        }
    }

    fn not(&mut self) -> Parsed<(Node, Unit)> {
        if self.kind() != Some(&Kind::Not) {
            return self.comparison();
        }
        self.at += 1;
        let place = self.place();
        let (node, unit) = self.deeper(Self::not)?;
        self.truth(place, unit)?;
        Ok((Node::Not(Box::new(node)), Unit::Truth))
    }

    fn comparison(&mut self) -> Parsed<(Node, Unit)> {
        let (left, unit) = self.sum()?;
        let Some(Kind::Compare(comparison)) = self.kind().cloned() else { return Ok((left, unit)) };
        let place = self.place();
        self.at += 1;
        let (right, right_unit) = self.sum()?;
        if unit != right_unit || unit == Unit::Truth {
            return self.fail(place, format!("{} is compared with {}", unit.in_words(), right_unit.in_words()));
        }
        Ok((Node::Compare(Box::new(left), comparison, Box::new(right)), Unit::Truth))
    }

    fn sum(&mut self) -> Parsed<(Node, Unit)> {
        self.calculation(&[Calculation::Plus, Calculation::Minus], Self::product)
    }

    fn product(&mut self) -> Parsed<(Node, Unit)> {
        self.calculation(&[Calculation::Times, Calculation::Divided], Self::factor)
    }

    fn calculation(
        &mut self,
        allowed: &[Calculation],
        part: fn(&mut Self) -> Parsed<(Node, Unit)>,
    ) -> Parsed<(Node, Unit)> {
        let (mut node, mut unit) = part(self)?;
        while let Some(&Kind::Calculate(calculation)) = self.kind()
            && allowed.contains(&calculation)
        {
            let place = self.place();
            self.at += 1;
            let (next, next_unit) = part(self)?;
            let Some(result) = calculation.unit(unit, next_unit) else {
                let (left, right) = (unit.in_words(), next_unit.in_words());
                return self.fail(place, format!("{left} and {right} cannot be calculated with like this"));
            };
            (node, unit) = (Node::Calculate(Box::new(node), calculation, Box::new(next)), result);
        }
        Ok((node, unit))
    }

    fn factor(&mut self) -> Parsed<(Node, Unit)> {
        let place = self.place();
        let Some(kind) = self.kind().cloned() else {
            return self.fail(place, "something is missing: a name, a number or '(' is expected".to_owned());
        };
        self.at += 1;
        match kind {
            Kind::Number(number, unit) => Ok((Node::Number(number), unit)),
            Kind::Name(name, labels, over) => self.variable(place, (name, labels), over.as_deref()),
            Kind::Calculate(Calculation::Minus) => {
                let (node, unit) = self.deeper(Self::factor)?;
                if unit == Unit::Truth {
                    return self.fail(place, "what is true or false has no sign".to_owned());
                }
                Ok((Node::Negative(Box::new(node)), unit))
            }
            Kind::Open => {
                let inside = self.deeper(Self::or)?;
                if self.kind() != Some(&Kind::Close) {
                    return self.fail(self.place(), format!("')' is expected, for the '(' at character {place}"));
                }
                self.at += 1;
                Ok(inside)
            }
            _ => self.fail(place, "a name, a number or '(' is expected".to_owned()),
        }
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self
                .fail(self.place(), format!("more than {MAX_DEPTH} parentheses, signs or 'not' within each other"));
        }
        let found = inside(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn variable(
        &mut self,
        place: usize,
        (name, labels): (String, Vec<Selector>),
        over: Option<&str>,
    ) -> Parsed<(Node, Unit)> {
        let over = match over.map(duration) {
            Some(None) => return self.fail(place, format!("'{name}' needs a time in its brackets, as in {name}[5m]")),
            Some(over) => over,
            None => None,
        };
        let variable = Variable { name, labels, over };
        let Meaning { unit, of_window } = (self.meaning)(&variable).or_else(|what| self.fail(place, what))?;
        let known = self.variables.iter().position(|(known, _)| *known == variable);
        let index = known.unwrap_or(self.variables.len());
        if known.is_none() {
            self.variables.push((variable, of_window));
        }
        if self.variables.len() > Expression::MAX_VARIABLES {
            return self.fail(place, format!("there are more than {} different names", Expression::MAX_VARIABLES));
        }
        Ok((Node::Variable(index), unit))
    }
}

/// A time as a whole number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let chars: Vec<char> = text.trim().chars().collect();
    let is_number = chars.first().is_some_and(char::is_ascii_digit);
    match is_number.then(|| number(&chars))?.ok()? {
        (Kind::Number(seconds, Unit::Time), length) if length == chars.len() => {
            Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())
        }
        _ => None,
    }
}
