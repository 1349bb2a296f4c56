"""`python -m tasks.preview ROWS`: params come as JSON on standard input, findings go to standard output."""

import json
import sys

from tasks.preview import preview
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.params import Params
from tasks.shared.stage import end_with_parent

end_with_parent()
try:
    with disk_in_words():
        found = preview(Params.model_validate_json(sys.stdin.read()), int(sys.argv[1]))
except InputError as error:
    found = {"error": str(error)}
print(json.dumps(found, ensure_ascii=False))
