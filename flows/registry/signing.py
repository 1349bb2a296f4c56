"""Signatures of packages, by OpenSSF's model-signing with a key: whose they are, whoever can push tags.

A signature is a Sigstore bundle: it lists the SHA-256 of each file of a package, and stands in the tag of the
version, so that a package keeps its own digest. https://github.com/sigstore/model-transparency
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.git.commands import git
from tasks.shared.errors import InputError, first_line

# Git's configuration of this machine, which nothing that is fetched can change
SIGNING_KEY, VERIFYING_KEY = "retrain.signingKey", "retrain.verifyingKey"
PASSWORD = "RETRAIN_SIGNING_PASSWORD"  # noqa: S105 (the name of a variable)

# what model-signing says, and what that means
WHY = {
    "Key mismatch": "another key has made it",
    "Signature mismatch": "it was made of other files than these",
}
UNREADABLE = "it is no signature of model-signing with an EC key"


def key(checkout: Path, setting: str) -> Path | None:
    """Return the key that Git's configuration names, its ~ resolved; None where it names none."""
    named = git(checkout, "config", "--type=path", "--default=", "--get", setting)
    return Path(named) if named else None


def signature(checkout: Path, package: Path) -> str | None:
    """Return the signature of a package, a Sigstore bundle as JSON; None where no key is configured.

    Raises InputError when the key cannot be used, or model-signing is not installed.
    """
    private = key(checkout, SIGNING_KEY)
    if private is None:
        return None
    _installed()
    from model_signing import signing

    password = os.environ.get(PASSWORD)
    with TemporaryDirectory(prefix="retrain-") as folder:
        written = Path(folder) / "signature"
        try:
            # cryptography takes the password as bytes
            using = signing.Config().use_elliptic_key_signer(
                private_key=private,
                password=password.encode() if password else None,
            )
            using.sign(package, written)
        except (AttributeError, OSError, TypeError, ValueError) as error:
            remedy = f"it must be a private EC key in PEM; where it has a password, {PASSWORD} gives it"
            raise InputError(f"{SIGNING_KEY} {private}: {first_line(error)}; {remedy}") from None
        return written.read_text("utf-8")


def why_unsigned(package: Path, bundle: str, public: Path) -> str | None:
    """Return why a signature does not prove that the holder of a key has signed a package; None: it does.

    Raises InputError when the public key cannot be read, or model-signing is not installed.
    """
    _installed()
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    _refuse_other_keys(public)
    with TemporaryDirectory(prefix="retrain-") as folder:
        written = Path(folder) / "signature"
        written.write_text(bundle, "utf-8")
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(package, written)
        except InvalidSignature:
            return "the key has not made it"
        except Exception as error:  # noqa: BLE001 (a forged bundle fails in any of its parsers)
            told = first_line(error)
            return next((why for begins, why in WHY.items() if told.startswith(begins)), UNREADABLE)
    return None


def _refuse_other_keys(public: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    wanted = f"{public} is no public EC key in PEM"
    try:
        its = load_pem_public_key(public.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{wanted} ({first_line(error)}); name one that is") from None
    if not isinstance(its, EllipticCurvePublicKey):
        raise InputError(f"{wanted} but one of another kind; name one that is")


def _installed() -> None:
    try:
        import model_signing  # noqa: F401
    except ImportError:
        needs = "signatures need the package model-signing"
        raise InputError(f"{needs}; install it by `pip install -e '.[signing]'`") from None
