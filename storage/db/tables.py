"""Describe the tables: their order, in which each comes after the tables that it refers to, and their workspace."""

from collections.abc import Sequence
from dataclasses import dataclass

from tortoise.fields.relational import ForeignKeyFieldInstance

from storage.db import models

WORKSPACES = "workspaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInfo:
    """A table, with a condition that selects the rows of one workspace: its id is the placeholder $1."""

    name: str
    of_workspace: str


def list_tables() -> Sequence[TableInfo]:
    """Return all tables but the one of applied migrations; a table comes after those that it refers to."""
    classes = [
        value
        for value in vars(models).values()
        if isinstance(value, type) and issubclass(value, models.Table) and not value._meta.abstract
    ]
    names = {model.__name__: str(model._meta.db_table) for model in classes}
    parents: dict[str, dict[str, str]] = {}  # table → column → table that it refers to
    columns: dict[str, set[str]] = {}
    for model in classes:
        table, model_fields = names[model.__name__], model._meta.fields_map
        columns[table] = set(model_fields)
        parents[table] = {
            f"{name}_id": names[str(field.model_name).rpartition(".")[2]]
            for name, field in model_fields.items()
            if isinstance(field, ForeignKeyFieldInstance)
        }
    tables: dict[str, TableInfo] = {}
    while len(tables) < len(parents):
        for table, references in parents.items():
            if table not in tables and set(references.values()) <= tables.keys():
                tables[table] = TableInfo(name=table, of_workspace=_select(table, references, columns[table], tables))
    return list(tables.values())


def _select(table: str, references: dict[str, str], columns: set[str], tables: dict[str, TableInfo]) -> str:
    if table == WORKSPACES:
        return "id = $1"
    if "workspace_id" in columns or references.get("workspace_id") == WORKSPACES:
        return "workspace_id = $1"
    column, parent = next(iter(references.items()))
    return f"{column} IN (SELECT id FROM {parent} WHERE {tables[parent].of_workspace})"
