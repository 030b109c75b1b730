"""The audit log's first table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("terminal", sa.String(64)),
        sa.Column("name", sa.String(64)),
        sa.Column("token", sa.String(64)),
        sa.Column("address", sa.String(64)),
        sa.Column("room", sa.String(64)),
        sa.Column("target", sa.String(64)),
        sa.Column("detail", sa.Text()),
    )
    for column in ("at", "room", "target"):
        op.create_index(f"ix_audit_{column}", "audit", [column])


def downgrade() -> None:
    op.drop_table("audit")
