//! Databricks' Jobs API: a run of a job, with a token of ours by which a repetition gets the run that there is.

use serde_json::{Value, json};

use super::{Beginning, Order, field, header, not_started, secret};
use crate::secret::SecretSource;
use crate::targets::http::Http;

/// A job.
#[derive(Debug)]
pub struct DatabricksJob {
    url: String,
    job: u64,
    /// The job's parameter that is told why, as JSON; none when the job takes none.
    parameter: Option<String>,
    token: SecretSource,
    http: Http,
}

impl DatabricksJob {
    /// Runs of a job of the workspace at this address.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: &str, job: u64, parameter: Option<String>, token: SecretSource) -> Result<Self, String> {
        Ok(Self { url: url.trim_end_matches('/').to_owned(), job, parameter, token, http: Http::new()? })
    }

    pub(super) async fn start(&self, order: &Order) -> Beginning {
        let begun = async {
            let headers = header("authorization", &format!("Bearer {}", secret(&self.token)?.reveal()))?;
            let url = format!("{}/api/2.1/jobs/run-now", self.url);
            let body = body(self.job, self.parameter.as_deref(), order).to_string();
            Ok::<_, Beginning>(self.http.ask(&url, headers, body).await?)
        };
        match begun.await {
            Ok(answer) if answer.status.is_success() => Beginning::Started { reference: field(&answer, "run_id") },
            Ok(answer) => not_started(&answer),
            Err(beginning) => beginning,
        }
    }
}

fn body(job: u64, parameter: Option<&str>, order: &Order) -> Value {
    let mut body = json!({ "job_id": job, "idempotency_token": order.key() });
    if let Some(parameter) = parameter {
        body["job_parameters"] = json!({ parameter: order.payload().to_string() });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starters::tests::order;

    #[test]
    fn a_run_has_a_token_that_databricks_takes_and_parameters_that_are_texts() {
        let plain = body(7, None, &order());
        assert_eq!(plain, json!({ "job_id": 7, "idempotency_token": order().key() }));
        assert!(plain["idempotency_token"].as_str().unwrap().len() <= 64);
        let told = body(7, Some("driftline"), &order());
        let parameter: Value = serde_json::from_str(told["job_parameters"]["driftline"].as_str().unwrap()).unwrap();
        assert_eq!(parameter, order().payload());
    }
}
