"""Starting, watching and giving up one bulk operation, against a Shopify that follows a script."""

import pytest
from graphql import parse

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_operations import DOCUMENT_LIMIT, QUEUE, STALL, end_running, run

TREE = parse("query Products { products { edges { node { id } } } }")
OPERATION = "gid://shopify/BulkOperation/1"
BUSY = {
    "field": None,
    "message": "A bulk query operation for this app and shop is already in progress.",
    "code": "OPERATION_IN_PROGRESS",
}


class Shopify:
    """Stands in for the client: `starts` and `states` are used up one an answer; the last state stays."""

    def __init__(self, fake_time, states, starts=()):
        self.sleep, self.clock, self.waits = fake_time.sleep, fake_time.clock, fake_time.waits
        self.starts, self.states = list(starts), list(states)
        self.asked, self.listed, self.cancelled, self.texts = [], [], [], []

    def execute(self, name, variables=None, *, repeatable=None):
        self.asked.append(name)
        return {
            "bulk_run_query": self.start,
            "bulk_operation": self.state,
            "bulk_running": self.list,
            "bulk_cancel": self.cancel,
        }[name](variables)

    def start(self, variables):
        self.texts.append(variables["query"])
        outcome = self.starts.pop(0) if self.starts else None
        if outcome in ("lost, but started", "stopped, but started"):
            self.listed.insert(0, {"id": OPERATION, "status": "RUNNING", "query": variables["query"]})
        if outcome and outcome.startswith("stopped"):
            raise KeyboardInterrupt
        if outcome in ("null", "nothing"):
            return {"bulkOperationRunQuery": {"bulkOperation": None, "userErrors": []} if outcome == "null" else None}
        if outcome and outcome.startswith("lost"):
            raise ShopifyError("bulk_run_query: connection broken", "NO_ANSWER", outcome_unknown=True)
        if outcome == "busy":
            raise ShopifyError("bulk_run_query: request: already in progress", "USER_ERRORS", [BUSY])
        if outcome:
            raise ShopifyError("bulk_run_query: query: bad", "USER_ERRORS", [{"message": "bad", "code": "INVALID"}])
        return {"bulkOperationRunQuery": {"bulkOperation": {"id": OPERATION, "status": "CREATED"}, "userErrors": []}}

    def state(self, variables):
        assert variables == {"id": OPERATION}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, BaseException):
            raise state
        if state is None:
            return {"bulkOperation": None}
        status, count = state
        node = {"id": OPERATION, "status": status, "errorCode": None, "objectCount": str(count)}
        return {"bulkOperation": {**node, "rootObjectCount": str(count), "url": None, "partialDataUrl": None}}

    def list(self, variables):
        kind, _, status = variables["filter"].partition(" AND status:")
        assert kind == "operation_type:query"
        nodes = [node for node in self.listed if status in ("", node["status"].lower())]
        return {"bulkOperations": {"nodes": nodes[:25]}}

    def cancel(self, variables):
        self.cancelled.append(variables["id"])
        return {"bulkOperationCancel": {"bulkOperation": {"id": OPERATION, "status": "CANCELING"}, "userErrors": []}}


class Bar:
    def __init__(self):
        self.n = 0

    def update(self, n=1):
        self.n += n


def run_query(shopify, deadline=4 * 3600.0, progress=None):
    return run(shopify, "query", TREE, deadline=deadline, progress=progress)


def test_operation_is_watched_to_its_end_with_growing_pauses(fake_time):
    running = [("RUNNING", number) for number in range(20)]
    shopify, bar = Shopify(fake_time, [("CREATED", 0), *running, ("COMPLETED", 25)]), Bar()
    operation = run_query(shopify, progress=bar)
    assert (operation.id, operation.status, operation.object_count, bar.n) == (OPERATION, "COMPLETED", 25, 25)
    assert fake_time.waits[:3] == [0.5, 0.75, 1.125]
    assert max(fake_time.waits) == fake_time.waits[-1] == 10.0
    assert (len(shopify.texts), shopify.cancelled) == (1, [])


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "EXPIRED"])
def test_bad_end_is_an_end(fake_time, status):
    shopify = Shopify(fake_time, [("RUNNING", 1), (status, 1)])
    operation = run_query(shopify)
    assert operation.ended_as == f"bulk operation {OPERATION} ended as {status}"
    assert shopify.cancelled == []


