"""Everything that is named must be there: labels, ports, volumes, secrets and their keys, accounts."""

from collections.abc import Iterator, Mapping, Sequence

from tests.deploy.rendered import (
    Doc,
    Labels,
    containers,
    environment,
    is_pictor,
    of_kind,
    selects,
    title,
    workloads,
)

Keys = Mapping[str, set[str]]  # by the name of a Secret or ConfigMap
CLUSTER_WIDE = ("Namespace", "PriorityClass")
SECRET_ROOT = "/run/secrets/"


def reference_faults(docs: Sequence[Doc], secrets: Keys) -> Iterator[str]:
    """`secrets`: those that an operator is told to make."""
    yield from _name_faults(docs)
    yield from _selector_faults(docs)
    yield from _port_faults(docs)
    yield from _route_faults(docs)
    yield from _monitor_faults(docs)
    for name, workload, template in workloads(docs):
        yield from (f"{name}: {fault}" for fault in _pod_faults(workload, template, docs, secrets))
    for doc in of_kind(docs, "TriggerAuthentication"):
        for ref in doc["spec"]["secretTargetRef"]:
            if ref["key"] not in secrets.get(ref["name"], set()):
                yield f"{title(doc)}: secret: no {ref['name']}/{ref['key']}"


def _name_faults(docs: Sequence[Doc]) -> Iterator[str]:
    titles = [title(doc) for doc in docs]
    yield from (f"{name}: name: twice" for name in sorted({x for x in titles if titles.count(x) > 1}))
    for doc in docs:
        wanted = None if doc["kind"] in CLUSTER_WIDE else "pictor"
        if doc["metadata"].get("namespace") != wanted:
            yield f"{title(doc)}: namespace: {doc['metadata'].get('namespace')}"


def _pod_labels(docs: Sequence[Doc]) -> list[Labels]:
    """Of each kind of pod, those included that an operator makes."""
    ours = [template["metadata"]["labels"] for _, _, template in workloads(docs)]
    made = [{"app.kubernetes.io/name": doc["metadata"]["name"]} for doc in of_kind(docs, "RabbitmqCluster")]
    return [*ours, *made]


