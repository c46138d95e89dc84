#!/usr/bin/env bash
# minio 7.2.20 (Python): an S3 error that is sent as `text/xml` is not read.
#
# RFC 7303 says that text/xml and application/xml are to be treated alike, and some S3 servers (`rclone serve s3` for
# one) send their errors as text/xml. A good guess is S3Error with code NoSuchKey. Seen: InvalidResponseError,
# "non-XML response from server". The body is the same, well-formed error document; its code is lost to the caller.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check minio==7.2.20
"$place/venv/bin/python" - <<'PYTHON'
import http.server
import threading

from minio import Minio
from minio.error import InvalidResponseError, S3Error

BODY = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>gone</Message><Key>k</Key></Error>'


class Answer(http.server.BaseHTTPRequestHandler):
    content_type = ""

    def do_GET(self):
        self.send_response(404)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *arguments):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Minio(f"127.0.0.1:{server.server_port}", "key", "secret", secure=False, region="us-east-1")


def error_for(content_type):
    Answer.content_type = content_type
    try:
        client.get_object("bucket", "k")
    except (S3Error, InvalidResponseError) as error:
        return error


right, wrong = error_for("application/xml"), error_for("text/xml")
print(f"application/xml: {type(right).__name__} {right.code}\ntext/xml: {type(wrong).__name__} {wrong!s:.60}")
assert isinstance(right, S3Error) and right.code == "NoSuchKey"
assert isinstance(wrong, InvalidResponseError), "text/xml is read now: this finding is out of date"
PYTHON