def test_operation_without_progress_is_given_up(fake_time):
    began = fake_time.now
    shopify = Shopify(fake_time, [("CREATED", 0), ("RUNNING", 0), ("RUNNING", 7)])
    with pytest.raises(ShopifyError, match=r"is RUNNING with 7 objects: no progress in \d+ s") as caught:
        run_query(shopify)
    assert (caught.value.code, shopify.cancelled) == ("BULK_TIMEOUT", [OPERATION])
    assert STALL <= fake_time.now - began < STALL + 60


def test_operation_that_creeps_on_is_given_up_at_the_deadline(fake_time):
    began = fake_time.now
    shopify = Shopify(fake_time, [("RUNNING", number) for number in range(1000)])
    with pytest.raises(ShopifyError, match="no end in") as caught:
        run_query(shopify, deadline=3600.0)
    assert (caught.value.code, shopify.cancelled) == ("BULK_TIMEOUT", [OPERATION])
    assert 3600 <= fake_time.now - began < 3660


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), ShopifyError("no answer", "NO_ANSWER"), None])
def test_operation_that_nobody_watches_is_cancelled(fake_time, reason):
    shopify = Shopify(fake_time, [("RUNNING", 1), reason])
    with pytest.raises(KeyboardInterrupt if isinstance(reason, KeyboardInterrupt) else ShopifyError):
        run_query(shopify)
    assert shopify.cancelled == [OPERATION]


def test_failure_to_cancel_does_not_hide_the_reason(fake_time, caplog):
    shopify = Shopify(fake_time, [ShopifyError("no answer", "NO_ANSWER")])
    shopify.cancel = lambda _: (_ for _ in ()).throw(ShopifyError("bulk_cancel: no answer", "NO_ANSWER"))
    with pytest.raises(ShopifyError, match=r"^no answer$"):
        run_query(shopify)
    assert "was not cancelled: bulk_cancel: no answer" in caplog.text


def test_operation_waits_for_others(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["busy"] * 6)
    assert run_query(shopify).object_count == 3
    assert fake_time.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert len(set(shopify.texts)) == 1


def test_operation_does_not_wait_for_others_for_ever(fake_time):
    began = fake_time.now
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["busy"] * 1000)
    shopify.listed = [
        {"id": f"gid://shopify/BulkOperation/{number}", "status": status, "query": "query { shop { id } }"}
        for number, status in enumerate(["RUNNING", "COMPLETED", "CANCELING", "CREATED"])
    ]
    ids = ", ".join(f"gid://shopify/BulkOperation/{number}" for number in (0, 2, 3))
    with pytest.raises(ShopifyError, match=rf"already in progress .*Running: {ids}$") as caught:
        run_query(shopify)
    assert caught.value.code == "OPERATION_IN_PROGRESS"
    assert QUEUE <= fake_time.now - began < QUEUE + 60


def test_lost_start_is_looked_for_before_it_is_repeated(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["lost, but started"])
    assert run_query(shopify).status == "COMPLETED"
    assert shopify.asked == ["bulk_run_query", "bulk_running", "bulk_operation"]
    other = {"id": "gid://shopify/BulkOperation/9", "status": "RUNNING", "query": "query Products_0 { shop { id } }"}
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["lost"])
    shopify.listed = [other]  # of another run: not taken for ours
    run_query(shopify)
    assert shopify.asked == ["bulk_run_query", "bulk_running", "bulk_run_query", "bulk_operation"]


def test_start_is_lost_only_so_often(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["lost"] * 100)
    with pytest.raises(ShopifyError, match="connection broken"):
        run_query(shopify)
    assert len(shopify.texts) == 5


def test_start_that_stays_lost_leaves_nothing_running(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["lost"] * 4 + ["lost, but started"])
    with pytest.raises(ShopifyError, match="connection broken"):
        run_query(shopify)
    assert (len(shopify.texts), shopify.cancelled) == (5, [OPERATION])


