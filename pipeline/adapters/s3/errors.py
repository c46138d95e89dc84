"""From errors of the minio SDK to ours. Messages hold endpoint, bucket and the server's error code."""

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from pipeline.adapters.s3.config import CA_SETTING
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    ImageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.tls import explain_tls
from pipeline.types import Reason

# All that a call of the SDK raises. Names are checked before: a ValueError is about the answer.
SDK_ERRORS = (MinioException, HTTPError, OSError, ET.ParseError, ValueError)

_WRONG_KEYS = frozenset(
    "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken InvalidSecurity TokenRefreshRequired "
    "AccountProblem NotSignedUp InvalidClientTokenId".split()
)
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden"})
_WRONG_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_WRONG_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "TemporaryRedirect", "IllegalLocation"}
)
_NO_OBJECT = frozenset(
    {"NoSuchKey", "NoSuchVersion", "InvalidObjectName", "KeyTooLongError", "MethodNotAllowed"}
)
_AWAY = frozenset(
    "SlowDown InternalError ServiceUnavailable RequestTimeout RequestTimeoutException OperationAborted "
    "IncompleteBody ThrottlingException Throttling TooManyRequests XMinioServerNotInitialized".split()
)


@dataclass(frozen=True, slots=True)
class Place:
    """The object of a request. `key` None is the bucket itself, and bucket "" the service."""

    endpoint: str
    bucket: str
    key: str | None
    timeout_s: float

    def __str__(self) -> str:
        return f"bucket {self.bucket!r} at {self.endpoint}" if self.bucket else f"S3 at {self.endpoint}"


def explain(err: Exception, place: Place) -> PictorError:
    """Our error for one of `SDK_ERRORS`; TransientError when the same call may work later."""
    match err:
        case S3Error():
            return _explain_answer(err.code or "", err.response.status, err.response.headers, place)
        case InvalidResponseError() if (code := code_of(err)) is not None:
            return _explain_answer(code, int(err._code), {}, place)
        case InvalidResponseError():
            return _explain_status(int(err._code), place)
        case ServerError():
            return _explain_status(err.status_code, place)
        case SSLError() if fault := _tls_fault(err, place):
            return ConfigError(f"{place}: {fault}")
        case NewConnectionError():  # before the next, whose subclass it is
            return TransientError(f"{place}: no connection; is the endpoint right and the service up?")
        case HTTPTimeoutError():
            return TransientError(f"{place}: no answer within {place.timeout_s:g} s")
        case HTTPError() | OSError():
            return TransientError(f"{place}: the connection broke")
        case UnicodeDecodeError() | ET.ParseError():
            return TransientError(f"{place}: the answer was cut or garbled")
        case _:
            return ConfigError(f"{place}: does not answer as an S3 service does")


def _tls_fault(err: SSLError, place: Place) -> str:
    inner = err.args[0] if err.args else None
    host = urlsplit(place.endpoint).hostname or ""
    return explain_tls(inner, host, CA_SETTING) if isinstance(inner, ssl.SSLError) else ""


def code_of(err: Exception) -> str | None:
    """S3's own code of the error, or None when the answer is no error of S3.

    The SDK reads the word only where the answer says that it is `application/xml`. Some servers say
    `text/xml`, or nothing.
    """
    match err:
        case S3Error():
            return err.code or ""
        case InvalidResponseError():
            return _code_in(err._body or "")
        case _:
            return None


def _code_in(body: str) -> str | None:
    try:
        root = ET.fromstring(body.lstrip())  # noqa: S314 - as the SDK does; expat bounds what entities become
    except (ET.ParseError, ValueError):
        return None
    if _local_name(root) != "Error":
        return None
    return next(((element.text or "").strip() for element in root if _local_name(element) == "Code"), None)


def _local_name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _explain_answer(code: str, status: int, headers: Mapping[str, str], place: Place) -> PictorError:
    if code in _AWAY or status >= 500 or status == 429:
        return TransientError(f"{place}: answered {status} {_shown(code)}")
    if code in _WRONG_CLOCK:
        return FatalError(
            f"{place}: the clocks differ too much: {headers.get('date', 'unknown')} there, "
            f"{formatdate(time.time(), usegmt=True)} here"
        )
    if code in _WRONG_KEYS:
        return CredentialsError(
            f"{place}: refused the credentials ({_shown(code)}); check PICTOR_S3_ACCESS_KEY, "
            "PICTOR_S3_SECRET_KEY and PICTOR_S3_SESSION_TOKEN or the AWS variables of the same name"
        )
    if code == "NoSuchBucket":
        return TargetError(f"bucket {place.bucket!r} does not exist at {place.endpoint}")
    if code in _WRONG_REGION:
        region = _shown(headers.get("x-amz-bucket-region", ""), otherwise="another region")
        return TargetError(f"{place}: the bucket is in {region}; set PICTOR_S3_REGION")
    if place.key is None:
        return _explain_bucket(code, place)
    return _explain_object(code, status)


def _explain_bucket(code: str, place: Place) -> PictorError:
    if code in _DENIED:
        return TargetError(
            f"{place}: these credentials may not do this; check the bucket's policy and PICTOR_S3_ACCESS_KEY"
        )
    return TargetError(f"{place}: refused with {_shown(code)}")


def _explain_object(code: str, status: int) -> ImageError:
    if code in _NO_OBJECT:
        return ImageError(Reason.NOT_FOUND, "the object is not there any more")
    if code == "PreconditionFailed":
        return ImageError(Reason.CHANGED, "the object was overwritten since it was listed")
    if code == "InvalidObjectState":
        return ImageError(Reason.ACCESS_DENIED, "the object is in cold storage and must be restored first")
    if code in _DENIED:
        return ImageError(Reason.ACCESS_DENIED, "these credentials may not read the object")
    return ImageError(Reason.ACCESS_DENIED, f"the server refused with {status} {_shown(code)}")


def _explain_status(status: int, place: Place) -> PictorError:
    """An answer without S3's XML: a proxy's page, or no S3 service at all."""
    if status >= 500 or status in (408, 429):
        return TransientError(f"{place}: answered {status}")
    return ConfigError(f"{place}: answered {status} and not as an S3 service does")


def _shown(code: str, otherwise: str = "an unnamed error") -> str:
    """A server's code is a word. Anything else is not repeated."""
    return code if re.fullmatch(r"[A-Za-z0-9-]{1,64}", code) else otherwise
