"""The names and arguments of the Python client, on which programs rely. Adding is fine, changing is not."""

import inspect

from pipeline import client
from pipeline.client import Pictor

SEARCH = (
    "collection k min_score bucket prefix metadata where with_vector group_by embedding "
    "purpose case offence authorisation authority on_behalf_of"
)

METHODS = {
    "search": f"query {SEARCH}",
    "search_batch": f"queries {SEARCH}",
    "find_duplicates": "collection min_score key_prefix embedding "
    "purpose case offence authorisation authority on_behalf_of",
    "list_collections": "",
    "show_collection": "name",
    "list_generations": "name",
    "create_collection": "name model",
    "drop_collection": "name",
    "submit_job": "source collection model include exclude keep_missing max_delete_share retry_failed "
    "batch_items restart resume idempotency_key",
    "estimate_job": "source collection model include exclude retry_failed",
    "list_jobs": "page_items of_one_image",
    "show_job": "job_id",
    "job_failures": "job_id page_items",
    "follow_job": "job_id",
    "pause_job": "job_id",
    "cancel_job": "job_id",
    "resume_job": "job_id",
    "retry_job": "job_id",
    "index_object": "bucket key collection idempotency_key",
    "index_picture": "picture collection idempotency_key",
    "show_image": "image_id collection",
    "thumbnail": "image_id collection side_px only_face",
    "remove_image": "image_id collection",
    "search_audit": "kind actor case purpose collection probe image candidate decision since until "
    "page_items",
    "list_verifications": "collection page_items",
    "show_verification": "match_id",
    "probe_picture": "match_id side_px only_face",
    "decide_verification": "match_id decision reason on_behalf_of",
    "show_search": "receipt",
    "embed": "pictures model",
    "detect_faces": "picture collection",
    "compare_faces": "first second collection box min_score "
    "purpose case offence authorisation authority on_behalf_of",
    "list_persons": "collection page_items",
    "create_person": "collection person_id",
    "show_person": "collection person_id",
    "delete_person": "collection person_id",
    "associate_faces": "collection person_id faces min_score",
    "dissociate_faces": "collection person_id faces",
    "list_keys": "",
    "show_key": "key_id",
    "create_key": (
        "name roles collections buckets acts_for_others justification expires_in_days idempotency_key"
    ),
    "rotate_key": "key_id overlap_hours idempotency_key",
    "revoke_key": "key_id",
    "show_policy": "collection",
    "list_policies": "collection",
    "set_policy": "collection policy",
    "approve_policy": "collection version",
    "refuse_policy": "collection version",
    "decide_case": "collection case granted authorisation authority",
    "audit_report": "shape since until format actor case collection recipient",
    "audit_review": "since until",
    "close": "",
    "send": "call",
}


def test_the_client_has_these_names() -> None:
    assert sorted(client.__all__) == [
        "AcceptedImage", "Answer", "AsyncPictor", "AuditEntry", "CaseState", "Collection",
        "CollectionEmbedding", "Comparison", "DuplicateGroup", "Estimate", "Example", "FaceMatch",
        "FacesChanged", "Failure", "Finding", "FoundDuplicates", "FoundFace", "FoundFaces", "Generation",
        "Hit", "Image", "Int8Recall", "Job", "Key", "Match", "NewSecret", "Person", "Pictor",
        "PolicyVersion", "Query", "RefusedFace", "Retried",
        "Retries", "Review", "SearchResult", "SearchState", "ShownMatch", "StoredObject",
        "StoredPerson", "Words",
    ]  # fmt: skip


def test_the_methods_have_these_arguments() -> None:
    found = {
        name: [argument for argument in inspect.signature(method).parameters if argument != "self"]
        for name, method in vars(Pictor).items()
        if not name.startswith("_") and callable(method)
    }
    missing = {name: names for name, names in METHODS.items() if found.get(name) != names.split()}
    assert missing == {}
    assert found.keys() == METHODS.keys()
