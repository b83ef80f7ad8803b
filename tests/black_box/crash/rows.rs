//! What is sent: every value follows from the boot, the exchange's number and the row's, so that whoever finds a row knows
//! what must be in it.

use driftline_protocol::{Body, EndState, Exchange};
use serde_json::{Value, json};

use crate::dice::mixed;

/// A row's own time lies so much before its request's. It is in a column, which some configurations take for event time.
pub(crate) const OWN_TIME_BEFORE: i64 = 86_400_000_000;

/// Which row of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
    pub(crate) row: u64,
}

/// What is in a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    pub(crate) number: f64,
    pub(crate) integer: i64,
    pub(crate) flag: bool,
    pub(crate) text: Option<String>,
    pub(crate) score: f64,
}

impl RowId {
    /// As the archive writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (request, row) = text.split_once('/').unwrap_or((text, "0"));
        let (boot, sequence) = request.strip_prefix('b')?.split_once('-')?;
        Some(Self { boot: boot.parse().ok()?, sequence: sequence.parse().ok()?, row: row.parse().ok()? })
    }

    pub(crate) fn values(self) -> Values {
        let draw = |salt: u64| mixed(mixed(mixed(self.boot ^ salt).wrapping_add(self.sequence)).wrapping_add(self.row));
        let number = f64::from_bits((draw(1) >> 12) | 0x3ff0_0000_0000_0000) * 1000.0;
        let text = match draw(4) % 5 {
            0 => None,
            1 => Some(String::new()),
            2 => Some("Zürich, \"東\"\n".to_owned()),
            _ => Some(format!("t{}", draw(5) % 1000)),
        };
        Values {
            number,
            integer: (draw(2) >> 12) as i64 - (1 << 51),
            flag: draw(3) % 2 == 0,
            text,
            score: number / 3.0,
        }
    }
}

/// How many rows an exchange has.
pub(crate) fn rows(boot: u64, sequence: u64) -> u64 {
    1 + mixed(boot.wrapping_mul(31).wrapping_add(sequence)) % 3
}

/// An exchange that began at this time.
pub(crate) fn exchange(boot: u64, sequence: u64, started_at_micros: i64) -> Exchange {
    let count = rows(boot, sequence);
    let all: Vec<Values> = (0..count).map(|row| RowId { boot, sequence, row }.values()).collect();
    let tensor = |name: &str, datatype: &str, value: &dyn Fn(&Values) -> Value| {
        let data: Vec<Value> = all.iter().map(value).collect();
        json!({ "name": name, "shape": [count], "datatype": datatype, "data": data })
    };
    let id = format!("b{boot}-{sequence}");
    let request = json!({ "id": id, "inputs": [
        tensor("number", "FP64", &|values| json!(values.number)),
        tensor("integer", "INT64", &|values| json!(values.integer)),
        tensor("flag", "BOOL", &|values| json!(values.flag)),
        tensor("text", "BYTES", &|values| json!(values.text)),
        tensor("at", "INT64", &|_| json!(started_at_micros - OWN_TIME_BEFORE)),
    ]});
    let response = json!({ "id": id, "model_name": "m", "model_version": "1", "outputs": [
        tensor("score", "FP64", &|values| json!(values.score)),
    ]});
    let body = |json: &Value| {
        let content = json.to_string();
        Some(Body { size: content.len() as u64, content: content.into(), ..Body::default() })
    };
    Exchange {
        sequence,
        request_id: id,
        method: "POST".into(),
        target: "/v2/models/m/infer".into(),
        status: 200,
        end: EndState::Complete.into(),
        started_at_micros,
        duration_micros: 1000 + sequence,
        request: body(&request),
        response: body(&response),
        weight: 1,
        ..Exchange::default()
    }
}
