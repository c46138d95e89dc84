"""One HTTP request to a witness, with the standard library alone. Servers of https:// are verified."""

import urllib.error
import urllib.request

from pipeline.addresses import show_url
from pipeline.errors import ConfigError, TransientError

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 100_000  # signature lines, or a number


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """Send a text, and return the status and body of the answer, whatever the status.

    Raises:
        ConfigError: the URL is not of HTTP.
        TransientError: nobody answers.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{show_url(url)}: http:// or https:// is expected")
    request = urllib.request.Request(  # noqa: S310 - of HTTP, see above
        url, data=body, method="POST", headers={"Content-Type": "text/plain; charset=utf-8"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read(MAX_ANSWER_BYTES)
    except (OSError, ValueError) as err:
        raise TransientError(f"{show_url(url)} does not answer: {type(err).__name__}") from err
