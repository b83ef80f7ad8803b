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
    #: What is done to the model's server (`pause`, `pause_share`, `error_share`), or to the desk's (`pause`).
    model: dict = field(default_factory=dict)
    #: What is done to each row, by name: see `Feed`.
    feed: tuple[str, ...] = ()
    #: What is done to a process, a receiver, a folder or a way: `kill NAME`, `busy pagerduty`, `deaf mail`, `no fares`,
    #: `hide fares`, `no outcomes`, `wrong outcomes`, `lock archive`, `close road`, `no chats`.
    stage: str = ""
    #: Of which model it is. An alert of no model may be of any.
    of: str = "flights"
    #: Rules whose alerts must not be told, but be listed under another alert, which is its cause.
    listed: frozenset[str] = frozenset()

    def is_on(self, minute: float) -> bool:
        return self.begins <= minute < self.ends


def _trouble(what, begins, ends, rules, listed=(), **more) -> Trouble:
    return Trouble(what, begins, ends, frozenset(rules), listed=frozenset(listed), **more)


SLOW = {"pause": 0.8, "pause_share": 0.4}
#: The data's own: for an hour of the first of January two airports have no weather.
NO_WEATHER = _trouble("the data's own: an hour of the first day has no weather", 0, 8, {"StaleFeatures"})

#: A quiet night: January's own days, and nothing that anybody did.
CALM = [NO_WEATHER]

#: One thing after the other.
TROUBLED = [
    NO_WEATHER,
    _trouble("a sidecar with little memory does not reach the collector", 4, 10, {"CaptureLoss"}, stage="close road"),
    _trouble("a new client says that its JSON is encoded in utf-8", 8, 20, {"UndecodableBodies"}, feed=("wrong encoding",)),
    _trouble("the model answers four in ten requests after 0.8 s", 20, 32, {"LatencySlo", "LatencyBudget"}, model=SLOW),
    _trouble("no file of fares comes any more", 30, 62, {"StaleFeed"}, stage="no fares"),
    _trouble("one request in twenty fails with 500", 42, 54, {"AvailabilitySlo", "AvailabilityBudget"}, model={"error_share": 0.05}),
    _trouble("the collector is killed, and started again after a minute", 58, 59, set(), stage="kill collector"),
    _trouble("the desk's first words take 1.5 s", 60, 72, {"FirstMessageSlo"}, model={"pause": 1.5}, of="desk"),
    _trouble("… so its answers end late, too", 60, 72, {"LatencySlo"}, listed={"LatencySlo"}, of="desk"),
    _trouble("temp is missing in every row, for three days of flights", 64, 88, {"MissingValues"}, feed=("no temp",)),
    _trouble("the routes' distances come in kilometres", 72, 120, {"NewChange", "FeatureDrift"}, feed=("kilometres",), of="routes"),
    _trouble("nobody calls the desk any more", 76, 92, {"ModelSilent"}, stage="no chats", of="desk"),
    _trouble("one of two sidecars is gone, and its callers do not go elsewhere", 84, 110, {"SidecarSilent"}, stage="kill sidecar-2"),
    _trouble("the weather's feed stands still", 94, 112, {"StaleFeatures", "FeatureDrift"}, feed=("old weather",)),
    _trouble("a new job sends outcomes that are none", 98, 112, {"SendersRefused"}, stage="wrong outcomes"),
    _trouble("a release sends temp as a text", 113, 120, {"SchemaChange"}, feed=("text temp",)),
]

#: The world has changed (it is July), and much else goes wrong at once.
STORM = [
    _trouble("it is July: the model knows January", 0, 120, {"FeatureDrift", "PredictionDrift", "NewCategory", "SegmentDrift"}),
    _trouble("it is July for the routes, too", 0, 120, {"FeatureDrift"}, of="routes"),
    _trouble("the model's server is gone", 12, 17, {"AvailabilitySlo", "AvailabilityBudget"}, stage="kill model"),
    _trouble("PagerDuty answers 500", 12, 24, {"DeliveryFailure"}, stage="busy pagerduty"),
    _trouble("nobody sends outcomes any more", 16, 60, {"LateOutcomes"}, stage="no outcomes"),
    *[
        _trouble(f"slow for two minutes ({number} of 3)", minute, minute + 2, {"LatencySlo", "LatencyBudget"}, model=SLOW)
        for number, minute in enumerate([26, 40, 54], 1)
    ],
    _trouble(
        "the collector is killed, and started again after eight minutes", 62, 70, {"heartbeat", "CollectorDown"}, stage="kill collector"
    ),
    _trouble("… and a sidecar's little memory is full by then", 62, 70, {"CaptureLoss"}, listed={"CaptureLoss"}),
    _trouble("the folder of fares is gone", 64, 112, {"FeedUnreadable"}, stage="hide fares"),
    _trouble("the mail server takes nothing", 74, 90, {"DeliveryFailure"}, stage="deaf mail"),
    _trouble("the weather's feed stands still", 74, 96, {"StaleFeatures"}, feed=("old weather",)),
    _trouble("nobody calls the desk any more", 76, 96, {"ModelSilent"}, stage="no chats", of="desk"),
    _trouble("slow and failing", 78, 90, {"LatencySlo", "AvailabilitySlo", "LatencyBudget", "AvailabilityBudget"}, model={**SLOW, "error_share": 0.1}),
    _trouble("temp, dewp and humid are missing", 88, 112, {"MissingValues"}, feed=("no temp", "no dewp", "no humid")),
    _trouble(
        "a carrier that nobody knew flies a tenth of the flights", 90, 112, {"NewCategory"}, feed=("new carrier",), listed={"NewCategory"}
    ),
    _trouble("nothing can be written to the archive", 92, 120, {"ArchiveLag"}, stage="lock archive"),
]

SHIFTS = {"calm": ("01", CALM), "troubled": ("01", TROUBLED), "storm": ("07", STORM)}
