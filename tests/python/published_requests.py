"""What services take, by their own published descriptions of their requests, as JSON Schemas: a receiver that takes more proves nothing.

GitHub: REST API 2022-11-28, "Create a repository dispatch event". Databricks: Jobs API 2.1, "Trigger a new job run".
CloudEvents: 1.0.2, JSON format. OpenSLO: v1, with what its own library asks for besides. Argo: the fields of EventSource, Sensor and Workflow that a recipe may use.
"""

import jsonschema

TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}

GITHUB_DISPATCH = {
    "type": "object",
    "required": ["event_type"],
    "additionalProperties": False,
    "properties": {
        "event_type": {"type": "string", "minLength": 1, "maxLength": 100},
        "client_payload": {"type": "object", "maxProperties": 10},
    },
}

DATABRICKS_RUN_NOW = {
    "type": "object",
    "required": ["job_id"],
    "additionalProperties": False,
    "properties": {
        "job_id": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
        "idempotency_token": {"type": "string", "maxLength": 64},
        "job_parameters": TEXTS,
        "notebook_params": TEXTS,
        "jar_params": {"type": "array", "items": TEXT},
        "python_params": {"type": "array", "items": TEXT},
        "python_named_params": TEXTS,
        "spark_submit_params": {"type": "array", "items": TEXT},
        "sql_params": TEXTS,
        "dbt_commands": {"type": "array", "items": TEXT},
        "pipeline_params": {"type": "object", "properties": {"full_refresh": {"type": "boolean"}}, "additionalProperties": False},
        "queue": {"type": "object", "required": ["enabled"], "properties": {"enabled": {"type": "boolean"}}, "additionalProperties": False},
        "only": {"type": "array", "items": TEXT},
        "performance_target": {"enum": ["STANDARD", "PERFORMANCE_OPTIMIZED"]},
    },
}

CLOUD_EVENT = {
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "minLength": 1},
        "datacontenttype": {"type": "string", "minLength": 1},
        "dataschema": {"type": "string", "format": "uri"},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"},
        "data": {},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
    },
    # Names of extensions are lower-case letters and digits.
    "patternProperties": {"^[a-z0-9]+$": {}},
    "additionalProperties": False,
}


def closed(required: list[str], properties: dict) -> dict:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


ANY = {"type": "object"}
KEY_OF_SECRET = closed(["name", "key"], {"name": TEXT, "key": TEXT, "optional": {"type": "boolean"}})
NAMED = closed(["name"], {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}, "namespace": TEXT, "labels": TEXTS, "annotations": TEXTS})
PARAMETER = closed(["name"], {"name": TEXT, "value": TEXT, "default": TEXT, "description": TEXT, "enum": {"type": "array", "items": TEXT}})
ARGUMENTS = closed([], {"parameters": {"type": "array", "items": PARAMETER}})


def argo(kind: str, spec: dict) -> dict:
    return closed(["apiVersion", "kind", "metadata", "spec"], {"apiVersion": {"const": "argoproj.io/v1alpha1"}, "kind": {"const": kind}, "metadata": NAMED, "spec": spec})


