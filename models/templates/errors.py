"""Why a template cannot be used: a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Literal

TemplateErrorCode = Literal[
    "template_unknown",  # there is none by that name
    "template_unreadable",  # not a template file, or damaged
    "template_version",  # of a version of the format that is newer than this program
    "template_layout",  # for landmarks that are laid out or normalised otherwise
    "template_invalid",  # a template file whose contents contradict the format
    "template_name",  # a name that cannot be given
    "template_exists",  # a template of that name is there already
]


class TemplateError(ValueError):
    """A template that cannot be loaded or saved.

    Attributes:
        code: why.
        message: a sentence for people.
    """

    def __init__(self, code: TemplateErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: TemplateErrorCode = code
        self.message = message
