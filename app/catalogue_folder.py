"""The folder of the catalogue by the settings: where it is, and whether we may use it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from catalogue.store.data_folder import FolderInUse, UnsafeFolder, refuse_unsafe
from domain.errors import SettingsError

if TYPE_CHECKING:
    from app.lifecycle import Lifecycle
    from app.settings import Settings
    from catalogue.store.lmdb_store import LmdbStore


def folder_of(settings: Settings) -> Path:
    """The folder in which the catalogue is stored.

    Raises:
        SettingsError: the settings name none, and the user has no home.
    """
    if settings.catalogue_folder:
        return Path(settings.catalogue_folder)
    try:
        return platformdirs.user_data_path("takedown") / "catalogue"
    except RuntimeError as error:  # no HOME, and a user that the system does not know
        raise SettingsError(f"TAKEDOWN_CATALOGUE_FOLDER must be set: {error}") from None


def check_folder(path: Path) -> None:
    """Check that only our user can write to this folder, if it exists.

    Raises:
        SettingsError: other users can, or it cannot be used.
    """
    try:
        refuse_unsafe(path)
    except FileNotFoundError:
        pass
    except UnsafeFolder as error:
        raise SettingsError(f"TAKEDOWN_CATALOGUE_FOLDER: {error}") from None
    except OSError as error:
        raise SettingsError(f"TAKEDOWN_CATALOGUE_FOLDER cannot be used: {error}") from None


async def acquire(store: LmdbStore) -> None:
    """Lock the store's folder for this process.

    Raises:
        SettingsError: another process or user has it, or it cannot be used.
    """
    try:
        await store.take()
    except (FolderInUse, UnsafeFolder) as error:
        raise SettingsError(f"TAKEDOWN_CATALOGUE_FOLDER: {error}") from None
    except OSError as error:
        raise SettingsError(f"TAKEDOWN_CATALOGUE_FOLDER cannot be used: {error}") from None


def with_folder(settings: Settings, lifecycle: Lifecycle) -> Settings:
    """The settings with a folder for the catalogue.

    The embedded broker retains nothing when it stops. So with it, and without a folder in the
    settings, the folder is a temporary one, and `lifecycle` removes it.

    Raises:
        SettingsError: there is no folder for temporary files.
    """
    if settings.catalogue_url or settings.catalogue_folder or settings.kafka_bootstrap_servers:
        return settings
    try:
        folder = tempfile.mkdtemp(prefix="takedown-")
    except OSError as error:
        raise SettingsError(
            f"TAKEDOWN_CATALOGUE_FOLDER must be set: no folder for temporary files: {error}"
        ) from None

    async def remove() -> None:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    lifecycle.started("remove the catalogue's folder", remove, within=5)
    return replace(settings, catalogue_folder=folder)
