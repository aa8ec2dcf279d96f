from .files import delete_file, exists, open_atomic, read_bytes, write_atomic
from .folders import (
    check_writable,
    delete_folder,
    delete_leftovers,
    list_files,
    list_folders,
    make_folder,
    replace_folder,
)
from .given import GivenCode, GivenPath
from .journals import JOURNAL_FOLDER, JournaledWriter, read_journals, salvaged_rows
from .machine import machine_folder
from .parquet import (
    TABLE_KEY,
    VERSION_KEY,
    RowGroupReader,
    check_form,
    make_table,
    read_parquet,
    write_parquet,
    write_row_groups,
)
from .places import AnyPath, Location, resolve
from .plain import decode_plain, encode_plain, read_plain, write_plain
from .tables import TableWriter
from .yaml_files import read_yaml, write_yaml, yaml_text

__all__ = [
    "JOURNAL_FOLDER",
    "TABLE_KEY",
    "VERSION_KEY",
    "AnyPath",
    "GivenCode",
    "GivenPath",
    "JournaledWriter",
    "Location",
    "RowGroupReader",
    "TableWriter",
    "check_form",
    "check_writable",
    "decode_plain",
    "delete_file",
    "delete_folder",
    "delete_leftovers",
    "encode_plain",
    "exists",
    "list_files",
    "list_folders",
    "machine_folder",
    "make_folder",
    "make_table",
    "open_atomic",
    "read_bytes",
    "read_journals",
    "read_parquet",
    "read_plain",
    "read_yaml",
    "replace_folder",
    "resolve",
    "salvaged_rows",
    "write_atomic",
    "write_parquet",
    "write_plain",
    "write_row_groups",
    "write_yaml",
    "yaml_text",
]
