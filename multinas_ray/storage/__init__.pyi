from .files import (
    AnyPath,
    Location,
    below,
    check_writable,
    delete_file,
    delete_folder,
    exists,
    list_files,
    list_folders,
    make_folder,
    name_of,
    read_bytes,
    resolve,
    write_atomic,
)
from .journals import JournaledWriter, read_journals
from .parquet import TABLE_KEY, VERSION_KEY, PathOrUri, check_form, read_parquet, write_parquet
from .plain import decode_plain, encode_plain
from .tables import TableWriter, write_table
from .uris import refuse_credentials
from .yaml_files import read_yaml, write_yaml

__all__ = [
    "TABLE_KEY",
    "VERSION_KEY",
    "AnyPath",
    "JournaledWriter",
    "Location",
    "PathOrUri",
    "TableWriter",
    "below",
    "check_form",
    "check_writable",
    "decode_plain",
    "delete_file",
    "delete_folder",
    "encode_plain",
    "exists",
    "list_files",
    "list_folders",
    "make_folder",
    "name_of",
    "read_bytes",
    "read_journals",
    "read_parquet",
    "read_yaml",
    "refuse_credentials",
    "resolve",
    "write_atomic",
    "write_parquet",
    "write_table",
    "write_yaml",
]