def _selector_faults(docs: Sequence[Doc]) -> Iterator[str]:
    pods = _pod_labels(docs)
    for name, workload, template in workloads(docs):
        selector = workload["spec"].get("selector", {}).get("matchLabels")
        if selector is None:
            continue
        if not selects(selector, template["metadata"]["labels"]):
            yield f"{name}: selector: it does not select its own pods"
        if sum(selects(selector, labels) for labels in pods) > 1:
            yield f"{name}: selector: it selects another workload's pods, too"
        for spread in template["spec"].get("topologySpreadConstraints", []):
            if spread["labelSelector"]["matchLabels"] != selector:
                yield f"{name}: selector: its pods are spread among others'"
    for doc in of_kind(docs, "Service", "PodDisruptionBudget"):
        selector = doc["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        if sum(selects(selector, labels) for labels in pods) != 1:
            yield f"{title(doc)}: selector: it does not select the pods of one workload"
    for doc in of_kind(docs, "NetworkPolicy"):
        for selector in _policy_selectors(doc):
            if not any(selects(selector, labels) for labels in pods):
                yield f"{title(doc)}: selector: there are no pods with {dict(selector)}"


def _policy_selectors(policy: Doc) -> Iterator[Labels]:
    spec = policy["spec"]
    yield spec["podSelector"].get("matchLabels", {})
    for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
        for peer in (*rule.get("from", []), *rule.get("to", [])):
            yield peer.get("podSelector", {}).get("matchLabels", {})


def _port_faults(docs: Sequence[Doc]) -> Iterator[str]:
    for name, _, template in workloads(docs):
        ports = _ports(template)
        scraped = template["metadata"].get("annotations", {}).get("prometheus.io/port")
        if scraped is not None and int(scraped) not in ports.values():
            yield f"{name}: port: {scraped} is scraped, and not open"
        for container in containers(template):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                action = container.get(probe, {})
                port = (action.get("httpGet") or action.get("tcpSocket") or {}).get("port")
                if isinstance(port, str) and port not in ports:
                    yield f"{name}: port: {probe} asks {port}"
            metrics = environment(container, docs).get("PICTOR_METRICS_PORT")
            if metrics and "metrics" in ports and int(metrics) != ports["metrics"]:
                yield f"{name}: port: metrics are served on {metrics}, {ports['metrics']} is open"
    for doc in of_kind(docs, "Service", "NetworkPolicy"):
        yield from (f"{title(doc)}: port: no pod has {port}" for port in _missing_ports(doc, docs))


def _missing_ports(doc: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    spec = doc["spec"]
    if doc["kind"] == "Service":
        selector = spec["selector"]
        wanted = [port["targetPort"] for port in spec["ports"]]
    else:
        selector = spec["podSelector"].get("matchLabels", {})
        wanted = [port["port"] for rule in spec.get("ingress", []) for port in rule.get("ports", [])]
    there = {
        port
        for _, _, template in workloads(docs)
        if selects(selector, template["metadata"]["labels"])
        for port in _ports(template)
    }
    yield from (port for port in wanted if isinstance(port, str) and port not in there)


def _route_faults(docs: Sequence[Doc]) -> Iterator[str]:
    served = {
        (doc["metadata"]["name"], port["port"])
        for doc in of_kind(docs, "Service")
        for port in doc["spec"]["ports"]
    }
    hosts = {
        name
        for doc in of_kind(docs, "ConfigMap")
        for name in doc.get("data", {}).get("PICTOR_SERVICE_HOSTS", "").split(",")
    }
    for doc in of_kind(docs, "HTTPRoute"):
        for rule in doc["spec"]["rules"]:
            for ref in rule.get("backendRefs", []):
                if (ref["name"], ref.get("port")) not in served:
                    yield f"{title(doc)}: port: there is no Service {ref['name']} on {ref.get('port')}"
        for name in set(doc["spec"].get("hostnames", [])) - hosts:
            yield f"{title(doc)}: host: the service does not go by {name}"


def _monitor_faults(docs: Sequence[Doc]) -> Iterator[str]:
    for doc in of_kind(docs, "ServiceMonitor"):
        found = [
            service
            for service in of_kind(docs, "Service")
            if selects(doc["spec"]["selector"]["matchLabels"], service["metadata"].get("labels", {}))
        ]
        if len(found) != 1:
            yield f"{title(doc)}: selector: it does not select one Service"
        for endpoint in doc["spec"]["endpoints"]:
            if endpoint["port"] not in {port["name"] for each in found for port in each["spec"]["ports"]}:
                yield f"{title(doc)}: port: no Service has {endpoint['port']}"


def _ports(template: Doc) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in containers(template)
        for port in container.get("ports", [])
    }


def _pod_faults(workload: Doc, template: Doc, docs: Sequence[Doc], secrets: Keys) -> Iterator[str]:
    spec = template["spec"]
    for field, kind in (("serviceAccountName", "ServiceAccount"), ("priorityClassName", "PriorityClass")):
        if field in spec and spec[field] not in {doc["metadata"]["name"] for doc in of_kind(docs, kind)}:
            yield f"account: there is no {kind} {spec[field]}"
    maps = {doc["metadata"]["name"]: set(doc.get("data", {})) for doc in of_kind(docs, "ConfigMap")}
    claims = {doc["metadata"]["name"] for doc in of_kind(docs, "PersistentVolumeClaim")}
    templates = {doc["metadata"]["name"] for doc in workload["spec"].get("volumeClaimTemplates", [])}
    volumes: dict[str, set[str] | None] = dict.fromkeys(templates)  # their keys, where they have any
    for volume in spec.get("volumes", []):
        volumes[volume["name"]] = None
        if "secret" in volume:
            yield from _key_faults("secret", volume["secret"]["secretName"], volume["secret"], secrets)
            volumes[volume["name"]] = _shown_keys(
                volume["secret"], secrets.get(volume["secret"]["secretName"])
            )
        for source in volume.get("projected", {}).get("sources", []):
            name = source["secret"]["name"]
            yield from _key_faults("secret", name, source["secret"], secrets)
            shown = _shown_keys(source["secret"], secrets.get(name))
            volumes[volume["name"]] = (volumes[volume["name"]] or set()) | shown
        if "configMap" in volume:
            yield from _key_faults("config", volume["configMap"]["name"], volume["configMap"], maps)
            volumes[volume["name"]] = maps.get(volume["configMap"]["name"])
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim is not None and claim not in claims:
            yield f"volume: there is no claim {claim}"
    for container in containers(template):
        for source in container.get("envFrom", []):
            yield from _key_faults("config", source["configMapRef"]["name"], {}, maps)
        yield from _mount_faults(container, volumes, environment(container, docs))


def _key_faults(what: str, name: str, source: Doc, there: Keys) -> Iterator[str]:
    if name not in there:
        yield f"{what}: there is no {name}"
        return
    for item in source.get("items", []):
        if item["key"] not in there[name]:
            yield f"{what}: no {name}/{item['key']}"


def _shown_keys(source: Doc, keys: set[str] | None) -> set[str]:
    return {item["path"] for item in source["items"]} if "items" in source else keys or set()


def _mount_faults(
    container: Doc, volumes: Mapping[str, set[str] | None], plain: Mapping[str, str]
) -> Iterator[str]:
    files: set[str] = set()
    writable: set[str] = set()
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"volume: {container['name']} mounts {mount['name']}, which is not there"
            continue
        keys = volumes[mount["name"]]
        if keys is None:
            writable.add(mount["mountPath"])
        elif "subPath" not in mount:
            files |= {mount["mountPath"], *(f"{mount['mountPath']}/{key}" for key in keys)}
        elif mount["subPath"] not in keys:
            yield f"volume: {container['name']} mounts {mount['subPath']}, which is not there"
    words = [*plain.values(), *container.get("args", []), *container.get("command", [])]
    for word in words:
        path = word.rpartition("=")[2]
        if path.startswith(SECRET_ROOT) and path not in files:
            yield f"secret: {container['name']} reads {path}, which is not mounted"
    home = plain.get("PICTOR_HOME", "/scratch")
    if is_pictor(container) and home not in writable:
        yield f"volume: {container['name']} cannot write to {home}"
