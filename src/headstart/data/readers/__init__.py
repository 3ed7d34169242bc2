"""What is in files, tables and memory: one format a module, each giving a `Reading` or a `Table`."""

from __future__ import annotations

from headstart.data.readers.reading import Cell, Columns, Reading, SideName, Table, Wanted

__all__ = ["Cell", "Columns", "Reading", "SideName", "Table", "Wanted"]
