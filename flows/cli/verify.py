"""`retrain verify`."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from flows.cli.common import FAILED, OK, AsJson, say
from tasks.shared.markup import shown


def verify(
    version: str | None = None,
    /,
    *,
    folder: Path | None = None,
    name: str | None = None,
    public_key: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Say whether a package is what its version's tag says: its bytes, manifest, verdict and signature.

    The verdict is computed again from what the run has kept of each test row. Exit status: 0 all is right,
    1 something is not.

    Examples: `retrain verify`, `retrain verify v0.0.3`,
    `retrain verify prod --folder served --public-key team.pub`.

    Parameters
    ----------
    version
        A version, or a stage: promote.stage unless it is given.
    folder
        The package as it lies somewhere, such as where it is served; the DVC cache's unless it is given.
    name
        The model's name in the registry: promote.name, else package.name.
    public_key
        An EC key in PEM that must have signed it; what Git's setting retrain.verifyingKey names unless it is
        given.
    as_json
        Print JSON.
    """
    from flows.engine import workspace
    from flows.registry import signing, verification
    from flows.registry.rollback import meant
    from tasks.shared.errors import InputError

    if folder is not None and not folder.is_dir():
        raise InputError(f"--folder: there is no folder {folder}")
    there = folder and folder.absolute()
    key = public_key and public_key.absolute()
    checkout = workspace.root()
    os.chdir(checkout)
    known, its, won = meant(checkout, name, version)
    key = key or signing.key(checkout, signing.VERIFYING_KEY)
    checks = verification.verified(checkout, known, its, won, there, key, say)
    if as_json:
        print(json.dumps({"version": its.tag, "checks": [asdict(one) for one in checks]}, indent=2))
    else:
        # names of files come from the package
        print(f"{its.tag}, {its.record.run or its.commit[:10]}")
        words = {True: "right", False: "WRONG", None: "-"}
        for one in checks:
            print(shown(f"  {one.what:<10} {words[one.is_right]:<6} {one.said}"))
    return FAILED if any(one.is_right is False for one in checks) else OK
