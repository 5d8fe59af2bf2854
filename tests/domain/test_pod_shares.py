"""`kubectl top pods` against requests and limits."""

from dataclasses import replace

from tasks.domain.pod_shares import pod_shares, shares_json, shares_text
from tasks.domain.pods import PodUsage, Resources, Usage
from tests.domain.cluster_values import pods

CORE, MIB = 10**9, 2**20
BOTH = Resources(CORE // 10, 16 * MIB, CORE // 5, 64 * MIB)


def test_shares_of_what_is_declared_and_of_nothing_else() -> None:
    every = pods("08-pods-all.json")
    api = replace(every[0], resources=BOTH)
    bare = replace(every[1], resources=Resources())
    two = {"a": Usage(CORE // 10, 30 * MIB), "b": Usage(CORE // 10, 32 * MIB)}
    usage = [PodUsage(each.namespace, each.name, None, two) for each in (api, bare)]
    first, second = sorted(
        pod_shares([api, bare, every[2]], usage), key=lambda each: each.name != api.name
    )
    assert (first.cpu_of_request, first.cpu_of_limit, first.memory_of_limit) == (2.0, 1.0, 62 / 64)
    assert first.is_tight
    assert (second.cpu_of_limit, second.is_tight) == (None, False)
    assert "2 pods use 0.40 cores" in shares_text({"api": [first, second]})
    assert shares_text({"workers": []}) == "workers: no figures"
    assert shares_json({"api": [second, first]})["api"][0]["cpu_of_limit"] == 100
