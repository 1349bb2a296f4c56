"""`retrain reproduce`."""

import os

from flows.cli.session import Session


def reproduce(revision: str, /) -> int:
    """Compute a commit, tag, branch or experiment again, caches off, and say whether every bit is the same.

    Exit status: 0 bit-identical, 3 same predictions, 4 within interval, 5 different, 1 a stage failed.

    Parameters
    ----------
    revision
        What to rebuild. Its record is only read; the certificate is added to its Git notes.
    """
    from flows.engine import workspace
    from flows.git.signatures import refuse_unsigned
    from flows.ledger.experiments import commit_named

    checkout = workspace.root()
    os.chdir(checkout)
    # a wrong name, or one that may not run here, is told at once
    refuse_unsigned(checkout, commit_named(checkout, revision))
    session = Session(checkout)
    session.start()
    from flows.report.certificate import EXIT_STATUS
    from flows.report.summary import show_certificate
    from flows.reproduce import reproduce as flow

    certificate, status = session.run(lambda: flow(revision, return_state=True))
    if certificate is None:
        return status
    show_certificate(certificate)
    return EXIT_STATUS[certificate.grade]
