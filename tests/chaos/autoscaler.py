"""What KEDA and a cluster's autoscaler do together: the pods are worker processes."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.fleet import Fleet, Worker


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The numbers of a ScaledObject, seconds of the cluster being `pace` seconds here."""

    queues: str  # an expression
    role: str
    messages_per_pod: int
    activation: int
    min_pods: int
    max_pods: int
    poll_s: float
    cooldown_s: float
    window_s: float  # a scale-down follows the highest wish of this long
    step_pods: int
    step_s: float

    @classmethod
    def of(cls, spec: Mapping[str, Any], *, pace: float, max_pods: int) -> Self:
        """From the spec of a ScaledObject; `max_pods`: what this machine can bear."""
        [trigger] = spec["triggers"]
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        [policy] = down["policies"]
        return cls(
            queues=trigger["metadata"]["queueName"],
            role=spec["scaleTargetRef"]["name"].removesuffix("-worker"),
            messages_per_pod=int(trigger["metadata"]["value"]),
            activation=int(trigger["metadata"]["activationValue"]),
            min_pods=spec["minReplicaCount"],
            max_pods=min(max_pods, spec["maxReplicaCount"]),
            poll_s=spec["pollingInterval"] * pace,
            cooldown_s=spec["cooldownPeriod"] * pace,
            window_s=down["stabilizationWindowSeconds"] * pace,
            step_pods=policy["value"],
            step_s=policy["periodSeconds"] * pace,
        )


class Autoscaler(threading.Thread):
    """Starts workers and stops them with SIGTERM, until it is left."""

    def __init__(self, fleet: Fleet, rules: Rules, extra_env: Mapping[str, str]) -> None:
        super().__init__(name="autoscaler", daemon=True)
        self._fleet = fleet
        self._rules = rules
        self._extra_env = extra_env
        self._over = threading.Event()
        self._active_at = -math.inf
        self._stepped_at = -math.inf
        self._wishes: list[tuple[float, int]] = []
        self.pods: list[Worker] = []
        self.stopped: list[Worker] = []
        self.polls = 0
        self.peak = 0
        self.stopped_with_work = 0  # workers that were told to stop while messages were there

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(self._rules.poll_s):
            try:
                # In hand included: protocol http.
                messages = self._fleet.api.messages_like(self._fleet.vhost, self._rules.queues)
            except (OSError, AssertionError):
                continue  # fallback: keep what there is
            self._follow(messages, time.monotonic())
            self.polls += 1

    def _follow(self, messages: int, now: float) -> None:
        rules = self._rules
        if messages > rules.activation:
            self._active_at = now
        if now - self._active_at >= rules.cooldown_s and rules.min_pods == 0:
            self._remove(len(self.pods), messages)
            self._wishes.clear()
        elif self.pods or messages > rules.activation:
            wish = min(max(math.ceil(messages / rules.messages_per_pod), 1), rules.max_pods)
            self._wishes = [(when, n) for when, n in self._wishes if now - when < rules.window_s]
            self._wishes.append((now, wish))
            self._add(wish - len(self.pods))
            surplus = len(self.pods) - max(n for _, n in self._wishes)
            if surplus > 0 and now - self._stepped_at >= rules.step_s:
                self._remove(min(surplus, rules.step_pods), messages)
                self._stepped_at = now

    def _add(self, count: int) -> None:
        for _ in range(count):
            name = f"pod-{len(self.pods) + len(self.stopped)}"
            self.pods.append(self._fleet.start(queues=self._rules.role, name=name, extra_env=self._extra_env))
        self.peak = max(self.peak, len(self.pods))

    def _remove(self, count: int, messages: int) -> None:
        for _ in range(count):
            victim = self.pods.pop(0)  # the oldest: the one that is surely at work, where any is
            victim.process.terminate()
            self.stopped.append(victim)
            self.stopped_with_work += messages > 0
