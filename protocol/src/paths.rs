//! Which requests are inference, and which protocol their bodies speak.

/// A protocol of model servers, told by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelProtocol {
    /// TensorFlow Serving's and KServe's V1: `{"instances": […]}`, `{"predictions": […]}`.
    V1,
    /// The Open Inference Protocol, V2: named tensors.
    V2,
}

impl ModelProtocol {
    /// The name by which metrics and archive know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// What an inference path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferencePath<'a> {
    /// The protocol of the bodies.
    pub protocol: ModelProtocol,
    /// The model's name in the path.
    pub model: &'a str,
    /// The version in the path, if it names one.
    pub version: Option<&'a str>,
}

/// Reads a request's method and target. None for everything that is not inference: health, metrics, metadata.
///
/// ```
/// use driftline_protocol::{inference_path, ModelProtocol};
/// let path = inference_path("POST", "/v2/models/flights/versions/3/infer").unwrap();
/// assert_eq!((path.protocol, path.model, path.version), (ModelProtocol::V2, "flights", Some("3")));
/// assert!(inference_path("POST", "/v1/models/flights:predict?debug=1").is_some());
/// assert!(inference_path("GET", "/v2/models/flights").is_none());
/// ```
pub fn inference_path<'a>(method: &str, target: &'a str) -> Option<InferencePath<'a>> {
    if method != "POST" {
        return None;
    }
    let path = path_of(target);
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        let (model, version) = model_and_version(rest.strip_suffix("/infer")?)?;
        return Some(InferencePath { protocol: ModelProtocol::V2, model, version });
    }
    let rest = path.strip_prefix("/v1/models/")?;
    let (model, version) = model_and_version(rest.strip_suffix(":predict")?)?;
    Some(InferencePath { protocol: ModelProtocol::V1, model, version })
}

/// The path of an origin-form or absolute-form target, without its query.
fn path_of(target: &str) -> &str {
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |slash| rest.split_at(slash).1),
        None => target,
    }
}

fn model_and_version(rest: &str) -> Option<(&str, Option<&str>)> {
    let (model, version) = match rest.split_once('/') {
        None => (rest, None),
        Some((model, version)) => (model, Some(version.strip_prefix("versions/")?)),
    };
    let is_name = |name: &str| !name.is_empty() && !name.contains('/');
    (is_name(model) && version.is_none_or(is_name)).then_some((model, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_inference_from_everything_else() {
        let version = |target| inference_path("POST", target).map(|path| (path.model, path.version));
        assert_eq!(version("/v2/models/m/infer"), Some(("m", None)));
        assert_eq!(version("http://model.svc:8080/v2/models/m/infer"), Some(("m", None)));
        assert_eq!(version("/v1/models/m/versions/2:predict"), Some(("m", Some("2"))));
        for other in [
            "/v2/models/m",
            "/v2/models//infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/ready",
            "/metrics",
            "/v1/models/m",
            "/v1/models/m:explain",
            "/v2/models/a/b/infer",
            "",
            "*",
            "http://host",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
