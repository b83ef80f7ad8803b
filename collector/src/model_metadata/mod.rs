//! What models say of themselves: the types of their columns, for those that neither reference nor configuration tells.
//!
//! A file is read at the start. A server is asked, at the start and from then on ([`asking`]): nothing waits for it, and until
//! it has answered types are taken from the first values, as without it. A type once given stays, whatever is answered later.

mod asking;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use driftline_protocol::{Metadata, Naming, ValueType};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::json;

use self::asking::Server;
use crate::config::{ColumnType, Config, MetadataSource, Model};

/// Largest document that is read. A model of a thousand inputs takes a tenth of it.
const MAX_BYTES: u64 = 1 << 20;

/// The types of a model's columns, as far as its metadata are known.
pub(crate) type ToldTypes = Arc<ArcSwap<BTreeMap<String, ColumnType>>>;

/// The metadata of all models that have some.
#[derive(Debug, Default)]
pub(crate) struct ModelMetadata {
    models: BTreeMap<String, ToldTypes>,
    servers: Vec<Server>,
}

impl ModelMetadata {
    /// Reads every file that the configuration names.
    ///
    /// # Errors
    /// One sentence for each that cannot be used: what, where, and what to do.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<String>> {
        let (mut all, mut problems) = (Self::default(), Vec::new());
        for model in &config.models {
            let told = match &model.metadata {
                None => continue,
                Some(MetadataSource::File(path)) => match of_file(path, &model.naming) {
                    Ok(types) => ToldTypes::new(ArcSwap::from_pointee(types)),
                    Err(why) => {
                        problems.push(format!("the metadata of model '{}', {}: {why}", model.name, path.display()));
                        continue;
                    }
                },
                Some(MetadataSource::Url(url)) => {
                    let told = ToldTypes::default();
                    all.servers.push(Server::new(model, url.clone(), Arc::clone(&told)));
                    told
                }
            };
            all.models.insert(model.name.clone(), told);
        }
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    /// What a model says; nothing where it says nothing.
    pub(crate) fn of(&self, model: &str) -> ToldTypes {
        self.models.get(model).map(Arc::clone).unwrap_or_default()
    }
}

/// What is told of a model's columns right now, for who looks once: how many there are.
///
/// # Errors
/// Why nothing is: where, what, and what to do. None where the configuration names no metadata.
pub(crate) async fn look(model: &Model) -> Option<Result<usize, String>> {
    let types = match model.metadata.as_ref()? {
        MetadataSource::File(path) => of_file(path, &model.naming).map_err(|why| format!("{}: {why}", path.display())),
        MetadataSource::Url(url) => {
            let asked = async { asking::ask(&asking::client()?, url, &model.naming).await };
            asked.await.map_err(|why| format!("{}: {why}", asking::place(url)))
        }
    };
    Some(types.map(|types| types.len()))
}

fn of_file(path: &Path, naming: &Naming) -> Result<BTreeMap<String, ColumnType>, String> {
    let remedy = "name a file that is there, or take the line out";
    let bytes = std::fs::metadata(path).map_err(|error| format!("{error}; {remedy}"))?.len();
    if bytes > MAX_BYTES {
        return Err(format!("{bytes} bytes are too many; at most {MAX_BYTES} are read"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{error}; {remedy}"))?;
    if text.trim_start().starts_with('{') { types(&text, naming) } else { types(&signature(&text)?, naming) }
}

/// The signature in an `MLmodel` file, which is YAML around JSON.
fn signature(text: &str) -> Result<String, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| format!("it is neither JSON nor YAML: {error}"))?;
    let signature = documents.first().and_then(|document| document.as_mapping_get("signature"));
    let signature = signature.ok_or("it has no signature; log the model with one, as by an input_example")?;
    let side = |name| signature.as_mapping_get(name).and_then(Yaml::as_str);
    Ok(json!({"inputs": side("inputs"), "outputs": side("outputs")}).to_string())
}

fn types(document: &str, naming: &Naming) -> Result<BTreeMap<String, ColumnType>, String> {
    let types = Metadata::parse(document)?.column_types(naming);
    Ok(types.into_iter().map(|(name, kind)| (name, column_type(kind))).collect())
}

fn column_type(kind: ValueType) -> ColumnType {
    match kind {
        ValueType::Number => ColumnType::Number,
        ValueType::Integer => ColumnType::Integer,
        ValueType::Boolean => ColumnType::Boolean,
        ValueType::Text => ColumnType::Text,
        ValueType::Embedding => ColumnType::Embedding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `MLmodel` file as MLflow writes it.
    const MLMODEL: &str = "artifact_path: model\nflavors:\n  python_function:\n    env:\n      conda: conda.yaml\n    \
        loader_module: mlflow.sklearn\nmodel_size_bytes: 1291\nsignature:\n  inputs: '[{\"type\": \"long\", \"name\": \"age\", \
        \"required\": true}, {\"type\":\n    \"string\", \"name\": \"plan\", \"required\": true}]'\n  outputs: '[{\"type\": \
        \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", \"shape\":\n    [-1]}}]'\n  params: null\nutc_time_created: \
        '2026-01-01 00:00:00.000000'\n";

    fn load(name: &str, content: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        let text = format!("models: [{{name: m, metadata: {name}}}]");
        let config = Config::parse("d.yaml", &text, folder.path()).unwrap();
        let metadata = ModelMetadata::load(&config).map_err(|problems| problems.join("\n"))?;
        let types = metadata.of("m");
        let types: Vec<_> = types.load().iter().map(|(name, kind)| format!("{name}: {}", kind.name())).collect();
        Ok(types.join(", "))
    }

    #[test]
    fn a_file_is_a_servers_answer_or_what_mlflow_stores_with_a_model() {
        let answer = r#"{"name": "m", "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 2]}]}"#;
        assert_eq!(
            load("m.json", answer).unwrap(),
            "feature_0: integer, feature_1: integer, x_0: integer, x_1: integer"
        );
        let expected =
            "age: integer, feature_0: integer, feature_1: text, plan: text, prediction: number, prediction_0: number";
        assert_eq!(load("MLmodel", MLMODEL).unwrap(), expected);
    }

    #[test]
    fn a_file_that_says_nothing_stops_the_start_with_what_to_do() {
        for (content, why) in [
            ("flavors: {}", "it has no signature; log the model with one"),
            ("[", "it is neither JSON nor YAML"),
            ("{}", "it names no inputs and no outputs"),
            ("signature: {inputs: null}", "it names no inputs and no outputs"),
        ] {
            let problem = load("m", content).unwrap_err();
            assert!(
                problem.starts_with("the metadata of model 'm', ") && problem.contains(why),
                "{content}: {problem}"
            );
        }
        let config = Config::parse("d.yaml", "models: [{name: m, metadata: gone}]", Path::new("/x")).unwrap();
        let problems = ModelMetadata::load(&config).unwrap_err();
        assert!(problems[0].contains("/x/gone: No such file"), "{problems:?}");
    }
}
