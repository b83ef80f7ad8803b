"""Writes the examples of documentations into protocol/testdata, for servers that are not to be had as packages.

    ~/.cache/driftline-tests/venv-*/bin/python tests/golden/record_documented.py

Bodies are as the pages have them, with the content types that curl, as they call it, sends. Where a page shows a request
without its answer, the exchange has none.
"""

from recording import expect, feature, keep, prediction

from wire import messages

# What `curl -d` says of a body.
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def write(name: str, target: str, request: tuple[str, str], answer: tuple[int, str, str] | None, method: str = "POST"):
    """An exchange: the content type and text of its request; and of its answer, with the status."""
    exchange = messages()["Batch"]().exchanges.add(method=method, target=target, status=200)
    exchange.end = exchange.DESCRIPTOR.fields_by_name["end"].enum_type.values_by_name["COMPLETE"].number
    sides = [(exchange.request_headers, exchange.request, request)]
    if answer:
        exchange.status = answer[0]
        sides.append((exchange.response_headers, exchange.response, answer[1:]))
    for headers, body, (content_type, text) in sides:
        if content_type:
            headers.add(name="content-type", value=content_type)
        body.content = text.encode()
        body.size = len(body.content)
    keep(name, exchange)


def numbers(start: str, rows: list[list[float]]) -> list[dict]:
    return [feature(f"{start}_{index}", "number", list(map(float, cells))) for index, cells in enumerate(zip(*rows))]


def tensorflow():
    """TensorFlow Serving: RESTful API (tensorflow_serving/g3doc/api_rest.md)."""
    half = "/v1/models/half_plus_three"
    answer = '{\n    "predictions": [3.5, 4.0, 5.5]\n}\n'
    write("tensorflow_rows", f"{half}:predict", (FORM, '{"instances": [1.0,2.0,5.0]}'), (200, JSON, answer))
    columns = [feature("feature_0", "number", [1.0, 2.0, 5.0]), prediction("prediction", "number", [3.5, 4.0, 5.5])]
    expect("tensorflow_rows", columns)
    body = '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    write("tensorflow_regress", f"{half}:regress", (FORM, body), (200, JSON, '{\n    "results": [3.5, 4.0]\n}\n'))
    expect("tensorflow_regress", [feature("x", "number", [1.0, 2.0]), prediction("prediction", "number", [3.5, 4.0])])
    missing = '{ "error": "Servable not found for request: Latest(half)" }\n'
    write("tensorflow_failed", "/v1/models/half:predict", (FORM, '{"instances": [1.0,5.0]}'), (404, JSON, missing))
    expect("tensorflow_failed", [feature("feature_0", "number", [1.0, 5.0])], outcome=404)

    write("tensorflow_texts", f"{half}/versions/123:predict", (FORM, '{"instances": [ "foo", "bar", "baz" ]}'), None)
    expect("tensorflow_texts", [feature("feature_0", "text", ["foo", "bar", "baz"])], version="123")
    # The page has `signal` of the second row with one bracket too many.
    rows = """{
 "instances": [
   {
     "tag": "foo",
     "signal": [1, 2, 3, 4, 5],
     "sensor": [[1, 2], [3, 4]]
   },
   {
     "tag": "bar",
     "signal": [3, 4, 1, 2, 5],
     "sensor": [[4, 5], [6, 8]]
   }
 ]
}"""
    columns = """{
 "inputs": {
   "tag": ["foo", "bar"],
   "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
   "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]
 }
}"""
    tensors = [feature("tag", "text", ["foo", "bar"]), *numbers("signal", [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]])]
    tensors += numbers("sensor", [[1, 2, 3, 4], [4, 5, 6, 8]])
    for name, body in {"tensorflow_named_rows": rows, "tensorflow_columns": columns}.items():
        write(name, "/v1/models/m/labels/stable:predict", (FORM, body), None)
        expect(name, tensors, version="stable")
    bodies = """{
  "signature_name": "classify_objects",
  "examples": [
    {
      "image": { "b64": "aW1hZ2UgYnl0ZXM=" },
      "caption": "seaside"
    },
    {
      "image": { "b64": "YXdlc29tZSBpbWFnZSBieXRlcw==" },
      "caption": "mountains"
    }
  ]
}"""
    write("tensorflow_bytes", "/v1/models/m:classify", (FORM, bodies), None)
    images = feature("image", "text", ["image bytes", "awesome image bytes"])
    expect("tensorflow_bytes", [images, feature("caption", "text", ["seaside", "mountains"])])


DENSE = [[1.5, 16.0, 14.0, 23.0]]


def sagemaker():
    """Amazon SageMaker: Common Data Formats for Inference, and the response formats of linear learner and k-means."""
    scored = [prediction("score", "number", [0.4]), prediction("predicted_label", "number", [0.0])]
    whole = (200, JSON, '{"predictions": [{"score": 0.4, "predicted_label": 0}]}')
    lines = (200, "application/jsonlines", '{"score": 0.4, "predicted_label": 0}\n')
    wrapped = '{"data": {"features": {"values": [1.5, 16.0, 14.0, 23.0]}}}'
    flat = '{"features": [1.5, 16.0, 14.0, 23.0]}'
    for name, request, answer in [
        ("sagemaker_json", (JSON, f'{{"instances": [{flat}]}}'), whole),
        ("sagemaker_json_data", (JSON, f'{{"instances": [{wrapped}]}}'), whole),
        ("sagemaker_lines", ("application/jsonlines", flat), lines),
        ("sagemaker_lines_data", ("application/jsonlines", wrapped), lines),
    ]:
        write(name, "/invocations", request, answer)
        expect(name, numbers("feature", DENSE) + scored)

    sparse = '{"data": {"features": { "keys": [0, 1, 3], "shape": [4], "values": [1, 4, 1] } } }\n'
    write("sagemaker_sparse", "/invocations", ("application/jsonlines", sparse), lines)
    expect("sagemaker_sparse", numbers("feature", [[1, 4, 0, 1]]) + scored)
    wide = '{"data": {"features": { "keys": [26, 182, 232, 243, 431], "shape": [2000], "values": [1, 1, 1, 4, 1] } } }'
    write("sagemaker_sparse_wide", "/invocations", ("application/jsonlines", wide), lines)
    expect("sagemaker_sparse_wide", [], reason="too_many_columns")

    distances = [23.40593910217285, 27.250282287597656]
    clusters = "".join(f'{{"distance_to_cluster": {distance}, "closest_cluster": 0.0}}\n' for distance in distances)
    text = "1.5,16.0,14,23.0\n1.5,16.0,14,23.5\n"
    write("sagemaker_csv", "/invocations", ("text/csv;label_size=0", text), (200, "application/jsonlines", clusters))
    fields = [["1.5", "1.5"], ["16.0", "16.0"], ["14", "14"], ["23.0", "23.5"]]
    columns = [feature(f"feature_{index}", "field", cells) for index, cells in enumerate(fields)]
    columns.append(prediction("distance_to_cluster", "number", distances))
    expect("sagemaker_csv", [*columns, prediction("closest_cluster", "number", [0.0, 0.0])])


tensorflow()
sagemaker()
