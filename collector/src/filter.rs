//! Which rows are wanted, or are of a segment: `temp > 30 and carrier in ('UA', 'DL') and dest is not null`.
//!
//! ```text
//!   or      = and { "or" and }
//!   and     = not { "and" not }
//!   not     = "not" not | "(" or ")" | test
//!   test    = column ( ("=" | "!=" | "<" | "<=" | ">" | ">=") value | ["not"] "in" "(" value {"," value} ")" | "is" ["not"] "null" )
//!   column  = a name, or one in double quotes
//!   value   = a number, a text in single quotes (a quote in it is doubled), true or false
//! ```
//!
//! A comparison with a value that is not there is false, and so is one with a column that is not there. Times are compared
//! with texts: `event_time >= '2013-01-02T00:00:00Z'`.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::DataType;

/// How deep parentheses and `not` may nest.
const MAX_DEPTH: u32 = 64;

/// A condition on rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    Compare { column: String, operator: Operator, value: Value },
    In { column: String, values: Vec<Value> },
    IsNull { column: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Text(String),
    Boolean(bool),
}

impl Filter {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, and after how many characters.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let filter = parser.or()?;
        match parser.peek() {
            None => Ok(filter),
            Some(token) => Err(format!("after {} characters: 'and', 'or' or the end is expected", token.at)),
        }
    }

    /// The columns that it names.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Or(all) | Self::And(all) => all.iter().flat_map(Self::columns).collect(),
            Self::Not(filter) => filter.columns(),
            Self::Compare { column, .. } | Self::In { column, .. } | Self::IsNull { column } => vec![column],
        }
    }

    /// Which rows of a batch it holds for.
    pub(crate) fn matches(&self, batch: &RecordBatch) -> BooleanArray {
        let rows = batch.num_rows();
        let per_row = |holds: &dyn Fn(usize) -> bool| (0..rows).map(|row| Some(holds(row))).collect();
        match self {
            Self::Or(all) => {
                let all: Vec<BooleanArray> = all.iter().map(|filter| filter.matches(batch)).collect();
                per_row(&|row| all.iter().any(|filter| filter.value(row)))
            }
            Self::And(all) => {
                let all: Vec<BooleanArray> = all.iter().map(|filter| filter.matches(batch)).collect();
                per_row(&|row| all.iter().all(|filter| filter.value(row)))
            }
            Self::Not(filter) => {
                let filter = filter.matches(batch);
                per_row(&|row| !filter.value(row))
            }
            Self::Compare { column, operator, value } => match batch.column_by_name(column) {
                None => per_row(&|_| false),
                Some(column) => per_row(&|row| compare(column, row, value).is_some_and(|found| operator.holds(found))),
            },
            Self::In { column, values } => match batch.column_by_name(column) {
                None => per_row(&|_| false),
                Some(column) => {
                    let is_one = |row| values.iter().any(|value| compare(column, row, value) == Some(Ordering::Equal));
                    per_row(&is_one)
                }
            },
            Self::IsNull { column } => match batch.column_by_name(column) {
                None => per_row(&|_| true),
                Some(column) => per_row(&|row| column.is_null(row)),
            },
        }
    }
}

impl Operator {
    fn holds(self, found: Ordering) -> bool {
        match self {
            Self::Equal => found.is_eq(),
            Self::NotEqual => found.is_ne(),
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }
}

/// How a cell compares with a value. None where the cell is not there, or is of another kind.
fn compare(column: &ArrayRef, row: usize, value: &Value) -> Option<Ordering> {
    if column.is_null(row) {
        return None;
    }
    let with = |cell: f64| match value {
        Value::Number(value) => cell.partial_cmp(value),
        _ => None,
    };
    match (column.data_type(), value) {
        (DataType::Float64, _) => with(column.as_primitive::<Float64Type>().value(row)),
        (DataType::Int64, _) => with(column.as_primitive::<Int64Type>().value(row) as f64),
        (DataType::UInt16, _) => with(f64::from(column.as_primitive::<UInt16Type>().value(row))),
        (DataType::UInt32, _) => with(f64::from(column.as_primitive::<UInt32Type>().value(row))),
        (DataType::Utf8, Value::Text(value)) => Some(column.as_string::<i32>().value(row).cmp(value)),
        // A column that the reference takes for names has its booleans spelled out.
        (DataType::Utf8, Value::Boolean(value)) => {
            Some(column.as_string::<i32>().value(row).parse::<bool>().ok()?.cmp(value))
        }
        (DataType::Boolean, Value::Boolean(value)) => Some(column.as_boolean().value(row).cmp(value)),
        (DataType::Timestamp(..), Value::Text(value)) => {
            let value: jiff::Timestamp = value.parse().ok()?;
            let cell = column.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
            Some(cell.cmp(&value.as_microsecond()))
        }
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// A word; not in quotes.
    Word(String),
    /// A name in double quotes.
    Name(String),
    Text(String),
    Number(f64),
    Symbol(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    kind: Kind,
    /// Characters before it.
    at: usize,
}

/// Two-character symbols come first: `<` begins `<=`.
const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.chars().count() - rest.chars().count();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (kind, length) = if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Kind::Symbol(symbol), symbol.len())
        } else if matches!(first, '\'' | '"') {
            let (text, length) =
                quoted(rest, first).ok_or_else(|| format!("after {at} characters: the {first} is never closed"))?;
            (if first == '"' { Kind::Name(text) } else { Kind::Text(text) }, length)
        } else {
            let is_part = |part: char| part.is_alphanumeric() || matches!(part, '_' | '.' | '-' | '+');
            let length = rest.find(|part| !is_part(part)).unwrap_or(rest.len());
            let word = &rest[..length];
            let is_number = word.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
            match word.parse() {
                _ if length == 0 => return Err(format!("after {at} characters: '{first}' is not expected")),
                Ok(number) if is_number => (Kind::Number(number), length),
                _ if is_number => return Err(format!("after {at} characters: '{word}' is no number")),
                _ => (Kind::Word(word.to_owned()), length),
            }
        };
        tokens.push(Token { kind, at });
        rest = &rest[length..];
    }
}