WEBHOOK_SOURCE = closed(
    ["port", "endpoint", "method"],
    {
        "port": {"type": "string", "pattern": "^[0-9]+$"},
        "endpoint": {"type": "string", "pattern": "^/"},
        "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
        "url": TEXT,
        "authSecret": KEY_OF_SECRET,
        "serverCertSecret": KEY_OF_SECRET,
        "serverKeySecret": KEY_OF_SECRET,
        "metadata": TEXTS,
        "maxPayloadSize": {"type": "integer"},
        "filter": closed(["expression"], {"expression": TEXT}),
    },
)
PORT = closed(["port"], {"port": {"type": "integer"}, "targetPort": {"type": "integer"}, "name": TEXT, "protocol": TEXT})
EVENT_SOURCE = argo(
    "EventSource",
    closed(
        [],
        {
            "service": closed(["ports"], {"ports": {"type": "array", "items": PORT}, "clusterIP": TEXT, "metadata": ANY}),
            "webhook": {"type": "object", "additionalProperties": WEBHOOK_SOURCE, "minProperties": 1},
            "eventBusName": TEXT,
            "replicas": {"type": "integer"},
            "template": ANY,
        },
    ),
)
DATA_FILTER = closed(
    ["path", "type", "value"],
    {"path": TEXT, "type": {"enum": ["string", "number", "bool"]}, "value": {"type": "array", "items": TEXT, "minItems": 1}, "comparator": {"enum": [">=", ">", "=", "!=", "<", "<="]}, "template": TEXT},
)
TRIGGER_PARAMETER = closed(
    ["src", "dest"],
    {
        "src": closed(["dependencyName"], {"dependencyName": TEXT, "dataKey": TEXT, "dataTemplate": TEXT, "contextKey": TEXT, "contextTemplate": TEXT, "value": TEXT, "useRawData": {"type": "boolean"}}),
        "dest": TEXT,
        "operation": {"enum": ["overwrite", "append", "prepend"]},
    },
)
WORKFLOW = argo("Workflow", closed([], {"workflowTemplateRef": closed(["name"], {"name": TEXT, "clusterScope": {"type": "boolean"}}), "arguments": ARGUMENTS, "entrypoint": TEXT, "serviceAccountName": TEXT}))
SENSOR = argo(
    "Sensor",
    closed(
        ["dependencies", "triggers"],
        {
            "template": closed([], {"serviceAccountName": TEXT, "container": ANY, "metadata": ANY}),
            "dependencies": {
                "type": "array",
                "items": closed(
                    ["name", "eventSourceName", "eventName"],
                    {"name": TEXT, "eventSourceName": TEXT, "eventName": TEXT, "filters": closed([], {"data": {"type": "array", "items": DATA_FILTER}, "exprs": {"type": "array"}})},
                ),
            },
            "triggers": {
                "type": "array",
                "items": closed(
                    ["template"],
                    {
                        "template": closed(
                            ["name", "argoWorkflow"],
                            {
                                "name": TEXT,
                                "conditions": TEXT,
                                "argoWorkflow": closed(
                                    ["operation", "source"],
                                    {
                                        "operation": {"enum": ["submit", "submit-from", "suspend", "retry", "resume", "resubmit", "terminate", "stop"]},
                                        "source": closed(["resource"], {"resource": WORKFLOW}),
                                        "parameters": {"type": "array", "items": TRIGGER_PARAMETER},
                                        "args": {"type": "array", "items": TEXT},
                                    },
                                ),
                            },
                        ),
                        "retryStrategy": ANY,
                        "rateLimit": ANY,
                    },
                ),
            },
            "eventBusName": TEXT,
            "replicas": {"type": "integer"},
        },
    ),
)
CONTAINER = {"image": TEXT, "command": {"type": "array", "items": TEXT}, "args": {"type": "array", "items": TEXT}, "env": {"type": "array"}, "resources": ANY}
TEMPLATE = closed(["name"], {"name": TEXT, "container": closed(["image"], CONTAINER), "script": closed(["image", "source"], CONTAINER | {"source": TEXT}), "inputs": ARGUMENTS, "retryStrategy": ANY})
WORKFLOW_TEMPLATE = argo(
    "WorkflowTemplate",
    closed(["templates"], {"entrypoint": TEXT, "onExit": TEXT, "arguments": ARGUMENTS, "templates": {"type": "array", "items": TEMPLATE}, "serviceAccountName": TEXT}),
)
ARGO = {"EventSource": EVENT_SOURCE, "Sensor": SENSOR, "Workflow": WORKFLOW, "WorkflowTemplate": WORKFLOW_TEMPLATE}

