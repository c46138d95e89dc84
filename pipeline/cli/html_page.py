"""Search results as one self-contained page: no script, no request to anywhere, thumbnails inside."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pipeline.cli.rights import share
from pipeline.errors import ArgumentError, ImageError, TransientError
from pipeline.image.thumbnail import make_thumbnail
from pipeline.names import visible
from pipeline.ports import ImageLimits, ObjectStore
from pipeline.service.search import SearchAnswer
from pipeline.types import CollectionInfo, ObjectRef, SearchHit

THUMBNAIL_PX = 220

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Pictor: {title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --muted: #777; --bar: #2a7de1; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1.5rem; }}
h1 {{ font-size: 1.3rem; margin: 0; }}
header p, figcaption small {{ color: var(--muted); margin: .2rem 0 0; }}
section {{ border-top: 1px solid var(--line); display: grid; gap: 1.2rem; grid-template-columns: 190px 1fr;
  margin-top: 1.2rem; padding-top: 1.2rem; }}
.hits {{ display: grid; gap: .9rem; grid-template-columns:
  repeat(auto-fill, minmax(130px, 1fr)); }}
figure {{ margin: 0; }}
figure img, .none {{ aspect-ratio: 1; background: #8882; border-radius: 6px; display: block;
  object-fit: contain; width: 100%; }}
.none {{ align-items: center; color: var(--muted); display: flex; font-size: .8rem;
  justify-content: center; }}
.query img {{ outline: 2px solid var(--bar); }}
figcaption {{ font-size: .85rem; margin-top: .3rem; overflow-wrap: anywhere; }}
figcaption b {{ font-variant-numeric: tabular-nums; }}
meter {{ height: .5rem; width: 100%; }}
.error {{ color: #c0392b; }}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{subtitle}</p></header>
{sections}
</body>
</html>
"""


def write_page(
    path: Path, answers: Sequence[SearchAnswer], info: CollectionInfo, store: ObjectStore, limits: ImageLimits
) -> None:
    """Write the page.

    Raises:
        ArgumentError: the file cannot be written.
    """
    page = PAGE.format(
        title=f"{len(answers)} queries in {escape(info.name)}" if len(answers) != 1 else escape(info.name),
        subtitle=f"{info.rows} images, model {escape(info.model_name)} ({info.fingerprint[:8]})",
        sections="\n".join(_section(answer, store, limits) for answer in answers),
    )
    try:
        is_new = not path.exists()
        path.write_text(page, encoding="utf-8")
        if is_new:
            share(path)
    except OSError as err:
        raise ArgumentError(f"--html {path}: {err.strerror}") from err


def _section(answer: SearchAnswer, store: ObjectStore, limits: ImageLimits) -> str:
    name = escape(visible(answer.query.rsplit("/", 1)[-1]))
    picture = _query_picture(answer, store, limits)
    query = f'<figure class="query">{picture}<figcaption>{name}</figcaption></figure>'
    if answer.error:
        return f'<section>{query}<p class="error">{escape(visible(answer.error))}</p></section>'
    hits = "".join(_hit(hit, store, limits) for hit in answer.hits) or "<p>no hits</p>"
    return f'<section>{query}<div class="hits">{hits}</div></section>'


def _hit(hit: SearchHit, store: ObjectStore, limits: ImageLimits) -> str:
    picture = _picture(_ref_of(hit), store, limits)
    meter = f'<meter min="0" max="1" value="{max(hit.score, 0):.3f}"></meter>'
    caption = f"{escape(visible(hit.key))}<br><small>{hit.width}×{hit.height}</small>"
    return f"<figure>{picture}<figcaption><b>{hit.score:.3f}</b> {meter}{caption}</figcaption></figure>"


def _query_picture(answer: SearchAnswer, store: ObjectStore, limits: ImageLimits) -> str:
    if answer.location is None:
        return '<div class="none">no picture</div>'
    try:
        return _picture(store.stat(*answer.location), store, limits)
    except (ImageError, TransientError) as err:
        return f'<div class="none">{escape(str(err).split(":")[0])}</div>'


def _picture(ref: ObjectRef, store: ObjectStore, limits: ImageLimits) -> str:
    """An object that has changed or gone since it was indexed shows that instead of another picture."""
    try:
        body = store.get(ref, max_bytes=limits.max_object_bytes).body
        thumbnail = make_thumbnail(body, limits=limits, side_px=THUMBNAIL_PX)
    except ImageError as err:
        return f'<div class="none">{escape(err.reason.value)}</div>'
    except TransientError:
        return '<div class="none">store is away</div>'
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}">'


def _ref_of(hit: SearchHit) -> ObjectRef:
    return ObjectRef(bucket=hit.bucket, key=hit.key, etag=hit.etag, size_bytes=hit.size_bytes)
