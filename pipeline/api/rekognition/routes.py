"""All operations under one folder, which only signed requests reach."""

from fastapi import APIRouter, Depends, HTTPException, Request

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER, NO_TARGET, SIGNED_PATH
from pipeline.api.rekognition import collections, faces, searches, tags, user_searches, users


async def _signed(request: Request) -> None:
    """Raises HTTPException: it did not come by the entrance, or the endpoint is off."""
    if SIGNED_PATH not in request.scope:
        raise HTTPException(404)


router = APIRouter(dependencies=[Depends(_signed)], include_in_schema=False)
for room in (collections, faces, searches, users, user_searches, tags):
    router.include_router(room.router)


@router.post(FOLDER + "/{operation}")
def unknown_operation(operation: str) -> None:
    """Every operation of the API's model has the error AccessDeniedException, and few others."""
    raise AwsError(
        "UnknownOperationException" if operation == NO_TARGET else "AccessDeniedException",
        f"this service has no operation {operation[:64]!r}; docs/how-to/rekognition.md lists those it has",
    )
