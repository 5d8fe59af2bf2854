"""What the folder of manifests applies, read once for all tests of it."""

from tests.deployments import manifests
from tests.deployments.manifests import FOLDER, Json, labelled, pod_of

DOCUMENTS = manifests.rendered()
WORKLOADS = [each for each in DOCUMENTS if pod_of(each) is not None]
DEPLOYMENTS = [each for each in DOCUMENTS if each["kind"] == "Deployment"]
PODS = labelled(DOCUMENTS)
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def name_of(document: Json) -> str:
    """For the names of tests."""
    return f"{document['kind']}/{document['metadata']['name']}"


def of_kind(kind: str) -> dict[str, Json]:
    """The documents of a kind, by name."""
    return {each["metadata"]["name"]: each for each in DOCUMENTS if each["kind"] == kind}
