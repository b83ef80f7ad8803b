//! One JSON value: the policy applied on the way through it.
//!
//! Nothing is built: the text is walked once, and what must change is edited. A member or an element that may not leave
//! is taken out with its comma; in a list of values it becomes null, so that what comes after it keeps its position.

use std::borrow::Cow;

use super::Withheld;
use super::output::{Mark, Output};
use super::policy::{Action, Fitting, Policy, Step, Verdict};
use super::scan::{Scan, string_of};
use super::tables::{Columns, named};

/// How deep values may nest. Real bodies nest five or six deep, and the walk takes a stack frame for each.
const MAX_DEPTH: usize = 64;
/// What a masked value becomes.
const MASKED: &str = "\"***\"";
/// Parts at a body's top that hold its rows: without them nobody could read what is left.
const ROWS: [&str; 6] = ["instances", "predictions", "inputs", "outputs", "dataframe_split", "dataframe_records"];
/// Names at a body's top by which V2 says who answered.
const MODEL: [&str; 2] = ["model_name", "model_version"];

/// Applies a policy to a text that is one JSON value.
pub(super) fn redact(policy: &Policy, text: &str, output: &mut Output<'_>) -> Result<(), Withheld> {
    redact_at(policy, text, 0, output)
}

/// The same for a part of the output's text, which begins at `base`.
pub(super) fn redact_at(policy: &Policy, text: &str, base: usize, output: &mut Output<'_>) -> Result<(), Withheld> {
    let mut walk = Walk { policy, scan: Scan::new(text)?, base, output, way: String::new() };
    let whole = Context { verdict: policy.root(), fitting: policy.all_fitting(), depth: 0 };
    if !walk.value(whole, Inside::Plain)? && !text.trim_start().starts_with(['{', '[']) {
        walk.output.replace(base, base + text.len(), "null")?;
    }
    Ok(())
}

struct Walk<'a, 'o, 't> {
    policy: &'a Policy,
    scan: Scan<'a>,
    base: usize,
    output: &'o mut Output<'t>,
    /// The names around the current value, joined by dots; only where a rule needs them.
    way: String,
}

/// What holds for the value that comes next.
#[derive(Debug, Clone, Copy)]
struct Context {
    verdict: Verdict,
    fitting: Fitting,
    depth: usize,
}

