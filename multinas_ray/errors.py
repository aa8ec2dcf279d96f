"""The exceptions a caller can meet. Each also inherits the builtin that fits, so plain `except ValueError` works."""


class MultiNASError(Exception):
    """Base of every error this package raises on purpose; its message names the rule, the value and the remedy."""


class ConfigError(MultiNASError, ValueError):
    """A setting, a search space or an argument breaks a rule."""


class DataError(MultiNASError, ValueError):
    """Images, labels or tables are missing, unreadable or out of range."""


class StateError(MultiNASError, ValueError):
    """A saved state or a recorded run is damaged, of another version, or of another configuration."""


class RunError(MultiNASError, RuntimeError):
    """A search could not start or could not go on."""
