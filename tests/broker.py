"""RabbitMQ's HTTP API, as far as tests need it."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit


class NotThereError(AssertionError):
    """The broker has no such thing."""


class BrokerApi:
    """The few questions of RabbitMQ's HTTP API that tests ask."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root = parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
        login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}

    def make_vhost(self, name: str, user: str) -> None:
        self._send("PUT", f"vhosts/{name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._send("PUT", f"permissions/{name}/{quote(user, safe='')}", everything)

    def make_user(self, name: str, password: str, vhost: str, permissions: Mapping[str, str]) -> None:
        self._send("PUT", f"users/{name}", {"password": password, "tags": ""})
        self._send("PUT", f"permissions/{vhost}/{name}", dict(permissions))

    def drop_user(self, name: str) -> None:
        """Whether or not it is there: a place may never have needed it."""
        with suppress(NotThereError):
            self._send("DELETE", f"users/{name}")

    def drop_vhost(self, name: str) -> None:
        self._send("DELETE", f"vhosts/{name}")

    def messages(self, vhost: str, queue: str) -> int:
        answer = self._send("GET", f"queues/{vhost}/{queue}")
        return int(answer.get("messages", 0)) if isinstance(answer, dict) else 0

    def messages_like(self, vhost: str, expression: str) -> int:
        """Of all queues whose names match, asked as KEDA asks."""
        query = urlencode(
            {"page": 1, "use_regex": "true", "pagination": "false", "name": expression, "page_size": 100}
        )
        answer = self._send("GET", f"queues/{vhost}?{query}")
        assert isinstance(answer, dict)
        return sum(int(queue.get("messages", 0)) for queue in answer["items"])

    def publish(self, vhost: str, queue: str, body: bytes, properties: Mapping[str, object]) -> None:
        """Whatever a foreign program could put on a queue."""
        message = {
            "routing_key": queue,
            "payload": base64.b64encode(body).decode(),
            "payload_encoding": "base64",
            "properties": dict(properties),
        }
        answer = self._send("POST", f"exchanges/{vhost}/{queue}/publish", message)
        assert isinstance(answer, dict)
        assert answer["routed"], f"queue {queue} did not get the message"

    def _send(self, method: str, path: str, body: object = None) -> object:
        request = urllib.request.Request(  # noqa: S310 - the URL is the test's own, always http
            f"{self._root}{path}",
            method=method,
            headers=self._headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
        try:
            with opener.open(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as err:
            if err.code == HTTPStatus.NOT_FOUND:
                raise NotThereError(f"{method} {path}") from err
            raise AssertionError(f"{method} {path}: {err.code} {err.read()[:200]!r}") from err
        return json.loads(text) if text else None