/// A text in quotes, and how many bytes it takes with them. A quote in it is doubled.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            content.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Some((content, at + 1));
        }
    }
    None
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Takes a keyword, in any case, if it is next.
    fn word(&mut self, word: &str) -> bool {
        let is_next =
            matches!(self.peek(), Some(Token { kind: Kind::Word(next), .. }) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token { kind: Kind::Symbol(next), .. }) if *next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    fn expected(&self, what: &str) -> String {
        match self.peek() {
            Some(token) => format!("after {} characters: {what} is expected", token.at),
            None => format!("at the end: {what} is expected"),
        }
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.and()?];
        while self.word("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::Or(all) })
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.not()?];
        while self.word("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn not(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH}"));
        }
        let filter = if self.word("not") {
            Filter::Not(Box::new(self.not()?))
        } else if self.symbol("(") {
            let filter = self.or()?;
            if !self.symbol(")") {
                return Err(self.expected("')'"));
            }
            filter
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn test(&mut self) -> Result<Filter, String> {
        let column = match self.peek() {
            Some(Token { kind: Kind::Word(name) | Kind::Name(name), .. }) => name.clone(),
            _ => return Err(self.expected("a column's name")),
        };
        self.at += 1;
        if self.word("is") {
            let negated = self.word("not");
            if !self.word("null") {
                return Err(self.expected("'null'"));
            }
            return Ok(negate(Filter::IsNull { column }, negated));
        }
        let negated = self.word("not");
        if self.word("in") {
            return Ok(negate(Filter::In { column, values: self.values()? }, negated));
        }
        if negated {
            return Err(self.expected("'in'"));
        }
        let operator = match self.peek() {
            Some(Token { kind: Kind::Symbol(symbol), .. }) => match *symbol {
                "=" => Operator::Equal,
                "!=" | "<>" => Operator::NotEqual,
                "<" => Operator::Less,
                "<=" => Operator::LessOrEqual,
                ">" => Operator::Greater,
                ">=" => Operator::GreaterOrEqual,
                _ => return Err(self.expected("a comparison")),
            },
            _ => return Err(self.expected("a comparison, 'in' or 'is'")),
        };
        self.at += 1;
        Ok(Filter::Compare { column, operator, value: self.value()? })
    }

    fn values(&mut self) -> Result<Vec<Value>, String> {
        if !self.symbol("(") {
            return Err(self.expected("'('"));
        }
        let mut values = vec![self.value()?];
        while self.symbol(",") {
            values.push(self.value()?);
        }
        if self.symbol(")") { Ok(values) } else { Err(self.expected("')'")) }
    }

    fn value(&mut self) -> Result<Value, String> {
        let what = self.expected("a number, a text in single quotes, true or false");
        match self.next().map(|token| token.kind) {
            Some(Kind::Number(number)) => Ok(Value::Number(number)),
            Some(Kind::Text(text)) => Ok(Value::Text(text)),
            Some(Kind::Word(word)) if word.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Some(Kind::Word(word)) if word.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            _ => Err(what),
        }
    }
}

fn negate(filter: Filter, negated: bool) -> Filter {
    if negated { Filter::Not(Box::new(filter)) } else { filter }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        let time = TimestampMicrosecondArray::from(vec![0, 1_000_000, 2_000_000]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 4] = [
            ("event_time", Arc::new(time)),
            ("temp", Arc::new(Float64Array::from(vec![Some(30.5), None, Some(-1.0)]))),
            ("hour", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("carrier", Arc::new(StringArray::from(vec![Some("UA"), Some("O'Hare"), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn rows(filter: &str) -> Vec<usize> {
        let matches = Filter::parse(filter).unwrap().matches(&batch());
        (0..3).filter(|row| matches.value(*row)).collect()
    }

    #[test]
    fn rows_are_those_that_it_holds_for() {
        assert_eq!(rows("temp > 30"), [0]);
        assert_eq!(rows("temp <= -1 or hour = 2"), [1, 2]);
        assert_eq!(rows("hour >= 2 AND NOT hour = 3"), [1]);
        assert_eq!(rows("carrier in ('UA', 'O''Hare')"), [0, 1]);
        assert_eq!(rows("carrier not in ('UA')"), [1, 2], "what is not there is not in it");
        assert_eq!(rows("carrier != 'UA'"), [1], "what is not there compares with nothing");
        assert_eq!(rows("temp is null"), [1]);
        assert_eq!(rows("\"temp\" is not null and (hour < 2 or hour > 2)"), [0, 2]);
        assert_eq!(rows("event_time >= '1970-01-01T00:00:01Z'"), [1, 2]);
        assert_eq!(rows("nothing = 1"), [] as [usize; 0]);
        assert_eq!(rows("temp = 'warm'"), [] as [usize; 0]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, says) in [
            ("", "at the end: a column's name"),
            ("temp", "at the end: a comparison"),
            ("temp > ", "at the end: a number"),
            ("temp > 30 hour", "after 10 characters: 'and', 'or' or the end"),
            ("temp > 'warm", "after 7 characters: the ' is never closed"),
            ("(temp > 1", "at the end: ')'"),
            ("temp > 1e", "'1e' is no number"),
            ("temp ~ 1", "'~' is not expected"),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Filter::parse(&"(".repeat(10_000)).unwrap_err().contains("deeper"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(filter) = Filter::parse(&text) {
                filter.matches(&batch());
            }
        }
    }
}