@pytest.mark.parametrize("appears", [1, 2, 99])
def test_interrupted_start_is_cancelled_where_it_is_listed(fake_time, appears):
    shopify = Shopify(fake_time, [("RUNNING", 3)], starts=["stopped, but started"])
    listed = shopify.list
    shopify.list = lambda variables: (
        listed(variables) if shopify.asked.count("bulk_running") >= appears else {"bulkOperations": {"nodes": []}}
    )
    with pytest.raises(KeyboardInterrupt):
        run_query(shopify)
    assert shopify.cancelled == ([OPERATION] if appears <= 2 else [])
    assert shopify.asked.count("bulk_running") <= 2


def test_failed_search_for_an_interrupted_start_does_not_hide_the_reason(fake_time, caplog):
    shopify = Shopify(fake_time, [("RUNNING", 3)], starts=["stopped"])
    shopify.list = lambda _: (_ for _ in ()).throw(ShopifyError("bulk_running: no answer", "NO_ANSWER"))
    with pytest.raises(KeyboardInterrupt):
        run_query(shopify)
    assert "could not be found out: bulk_running: no answer" in caplog.text


@pytest.mark.parametrize("outcome", ["null", "nothing"])
def test_start_that_says_nothing_is_one_error(fake_time, outcome):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=[outcome])
    with pytest.raises(ShopifyError, match="bulk_run_query: Shopify neither names an operation nor says why") as caught:
        run_query(shopify)
    assert (caught.value.code, len(shopify.texts), shopify.cancelled) == ("BULK_START", 1, [])


def test_operations_of_an_earlier_run_are_ended(fake_time, caplog):
    shopify = Shopify(fake_time, [("CANCELING", 2), ("CANCELING", 3), ("CANCELED", 3)])
    texts = {
        OPERATION: ("RUNNING", "query Products_0123456789ab {\n  products { edges { node { id } } }\n}"),
        "other document": ("RUNNING", "query MoreProducts_0123456789ab { shop { id } }"),
        "other beginning": ("RUNNING", "query ProductsBulk_0123456789ab { shop { id } }"),
        "not of a run": ("RUNNING", "query Products { shop { id } }"),
        "not of a run either": ("CREATED", "query Products_of_somebody_else { shop { id } }"),
        "ended": ("COMPLETED", "query Products_0123456789ab { shop { id } }"),
    }
    shopify.listed = [{"id": name, "status": status, "query": text} for name, (status, text) in texts.items()]
    newer = {"id": "newer", "status": "COMPLETED", "query": "query Products_0123456789ab { shop { id } }"}
    shopify.listed[:0] = [newer] * 30  # more than one page shows
    end_running(shopify, "query", "Products")
    assert shopify.cancelled == [OPERATION]
    assert shopify.states == [("CANCELED", 3)]
    assert shopify.asked.count("bulk_operation") == 3
    assert f"bulk operation {OPERATION} of an earlier run is RUNNING; it is cancelled" in caplog.text
    shopify.listed = []
    end_running(shopify, "query", "Products")
    assert shopify.asked[-1] == "bulk_running"


def test_operation_that_does_not_end_is_an_error(fake_time):
    shopify = Shopify(fake_time, [("CANCELING", 2)])
    shopify.listed = [{"id": OPERATION, "status": "RUNNING", "query": "query Products_0123456789ab { shop { id } }"}]
    with pytest.raises(ShopifyError, match=r"is CANCELING with 2 objects: no progress in 18\d\d s"):
        end_running(shopify, "query", "Products")


def test_refused_start_is_raised_at_once(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)], starts=["bad"])
    with pytest.raises(ShopifyError, match="query: bad"):
        run_query(shopify)
    assert (len(shopify.texts), fake_time.waits) == (1, [])


def test_runs_are_told_apart_by_the_operation_name(fake_time):
    shopify = Shopify(fake_time, [("COMPLETED", 3)])
    run_query(shopify)
    run_query(shopify)
    first, second = shopify.texts
    assert first != second
    assert first.startswith("query Products_")
    long = parse(f'{{ products(query: "{"x" * 66_000}") {{ edges {{ node {{ id }} }} }} }}')
    with pytest.raises(ValueError, match=rf"at most {DOCUMENT_LIMIT} bytes. Received: 66\d{{3}}$"):
        run(shopify, "query", long, deadline=1.0)
