"""Documents in the Prefect UI: one of each kind for every run, and one beside them that is the latest.

An artifact's link opens all artifacts that bear its key, the newest first: under a key that runs share,
each would open the last one's.
"""

import re
from base64 import b64encode
from pathlib import Path
from uuid import UUID

from prefect import runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
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
        before = _latest(client, kind)
        latest = ArtifactCreate(type="markdown", key=kind, data=markdown, description=description)
        client.create_artifact(latest)
        if before is not None:
            try:
                client.delete_artifact(before)
            except ObjectNotFound:
                # a run that ended at the same time has replaced it too
                return


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


def _latest(client: SyncPrefectClient, kind: str) -> UUID | None:
    """Return the latest document of its kind.

    None: there is none, or it is a run's own, as earlier versions of retrain left it.
    """
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[kind]))
    for found in client.read_latest_artifacts(artifact_filter=wanted):
        if found.flow_run_id is None:
            return found.latest_id
    return None
