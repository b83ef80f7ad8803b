//! Which requests are inference, and which protocol their bodies speak.

/// A protocol of model servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelProtocol {
    /// TensorFlow Serving's and KServe's V1: `{"instances": […]}`, `{"predictions": […]}`.
    V1,
    /// The Open Inference Protocol, V2: named tensors, in JSON or with binary parts.
    V2,
    /// The Open Inference Protocol over gRPC: `ModelInfer`, `ModelStreamInfer`.
    V2Grpc,
    /// TensorFlow Serving over gRPC: `Predict`, `Classify`, `Regress`, `MultiInference`.
    TensorFlowGrpc,
    /// `POST /invocations`, as MLflow and SageMaker have it, or `/models/{model}/invoke`: JSON, JSON lines or CSV.
    Invocations,
    /// OpenAI's: chat, completions, responses and embeddings; whole answers or server-sent events.
    OpenAi,
    /// TorchServe's `/predictions/{model}`: whatever its handler takes.
    TorchServe,
    /// Seldon Core's `/api/v1.0/predictions`: arrays with names, JSON or text.
    Seldon,
    /// The same over gRPC: `Predict` of a deployment and of one of its models.
    SeldonGrpc,
    /// Anything else that the owner's routes name: JSON whose fields a mapping names.
    Generic,
}

impl ModelProtocol {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::V1,
        Self::V2,
        Self::V2Grpc,
        Self::TensorFlowGrpc,
        Self::Invocations,
        Self::OpenAi,
        Self::TorchServe,
        Self::Seldon,
        Self::SeldonGrpc,
        Self::Generic,
    ];

    /// The name by which metrics, routes and archive know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V2Grpc => "v2_grpc",
            Self::TensorFlowGrpc => "tensorflow_grpc",
            Self::Invocations => "invocations",
            Self::OpenAi => "openai",
            Self::TorchServe => "torchserve",
            Self::Seldon => "seldon",
            Self::SeldonGrpc => "seldon_grpc",
            Self::Generic => "generic",
        }
    }

    /// The protocol of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What an inference path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferencePath<'a> {
    /// The protocol of the bodies.
    pub protocol: ModelProtocol,
    /// The model's name in the path; empty where the path names none.
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
    let path = path_of(target);
    // `curl -T`, by which TorchServe's documentation sends what it sends, puts.
    if method != "POST" && !(method == "PUT" && path.starts_with("/predictions/")) {
        return None;
    }
    let without_model = |protocol| Some(InferencePath { protocol, model: "", version: None });
    match path {
        "/invocations" => return without_model(ModelProtocol::Invocations),
        "/inference.GRPCInferenceService/ModelInfer" | "/inference.GRPCInferenceService/ModelStreamInfer" => {
            return without_model(ModelProtocol::V2Grpc);
        }
        "/seldon.protos.Seldon/Predict" | "/seldon.protos.Model/Predict" => {
            return without_model(ModelProtocol::SeldonGrpc);
        }
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        let (model, version) = model_and_version(rest.strip_suffix("/infer")?, &["versions/"])?;
        return Some(InferencePath { protocol: ModelProtocol::V2, model, version });
    }
    if let Some(rest) = path.strip_prefix("/v1/models/") {
        // TensorFlow Serving has classify and regress beside predict.
        let rest = [":predict", ":classify", ":regress"].into_iter().find_map(|verb| rest.strip_suffix(verb))?;
        // A label stands for a version, and is what its callers call it.
        let (model, version) = model_and_version(rest, &["versions/", "labels/"])?;
        return Some(InferencePath { protocol: ModelProtocol::V1, model, version });
    }
    if let Some(call) = path.strip_prefix("/tensorflow.serving.PredictionService/") {
        let is_inference = matches!(call, "Predict" | "Classify" | "Regress" | "MultiInference");
        return is_inference.then_some(()).and_then(|()| without_model(ModelProtocol::TensorFlowGrpc));
    }
    if let Some(rest) = path.strip_prefix("/models/") {
        // SageMaker's containers of several models.
        return named(ModelProtocol::Invocations, rest.strip_suffix("/invoke")?, None);
    }
    if let Some(rest) = path.strip_prefix("/predictions/") {
        let (model, version) = match rest.split_once('/') {
            None => (rest, None),
            Some((model, version)) => (model, Some(version)),
        };
        return named(ModelProtocol::TorchServe, model, version);
    }
    if let Some(before) =
        ["/api/v1.0/predictions", "/api/v0.1/predictions"].iter().find_map(|end| path.strip_suffix(end))
    {
        // Gateways put the namespace and the deployment before it.
        let deployment = before.strip_prefix("/seldon/").and_then(|rest| rest.split_once('/')).map(|(_, name)| name);
        let model = deployment.filter(|name| is_name(name)).unwrap_or_default();
        return Some(InferencePath { protocol: ModelProtocol::Seldon, model, version: None });
    }
    // Gateways put OpenAI's paths behind prefixes of their own: /openai/v1/chat/completions.
    let is_open_ai = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
        .into_iter()
        .any(|end| path.ends_with(end));
    is_open_ai.then_some(()).and_then(|()| without_model(ModelProtocol::OpenAi))
}

