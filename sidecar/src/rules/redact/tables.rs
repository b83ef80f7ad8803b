//! Values whose name stands beside them: V2's tensors, and tables with a list of their columns.

use super::Withheld;
use super::policy::{Action, Policy, Verdict};
use super::scan::{Scan, string_of};

const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
];

/// An object with a name, where V2 has its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    /// What the rules say of that name.
    pub(super) verdict: Verdict,
    /// Whether it is a tensor beyond doubt: with a shape of numbers and one of V2's datatypes. What is not, and is named
    /// like something that must not leave, is treated like it all the same.
    pub(super) is_tensor: bool,
}

/// The name of the object that begins here, if it has one.
pub(super) fn named(policy: &Policy, object: Scan<'_>) -> Result<Option<Named>, Withheld> {
    let mut named: Option<Verdict> = None;
    let (mut shapes, mut datatypes, mut is_tensor) = (0, 0, true);
    object.members(|name, mut value| {
        let token = match name {
            "name" | "shape" | "datatype" => value.value()?,
            _ => return Ok(()),
        };
        match name {
            "name" if token.starts_with('"') => {
                let name = string_of(token)?;
                let verdict = policy.field(&name, &name);
                // A name said twice is both: the stricter action, and allowed only if both are.
                named = Some(named.map_or(verdict, |other| both(other, verdict)));
            }
            "shape" => {
                shapes += 1;
                is_tensor &= token.starts_with('[')
                    && token.bytes().all(|byte| byte.is_ascii_digit() || b"[], \t\r\n".contains(&byte));
            }
            "datatype" if token.starts_with('"') => {
                datatypes += 1;
                is_tensor &= DATATYPES.contains(&&*string_of(token)?);
            }
            _ => is_tensor = false,
        }
        Ok(())
    })?;
    let is_tensor = is_tensor && shapes > 0 && datatypes > 0;
    Ok(named.map(|verdict| Named { verdict, is_tensor }))
}

fn both(one: Verdict, other: Verdict) -> Verdict {
    Verdict { action: one.action.max(other.action), allowed: one.allowed && other.allowed }
}

/// The named columns of a table: `{"columns": ["age", "ssn"], "data": [[41, "…"], …]}`, as pandas and MLflow write it, or
/// `names` and `ndarray`, as Seldon does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    verdicts: Vec<Verdict>,
    strictest: Option<Action>,
}

impl Columns {
    /// The columns of the object that begins here, if it is a table.
    pub(super) fn of(policy: &Policy, object: Scan<'_>) -> Result<Option<Self>, Withheld> {
        let mut found: Option<Self> = None;
        let (mut has_rows, mut are_names) = (false, true);
        object.members(|name, mut value| {
            let is_list = value.peek()? == b'[';
            has_rows |= is_list && matches!(name, "data" | "ndarray");
            if !is_list || !matches!(name, "columns" | "names") {
                return Ok(());
            }
            let mut columns = Self { verdicts: Vec::new(), strictest: None };
            value.elements(|token| {
                let verdict = match token.as_bytes().first() {
                    Some(b'"') => {
                        let name = string_of(token)?;
                        policy.field(&name, &name)
                    }
                    Some(b'{' | b'[') => {
                        are_names = false;
                        Verdict { action: None, allowed: false }
                    }
                    _ => policy.field(token, token),
                };
                columns.strictest = columns.strictest.max(verdict.action);
                columns.verdicts.push(verdict);
                Ok(())
            })?;
            found = Some(match found.take() {
                None => columns,
                // Said twice: nobody knows which is meant.
                Some(other) => Self { verdicts: Vec::new(), strictest: other.strictest.max(columns.strictest) },
            });
            Ok(())
        })?;
        if has_rows && !are_names {
            // Names in levels, or none at all. Which values they name can't be told.
            return Err(Withheld::Malformed);
        }
        Ok(found.filter(|_| has_rows))
    }

    /// What holds for a value of a row. One that no column names may be any column's.
    pub(super) fn verdict(&self, index: usize) -> Verdict {
        self.verdicts.get(index).copied().unwrap_or(Verdict { action: self.strictest, allowed: false })
    }
}
