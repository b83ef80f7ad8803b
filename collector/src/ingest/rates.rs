//! How fast senders may send: token buckets that may be overdrawn.
//!
//! How many exchanges a batch holds is known once it was read. So a bucket lets one in whenever nothing is owed, takes what
//! it holds, and then asks for patience until that is paid off. Any batch comes through some time, however small the rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refused::Refused;
use crate::config::{Rates, Token};

/// What a bucket holds at most, in seconds of its rate: what comes at once after a pause.
const BURST_SECONDS: f64 = 2.0;

/// The buckets of tokens and of models.
#[derive(Debug)]
pub(super) struct Meters {
    by_token: HashMap<String, Meter>,
    /// What each model has.
    per_model: Rates,
    /// As many as there are models.
    by_model: Mutex<HashMap<String, Arc<Meter>>>,
}

impl Meters {
    pub(super) fn new(tokens: &[Token], per_model: Rates) -> Self {
        let by_token = tokens.iter().map(|token| (token.name.clone(), Meter::new(token.rates))).collect();
        Self { by_token, per_model, by_model: Mutex::default() }
    }

    /// Whether a token's debts are paid; before anything is read of what comes with it.
    pub(super) fn look_at_token(&self, token: Option<&Token>) -> Result<(), Refused> {
        let Some(meter) = token.and_then(|token| self.by_token.get(&token.name)) else { return Ok(()) };
        meter.look(Instant::now()).map_err(|owed| owed.refused("this token"))
    }

    /// Takes what came from token and model, or nothing when either owes something.
    pub(super) fn take(&self, token: Option<&Token>, model: &str, exchanges: u64, bytes: usize) -> Result<(), Refused> {
        let now = Instant::now();
        let by_token = token.and_then(|token| self.by_token.get(&token.name));
        let by_model = self.model(model);
        if let Some(meter) = by_token {
            meter.look(now).map_err(|owed| owed.refused("this token"))?;
        }
        if let Some(meter) = &by_model {
            meter.look(now).map_err(|owed| owed.refused(&format!("model '{model}'")))?;
        }
        for meter in by_token.into_iter().chain(by_model.as_deref()) {
            meter.take(now, exchanges, bytes);
        }
        Ok(())
    }

    /// A model's meter. The model was admitted, so there are no more of them than may be seen.
    fn model(&self, model: &str) -> Option<Arc<Meter>> {
        if self.per_model == Rates::default() {
            return None;
        }
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = by_model.get(model) {
            return Some(Arc::clone(meter));
        }
        let meter = Arc::new(Meter::new(self.per_model));
        by_model.insert(model.to_owned(), Arc::clone(&meter));
        Some(meter)
    }
}

/// The buckets of one token or model.
#[derive(Debug)]
struct Meter {
    exchanges: Option<Mutex<Bucket>>,
    bytes: Option<Mutex<Bucket>>,
}

impl Meter {
    fn new(rates: Rates) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|rate| Mutex::new(Bucket::new(rate, Instant::now())));
        Self { exchanges: bucket(rates.exchanges), bytes: bucket(rates.bytes) }
    }

    fn look(&self, now: Instant) -> Result<(), Owed> {
        for (bucket, unit) in [(&self.exchanges, "exchanges"), (&self.bytes, "bytes")] {
            let Some(bucket) = bucket else { continue };
            bucket.lock().unwrap_or_else(PoisonError::into_inner).look(now).map_err(|(after, per_second)| Owed {
                after,
                per_second,
                unit,
            })?;
        }
        Ok(())
    }

    fn take(&self, now: Instant, exchanges: u64, bytes: usize) {
        for (bucket, amount) in [(&self.exchanges, exchanges as f64), (&self.bytes, bytes as f64)] {
            if let Some(bucket) = bucket {
                bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, amount);
            }
        }
    }
}

/// What must be waited for.
#[derive(Debug)]
struct Owed {
    after: Duration,
    per_second: f64,
    unit: &'static str,
}

impl Owed {
    fn refused(self, whose: &str) -> Refused {
        let Self { after, per_second, unit } = self;
        let why = format!("{whose} may send {per_second} {unit} a second, and has sent more; come back later");
        Refused::TooFast { after, why }
    }
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    /// Below zero, something is owed.
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second as f64;
        Self { per_second, level: per_second * BURST_SECONDS, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + earned).min(self.per_second * BURST_SECONDS);
        self.at = self.at.max(now);
    }

    /// Nothing, or how long it takes until nothing is owed, and the rate.
    fn look(&mut self, now: Instant) -> Result<(), (Duration, f64)> {
        self.fill(now);
        if self.level >= 0.0 {
            return Ok(());
        }
        Err((Duration::try_from_secs_f64(-self.level / self.per_second).unwrap_or(Duration::MAX), self.per_second))
    }

    fn take(&mut self, now: Instant, amount: f64) {
        self.fill(now);
        self.level -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_comes_through_than_the_rate() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(100, begun);
        let mut taken = 0;
        for millis in 0..60_000 {
            let now = begun + Duration::from_millis(millis);
            if bucket.look(now).is_ok() {
                bucket.take(now, 70.0);
                taken += 70;
            }
        }
        // A minute's worth, the burst, and one batch that was overdrawn.
        assert!((6000..=6000 + 200 + 70).contains(&taken), "{taken}");
    }

    #[test]
    fn a_batch_larger_than_the_rate_comes_through_and_is_paid_off() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(10, begun);
        bucket.look(begun).unwrap();
        bucket.take(begun, 120.0);
        let (after, _) = bucket.look(begun).unwrap_err();
        assert_eq!(after, Duration::from_secs(10));
        assert!(bucket.look(begun + Duration::from_secs(9)).is_err());
        assert!(bucket.look(begun + after).is_ok());
    }

    #[test]
    fn a_model_and_a_token_are_limited_each_by_its_own() {
        let rates = Rates { exchanges: Some(1), bytes: None };
        let meters = Meters::new(&[], rates);
        meters.take(None, "a", 10_000, 0).unwrap();
        assert!(matches!(meters.take(None, "a", 1, 0), Err(Refused::TooFast { .. })));
        meters.take(None, "b", 1, 0).unwrap();
        let unlimited = Meters::new(&[], Rates::default());
        (0..1000).for_each(|_| unlimited.take(None, "a", 1 << 40, 1 << 40).unwrap());
    }
}
