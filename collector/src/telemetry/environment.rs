//! OpenTelemetry's own environment variables: where signals go, and how.
//!
//! Platforms set them for all of their pods at once, so what is wrong with them is said and left out, and ends nothing.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The specification's defaults.
const TIMEOUT: Duration = Duration::from_secs(10);
const SPAN_INTERVAL: Duration = Duration::from_secs(5);
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SERVICE_NAME: &str = "driftline";

/// What the variables say.
#[derive(Debug)]
pub(super) struct Environment {
    /// Where spans go; none when none are made.
    pub(super) traces: Option<Url>,
    pub(super) metrics: Option<Url>,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) span_interval: Duration,
    pub(super) metric_interval: Duration,
    pub(super) sampler: Sampler,
    /// What the signals are of.
    pub(super) resource: Vec<(String, String)>,
    /// What could not be used, and was left out.
    pub(super) problems: Vec<String>,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// Whether a caller's decision is taken over.
    pub(super) follows_parent: bool,
    /// The share of the other traces that is recorded.
    pub(super) share: f64,
}

impl Environment {
    /// Reads them, by a function that gives a variable's value.
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut reading = Reading { variable, problems: Vec::new() };
        let headers = reading.headers();
        let mut environment = Self {
            traces: reading.endpoint("TRACES", "v1/traces"),
            metrics: reading.endpoint("METRICS", "v1/metrics"),
            headers,
            timeout: reading.millis("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT),
            span_interval: reading.millis("OTEL_BSP_SCHEDULE_DELAY", SPAN_INTERVAL),
            metric_interval: reading.millis("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL),
            sampler: reading.sampler(),
            resource: reading.resource(),
            problems: Vec::new(),
        };
        environment.problems = reading.problems;
        environment
    }
}

struct Reading<'v> {
    variable: &'v dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reading<'_> {
    /// A variable that is set; an empty one is not.
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn problem(&mut self, name: &str, value: &str, allowed: &str) {
        self.problems.push(format!("{name}: '{value}' cannot be used; allowed is {allowed}"));
    }

    /// Where a signal goes: its own endpoint as it is, or its path below the one of all.
    fn endpoint(&mut self, signal: &str, path: &str) -> Option<Url> {
        if self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        if self.get(&format!("OTEL_{signal}_EXPORTER")).is_some_and(|value| value == "none") {
            return None;
        }
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let (name, text, url) = match (self.get(&own), self.get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(text), _) => (own, text.clone(), text),
            (None, Some(text)) => {
                let url = format!("{}/{path}", text.trim_end_matches('/'));
                ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), text, url)
            }
            (None, None) => return None,
        };
        for name in [format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()] {
            match self.get(&name) {
                Some(protocol) if protocol != "http/protobuf" => {
                    self.problem(&name, &protocol, "http/protobuf, which receivers take on port 4318");
                    return None;
                }
                Some(_) => break,
                None => {}
            }
        }
        let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.problem(&name, &text, "a URL, as in http://localhost:4318");
        }
        url
    }

    /// `name=value,name=value`, with values as in URLs.
    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.pairs("OTEL_EXPORTER_OTLP_HEADERS") {
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                // Values are secrets.
                _ => self.problem("OTEL_EXPORTER_OTLP_HEADERS", &name, "names and values of HTTP headers"),
            }
        }
        headers
    }

    fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let text = self.get(name).unwrap_or_default();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), decoded(value.trim())))
        };
        text.split(',').filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
    }

    fn millis(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(millis) if millis > 0 => Duration::from_millis(millis),
            _ => {
                self.problem(name, &text, "a number of milliseconds above 0");
                default
            }
        }
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.get("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_parent, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name.as_str()),
        };
        let share = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.share(),
            _ => {
                let allowed = "always_on, always_off or traceidratio, each with parentbased_ before it or without";
                self.problem("OTEL_TRACES_SAMPLER", &name, allowed);
                return Sampler { follows_parent: true, share: 1.0 };
            }
        };
        Sampler { follows_parent, share }
    }

    fn share(&mut self) -> f64 {
        let Some(text) = self.get("OTEL_TRACES_SAMPLER_ARG") else { return 1.0 };
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => {
                self.problem("OTEL_TRACES_SAMPLER_ARG", &text, "a number from 0 to 1");
                1.0
            }
        }
    }

    fn resource(&self) -> Vec<(String, String)> {
        let mut resource = self.pairs("OTEL_RESOURCE_ATTRIBUTES");
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        for (key, value) in [("service.name", SERVICE_NAME), ("service.version", env!("CARGO_PKG_VERSION"))] {
            if resource.iter().all(|(own, _)| own != key) {
                resource.push((key.to_owned(), value.to_owned()));
            }
        }
        resource
    }
}

/// A text without the percent signs of URLs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = code.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let variable =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Environment::read(&variable)
    }

    fn urls(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let environment = read(variables);
        [environment.traces, environment.metrics].map(|url| url.map(String::from))
    }

    #[test]
    fn nothing_is_sent_unless_a_receiver_is_named() {
        assert_eq!(urls(&[]), [None, None]);
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318/");
        let below = |path: &str| Some(format!("http://otel:4318/v1/{path}"));
        assert_eq!(urls(&[all]), [below("traces"), below("metrics")]);
        assert_eq!(urls(&[all, ("OTEL_TRACES_EXPORTER", "none")]), [None, below("metrics")]);
        assert_eq!(urls(&[all, ("OTEL_SDK_DISABLED", "true")]), [None, None]);
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://other/at/all");
        assert_eq!(urls(&[own]), [None, Some("https://other/at/all".to_owned())]);
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_said() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4317");
        let environment = read(&[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(environment.traces.is_none() && environment.problems[0].contains("'grpc' cannot be used"));
        let environment = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel:4318"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
        ]);
        assert_eq!((environment.problems.len(), environment.timeout), (5, TIMEOUT));
        assert!(!environment.problems.concat().contains("secret"));
    }

    #[test]
    fn headers_resource_and_sampler_are_the_specifications() {
        let environment = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc%3D, x-tenant = a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.name=other"),
            ("OTEL_SERVICE_NAME", "watcher"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(environment.headers["authorization"], "Basic abc=");
        assert_eq!(environment.headers["x-tenant"], "a");
        let resource: Vec<String> =
            environment.resource.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(resource[..2], ["deployment.environment.name=prod", "service.name=watcher"]);
        assert_eq!(environment.sampler, Sampler { follows_parent: false, share: 0.25 });
        assert_eq!(read(&[]).sampler, Sampler { follows_parent: true, share: 1.0 });
    }
}
