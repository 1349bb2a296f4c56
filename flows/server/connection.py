"""Whether a Prefect server answers, asked before Prefect is imported, and without a proxy on this machine."""

import http.client
import ipaddress
import json
import os
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from tasks.shared.errors import InputError, without_password

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# seconds for an answer; a server under load may take some
TIMEOUT = 20.0
EXAMPLE = "http://127.0.0.1:4200/api"
NO_API = f"is no Prefect server's API; give PREFECT_API_URL as {EXAMPLE}, with /api at the end"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class NoAnswerError(InputError):
    """Nothing answers at the address now; later something may."""


def past_proxies(*hosts: str) -> None:
    """Have this process, and all that it starts, reach this machine and `hosts` without a proxy."""
    if not _proxies():
        return
    # who reads both prefers the small letters
    known = os.environ.get("no_proxy", os.environ.get("NO_PROXY", "")).strip()
    # a star alone means every host, and beside others nothing
    if known != "*":
        names = [name.strip() for name in known.split(",") if name.strip()]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys([*names, *LOOPBACK, *hosts]))


def password_apart() -> None:
    """Take a password out of PREFECT_API_URL, which Prefect logs and keeps in links, and hand it on apart."""
    given = os.environ.get("PREFECT_API_URL", "")
    try:
        address = urlsplit(given)
    except ValueError:
        # `check` says what is wrong with it
        return
    secret, at, host = address.netloc.rpartition("@")
    if at:
        os.environ["PREFECT_API_URL"] = address._replace(netloc=host).geturl()
        os.environ.setdefault("PREFECT_API_AUTH_STRING", unquote(secret))


def refuse_unusable_proxy() -> None:
    """Raise InputError for a proxy that Prefect's client cannot be made with, used or not."""
    for name, proxy in _proxies().items():
        scheme = proxy.partition("://")[0].lower() if "://" in proxy else "http"
        shown = without_password(proxy)
        if scheme in ("socks5", "socks5h") and find_spec("socksio") is None:
            needs = "Prefect's client needs the package socksio for it"
            raise InputError(f"{name}={shown}: {needs}; `pip install socksio`, or `unset {name}`")
        if scheme not in ("http", "https", "socks5", "socks5h"):
            unknown = "Prefect's client knows no proxies of this kind"
            raise InputError(f"{name}={shown}: {unknown}; give an http:// one, or `unset {name}`")


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower() in PROXIES and value}


def check(api: str, settings: Mapping[str, str], otherwise: str = "") -> None:
    """Raise InputError unless Prefect's API answers at this address and lets us in.

    Raises NoAnswerError while nothing answers.
    settings: Prefect's, by their names. otherwise: what else a user can do than start the server.
    """
    refuse_unusable_proxy()
    address = _address(api, otherwise)
    where = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
    request = _request(address, settings)
    try:
        answer = _answer(request, settings)
    except urllib.error.HTTPError as error:
        _refused(error, where, settings, otherwise)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            raise InputError(f"{where}: {reason}; set PREFECT_API_SSL_CERT_FILE to its certificate") from None
        is_late = isinstance(reason, TimeoutError)
        why = f"no answer within {TIMEOUT:.0f} s" if is_late else getattr(reason, "strerror", None) or reason
        raise NoAnswerError(f"no Prefect server answers at {where} ({why}); start it{otherwise}") from None
    else:
        if not isinstance(answer, str | bool):
            raise InputError(f"{where} {NO_API}{otherwise}")


def _address(api: str, otherwise: str) -> SplitResult:
    """Return the parts of an address; raise InputError when it is none."""
    try:
        address = urlsplit(api)
        found = address.scheme in ("http", "https") and address.hostname is not None and address.port != 0
    except ValueError:
        found = False
    if not found:
        wrong = f"'{without_password(api)}' is no address of a Prefect server"
        raise InputError(f"PREFECT_API_URL: {wrong}; give one such as {EXAMPLE}{otherwise}")
    if address.hostname and _is_loopback(address.hostname):
        past_proxies(address.hostname)
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _request(address: SplitResult, settings: Mapping[str, str]) -> urllib.request.Request:
    """Return the question for the API's version, or for its health where a key opens it (Prefect Cloud)."""
    in_front, _, host = address.netloc.rpartition("@")
    api = f"{address.scheme}://{host}{address.path.rstrip('/')}"
    headers = {"Accept": "application/json", **_custom_headers(settings)}
    if key := settings.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif secret := settings.get("PREFECT_API_AUTH_STRING") or unquote(in_front):
        headers["Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
    # the server's health is told to everybody, its version not
    return urllib.request.Request(f"{api}/{'health' if key else 'admin/version'}", headers=headers)  # noqa: S310


def _answer(request: urllib.request.Request, settings: Mapping[str, str]) -> object:
    """Return what the API answers; None when that is no JSON."""
    trusting = [urllib.request.HTTPSHandler(context=_trust(settings))] if request.type == "https" else []
    with urllib.request.build_opener(Redirects, *trusting).open(request, timeout=TIMEOUT) as answer:
        try:
            return json.loads(answer.read())
        except ValueError:
            return None


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, such as to a page to log in, and tells no other server what opens this one."""

    def redirect_request(
        self, req: urllib.request.Request, *about: Any, **more: Any
    ) -> urllib.request.Request | None:
        """Return the next question: with our headers where the same server is asked, by TLS or as before."""
        following = super().redirect_request(req, *about, **more)
        if following is None:
            return None
        here, there = urlsplit(req.full_url), urlsplit(following.full_url)
        if there.netloc != here.netloc or there.scheme not in (here.scheme, "https"):
            following.headers.clear()
        return following


def _custom_headers(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that Prefect's client sends; raise InputError unless they are a JSON object."""
    try:
        return dict(json.loads(settings.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}"))
    except (ValueError, TypeError):
        raise InputError("PREFECT_CLIENT_CUSTOM_HEADERS is no JSON object; correct or unset it") from None


def _trust(settings: Mapping[str, str]) -> ssl.SSLContext:
    """Return whom to trust for HTTPS, as Prefect's client does."""
    import certifi

    given = settings.get("PREFECT_API_SSL_CERT_FILE") or settings.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=given or certifi.where())
    if settings.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in ("1", "true", "yes", "on"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(error: urllib.error.HTTPError, where: str, settings: Mapping[str, str], otherwise: str) -> None:
    """Raise what an answer without success means; nothing where the server is only busy."""
    if error.code in (401, 403):
        has_key = settings.get("PREFECT_API_KEY")
        key, both = "key; set PREFECT_API_KEY", "password; set PREFECT_API_AUTH_STRING=user:password"
        raise InputError(f"{where} refuses the {key if has_key else both}") from None
    if error.code == http.client.NOT_FOUND:
        raise InputError(f"{where} {NO_API}{otherwise}") from None
    # Prefect's own server asks to come back; a proxy in front of a dead one does not
    if error.code == http.client.SERVICE_UNAVAILABLE and "Retry-After" in error.headers:
        return
    why = f"HTTP {error.code} {error.reason}"
    raise NoAnswerError(f"no Prefect server answers at {where} ({why}); start it{otherwise}") from None
