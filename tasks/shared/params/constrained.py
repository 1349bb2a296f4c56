"""Types of values that are checked for more than being a text or a number, in the Prefect form too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from tasks.shared.errors import PLAIN_NAME, WITHOUT_SECRETS, refuse_odd_name_or_key, refuse_secret


@dataclass(frozen=True)
class Checked:
    """A text that is checked as it comes; the form's schema says so too, and the server refuses it unkept."""

    check: Callable[[str], str]
    # what a text matches that passes the check
    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check a text as it comes."""
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of a text with its pattern."""
        return {**handler(core), "pattern": self.pattern}


# what may be a URL, without a password
Source = Annotated[str, Checked(refuse_secret, WITHOUT_SECRETS)]
# what others see, and no key
PublicName = Annotated[str, Checked(refuse_odd_name_or_key, PLAIN_NAME)]
Share = Annotated[float, Field(ge=0, lt=1)]