/// What a value is to what is around it.
#[derive(Debug, Clone, Copy)]
enum Inside<'c> {
    Plain,
    /// A list that may hold V2's named tensors.
    Tensors,
    /// One of them, with what holds for its data.
    Tensor(Verdict),
    /// A list of rows of a table with named columns, and one such row.
    Rows(&'c Columns),
    Row(&'c Columns),
}

/// Where members or elements that are taken out begin and end.
#[derive(Debug, Clone, Copy)]
struct Siblings {
    /// Where the current one begins, the comma before it included if it is to go with it.
    from: usize,
    any_stays: bool,
    closing: u8,
}

impl<'a> Walk<'a, '_, '_> {
    /// Passes a value. False when nothing of it may leave: whoever holds it then takes it out.
    fn value(&mut self, context: Context, inside: Inside<'_>) -> Result<bool, Withheld> {
        if context.depth > MAX_DEPTH {
            return Err(Withheld::TooDeep);
        }
        match self.scan.peek()? {
            b'{' | b'[' if !self.policy.may_speak_inside(context.fitting, context.verdict) => {
                self.scan.value()?;
                Ok(true)
            }
            b'{' => self.object(context, inside),
            b'[' => self.array(context, inside),
            _ => self.scalar(context.verdict),
        }
    }

    fn scalar(&mut self, verdict: Verdict) -> Result<bool, Withheld> {
        let token = self.scan.scalar()?;
        if !verdict.allowed {
            return Ok(false);
        }
        // That a value is missing is no value.
        let Some(action) = verdict.action.filter(|_| token != "null") else { return Ok(true) };
        match (action, &self.policy.key) {
            (Action::Drop, _) => self.replace_last(token, "null")?,
            (Action::Hmac, Some(key)) => {
                // The text of the value: what a string says, a number as it was written, true or false.
                let value = if token.starts_with('"') { string_of(token)? } else { Cow::Borrowed(token) };
                let pseudonym = format!("\"{}\"", key.pseudonym(&value));
                self.replace_last(token, &pseudonym)?;
            }
            (Action::Mask | Action::Hmac, _) => self.replace_last(token, MASKED)?,
        }
        Ok(true)
    }

    /// Replaces the token that was just passed.
    fn replace_last(&mut self, token: &str, by: &str) -> Result<(), Withheld> {
        let end = self.base + self.scan.at;
        self.output.replace(end - token.len(), end, by)
    }

    fn object(&mut self, context: Context, inside: Inside<'_>) -> Result<bool, Withheld> {
        let beginning = self.scan;
        self.scan.expect(b'{')?;
        if self.scan.passes(b'}')? {
            return Ok(context.verdict.allowed);
        }
        let mut siblings = Siblings { from: self.scan.at, any_stays: false, closing: b'}' };
        // Looked up once, and only when there is a list that may be a table's.
        let mut columns: Option<Option<Columns>> = None;
        let mut any_leaves = false;
        loop {
            let mark = self.output.mark();
            let name = self.scan.name()?;
            let way = self.way.len();
            self.enter(&name);
            let first = self.scan.peek()?;
            if matches!(&*name, "data" | "ndarray" | "columns" | "names") && first == b'[' && columns.is_none() {
                columns = Some(Columns::of(self.policy, beginning)?);
            }
            let table = columns.as_ref().and_then(Option::as_ref);
            let leaves = self.member(&name, first, context, inside, table)?;
            self.way.truncate(way);
            any_leaves |= leaves;
            if !self.sibling_ends(&mut siblings, mark, leaves)? {
                return Ok(any_leaves || context.verdict.allowed);
            }
        }
    }

    /// Passes the value of a member.
    fn member(
        &mut self,
        name: &str,
        first: u8,
        around: Context,
        inside: Inside<'_>,
        table: Option<&Columns>,
    ) -> Result<bool, Withheld> {
        let (fitting, by_pointer) = self.policy.step(around.fitting, around.depth, Step::Name(name));
        let mut verdict = around.verdict.and(by_pointer).and(self.policy.field(name, &self.way));
        let mut child = Inside::Plain;
        let mut stays = false;
        match inside {
            // Without these three nobody could read a tensor, and they tell nothing of its values.
            Inside::Tensor(data) if matches!(name, "name" | "shape" | "datatype") => {
                let token = self.scan.value()?;
                if name == "datatype" && data.action.is_some() {
                    self.replace_last(token, "\"BYTES\"")?;
                }
                return Ok(true);
            }
            Inside::Tensor(data) if name == "data" => verdict = verdict.and(data),
            Inside::Tensor(data) => verdict.action = verdict.action.max(data.action),
            _ if around.depth == 0 => {
                stays = ROWS.contains(&name) && matches!(first, b'{' | b'[');
                verdict.allowed |= MODEL.contains(&name) && first == b'"';
            }
            _ => {}
        }
        match (name, table) {
            ("inputs" | "outputs", _) if first == b'[' => child = Inside::Tensors,
            ("data" | "ndarray", Some(columns)) if first == b'[' => {
                child = Inside::Rows(columns);
                stays = true;
            }
            ("columns" | "names", Some(_)) => verdict.allowed = true,
            _ => {}
        }
        if verdict.is_dropped() {
            self.scan.value()?;
            return Ok(false);
        }
        let leaves = self.value(Context { verdict, fitting, depth: around.depth + 1 }, child)?;
        Ok(leaves || stays)
    }

    fn array(&mut self, context: Context, inside: Inside<'_>) -> Result<bool, Withheld> {
        self.scan.expect(b'[')?;
        if self.scan.passes(b']')? {
            return Ok(context.verdict.allowed);
        }
        let mut siblings = Siblings { from: self.scan.at, any_stays: false, closing: b']' };
        let mut any_leaves = false;
        for index in 0.. {
            let mark = self.output.mark();
            let (fitting, by_pointer) = self.policy.step(context.fitting, context.depth, Step::Index(index));
            let mut verdict = context.verdict.and(by_pointer);
            let first = self.scan.peek()?;
            let mut child = Inside::Plain;
            let mut stays = true;
            match inside {
                Inside::Tensors if first == b'{' => match named(self.policy, self.scan)? {
                    Some(found) if found.is_tensor => {
                        let whole = verdict.and(found.verdict);
                        stays = whole.allowed && !whole.is_dropped();
                        child = Inside::Tensor(whole);
                    }
                    Some(found) => verdict.action = verdict.action.max(found.verdict.action),
                    None => {}
                },
                Inside::Rows(columns) if first == b'[' => child = Inside::Row(columns),
                Inside::Row(columns) => verdict = verdict.and(columns.verdict(index)),
                _ => {}
            }
            if !stays {
                self.scan.value()?;
            } else if verdict.is_dropped() {
                let token = self.scan.value()?;
                self.replace_last(token, "null")?;
            } else {
                let start = self.scan.at;
                let leaves = self.value(Context { verdict, fitting, depth: context.depth + 1 }, child)?;
                any_leaves |= leaves;
                if !leaves && !matches!(first, b'{' | b'[' | b'n') {
                    self.output.replace(self.base + start, self.base + self.scan.at, "null")?;
                }
            }
            if !self.sibling_ends(&mut siblings, mark, stays)? {
                break;
            }
        }
        Ok(any_leaves || context.verdict.allowed)
    }

    /// A member or an element is over: it stays, or is taken out with one comma. False when it was the last.
    fn sibling_ends(&mut self, siblings: &mut Siblings, mark: Mark, stays: bool) -> Result<bool, Withheld> {
        let end = self.scan.at;
        let next = self.scan.peek()?;
        if next != siblings.closing && next != b',' {
            return Err(Withheld::Malformed);
        }
        let is_last = next == siblings.closing;
        let comma = self.scan.at;
        self.scan.at += 1;
        if stays {
            siblings.any_stays = true;
        } else {
            let to = if siblings.any_stays || is_last { end } else { comma + 1 };
            self.output.take_back(mark);
            self.output.replace(self.base + siblings.from, self.base + to, "")?;
        }
        siblings.from = if siblings.any_stays { comma } else { comma + 1 };
        Ok(!is_last)
    }

    fn enter(&mut self, name: &str) {
        if self.policy.needs_way() {
            if !self.way.is_empty() {
                self.way.push('.');
            }
            self.way.push_str(name);
        }
    }
}
