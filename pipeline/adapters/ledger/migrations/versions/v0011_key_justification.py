"""What the searches of a key state where they state nothing themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    stated = sa.Column("justification", sa.Text, nullable=False, server_default=sa.text("'{}'"))
    op.add_column("api_key", stated)
