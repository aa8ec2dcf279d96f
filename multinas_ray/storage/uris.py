"""What a path may be: a local one, or a URI without secrets."""

import os
import re

from multinas_ray.errors import ConfigError

_CREDENTIALS = re.compile(r"s3://[^/?]*:[^?]*@|\w+://[^/?@]*:[^/?@]*@")
"""How a URI that holds a key and its secret begins; secrets of S3 may hold a slash."""


def refuse_credentials(path: str | os.PathLike[str]) -> None:
    """Check that a path or URI holds no key and secret: it is recorded beside the results.

    Raises:
        ConfigError: it does; the message does not repeat them.
    """
    text = os.fspath(path)
    if _CREDENTIALS.match(text):
        raise ConfigError(
            f"a URI {text.partition(':')[0]}://KEY:SECRET@... would bring its secret into logs and results: leave both "
            "out, and give them by the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role)"
        )
