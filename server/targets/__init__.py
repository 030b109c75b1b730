"""Targets: the faces that drivers are seen behind; prepared from photos, stored, forgotten in time."""

from server.targets.store import (
    CROP_SIZE,
    Consent,
    PreparedTarget,
    StorageFull,
    TargetProtected,
    TargetRecord,
    TargetStore,
    TargetUnknown,
)

__all__ = [
    "CROP_SIZE",
    "Consent",
    "PreparedTarget",
    "StorageFull",
    "TargetProtected",
    "TargetRecord",
    "TargetStore",
    "TargetUnknown",
]
