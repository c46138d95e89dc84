"""A rendered manifest is broken in one place, and the check says where. One line, one mistake."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.rendered import Doc, named, of_kind, render, template_of
from tests.deploy.test_manifests import all_faults

OVERLAY = "gpu"

Break = Callable[[list[Doc]], Any]


def deployment(docs: list[Doc], name: str = "embed-worker") -> Doc:
    return named(docs, "Deployment", name)


def pod(docs: list[Doc], name: str = "embed-worker") -> Doc:
    spec: Doc = template_of(deployment(docs, name))["spec"]
    return spec


def container(docs: list[Doc], name: str = "embed-worker") -> Doc:
    first: Doc = pod(docs, name)["containers"][0]
    return first


def scaled(docs: list[Doc]) -> Doc:
    spec: Doc = named(docs, "ScaledObject", "embed")["spec"]
    return spec


def trigger(docs: list[Doc]) -> Doc:
    metadata: Doc = scaled(docs)["triggers"][0]["metadata"]
    return metadata


def rabbitmq_pod(docs: list[Doc]) -> Doc:
    stateful_set: Doc = named(docs, "RabbitmqCluster", "rabbitmq")["spec"]["override"]["statefulSet"]
    spec: Doc = stateful_set["spec"]["template"]["spec"]
    return spec


def config(docs: list[Doc]) -> Doc:
    return named(docs, "ConfigMap", "pictor-config")


def service(docs: list[Doc]) -> Doc:
    return named(docs, "Service", "flower")


def service_trigger(docs: list[Doc]) -> Doc:
    metadata: Doc = named(docs, "ScaledObject", "api")["spec"]["triggers"][0]["metadata"]
    return metadata


def route(docs: list[Doc]) -> Doc:
    spec: Doc = named(docs, "HTTPRoute", "api")["spec"]
    return spec


def monitor(docs: list[Doc]) -> Doc:
    spec: Doc = named(docs, "ServiceMonitor", "api")["spec"]
    return spec


def policy(docs: list[Doc]) -> Doc:
    return named(docs, "NetworkPolicy", "pictor")


MISTAKES: dict[str, tuple[Break, str]] = {
    # What the schemas see
    "field that does not exist": (lambda d: pod(d).update(nodeSelecter={}), "nodeSelecter"),
    "number as text": (lambda d: deployment(d, "flower")["spec"].update(replicas="1"), "replicas"),
    "missing field": (lambda d: container(d).pop("name") and None, "'name' is a required property"),
    "KEDA: number as text": (lambda d: scaled(d).update(maxReplicaCount="8"), "maxReplicaCount"),
    "KEDA: field that does not exist": (lambda d: scaled(d).update(coolDown=9), "coolDown"),
    "KEDA: value that is no text": (lambda d: trigger(d).update(value=4), "triggers/0/metadata/value"),
    "operator's field that does not exist": (
        lambda d: named(d, "RabbitmqCluster", "rabbitmq")["spec"].update(replicaz=3),
        "replicaz",
    ),
    "operator's field that does not exist, deep in a pod": (
        lambda d: rabbitmq_pod(d)["containers"][0].update(volumeMount=[]),
        "containers/0: Additional properties are not allowed ('volumeMount' was unexpected)",
    ),
    "operator's quantity that is none": (
        lambda d: named(d, "RabbitmqCluster", "rabbitmq")["spec"]["persistence"].update(storage="fifty"),
        "spec/persistence/storage: 'fifty' does not match",
    ),
    "KEDA: secret without a key": (
        lambda d: named(d, "TriggerAuthentication", "rabbitmq")["spec"]["secretTargetRef"][0].pop("key"),
        "spec/secretTargetRef/0: 'key' is a required property",
    ),
    "kind that nobody knows": (lambda d: deployment(d).update(kind="Deploymint"), "no schema for"),
    # Labels
    "selector without pods": (
        lambda d: deployment(d)["spec"]["selector"]["matchLabels"].update(x="y"),
        "Deployment/embed-worker: selector: it does not select its own pods",
    ),
    "selector of several workloads": (
        lambda d: deployment(d)["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
        "Deployment/embed-worker: selector: it selects another workload's pods",
    ),
    "budget of nothing": (
        lambda d: named(d, "PodDisruptionBudget", "embed-worker")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/component": "embedd"}
        ),
        "PodDisruptionBudget/embed-worker: selector",
    ),
    "policy of nothing": (
        lambda d: policy(d)["spec"]["podSelector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "picture"}
        ),
        "NetworkPolicy/pictor: selector",
    ),
    "spread among others": (
        lambda d: pod(d)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].popitem(),
        "selector: its pods are spread among others'",
    ),
    "two of one name": (lambda d: d.append(deepcopy(service(d))), "Service/flower: name: twice"),
    "another namespace": (
        lambda d: service(d)["metadata"].update(namespace="default"),
        "Service/flower: namespace: default",
    ),
    # Queues and scaling
    "queue that is not ours": (
        lambda d: container(d).update(args=["worker", "--queues", "embde", "--name", "worker"]),
        "Deployment/embed-worker: queue: embde",
    ),
    "queue that nobody consumes": (
        lambda d: container(d, "search-worker").update(
            args=["worker", "--queues", "plan", "--name", "worker"]
        ),
        "queue: nobody consumes search",
    ),
    "scaled on another queue": (
        lambda d: trigger(d).update(queueName="^prepare"),
        "queue: it looks at ^prepare",
    ),
    "scaled on an expression that is read as a name": (
        lambda d: trigger(d).update(useRegex="false"),
        "queue: it looks at ^embed",
    ),
    "scaled on one model of several": (
        lambda d: trigger(d).update(queueName="^embed[.]00000000"),
        "queue: it looks at ^embed[.]0",
    ),
    "scaled on ready messages only": (
        lambda d: trigger(d).update(protocol="amqp"),
        "in flight are not counted",
    ),
    "scaled without those in flight": (
        lambda d: trigger(d).update(excludeUnacknowledged="true"),
        "in flight are not counted",
    ),
    "scaled to zero under a task": (lambda d: scaled(d).update(cooldownPeriod=300), "to zero after 300 s"),
    "scaled without a fallback": (lambda d: scaled(d).pop("fallback"), "without a fallback"),
    "scaled down fast": (lambda d: scaled(d).pop("advanced"), "it scales down fast"),
    "scaling of nothing": (
        lambda d: scaled(d)["scaleTargetRef"].update(name="embed"),
        "scaling: there is no worker embed",
    ),
    "a number for what is scaled": (
        lambda d: deployment(d)["spec"].update(replicas=1),
        "Deployment/embed-worker: scaling: either",
    ),
    "service scaled to nothing": (
        lambda d: named(d, "ScaledObject", "api")["spec"].update(minReplicaCount=0),
        "ScaledObject/api: scaling: nobody answers",
    ),
    "service scaled on a metric that it has not": (
        lambda d: service_trigger(d).update(query="sum(pictor_http_inflight)"),
        "ScaledObject/api: scaling: it asks for pictor_http_inflight",
    ),
    "service scaled after it is full": (lambda d: service_trigger(d).update(threshold="40"), "away at 32"),
    "service scaled down by what is not known": (
        lambda d: service_trigger(d).pop("ignoreNullValues"),
        "no metrics would look like no requests",
    ),
    "service that is not scaled": (
        lambda d: d.remove(named(d, "ScaledObject", "api")),
        "Deployment/api: scaling: it is not scaled",
    ),
    # The service and who reaches it
    "service without keys": (
        lambda d: container(d, "api")["env"].pop(0),
        "Deployment/api: keys: it may be asked by anybody",
    ),
    "service that stops at once": (lambda d: container(d, "api").pop("lifecycle"), "still sent requests"),
    "service that is killed": (
        lambda d: pod(d, "api").update(terminationGracePeriodSeconds=30),
        "Deployment/api: grace: 5 s, 20 s",
    ),
    "service that is dead when its ledger is": (
        lambda d: container(d, "api")["livenessProbe"]["httpGet"].update(path="/readyz"),
        "probe: livenessProbe does not ask /livez",
    ),
    "probe that does not wait for an answer": (
        lambda d: container(d, "api")["readinessProbe"].pop("timeoutSeconds"),
        "probe: readinessProbe gives up before",
    ),
    "route to nothing": (
        lambda d: route(d)["rules"][0]["backendRefs"][0].update(port=8080),
        "HTTPRoute/api: port: there is no Service api on 8080",
    ),
    "route of a name that the service does not know": (
        lambda d: route(d).update(hostnames=["pictor.example.org"]),
        "HTTPRoute/api: host: the service does not go by pictor.example.org",
    ),
    "route with a field that does not exist": (
        lambda d: route(d)["rules"][0].update(backendRef=[]),
        "'backendRef' was unexpected",
    ),
    "monitor of nothing": (
        lambda d: monitor(d)["selector"]["matchLabels"].update({"app.kubernetes.io/component": "apo"}),
        "ServiceMonitor/api: selector",
    ),
    "monitor of a closed port": (
        lambda d: monitor(d)["endpoints"][0].update(port="metric"),
        "ServiceMonitor/api: port: no Service has metric",
    ),
    # Patience
    "grace below a task's limit": (
        lambda d: pod(d).update(terminationGracePeriodSeconds=600),
        "Deployment/embed-worker: grace: 600 s",
    ),
    "grace left out": (lambda d: pod(d, "plan-worker").pop("terminationGracePeriodSeconds"), "grace: 30 s"),
    "probe of another worker's file": (
        lambda d: container(d)["args"].__setitem__(-1, "other"),
        "probe: startupProbe does not look at /scratch/run/other/ready",
    ),
    "probe through the broker": (
        lambda d: container(d).update(livenessProbe={"exec": {"command": ["celery", "inspect", "ping"]}}),
        "probe: livenessProbe does not look at",
    ),
    "impatient probe": (
        lambda d: container(d)["livenessProbe"]["exec"]["command"].__setitem__(
            -1, "test $(( $(date +%s) - $(stat -c %Y /scratch/run/worker/heartbeat) )) -lt 60"
        ),
        "probe: livenessProbe kills a worker in an outage",
    ),
    # Secrets and configuration
    "secret that nobody makes": (
        lambda d: pod(d, "flower")["volumes"][2]["secret"].update(secretName="pictor-secret"),
        "secret: there is no pictor-secret",
    ),
    "one secret of several that nobody makes": (
        lambda d: pod(d)["volumes"][1]["projected"]["sources"][1]["secret"].update(
            name="pictor-broker-embde"
        ),
        "secret: there is no pictor-broker-embde",
    ),
    "key that is not in its secret": (
        lambda d: named(d, "TriggerAuthentication", "rabbitmq")["spec"]["secretTargetRef"][0].update(
            key="url"
        ),
        "secret: no keda-rabbitmq/url",
    ),
    "item that is not in its secret": (
        lambda d: pod(d, "flower")["volumes"][2]["secret"].update(
            items=[{"key": "BROKER_URL", "path": "PICTOR_BROKER_URL"}]
        ),
        "secret: no pictor-broker-flower/BROKER_URL",
    ),
    "file that is not mounted": (
        lambda d: container(d, "flower")["args"].__setitem__(0, "--conf=/run/secrets/flower/flower.py"),
        "secret: flower reads /run/secrets/flower/flower.py",
    ),
    "folder of secrets that is not mounted": (
        lambda d: config(d)["data"].update(PICTOR_SECRETS_DIR="/run/secrets/picture"),
        "secret: worker reads /run/secrets/picture",
    ),
    "configuration that is not there": (
        lambda d: container(d)["envFrom"][0]["configMapRef"].update(name="pictor-config"),
        "config: there is no pictor-config",
    ),
    "password in the configuration": (
        lambda d: config(d)["data"].update(PICTOR_S3_SECRET_KEY="hunter2"),
        "password: PICTOR_S3_SECRET_KEY in plain sight",
    ),
    "password in a variable": (
        lambda d: container(d)["env"].append({"name": "DB_PASSWORD", "value": "x"}),
        "password: DB_PASSWORD in plain sight",
    ),
    "password in a URL": (
        lambda d: config(d)["data"].update(PICTOR_MILVUS_URI="http://root:Milvus@milvus:19530"),
        "password: PICTOR_MILVUS_URI holds a URL",
    ),
    "secret among the manifests": (
        lambda d: d.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x", "namespace": "pictor"},
                "stringData": {"a": "b"},
            }
        ),
        "Secret/x: password",
    ),
    # Privileges and images
    "latest": (lambda d: container(d).update(image="registry.example.com/pictor:latest"), "image: "),
    "no tag": (lambda d: container(d, "flower").update(image="pictor"), "image: pictor is not pinned"),
    "privileged": (
        lambda d: container(d)["securityContext"].update(privileged=True),
        "worker: privilege: privileged",
    ),
    "root": (lambda d: pod(d)["securityContext"].pop("runAsNonRoot"), "privilege: runAsNonRoot"),
    "capabilities": (
        lambda d: container(d)["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]}),
        "privilege: capabilities",
    ),
    "root filesystem that can be written to": (
        lambda d: container(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "privilege: its root filesystem",
    ),
    "token": (lambda d: pod(d).pop("automountServiceAccountToken"), "privilege: a token"),
    "the node's files": (
        lambda d: pod(d)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "privilege: hostPath",
    ),
    "no limit of memory": (lambda d: container(d)["resources"]["limits"].pop("memory"), "resources: a limit"),
    "device without a toleration": (
        lambda d: pod(d).pop("tolerations"),
        "device: nvidia.com/gpu without a node",
    ),
    "device without its image": (
        lambda d: container(d).update(image="registry.example.com/pictor:0.1.0-cpu"),
        "device: nvidia.com/gpu without the image",
    ),
    # Volumes, ports, accounts
    "claim that is not there": (
        lambda d: pod(d)["volumes"].append(
            {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}
        ),
        "volume: there is no claim weights",
    ),
    "mount of nothing": (
        lambda d: container(d)["volumeMounts"][0].update(name="scratsch"),
        "volume: worker mounts scratsch",
    ),
    "nowhere to write": (
        lambda d: container(d)["volumeMounts"].pop(0),
        "volume: worker cannot write to /scratch",
    ),
    "service on a port of nobody": (
        lambda d: service(d)["spec"]["ports"][0].update(targetPort="web"),
        "Service/flower: port: no pod has web",
    ),
    "probe on a port of nobody": (
        lambda d: container(d, "flower")["readinessProbe"]["httpGet"].update(port="web"),
        "port: readinessProbe asks web",
    ),
    "policy for a port of nobody": (
        lambda d: policy(d)["spec"]["ingress"][0]["ports"][0].update(port="metric"),
        "NetworkPolicy/pictor: port: no pod has metric",
    ),
    "metrics on another port": (
        lambda d: config(d)["data"].update(PICTOR_METRICS_PORT="9091"),
        "port: metrics are served on 9091, 9090 is open",
    ),
    "scrape of a closed port": (
        lambda d: template_of(deployment(d))["metadata"]["annotations"].update({"prometheus.io/port": "80"}),
        "port: 80 is scraped",
    ),
    "account that is not there": (
        lambda d: pod(d).update(serviceAccountName="picture"),
        "account: there is no ServiceAccount picture",
    ),
    "class that is not there": (
        lambda d: d.remove(named(d, "PriorityClass", "pictor-batch")),
        "account: there is no PriorityClass pictor-batch",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str, secret_keys: dict[str, set[str]]) -> None:
    change, said = MISTAKES[mistake]
    docs = render(OVERLAY)
    change(docs)
    faults = all_faults(docs, secret_keys)
    assert any(said in fault for fault in faults), faults


def test_there_is_a_claim_to_get_wrong(secret_keys: dict[str, set[str]]) -> None:
    docs = render("dev")
    [claim] = named(docs, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"]
    claim["metadata"]["name"] = "date"
    faults = all_faults(docs, secret_keys)
    assert [fault for fault in faults if "postgres mounts data, which is not there" in fault]
    assert {doc["metadata"]["name"] for doc in of_kind(docs, "StatefulSet")} == {
        "rabbitmq",
        "object-store",
        "milvus",
        "postgres",
    }
