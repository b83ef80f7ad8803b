"""The three shifts: what goes wrong in each, when, and what somebody who is on call should hear of it."""

from dataclasses import dataclass, field

#: A shift's length, in minutes, on which the plans are laid.
LENGTH = 120


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong for a while."""

    #: In words.
    what: str
    #: From which minute until which.
    begins: float
    ends: float
    #: Rules whose alerts tell of it; none when nobody needs to hear of it.
    rules: frozenset[str]
    #: What is done to the model's server (`pause`, `pause_share`, `error_share`).
    model: dict = field(default_factory=dict)
    #: What is done to each row, by name: see `Feed`.
    feed: tuple[str, ...] = ()
    #: What is done to a process or a receiver: `kill model`, `kill collector`, `busy pagerduty`, `deaf mail`.
    stage: str = ""

    def is_on(self, minute: float) -> bool:
        return self.begins <= minute < self.ends


def _trouble(what, begins, ends, rules, **more) -> Trouble:
    return Trouble(what, begins, ends, frozenset(rules), **more)


SLOW = {"pause": 0.8, "pause_share": 0.4}

#: A quiet night: January's own days, and nothing that anybody did.
CALM: list[Trouble] = []

#: One thing after the other.
TROUBLED = [
    _trouble("the model answers four in ten requests after 0.8 s", 20, 32, {"LatencySlo", "LatencyBudget"}, model=SLOW),
    _trouble("one request in twenty fails with 500", 42, 54, {"AvailabilitySlo", "AvailabilityBudget"}, model={"error_share": 0.05}),
    _trouble("the collector is killed, and started again after a minute", 58, 59, set(), stage="kill collector"),
    _trouble("temp is missing in every row, for three days of flights", 64, 88, {"MissingValues"}, feed=("no temp",)),
    _trouble("the weather's feed stands still", 94, 112, {"StaleFeatures", "FeatureDrift"}, feed=("old weather",)),
]

#: The world has changed (it is July), and much else goes wrong at once.
STORM = [
    _trouble("it is July: the model knows January", 0, 120, {"FeatureDrift", "PredictionDrift", "NewCategory", "SegmentDrift"}),
    _trouble("the model's server is gone", 12, 17, {"AvailabilitySlo", "AvailabilityBudget"}, stage="kill model"),
    _trouble("PagerDuty answers 500", 12, 20, {"DeliveryFailure"}, stage="busy pagerduty"),
    *[
        _trouble(f"slow for two minutes ({number} of 4)", minute, minute + 2, {"LatencySlo", "LatencyBudget"}, model=SLOW)
        for number, minute in enumerate([26, 35, 44, 53], 1)
    ],
    _trouble("the collector is killed, and started again after eight minutes", 62, 70, {"heartbeat"}, stage="kill collector"),
    _trouble("the mail server takes nothing", 74, 86, {"DeliveryFailure"}, stage="deaf mail"),
    _trouble("the weather's feed stands still", 74, 96, {"StaleFeatures"}, feed=("old weather",)),
    _trouble("slow and failing", 78, 90, {"LatencySlo", "AvailabilitySlo", "LatencyBudget", "AvailabilityBudget"}, model={**SLOW, "error_share": 0.1}),
    _trouble("temp, dewp and humid are missing", 88, 112, {"MissingValues"}, feed=("no temp", "no dewp", "no humid")),
    _trouble("a carrier that nobody knew flies a tenth of the flights", 90, 112, {"NewCategory"}, feed=("new carrier",)),
]

SHIFTS = {"calm": ("01", CALM), "troubled": ("01", TROUBLED), "storm": ("07", STORM)}
