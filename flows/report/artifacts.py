"""Documents in the Prefect UI: one of each kind for every run, and one beside them that is the latest.

An artifact's link opens all artifacts that bear its key, the newest first: under a key that runs share,
each would open the last one's.
"""

import re
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect import runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound

from flows.engine.run_name import ID_PART, safe
from tasks.shared.markup import Markdown, plain


def publish_document(kind: str, markdown: str, sentence: str) -> None:
    """Leave a document in this run's Artifacts tab, and among all artifacts as the latest of its `kind`.

    sentence: what it says, as its description.
    """
    # the UI would read Markdown there as well
    description = plain(sentence)
    create_markdown_artifact(markdown, key=own_key(kind), description=description)
    with get_client(sync_client=True) as client:
        latest = ArtifactCreate(type="markdown", key=kind, data=markdown, description=description)
        client.create_artifact(latest)
        for before in _latest(client, kind)[1:]:
            # a run that ends at the same time may remove it too
            with suppress(ObjectNotFound):
                client.delete_artifact(before)


def pictures(folder: Path) -> dict[str, Markdown]:
    """Return the pictures in a folder and below it by what they are called, each as a URL that holds it."""
    found = {}
    for file in sorted(folder.rglob("*.png")):
        data = b64encode(file.read_bytes()).decode()
        found[file.stem.replace("_", " ")] = Markdown(f"data:image/png;base64,{data}")
    return found


def own_key(kind: str) -> str:
    """Return the key under which this run alone keeps its document.

    It is of lower-case letters, digits and dashes, as Prefect asks.
    """
    name = re.sub(r"[^a-z0-9]+", "-", safe(runtime.flow_run.name, runtime.flow_run.id).lower())
    mine = runtime.flow_run.id[:ID_PART]
    return f"{kind}-{name}" if name.endswith(mine) else f"{kind}-{name}-{mine}"


def _latest(client: SyncPrefectClient, kind: str) -> list[UUID]:
    """Return the documents that were the latest of their kind, the newest first.

    A run's own, as earlier versions of retrain left them under the same key, are none.
    """
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[kind]))
    found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC)
    return [one.id for one in found if one.flow_run_id is None]
