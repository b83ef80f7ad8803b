//! TorchServe's `POST /predictions/{model}`: whatever the model's handler takes and gives, as its content type says.
//!
//! TorchServe's envelopes for JSON are V1's, `{"instances": […]}` and `{"predictions": […]}`. Everything else is read as
//! it comes; see [`crate::generic`].

use crate::bodies::Bodies;
use crate::decode::{DecodeError, Naming};
use crate::generic::{self, Dialect};
use crate::rows::Rows;
use crate::v1;

const TORCHSERVE: Dialect = Dialect {
    opened: |body, _| Ok(body),
    features: v1::features,
    predictions: v1::predictions,
    unwrapped: |value| value,
    text_is_csv: false,
};

pub(crate) fn rows<'a>(bodies: &Bodies<'a>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    generic::rows_of(bodies, naming, &TORCHSERVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{JSON, exchange, rows};

    fn decoded(request: (&str, &str), response: (&str, &str)) -> Result<Vec<String>, &'static str> {
        rows(&exchange("/predictions/m/2.0", request, response), &Naming::default())
    }

    #[test]
    fn bodies_are_what_their_content_type_says() {
        let classes = (JSON, r#"{"tabby": 0.47, "tiger_cat": 0.46}"#);
        assert_eq!(decoded((JSON, r#"{"age": 39}"#), classes).unwrap(), ["age=39.0 tabby=0.47 tiger_cat=0.46"]);
        assert_eq!(
            decoded(("text/plain", "a good film"), ("", "1")).unwrap(),
            ["feature_0='a good film' prediction='1'"]
        );
        assert_eq!(
            decoded(("application/x-www-form-urlencoded", "[1, 2.5]"), (JSON, "[0.5]")).unwrap(),
            ["feature_0=1.0 feature_1=2.5 prediction=0.5"]
        );
        assert_eq!(decoded(("image/jpeg", "..."), classes), Err("content_type"));
        assert_eq!(decoded((JSON, "{"), classes), Err("malformed"));
    }

    #[test]
    fn envelopes_are_v1s() {
        let request = r#"{"instances": [{"age": 39}, {"age": 52}]}"#;
        let expected = ["age=39.0 prediction=0.5", "age=52.0 prediction=0.25"];
        assert_eq!(decoded((JSON, request), (JSON, r#"{"predictions": [0.5, 0.25]}"#)).unwrap(), expected);
        assert_eq!(decoded((JSON, request), (JSON, "[0.5, 0.25]")).unwrap(), expected);
        assert_eq!(decoded((JSON, request), (JSON, "[0.5]")), Err("row_mismatch"));
    }

    #[test]
    fn the_version_is_in_the_path() {
        let exchange = exchange("/predictions/m/2.0", (JSON, "{}"), (JSON, "{}"));
        let naming = Naming::default();
        assert_eq!(crate::decode_rows(&exchange, &naming).unwrap().model_version.as_deref(), Some("2.0"));
    }
}
