"""The transparency log's formats and proofs. Its storage is in `adapters.ledger`, behind `ports.AuditLog`.

Specifications: RFC 6962 and RFC 9162 for the tree, RFC 8785 for the records, and c2sp.org for signed-note,
tlog-checkpoint, tlog-tiles, tlog-proof, tlog-cosignature, tlog-policy and tlog-witness.
"""