# Names that every implementation of OpenSLO takes are RFC 1123's.
LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
SHORTHAND = {"type": "string", "pattern": "^[1-9][0-9]*[mhdwMQY]$"}
ANNOTATIONS = {"type": "object", "additionalProperties": TEXT, "propertyNames": {"pattern": "^([a-z0-9.-]{1,253}/)?[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?$"}}
METADATA = closed(["name"], {"name": LABEL, "displayName": {"type": "string", "maxLength": 63}, "annotations": ANNOTATIONS})
METRIC = closed(["metricSource"], {"metricSource": closed(["spec"], {"type": TEXT, "metricSourceRef": LABEL, "spec": {"type": "object", "minProperties": 1}})})
RATIO = closed(["counter", "good", "total"], {"counter": {"type": "boolean"}, "good": METRIC, "total": METRIC})
CALENDAR = closed(["startTime", "timeZone"], {"startTime": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"}, "timeZone": TEXT})
TIME_WINDOW = {
    "oneOf": [
        closed(["duration", "isRolling"], {"duration": SHORTHAND, "isRolling": {"const": True}}),
        closed(["duration", "isRolling", "calendar"], {"duration": SHORTHAND, "isRolling": {"const": False}, "calendar": CALENDAR}),
    ]
}
TARGET_SHARE = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
SLICE = {"timeSliceTarget": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "timeSliceWindow": SHORTHAND}
OPENSLO_SPECS = {
    "SLO": closed(
        ["service", "indicator", "timeWindow", "budgetingMethod", "objectives"],
        {
            "service": {"type": "string", "minLength": 1},
            "indicator": closed(["metadata", "spec"], {"metadata": METADATA, "spec": closed(["ratioMetric"], {"ratioMetric": RATIO})}),
            "timeWindow": {"type": "array", "items": TIME_WINDOW, "minItems": 1, "maxItems": 1},
            "budgetingMethod": {"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
            "objectives": {"type": "array", "items": closed(["target"], {"target": TARGET_SHARE, **SLICE}), "minItems": 1},
            "alertPolicies": {"type": "array", "items": closed(["alertPolicyRef"], {"alertPolicyRef": LABEL})},
        },
    )
    | {
        "if": {"properties": {"budgetingMethod": {"const": "Timeslices"}}},
        "then": {"properties": {"objectives": {"items": {"required": ["timeSliceTarget", "timeSliceWindow"]}}}},
    },
    "AlertPolicy": closed(
        ["conditions", "notificationTargets"],
        {
            **dict.fromkeys(["alertWhenNoData", "alertWhenResolved", "alertWhenBreaching"], {"type": "boolean"}),
            "conditions": {"type": "array", "items": closed(["conditionRef"], {"conditionRef": LABEL}), "minItems": 1, "maxItems": 1},
            "notificationTargets": {"type": "array", "items": closed(["targetRef"], {"targetRef": LABEL}), "minItems": 1},
        },
    ),
    "AlertCondition": closed(
        ["severity", "condition"],
        {
            "severity": {"type": "string", "minLength": 1},
            "condition": closed(
                ["kind", "op", "threshold", "lookbackWindow", "alertAfter"],
                {"kind": {"const": "burnrate"}, "op": {"enum": ["lte", "gte", "lt", "gt"]}, "threshold": {"type": "number"}, "lookbackWindow": SHORTHAND, "alertAfter": {"type": "string", "pattern": "^[0-9]+[mhdwMQY]$"}},
            ),
        },
    ),
    "AlertNotificationTarget": closed(["target"], {"target": {"type": "string", "minLength": 1}, "description": {"type": "string", "maxLength": 1050}}),
}
OPENSLO = {
    kind: closed(["apiVersion", "kind", "metadata", "spec"], {"apiVersion": {"const": "openslo/v1"}, "kind": {"const": kind}, "metadata": METADATA, "spec": spec})
    for kind, spec in OPENSLO_SPECS.items()
}


def wrong(value, schema: dict) -> str | None:
    """What is wrong first with a value; none when nothing is."""
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    error = min(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)), default=None)
    return None if error is None else f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