/// The path of an origin-form or absolute-form target, without its query.
///
/// ```
/// assert_eq!(driftline_protocol::path_of("http://model.svc:8080/v1/models/m:predict?a=1"), "/v1/models/m:predict");
/// ```
pub fn path_of(target: &str) -> &str {
    // Asked twice for each request; looking for a character, rather than for a byte, takes five times as long.
    let target = memchr::memchr(b'?', target.as_bytes()).map_or(target, |query| target.split_at(query).0);
    match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |slash| rest.split_at(slash).1),
        None => target,
    }
}

fn model_and_version<'a>(rest: &'a str, kinds: &[&str]) -> Option<(&'a str, Option<&'a str>)> {
    let (model, version) = match rest.split_once('/') {
        None => (rest, None),
        Some((model, version)) => (model, Some(kinds.iter().find_map(|kind| version.strip_prefix(kind))?)),
    };
    (is_name(model) && version.is_none_or(is_name)).then_some((model, version))
}

fn named<'a>(protocol: ModelProtocol, model: &'a str, version: Option<&'a str>) -> Option<InferencePath<'a>> {
    (is_name(model) && version.is_none_or(is_name)).then_some(InferencePath { protocol, model, version })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
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
        assert_eq!(version("/v1/models/m/labels/stable:predict"), Some(("m", Some("stable"))));
        assert_eq!(version("/models/m/invoke"), Some(("m", None)));
        for other in [
            "/v2/models/m",
            "/v2/models//infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/ready",
            "/v2/models/m/labels/stable/infer",
            "/models/m",
            "/models//invoke",
            "/metrics",
            "/v1/models/m",
            "/v1/models",
            "/v1/models/m:explain",
            "/v2/models/a/b/infer",
            "/predictions/",
            "/predictions/a/b/c",
            "/ping",
            "/api/v1.0/feedback",
            "/inference.GRPCInferenceService/ServerLive",
            "/inference.GRPCInferenceService/ModelMetadata",
            "/tensorflow.serving.PredictionService/GetModelMetadata",
            "/seldon.protos.Seldon/SendFeedback",
            "/grpc.health.v1.Health/Check",
            "",
            "*",
            "http://host",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn knows_the_paths_of_the_servers_in_use() {
        let protocol = |target| inference_path("POST", target).map(|path| path.protocol);
        for (target, expected) in [
            ("/v1/models/m:regress", ModelProtocol::V1),
            ("/invocations", ModelProtocol::Invocations),
            ("/inference.GRPCInferenceService/ModelInfer", ModelProtocol::V2Grpc),
            ("/tensorflow.serving.PredictionService/Predict", ModelProtocol::TensorFlowGrpc),
            ("/v1/chat/completions", ModelProtocol::OpenAi),
            ("/openai/v1/embeddings", ModelProtocol::OpenAi),
            ("/predictions/resnet/1.0", ModelProtocol::TorchServe),
            ("/models/m/invoke", ModelProtocol::Invocations),
            ("/api/v1.0/predictions", ModelProtocol::Seldon),
            ("/seldon/models/flights/api/v0.1/predictions", ModelProtocol::Seldon),
            ("/seldon.protos.Seldon/Predict", ModelProtocol::SeldonGrpc),
            ("/seldon.protos.Model/Predict", ModelProtocol::SeldonGrpc),
        ] {
            assert_eq!(protocol(target), Some(expected), "{target}");
            assert_eq!(inference_path("GET", target), None);
        }
        assert!(
            inference_path("PUT", "/predictions/resnet").is_some() && inference_path("PUT", "/invocations").is_none()
        );
        assert!(ModelProtocol::ALL.into_iter().all(|protocol| ModelProtocol::named(protocol.name()) == Some(protocol)));
    }
}
