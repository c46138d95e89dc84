"""RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers-11 has them: how much is left.

Each is a list of Structured Fields (RFC 9651) with one item, a string. Its parameters are those of the draft:
`q` and `r` in requests, or in the unit `qu`; `w` and `t` in seconds. `Retry-After` is never before `t`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A quota: of requests within `window_s`, or of requests at the same time where that is 0.

    `reset_s` says when to try again, or when the quota is whole again.
    """

    name: str
    quota: int
    left: int
    reset_s: int
    window_s: int = 0


def rate_fields(limit: Limit) -> Mapping[str, str]:
    kind = f";w={limit.window_s}" if limit.window_s else ';qu="concurrent-requests"'
    return {
        "RateLimit-Policy": f'"{limit.name}";q={limit.quota}{kind}',
        "RateLimit": f'"{limit.name}";r={limit.left};t={limit.reset_s}',
    }
